"""The tables of speed-ups of fast layers: every kernel, layout and step, from the same parameters."""

import pytest
import torch

from bench.layer_speed import DTYPES, KERNELS, LAYOUTS, STEPS, Cell, main, measure_speedup


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", KERNELS)
@pytest.mark.parametrize("step", STEPS)
def test_both_steps_compute_the_same(step: str, layer: str, dtype: str) -> None:
    torch.manual_seed(0)
    for size in KERNELS[layer]:
        cell = Cell(
            layer=layer, kernel_size=size, in_channels=4, side=6, layout="channels_last", step=step, dtype=dtype
        )
        answers = [run() for run in cell.make_steps("auto")]
        torch.testing.assert_close(*answers)
        assert measure_speedup(cell, "plain", 0.01) > 0


@pytest.mark.parametrize("layer", KERNELS)
def test_the_table_has_all_of_them(layer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([layer, "--budget", "0.01", "--shapes", "1"]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head == "| kernel | memory format | kept | made | train |"
    assert [row.split(" | ")[:2] for row in rows] == [
        [f"| {size}", layout] for size in KERNELS[layer] for layout in LAYOUTS
    ]
