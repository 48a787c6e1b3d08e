"""The options of the commands that measure become one selection."""

from pathlib import Path

from deconvbench.cli.options import make_selection
from deconvbench.workflows.selection import Selection


def test_words_become_a_selection() -> None:
    found = make_selection(
        None,
        Path("own.toml"),
        ["height=8"],
        "nearest",
        ["mine:build"],
        "cuda",
        3,
        timeout_s=2.0,
        precision="2%",
        seed=1,
    )
    assert found == Selection(
        grid=Path("own.toml"),
        settings=("height=8",),
        keyword="nearest",
        upsamplers=("mine:build",),
        device="cuda",
        replicates=3,
        timeout_s=2.0,
        precision="2%",
        seed=1,
    )


def test_no_words_are_the_default() -> None:
    assert make_selection(None, None, None, "", None, "", None).is_default
