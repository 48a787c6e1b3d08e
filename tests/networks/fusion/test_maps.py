"""Maps that are known by their expression: their values, and which of them share memory, as in torch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.fusion import fuse
from deconvbench.networks.fusion.expressions import LazyExpression, Part
from deconvbench.networks.fusion.maps import Map, cut, find_meta
from deconvbench.networks.fusion.recorded import record_call
from tests.networks.fusion.comparing import differentiate_both, run_both
from tests.networks.fusion.test_odd_cases import up, written


def make_map(x: Tensor) -> Map:
    root = cut(x)
    call, inputs = record_call(functional.interpolate, (x,), {"scale_factor": 2}, "cpu")
    expression = LazyExpression(parts=(Part(source=root.leaf, channels=x.shape[1], scale=2),))
    return Map(expression, [root], call, inputs, is_linear=True)


def activate(own: Map) -> Map:
    call, _ = record_call(torch.tanh, (torch.ones(1),), {}, "cpu")
    return Map(own.expression.map(torch.tanh), [], call, [own], is_linear=False)


def test_it_has_a_place_among_gradients_only_where_there_are_some() -> None:
    x = torch.randn(1, 2, 3, 3, requires_grad=True)
    assert make_map(x).has_gradient
    assert not make_map(x.detach()).has_gradient
    with torch.no_grad():
        assert not make_map(x).has_gradient


def test_padding_and_joined_channels_count() -> None:
    x, skip = torch.ones(1, 2, 3, 3), torch.ones(1, 1, 6, 6)
    parts = (Part(source=x, channels=2, scale=2), Part(source=skip, channels=1, scale=1))
    assert find_meta(LazyExpression(parts=parts, padding=(1,) * 4))[0] == (1, 3, 8, 8)


@pytest.mark.parametrize("requires_grad", [False, True])
def test_what_is_reserved_is_filled_later(requires_grad: bool) -> None:
    x = torch.randn(1, 2, 3, 3, requires_grad=requires_grad)
    own = make_map(x)
    reserved = own.reserve()
    assert reserved.untyped_storage().nbytes() == 4
    assert own.fill() is reserved
    assert torch.equal(reserved, up(x))
    assert reserved.requires_grad == requires_grad


def test_the_value_before_a_change_is_kept_where_a_gradient_needs_it() -> None:
    x = torch.randn(1, 2, 3, 3, requires_grad=True)
    own, unread = make_map(x), make_map(x)
    y = activate(own).fill()
    for one in (own, unread):
        with torch.no_grad():
            one.give_away().mul_(3)
    assert torch.equal(own.recall(), up(x))
    assert own.recall().requires_grad
    with pytest.raises(RuntimeError, match="its value before is needed"):
        unread.recall()
    (found,) = torch.autograd.grad(y.sum(), x)
    (expected,) = torch.autograd.grad(torch.tanh(up(x)).sum(), x)
    assert torch.allclose(found, expected)


def test_what_a_gradient_needs_is_computed_before_its_source_changes() -> None:
    x = torch.randn(1, 2, 3, 3, requires_grad=True)
    own = make_map(x)
    last = activate(own)
    expected = up(x).detach()
    last.secure()
    x.data.zero_()
    assert torch.equal(own.recall(), expected)
    assert torch.equal(last.fill(), torch.tanh(expected))


def test_toggling_a_leaf_afterwards_changes_nothing() -> None:
    x = torch.randn(1, 2, 3, 3)
    own = make_map(x)
    x.requires_grad_()
    assert not own.has_gradient
    assert not own.fill().requires_grad


# what a copy, or an alias, of an upsampled tensor is made with; each is written to or read after a write
OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda h: h.contiguous(),
    "channels_last": lambda h: h.contiguous(memory_format=torch.channels_last),
    "contiguous_twice": lambda h: h.contiguous(memory_format=torch.channels_last).contiguous(),
    "pad_none": lambda h: functional.pad(h, (0, 0, 0, 0)),
    "pad_none_reflect": lambda h: functional.pad(h, (0, 0, 0, 0), mode="reflect"),
    "same_dtype": lambda h: h.to(h.dtype),
    "same_dtype_copied": lambda h: h.to(h.dtype, copy=True),
    "double": lambda h: h.double(),
    "dropout_in_eval": lambda h: functional.dropout(h, 0.5, False),
    "dropout_of_none": lambda h: functional.dropout(h, 0.0, True),
    "dropout_in_eval_in_place": lambda h: functional.dropout(h, 0.5, False, True),
    "joined_alone": lambda h: torch.cat([h], 1),
    "sliced": lambda h: h[:],
    "viewed": lambda h: h.view(h.shape),
    "detached": lambda h: h.detach(),
    "data": lambda h: h.data,
    "identity": nn.Identity(),
    "cloned": lambda h: h.clone(),
    "cloned_by_function": torch.clone,
    "scale_1": lambda h: functional.interpolate(h, scale_factor=1),
    "summed_over_nothing": lambda h: torch.einsum("abcd->abcd", h),
    "activated": functional.relu,
    "activated_in_place": lambda h: functional.relu(h, inplace=True),
    "activated_in_place_by_position": lambda h: functional.leaky_relu(h, 0.2, True),
}
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(2, 3),
    "strided": lambda x: x[:, :, ::2, ::2],
}
WRITES: dict[str, Callable[[Tensor], Any]] = {
    "in_place_activation": lambda h: functional.elu(h, 1.0, True),
    "in_place_product": lambda h: h.mul_(2),
    "data": lambda h: h.data.zero_(),
}


@pytest.mark.parametrize("is_other", [False, True], ids=["write_first", "write_other"])
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("name", OTHERS)
def test_a_write_reaches_what_shares_memory_and_nothing_else(name: str, write: str, is_other: bool) -> None:
    def forward(c: nn.Module, x: Tensor) -> Any:
        h = up(x)
        other = OTHERS[name](h)
        WRITES[write](other if is_other else h)
        return c(h), c(other), h, other

    torch.manual_seed(0)
    model = written(forward).double().eval()
    fused = fuse(model).model
    for layout in LAYOUTS.values():
        x = layout(torch.randn(1, 4, 4, 6, dtype=torch.float64))
        with torch.no_grad():
            assert run_both(model, fused, x) <= 1e-10
            found, expected = fused(x), model(x)
        assert [y.stride() for y in found[2:]] == [y.stride() for y in expected[2:]]
        assert found[2].data_ptr() == found[3].data_ptr() or expected[2].data_ptr() != expected[3].data_ptr()


# those after whose result is written to torch has a gradient
GRADED = [name for name in OTHERS if name not in {"detached", "data"} and "activated" not in name]


@pytest.mark.parametrize("write", ["in_place_product"])
@pytest.mark.parametrize("name", GRADED)
def test_gradients_see_the_same_memory(name: str, write: str) -> None:
    def forward(c: nn.Module, x: Tensor) -> Any:
        h = up(x)
        other = OTHERS[name](h)
        WRITES[write](other)
        return c(h) + c(other)

    torch.manual_seed(0)
    model = written(forward).double()
    x = torch.randn(1, 4, 4, 6, dtype=torch.float64)
    assert differentiate_both(model, fuse(model).model, x) <= 1e-9
