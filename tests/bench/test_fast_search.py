"""The search draws cells that can be measured, compares like with like, and says which are slower or hold more."""

import itertools
from typing import Any

import pytest
import torch

from bench import fast_search
from bench.fast_search import (
    Finding,
    ResizeCell,
    TransposedCell,
    draw_cells,
    main,
    measure_cell,
)
from deconvbench.measure.rounds import Rounds, StepTiming

SMALL: dict[str, Any] = {
    "kernel_size": 3,
    "scale_factor": 2,
    "in_channels": 4,
    "out_channels": 2,
    "groups": 1,
    "padding_mode": "zeros",
    "dtype": "float32",
    "batch": 1,
    "height": 3,
    "width": 4,
    "is_channels_last": False,
    "mode": "kept",
}


@pytest.fixture(autouse=True)
def _own_threads() -> Any:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_the_draw_is_that_of_the_seed_and_has_everything() -> None:
    cells = list(itertools.islice(draw_cells(1), 400))
    assert cells == list(itertools.islice(draw_cells(1), 400))
    assert {type(cell) for cell in cells} == {ResizeCell, TransposedCell}
    assert {cell.mode for cell in cells} == {"kept", "live", "train"}
    assert {cell.dtype for cell in cells} == {"float32", "float64", "bfloat16"}
    assert any(cell.groups > 1 for cell in cells)
    assert any(cell.height == 1 for cell in cells)
    assert any(cell.in_channels % 2 for cell in cells)
    assert {type(cell) for cell in itertools.islice(draw_cells(1, ["resize"]), 20)} == {ResizeCell}


@pytest.mark.parametrize("kind", [ResizeCell, TransposedCell])
@pytest.mark.parametrize("mode", ["kept", "live", "train"])
def test_both_layers_are_of_one_kind(kind: Any, mode: str) -> None:
    cell = kind(**{**SMALL, "mode": mode})
    x, layer, plain = cell.make_input(), cell.make_layer("auto"), cell.make_plain()
    with torch.no_grad():
        for own, other in zip(layer.parameters(), plain.parameters(), strict=True):
            own.copy_(other)
        torch.testing.assert_close(layer(x), plain(x))
    assert layer.is_frozen == (mode == "kept")


def time_as(monkeypatch: pytest.MonkeyPatch, *ratios: float) -> list[int]:
    """Let each look find the next of the ratios; returns how many there were."""
    looks: list[int] = []

    def take(*_: Any, **__: Any) -> Rounds:
        ratio = ratios[min(len(looks), len(ratios) - 1)]
        looks.append(1)
        timings = {
            name: StepTiming(samples_s=(), rounds_s=(seconds,) * 20, calls_per_sample=1)
            for name, seconds in (("plain", 1e-3), ("auto", ratio * 1e-3))
        }
        return Rounds(timings=timings, stop_reason="precision")

    monkeypatch.setattr(fast_search, "take_rounds", take)
    return looks


@pytest.mark.parametrize(
    ("ratios", "looks", "verdict"),
    [((1.0,), 1, "fine"), ((1.2, 1.2), 2, "slower"), ((1.5, 1.0, 1.0, 1.0), 4, "fine"), ((1.5, 0.9), 4, "fine")],
    ids=["one look will do", "a suspect is seen twice", "noise wears off", "all looks count together"],
)
def test_suspects_are_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, ratios: tuple[float, ...], looks: int, verdict: str
) -> None:
    taken = time_as(monkeypatch, *ratios)
    found = measure_cell(ResizeCell(**SMALL))
    assert (len(taken) <= looks, found.is_slower) == (True, verdict == "slower")
    assert found.chosen == "plain"
    # the plain form holds what it holds
    assert (found.bytes, found.plain_bytes) == (0, 0)


def test_what_is_held_is_measured_where_another_form_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    time_as(monkeypatch, 0.5)
    large = {**SMALL, "in_channels": 64, "out_channels": 64, "height": 32, "width": 32}
    peaks = iter((3 * 2**20, 2**20))
    monkeypatch.setattr(fast_search, "measure_heap_peak", lambda _: next(peaks))
    found = measure_cell(ResizeCell(**large))
    assert found.chosen != "plain"
    assert found.holds_more
    assert "3.00 of 1 MiB, MEMORY" in str(found)


def test_a_long_call_of_the_plain_form_is_not_timed_beside_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = time_as(monkeypatch, 2.0)
    monkeypatch.setattr(fast_search, "_LONG_S", 0.0)
    assert measure_cell(ResizeCell(**SMALL)) == Finding(chosen="plain")
    assert not taken


@pytest.mark.parametrize(
    ("finding", "code", "word"),
    [
        (Finding(chosen="tiled", plain_s=1e-3, slowdown=1.2, low=1.1, high=1.3), 1, "SLOWER"),
        (Finding(chosen="tiled", plain_s=1e-3, slowdown=1.2, low=1.0, high=1.3), 0, "undecided"),
        (Finding(chosen="tiled", plain_s=1e-3, bytes=2**23, plain_bytes=2**20), 1, "MEMORY"),
        (Finding(chosen="tiled", plain_s=1e-3, bytes=2**17, plain_bytes=2**10), 0, ""),
    ],
    ids=["slower", "undecided", "more memory", "a little of little"],
)
def test_cells_that_break_the_promise_are_printed(
    finding: Finding,
    code: int,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fast_search, "measure_cell", lambda _: finding)
    # two cells, then the time is over
    clock = itertools.chain((0.0, 1.0, 2.0), itertools.repeat(1e6))
    monkeypatch.setattr("bench.fast_search.time.monotonic", lambda: next(clock))
    assert main(["--threads", "1", "--minutes", "1", "--kinds", "resize"]) == code
    *lines, last = capsys.readouterr().out.splitlines()
    assert last.startswith("1 thread: 2 cells, 2 timed, ")
    assert len(lines) == (2 if word else 0)
    assert all(word in line and "threads=1: ResizeCell(" in line for line in lines)
