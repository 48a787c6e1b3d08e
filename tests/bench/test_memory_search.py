"""The search draws cells that can be measured, and says which hold too much."""

import itertools
import re
import subprocess
import sys

import pytest
import torch

from bench import memory_search
from bench.memory_search import Cell, draw_cells, main


def test_the_draw_is_that_of_the_seed() -> None:
    cells = list(itertools.islice(draw_cells(1), 20))
    assert cells == list(itertools.islice(draw_cells(1), 20))
    assert cells != list(itertools.islice(draw_cells(2), 20))
    assert {cell.mode for cell in cells} == {"kept", "live", "train"}


@pytest.mark.parametrize("mode", ["kept", "live", "train"])
def test_a_cell_runs(mode: str) -> None:
    cell = next(cell for cell in draw_cells(3) if cell.mode == mode)
    assert cell.make_input().shape == (cell.batch, cell.in_channels, cell.height, cell.width)
    small = Cell(**{**{name: getattr(cell, name) for name in Cell.__slots__}, "height": 2, "width": 3})
    layer = small.make_layer("auto")
    small.run(layer, small.make_input())
    assert layer.is_frozen == (mode == "kept")
    assert layer.weight.grad is None


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peaks_are_measured_in_processes_of_their_own() -> None:
    command = [sys.executable, "-m", "bench.memory_search", "--cells", "2", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    found = re.fullmatch(r"2 cells, \d above 1.1, the worst (\d\.\d\d)", done.stdout.splitlines()[-1])
    assert found is not None
    # both hold something
    assert 0.01 <= float(found[1]) <= 10


@pytest.mark.parametrize(("share", "code"), [(1.05, 0), (1.2, 1)])
def test_cells_above_the_limit_are_named(
    share: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory_search, "measure_peaks", lambda cell, threads: ("tiled", int(share * 1000), 1000))
    threads = torch.get_num_threads()
    assert main(["--cells", "3"]) == code
    torch.set_num_threads(threads)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"3 cells, {3 * code} above 1.1, the worst {share:.2f}"
    assert len(lines) == 1 + 3 * code
