"""Fused modules in daily use: hooks that come later, slices, pickles, wrong inputs."""

import copy
import inspect
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.networks.fusion import fuse, resizing
from deconvbench.networks.fusion.modules import FusedConvTranspose2d, FusedScope, make_class
from tests.networks.fusion.comparing import differentiate_both, run_both
from tests.networks.fusion.networks import Up, Upsample2D
from tests.networks.fusion.test_sequential import FastCalls, make_sequential


@pytest.mark.parametrize("name", ["sequential", "scope"])
def test_wrong_inputs_raise_what_they_raised(name: str) -> None:
    model, fused, x = make_sequential()
    if name == "scope":
        model = Up().double()
        fused = fuse(model).model
    for wrong in (x.float(), x[:, :3], x[0, 0], x.to(torch.complex128)):
        with pytest.raises(Exception) as expected:  # noqa: PT011 -- whatever torch raises
            model(wrong)
        with pytest.raises(type(expected.value)) as found:
            fused(wrong)
        assert str(found.value)[:20] == str(expected.value)[:20]


def test_signatures_stay_readable() -> None:
    fused = fuse(Upsample2D(4)).model
    assert list(inspect.signature(fused.forward).parameters) == ["hidden", "output_size"]
    assert fused.forward.__doc__ == Upsample2D.forward.__doc__


def test_a_class_is_made_once() -> None:
    assert make_class(FusedScope, Up) is make_class(FusedScope, Up)
    assert make_class(FusedScope, Up) is not make_class(FusedScope, Upsample2D)
    assert make_class(FusedScope, Up).__qualname__ == "Up"


@pytest.mark.parametrize("name", ["sequential", "scope"])
def test_calls_without_gain_are_remembered(
    name: str, fast_calls: FastCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, fused, x = make_sequential()
    if name == "scope":
        model = Up().double()
        fused = fuse(model).model
    monkeypatch.setattr(resizing, "choose", lambda *_, **__: "plain")
    for _ in range(3):
        assert run_both(model, fused, x) == 0
    assert len(fused.idle) == 1
    with torch.no_grad():
        fused(x)
    fused(x[:1])
    fused(x.contiguous(memory_format=torch.channels_last))
    assert len(fused.idle) == 4
    assert run_both(model, copy.deepcopy(fused), x) == 0
    assert not fast_calls
    monkeypatch.undo()
    # what was remembered was about these calls only
    assert run_both(model, fused, torch.randn(3, 4, 64, 64, dtype=torch.float64)) <= 1e-10


def test_only_so_many_calls_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "choose", lambda *_, **__: "plain")
    fused: Any = fuse(Up()).model
    with torch.no_grad():
        for width in range(1, 70):
            fused(torch.zeros(1, 4, 1, width))
    assert 0 < len(fused.idle) <= 64


@pytest.mark.parametrize("name", ["sequential", "scope"])
def test_extraordinary_inputs_are_looked_at_every_time(name: str) -> None:
    class Special(Tensor):
        pass

    model = make_sequential()[0].float() if name == "sequential" else Up()
    fused: Any = fuse(model).model
    x = torch.randn(1, 4, 2, 2).as_subclass(Special)
    assert torch.equal(fused(x), model(x))
    assert "idle" not in vars(fused)


class Reduced(Up):
    """Pickles itself in a way of its own."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (Up, (), self.__dict__)


def test_a_pickle_of_ones_own_is_kept() -> None:
    model = Reduced()
    fused = fuse(model, inplace=True).model
    assert isinstance(fused, FusedScope)
    assert type(pickle.loads(pickle.dumps(fused))) is Up


@pytest.mark.parametrize("has_output_size", [False, True], ids=["plain", "output_size"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_a_transposed_convolution(dtype: torch.dtype, has_output_size: bool) -> None:
    model = nn.ConvTranspose2d(5, 2, 9, stride=4, padding=4, output_padding=3).to(dtype)
    fused = fuse(model).model
    assert isinstance(fused, FusedConvTranspose2d)
    x = torch.randn(2, 5, 3, 4, dtype=dtype)
    options = [[12, 15]] if has_output_size else []
    assert run_both(model, fused, x, *options) <= 1e-5
    if not has_output_size:
        assert differentiate_both(model, fused, x) <= 1e-5
    assert run_both(model, copy.deepcopy(fused), x[0]) <= 1e-5
