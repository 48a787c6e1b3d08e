"""Weights from files; those that do not fit are in tests/workflows/test_bad_targets.py too."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.networks.inspection.state_dicts import load_weights


def make() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1))


@pytest.fixture
def weights() -> dict[str, Tensor]:
    torch.manual_seed(5)
    return {name: value + 1 for name, value in make().state_dict().items()}


def load(found: Any, path: Path) -> tuple[nn.Module, list[str]]:
    """Save and load."""
    torch.save(found, path)
    model = make()
    return model, load_weights(model, str(path))


def is_same(model: nn.Module, weights: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_weights_are_loaded(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    model, notes = load(weights, tmp_path / "w.pt")
    assert is_same(model, weights)
    assert notes == []


@pytest.mark.parametrize("holder", ["state_dict", "params_ema", "whatever"])
def test_what_a_trainer_wraps_them_in_is_seen_through(
    tmp_path: Path, weights: dict[str, Tensor], holder: str
) -> None:
    model, notes = load({"epoch": 3, holder: weights, "optimizer": {"lr": 0.1}}, tmp_path / "w.pt")
    assert is_same(model, weights)
    assert notes == [f"{tmp_path / 'w.pt'}: the weights under {holder!r}"]


def test_averaged_weights_are_preferred(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    others = {name: value + 1 for name, value in weights.items()}
    model, _ = load({"params": others, "params_ema": weights}, tmp_path / "w.pt")
    assert is_same(model, weights)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "generator.module."])
def test_what_wrappers_put_before_the_names_is_taken_off(
    tmp_path: Path, weights: dict[str, Tensor], prefix: str
) -> None:
    model, notes = load({prefix + name: value for name, value in weights.items()}, tmp_path / "w.pt")
    assert is_same(model, weights)
    assert notes == [f"{tmp_path / 'w.pt'}: {prefix!r} was taken off its keys"]


def test_counters_that_older_files_lack_are_not_missed(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    del weights["1.num_batches_tracked"]
    model, _ = load(weights, tmp_path / "w.pt")
    assert torch.equal(model.state_dict()["2.weight"], weights["2.weight"])


def test_half_precision_is_taken(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    model, _ = load({name: value.half() for name, value in weights.items()}, tmp_path / "w.pt")
    assert model.state_dict()["2.weight"].dtype == torch.float32


def test_safetensors_are_read(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(weights, tmp_path / "w.safetensors")
    model = make()
    assert load_weights(model, str(tmp_path / "w.safetensors")) == []
    assert is_same(model, weights)
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(UsageError, match=r"bad\.safetensors' cannot be read as safetensors: SafetensorError"):
        load_weights(model, str(tmp_path / "bad.safetensors"))


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("is_zip", [True, False])
def test_nothing_is_unpickled(tmp_path: Path, weights: dict[str, Tensor], is_zip: bool) -> None:
    path = tmp_path / "w.pt"
    torch.save({**weights, "x": Evil(tmp_path / "was-here")}, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(UsageError, match="holds objects besides tensors, which would run code when it is read"):
        load_weights(make(), str(path))
    assert not (tmp_path / "was-here").exists()


def test_a_whole_network_is_refused(tmp_path: Path) -> None:
    torch.save(make(), tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"save model\.state_dict\(\) alone"):
        load_weights(make(), str(tmp_path / "w.pt"))


@pytest.mark.parametrize(
    ("found", "named"),
    [
        ({}, "holds no tensors by name; its keys begin with none"),
        ({"epoch": 3, "args": {"lr": 1}}, "holds no tensors by name; its keys begin with 'epoch', 'args'"),
        ({"a": {"x": torch.ones(1)}, "b": {"y": torch.ones(1)}}, "holds no tensors by name"),
        (torch.ones(3), "holds Tensor, not tensors by name"),
        ({"0.weight": torch.ones(1)}, "7 of 9 keys are missing: 0.bias, 1.weight, 1.bias, …; 1 of 9 have another"),
        (
            {"net.0.weight": torch.ones(1), "x": torch.ones(1)},
            "2 of 2 keys in the file are unknown: net.0.weight, x",
        ),
        ({"k" * 500: torch.ones(1)}, "k…k"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, found: Any, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(found, tmp_path / "w.pt")
    assert named in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("content", [b"", b"import os\n", b"PK\x03\x04broken", b"\x80\x02N."])
def test_what_torch_did_not_save_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(UsageError, match=r"--state-dict: .*w\.pt' (is not a file|cannot be read|holds NoneType)"):
        load_weights(make(), str(tmp_path / "w.pt"))
    with pytest.raises(UsageError, match=r"cannot read .*none\.pt': No such file"):
        load_weights(make(), str(tmp_path / "none.pt"))
