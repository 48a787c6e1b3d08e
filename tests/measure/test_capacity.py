"""Cases that cannot fit into memory are found by arithmetic, before anything is allocated."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deconvbench.errors import TooLargeError
from deconvbench.measure import capacity, step
from deconvbench.measure.capacity import check_memory, count_host_bytes, explain_size, read_host_bytes
from deconvbench.runner.worker_main import classify_failure
from tests.builders import make_case

CASE = make_case(in_channels=2, out_channels=4, height=8, width=8, scale_factor=2)
INPUT, OUTPUT = 2 * 64, 4 * 256


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, 4 * (INPUT + OUTPUT)),
        ({"step": "train"}, 8 * (INPUT + OUTPUT)),
        ({"dtype": "float64"}, 8 * (INPUT + OUTPUT)),
        ({"dtype": "float16"}, 2 * (INPUT + OUTPUT)),
        ({"batch": 3}, 12 * (INPUT + OUTPUT)),
        # drawn on the host in float32, then moved
        ({"device": "cuda"}, 4 * INPUT),
        ({"device": "cuda", "step": "train"}, 4 * OUTPUT),
    ],
    ids=str,
)
def test_maps_are_counted(changes: dict[str, Any], needed: int) -> None:
    assert count_host_bytes(replace(CASE, **changes)) == needed


def test_the_limit_of_a_control_group_counts_where_it_is_lower(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = read_host_bytes()
    for text, expected in (("4096\n", 4096), ("max\n", machine), (str(2**62), machine)):
        (tmp_path / "limit").write_text(text)
        monkeypatch.setattr(capacity, "_LIMITS", (tmp_path / "limit", tmp_path / "none"))
        read_host_bytes.cache_clear()
        assert read_host_bytes() <= expected
        assert text.strip() != "4096" or read_host_bytes() == 4096
    monkeypatch.undo()
    read_host_bytes.cache_clear()


def test_what_cannot_fit_is_named_with_both_numbers_and_nothing_is_allocated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capacity, "read_host_bytes", lambda: 4096)
    monkeypatch.setattr(step, "build_seeded_layer", lambda *_: pytest.fail("built"))
    assert explain_size(replace(CASE, height=1, width=1)) is None
    said = r"its maps take at least 4.5 KiB, and this machine has 4 KiB of memory"
    with pytest.raises(TooLargeError, match=said) as caught:
        step.prepare_step(CASE, 0)
    status, message = classify_failure(caught.value)
    assert (status, message.startswith("its maps take at least")) == ("oom", True)
    with pytest.raises(TooLargeError, match=said):
        check_memory(CASE)
