"""Fused modules in daily use: hooks that come later, slices, pickles, wrong inputs."""

import copy
import inspect
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.networks.fusion import fuse, resizing
from deconvbench.networks.fusion.modules import FusedConvTranspose2d, FusedScope, FusedSequential, make_class
from tests.networks.fusion.comparing import differentiate_both, run_both
from tests.networks.fusion.networks import Up, Upsample2D

FastCalls = list[tuple[int, ...]]


def make_sequential() -> tuple[Any, Any, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(4, 4, 1), nn.Upsample(scale_factor=2), nn.ReLU(inplace=True), nn.Conv2d(4, 3, 3, padding=1))
    ).double()
    fused = fuse(model).model
    assert isinstance(fused, FusedSequential)
    return model, fused, torch.randn(2, 4, 3, 5, dtype=torch.float64)


def test_an_activation_in_place_does_not_write_into_the_input() -> None:
    model, _, x = make_sequential()
    given = x.clone()
    assert run_both(model[1:], fuse(model[1:]).model, given) <= 1e-10
    fuse(model[1:]).model(given)
    assert torch.equal(given, x)


def test_hooks_that_come_later_see_what_they_would(fast_calls: FastCalls) -> None:
    model, fused, x = make_sequential()
    seen: list[list[Tensor]] = []
    for one in (model, fused):
        outputs: list[Tensor] = []
        seen.append(outputs)
        for child in one:
            child.register_forward_hook(lambda module, args, y, kept=outputs: kept.append(y.clone()))
    assert run_both(model, fused, x) <= 1e-10
    assert len(seen[1]) == 4
    assert all(torch.allclose(one, other) for one, other in zip(*seen, strict=True))
    assert not fast_calls


def test_slices_and_children_are_those_of_the_original(fast_calls: FastCalls) -> None:
    model, fused, x = make_sequential()
    assert run_both(model[:2], fused[:2], x) <= 1e-10
    assert run_both(model[1], fused[1], x) <= 1e-10
    assert not fast_calls
    assert run_both(model[1:], fused[1:], x) <= 1e-10
    assert len(fast_calls) == 1


def test_children_may_change_later(fast_calls: FastCalls) -> None:
    model, fused, x = make_sequential()
    for one in (model, fused):
        one[3] = nn.Conv2d(4, 2, 5, padding=2, dtype=torch.float64)
        nn.init.constant_(one[3].weight, 0.1)
        nn.init.zeros_(one[3].bias)
    assert run_both(model, fused, x) <= 1e-10
    assert len(fast_calls) == 1
    for one in (model, fused):
        one[3].stride = (2, 2)
    assert run_both(model, fused, x) <= 1e-10
    assert len(fast_calls) == 1


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


def test_an_image_without_a_batch(fast_calls: FastCalls) -> None:
    # torch takes the channels for a batch of signals
    model, fused, x = make_sequential()
    with pytest.raises(NotImplementedError), torch.no_grad():
        model[1:](x[0, 0])
    with pytest.raises(NotImplementedError), torch.no_grad():
        fused[1:](x[0, 0])
    assert not fast_calls


def test_autocast_in_a_container(fast_calls: FastCalls) -> None:
    model, fused, x = make_sequential()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, found = model.float()(x.float()), fused.float()(x.float())
    assert found.dtype == expected.dtype == torch.bfloat16
    assert (expected - found).abs().max() <= 2e-2 * expected.abs().max()
    assert len(fast_calls) == 1


def test_autocast_leaves_double_precision_alone(fast_calls: FastCalls) -> None:
    model, fused, x = make_sequential()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert run_both(model, fused, x) <= 1e-10
    assert not fast_calls


def test_a_one_by_one_convolution_comes_before_the_enlargement() -> None:
    model = nn.Sequential(nn.Upsample(scale_factor=3), nn.Conv2d(4, 2, 1)).double()
    fused = fuse(model).model
    x = torch.randn(1, 4, 2, 3, dtype=torch.float64)
    shapes: list[torch.Size] = []

    class Recording(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[no-untyped-call] # torch has no types here
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten.convolution.default:
                shapes.append(args[0].shape)
            return func(*args, **(kwargs or {}))

    with Recording():  # type: ignore[no-untyped-call] # as above
        fused(x)
    assert shapes == [x.shape]
    assert run_both(model, fused, x) <= 1e-10
    assert differentiate_both(model, fused, x) <= 1e-10


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
