"""The ablation of the fold on a CUDA device, tried on a CPU: what is measured, and what is said of it."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from bench import cuda_ablation
from bench.cuda_ablation import (
    DECONVOLUTIONS,
    FORMS,
    LAYOUTS,
    PRECISIONS,
    Cell,
    Row,
    build_layer,
    format_rows,
    list_cells,
    main,
    make_step,
    measure_cell,
    write_rows,
)
from deconvbench.measure.latency import LatencyPolicy
from deconvbench.upsamplers.fast.cuda import form

CELL = Cell(batch=1, in_channels=4, side=6, memory_format="channels_last", precision="float32", step="train")
POLICY = LatencyPolicy(time_cap_s=0.01, min_time_s=0.005, warmup_s=0.001, min_samples=6, min_block_s=1e-4)
NAMES = (*FORMS, *DECONVOLUTIONS)


@pytest.fixture(autouse=True)
def settings_as_before() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    with torch.random.fork_rng():
        yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the test needs to be absent")
def test_without_a_device_it_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    found = capsys.readouterr()
    assert found.err == "deconvbench: the ablation needs a CUDA device, and torch finds none here\n"
    assert not found.out


def test_it_measures_every_form_beside_both_deconvolutions() -> None:
    assert {"plain", "transposed", "subpixel", "minimal", "tiled", "minimal_triton", "tiled_triton"} == set(FORMS)
    cells = list_cells(((1, 4, 6), (2, 8, 3)), ("forward", "train"), tuple(PRECISIONS))
    assert len(cells) == len(set(cells)) == 2 * 2 * len(PRECISIONS) * len(LAYOUTS)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("_triton")])
def test_the_layers_of_a_cell_have_the_same_size_and_parameters(name: str) -> None:
    layer, x = build_layer(name, CELL, "cpu"), torch.randn(1, 4, 6, 6)
    with torch.no_grad():
        assert layer(x).shape == (1, 2, 12, 12)
    if name in DECONVOLUTIONS:
        assert isinstance(layer, nn.ConvTranspose2d)
    else:
        torch.testing.assert_close(layer.weight, build_layer("plain", CELL, "cpu").weight)


def test_a_step_of_training_gives_all_gradients() -> None:
    layer, x = build_layer("plain", CELL, "cpu"), torch.randn(1, 4, 6, 6)
    found = make_step(layer, x, "train")()
    assert isinstance(found, tuple)
    assert [part.shape for part in found] == [x.shape, (2, 4, 3, 3), (2,)]
    y = make_step(layer, x, "forward")()
    assert isinstance(y, torch.Tensor)
    assert not y.requires_grad


def test_a_cell_has_a_row_for_each_layer_and_says_why_one_has_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "has_triton", lambda: False)
    rows = {row.layer: row for row in measure_cell(CELL, NAMES, "cpu", POLICY, None)}
    assert list(rows) == list(NAMES)
    for name in NAMES:
        row = rows[name]
        if name.endswith("_triton"):
            assert row.status == f"{name} needs the package triton, which is not installed (pip install triton)"
            assert row.latency_s is row.speedup is row.error is None
            continue
        assert row.status == "ok"
        assert row.latency_s is not None
        assert row.latency_s > 0
        assert row.speedup is not None
        assert row.speedup > 0
        if name in DECONVOLUTIONS:
            assert row.error is None
        else:
            assert row.error is not None
            assert row.error < 1e-6
    assert rows["plain"].speedup == 1


def test_a_layer_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    own = build_layer

    def build(name: str, cell: Cell, device: str) -> nn.Module:
        if name == "minimal":
            raise RuntimeError("out of\nmemory")
        return own(name, cell, device)

    monkeypatch.setattr(cuda_ablation, "build_layer", build)
    cell = replace(CELL, precision="bfloat16", step="forward", memory_format="contiguous")
    rows = {row.layer: row for row in measure_cell(cell, ("plain", "minimal", "tiled"), "cpu", POLICY, None)}
    assert rows["minimal"].status == "RuntimeError: out of memory"
    assert rows["tiled"].status == rows["plain"].status == "ok"
    error = rows["plain"].error
    assert error is not None
    assert 1e-4 < error < 1e-2


def test_tf32_is_what_the_precision_says() -> None:
    for precision, (_, allows) in PRECISIONS.items():
        measure_cell(replace(CELL, precision=precision, step="forward"), ("plain",), "cpu", POLICY, None)
        assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == allows


def test_the_table_has_geometric_means_and_says_how_many_they_are_of(tmp_path: Path) -> None:
    rows = [
        CELL.describe("plain", speedup=1.0, error=1e-7),
        CELL.describe("tiled", speedup=2.0, error=2e-7),
        replace(CELL, side=8).describe("plain", speedup=1.0, error=3e-7),
        replace(CELL, side=8).describe("tiled", speedup=8.0, error=1e-7),
        replace(CELL, step="forward").describe("plain", speedup=1.0),
        replace(CELL, step="forward").describe("tiled", status="failed"),
        replace(CELL, step="forward", side=8).describe("tiled", speedup=3.0),
    ]
    lines = format_rows(rows).splitlines()
    assert lines[0] == "| precision | step | memory format | plain | tiled |"
    assert lines[2] == "| float32 | train | channels_last | 1.00 | 4.00 |"
    assert lines[3] == "| float32 | forward | channels_last | 1.00 | 3.00 (1 of 2) |"
    assert lines[-1] == "| error, float32 | 3.0e-07 | 2.0e-07 |"
    write_rows(rows, tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [row["speedup"] for row in found] == ["1.0", "2.0", "1.0", "8.0", "1.0", "", "3.0"]
    assert found[0]["out_channels"] == "2"
    assert found[5]["status"] == "failed"


def test_the_command_prints_the_device_what_failed_and_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def measure(cell: Cell, names: Sequence[str], *others: object) -> list[Row]:
        assert others[0] == "cuda:1"
        return [
            cell.describe(name, status="out of memory") if name == "tiled" else cell.describe(name, speedup=2.0)
            for name in names
        ]

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a device")
    monkeypatch.setattr(cuda_ablation, "TorchAccelerator", lambda _: None)
    monkeypatch.setattr(cuda_ablation, "measure_cell", measure)
    words = ["--device", "cuda:1", "--csv", str(tmp_path / "rows.csv"), "--shapes", "1", "--precisions", "tf32"]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"a device, torch {torch.__version__}"
    assert lines[2] == "  tiled: out of memory"
    assert "| tf32 | forward | contiguous | 2.00 | 2.00 | 2.00 | 2.00 | – | 2.00 | 2.00 | 2.00 | 2.00 |" in lines
    with (tmp_path / "rows.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 4 * len(NAMES)
    assert main(["--device", "cpu"]) == 2
    assert capsys.readouterr().err == "deconvbench: --device: 'cpu' is not a CUDA device\n"
