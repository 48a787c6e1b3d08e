"""The table of speed-ups of transposed convolutions: every kernel, layout and step, from the same parameters."""

import pytest
import torch

from bench.deconvolution_speed import KERNELS, LAYOUTS, STEPS, Cell, main, measure_speedup


@pytest.mark.parametrize("step", STEPS)
def test_both_steps_compute_the_same(step: str) -> None:
    torch.manual_seed(0)
    for size in KERNELS:
        cell = Cell(kernel_size=size, in_channels=4, side=6, layout="channels_last", step=step)
        answers = [run() for run in cell.make_steps("auto")]
        torch.testing.assert_close(*answers)
        assert measure_speedup(cell, "plain", 0.01) > 0


def test_the_table_has_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--budget", "0.01", "--shapes", "1"]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head == "| kernel | memory format | kept | made | train |"
    assert [row.split(" | ")[:2] for row in rows] == [
        [f"| {size}", layout] for size in KERNELS for layout in LAYOUTS
    ]
