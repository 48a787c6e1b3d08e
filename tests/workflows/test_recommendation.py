"""From a run folder to an answer: what is read, what is taken by default, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

import deconvbench
from deconvbench.errors import RunFolderError, UsageError
from deconvbench.records.run_folder import JOURNAL_NAME
from deconvbench.workflows.recommendation import parse_pair, recommend
from tests.analysis.made_choices import make_row, make_summary, write_run
from tests.builders import make_case
from tests.made_results import make_results


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_run(tmp_path / "run")


def test_it_reads_a_run_and_writes_the_code(run: Path) -> None:
    found = deconvbench.recommend(run, ripple=0, size="8x8")
    assert found.chosen is not None
    assert found.chosen.layer == "nearest_conv_fast k3 s2"
    assert found.code == "from deconvbench.nn import ResizeConv2d\n\nlayer = ResizeConv2d(4, 2, 3, 2)"
    assert str(found).startswith("Take nearest_conv_fast k3 s2: 800 µs, 25 % faster than transposed k3 s2\n")
    assert found.source == str(run)
    assert recommend(run, memory=1).code == ""


def test_what_training_found_is_that_of_the_results(run: Path) -> None:
    # of those that ship with the package
    assert recommend(run, checkerboard=0.5).chosen == recommend(str(run), checkerboard=0.5).chosen
    assert recommend(run, checkerboard=0.5).trained.startswith("After training (reconstruction)")
    trained = make_results(run.parent / "trained", (("subpixel_icnr", 3),))
    found = recommend(run, psnr=20, results=trained)
    assert [each.upsampler for each in found.fitting] == ["subpixel_icnr"]
    assert {each.upsampler for each in found.unjudged} == {
        "transposed",
        "nearest_conv_fast",
        "separable_transposed",
    }


def test_everything_of_a_case_can_be_asked_for(run: Path) -> None:
    asked: dict[str, Any] = {
        "device": "cuda",
        "step": "train",
        "batch": 2,
        "dtype": "float16",
        "memory_format": "channels_last",
        "threads": 4,
        "execution": "compile",
        "scale_factor": 4,
    }
    rows = [make_row(make_case()), make_row(make_case(**asked, in_channels=6, out_channels=5, height=4, width=2))]
    found = recommend(write_run(run.parent / "other", make_summary(*rows)), **asked, size=(4, 2), channels="6x5")
    assert found.case == make_case(**asked, in_channels=6, out_channels=5, height=4, width=2)
    assert found.code.endswith("layer = torch.compile(layer)")


def write_journal(folder: Path) -> Path:
    """A run that was interrupted before its first record, beside tables that outlived another."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JOURNAL_NAME).write_bytes(b"")
    return folder


def test_by_default_it_is_the_newest_run_else_what_is_kept(run: Path) -> None:
    found = recommend(ripple=0)
    assert found.chosen is not None
    assert found.source.startswith("reference run (AMD EPYC")
    assert found.source.endswith("; shipped with the package, not of a run of yours")
    for name, created in (("old", "2025"), ("new", "2026"), ("bare", None)):
        folder = write_run(Path("results/reference/machine") / name)
        if created:
            info = {"schema_version": 1, "created_at": created, "environment": {"cpu": "Fast", "cores": 2}}
            (folder / "run.json").write_text(json.dumps(info))
    found = recommend()
    kept = Path("results/reference/machine/new")
    assert found.source == f"{kept} (Fast, 2 cores); kept results, not of a run of yours"
    assert recommend(kept).source == f"{kept} (Fast, 2 cores)"
    write_journal(Path("results/runs/mine"))
    with pytest.raises(UsageError, match="run: nothing was measured in it"):
        recommend()


def test_the_run_that_ships_is_that_of_the_reference_results() -> None:
    root = Path(deconvbench.__file__).parent
    shipped = root / "tables/reference_run"
    kept = Path(__file__).parents[2] / "results/reference/amd-epyc-2-cores/quick"
    for path in shipped.iterdir():
        assert path.read_bytes() == (kept / path.name).read_bytes(), path.name
    assert {path.name for path in shipped.iterdir()} == {"run.json", "table.parquet", "quality.parquet"}


def test_no_run_is_refused(run: Path) -> None:
    with pytest.raises(RunFolderError, match="does not exist"):
        recommend(run / "none")


@pytest.mark.parametrize(
    ("value", "square", "pair"),
    [
        ("64x32", True, (64, 32)),
        ("64×32", False, (64, 32)),
        ("64X32", True, (64, 32)),
        ("64", True, (64, 64)),
        (64, True, (64, 64)),
        ((64, 32.0), False, (64, 32)),
        ([3, 4], True, (3, 4)),
    ],
    ids=repr,
)
def test_pairs(value: object, square: bool, pair: tuple[int, int]) -> None:
    assert parse_pair(value, "size", is_square=square) == pair


@pytest.mark.parametrize(
    "value",
    [
        "64",
        "",
        "x",
        "64x",
        "64x32x1",
        "0x1",
        "-1x2",
        "6.5x2",
        "٣x٤",
        "9" * 12 + "x1",
        64,
        1.5,
        (1, 2.5),
        (1, True),
        (1,),
        None,
    ],
    ids=repr,
)
def test_no_pairs(value: object) -> None:
    with pytest.raises(
        UsageError, match="channels: .* is not two whole numbers of at least 1; write for example 64x32"
    ):
        parse_pair(value, "channels", is_square=False)


@pytest.mark.parametrize("value", ["64 squared", (1, 2, 3), 0, float("inf"), float("nan")], ids=repr)
def test_no_sizes(value: object, run: Path) -> None:
    with pytest.raises(UsageError, match="size: .* or 64 for a square"):
        recommend(run, size=value)
