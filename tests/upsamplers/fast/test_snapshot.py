"""A snapshot is of a tensor while every bit is what it was, and of nothing else."""

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from deconvbench.upsamplers.fast.snapshot import Snapshot
from tests.upsamplers.fast.plain_form import draw

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda tensor: tensor,
    "channels last": lambda tensor: tensor.contiguous(memory_format=torch.channels_last),
    "some channels of more": lambda tensor: torch.cat([tensor, tensor], 1)[:, : tensor.shape[1]],
    "every other value": lambda tensor: tensor.repeat_interleave(2, 3)[..., ::2],
    "from the middle": lambda tensor: torch.cat([tensor[:1], tensor])[1:],
}


def swap(a: int, b: int, axis: int) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        order = list(range(tensor.shape[axis]))
        order[a], order[b] = order[b], order[a]
        return tensor.index_select(axis, torch.tensor(order))

    return change


def set_one(make: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        changed = tensor.clone()
        changed[3, 2, 1, 0] = make(changed[3, 2, 1, 0])
        return changed

    return change


def flip_signs(count: int) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        changed = tensor.clone()
        changed[0, 0].view(-1)[:count].neg_()
        return changed

    return change


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "negated": torch.neg,
    "one sign": flip_signs(1),
    "two signs": flip_signs(2),
    "output channels swapped": swap(0, 3, 0),
    "input channels swapped": swap(1, 2, 1),
    "rows swapped": swap(0, 2, 2),
    "mirrored": lambda tensor: tensor.flip(3),
    "one last bit": set_one(lambda value: torch.nextafter(value, torch.zeros_like(value))),
    "one NaN": set_one(lambda value: value * torch.nan),
    "one zero": set_one(lambda value: value * 0),
    "scaled": lambda tensor: tensor * 2,
    "a moving average": lambda tensor: tensor.lerp(tensor + 1, 0.01),
    "another type": lambda tensor: tensor.to(torch.float64 if tensor.dtype != torch.float64 else torch.float32),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_seen(change: Callable[[Tensor], Tensor], layout: Callable[[Tensor], Tensor]) -> None:
    for dtype in DTYPES:
        tensor = layout(draw(5, 4, 3, 3).to(dtype))
        snapshot = Snapshot(tensor)
        assert snapshot.is_of(tensor)
        assert not snapshot.is_of(layout(change(tensor)))
        assert snapshot.is_of(tensor)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_same_bits_are_the_same_wherever_they_are(layout: Callable[[Tensor], Tensor]) -> None:
    for dtype in DTYPES:
        tensor = draw(5, 4, 3, 3).to(dtype)
        tensor[0, 0, 0] = torch.tensor([torch.nan, torch.inf, -0.0])
        for snapshot in (Snapshot(tensor), Snapshot(layout(tensor))):
            assert snapshot.is_of(layout(tensor))
            assert snapshot.is_of(layout(tensor).clone())
        # which == cannot see
        changed = tensor.clone()
        changed[0, 0, 0, 2] = 0.0
        assert not Snapshot(tensor).is_of(layout(changed))


def test_another_shape_is_another_tensor() -> None:
    assert Snapshot(torch.empty(0, 3)).is_of(torch.empty(0, 3))
    assert not Snapshot(torch.empty(0, 3)).is_of(torch.empty(3, 0))
    assert not Snapshot(torch.zeros(2, 3)).is_of(torch.zeros(6))


def test_no_reference_is_held() -> None:
    one, other = nn.Parameter(draw(2, 2)), nn.Parameter(draw(2, 2, seed=5))
    snapshot = Snapshot(one)
    assert not snapshot.values.requires_grad
    # torch refuses this for tensors that others refer to
    torch.utils.swap_tensors(one, other)  # type: ignore[no-untyped-call] # torch has no types here
    assert snapshot.is_of(other)
    assert not snapshot.is_of(one)
    reference = weakref.ref(other)
    del other
    gc.collect()
    assert reference() is None


def test_one_that_is_made_in_inference_mode_is_an_ordinary_tensor() -> None:
    with torch.inference_mode():
        tensor = draw(2, 2)
        snapshot = Snapshot(tensor)
        assert snapshot.is_of(tensor)
    assert not snapshot.values.is_inference()
    assert snapshot.is_of(tensor)
