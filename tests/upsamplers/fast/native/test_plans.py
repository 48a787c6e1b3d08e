"""Every layer that the compiled form has is torch's, forward and backward, and is found by what it is."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.upsamplers.fast.native import Library
from deconvbench.upsamplers.fast.native.backward import run_native_backward
from deconvbench.upsamplers.fast.native.form import prepare_native, run_native
from deconvbench.upsamplers.fast.native.plans import Plan, find_plan, list_plans
from tests.upsamplers.fast.plain_form import draw, filled_memory, measure_error, over_layouts

pytestmark = pytest.mark.usefixtures("native")
EXACT = 3e-6
# kernel, scale and padding, and products of 2×2 pixels: the squares of 1 + ends + phases of the kernel
EXPECTED = {
    ("resize", 2, 2, 0): 16,
    ("resize", 3, 2, 1): 25,
    ("resize", 3, 3, 1): 36,
    ("resize", 3, 4, 1): 36,
    ("resize", 4, 2, 1): 36,
    ("resize", 5, 2, 2): 49,
    ("resize", 5, 3, 2): 64,
    ("resize", 5, 4, 2): 81,
    ("transposed", 3, 2, 1): 25,
    ("transposed", 4, 2, 1): 36,
    ("transposed", 5, 2, 2): 49,
    ("transposed", 6, 2, 2): 64,
}
over_plans = pytest.mark.parametrize("key", EXPECTED, ids=lambda key: f"{key[0]}-k{key[1]}-s{key[2]}-p{key[3]}")


def find(library: Library, key: tuple[str, int, int, int]) -> Plan:
    kind, kernel_size, scale_factor, padding = key
    found = find_plan(
        library,
        kernel_size=kernel_size,
        scale_factor=scale_factor,
        padding=padding,
        is_resize=kind == "resize",
    )
    assert found is not None
    return found


def run_torch(
    plan: Plan, x: Tensor, weight: Tensor, bias: Tensor | None, *, groups: int, pads_zeros: bool
) -> Tensor:
    size, before = plan.kernel_size, plan.padding
    if not plan.is_resize:
        spare = plan.scale_factor - size + 2 * before
        return functional.conv_transpose2d(x, weight, bias, plan.scale_factor, before, spare, groups)
    upsampled = functional.interpolate(x, scale_factor=plan.scale_factor)
    mode = "constant" if pads_zeros else "replicate"
    padded = functional.pad(upsampled, (before, size - 1 - before) * 2, mode=mode)
    return functional.conv2d(padded, weight, bias, groups=groups)


def vary(plan: Plan) -> Iterator[tuple[Tensor, Tensor, Tensor, int]]:
    """Draw input, weight and bias: parts of vectors and of blocks, odd sizes and the least, groups."""
    for batch, in_channels, out_channels, height, width, groups in (
        (1, 2, 3, 1, 1, 1),
        (2, 19, 37, 5, 8, 1),
        (1, 40, 33, 9, 2, 1),
        (2, 6, 4, 3, 5, 2),
        (1, 36, 12, 4, 7, 3),
    ):
        channels = (out_channels, in_channels // groups)
        if not plan.is_resize:
            channels = (in_channels, out_channels // groups)
        yield (
            draw(batch, in_channels, height, width, dtype=torch.float32),
            draw(*channels, plan.kernel_size, plan.kernel_size, dtype=torch.float32),
            draw(out_channels, dtype=torch.float32),
            groups,
        )


def test_it_has_all_of_these_and_no_more(native: Library) -> None:
    assert len(list_plans(native)) == len(EXPECTED)
    assert {key: find(native, key).products for key in EXPECTED} == EXPECTED
    assert find_plan(native, kernel_size=7, scale_factor=2, padding=3, is_resize=True) is None


@over_layouts
@over_plans
def test_it_is_torch_s_layer(native: Library, key: Any, layout: torch.memory_format) -> None:
    plan = find(native, key)
    for (x, weight, bias, groups), pads_zeros in itertools.product(
        vary(plan), (True, False) if plan.is_resize else (True,)
    ):
        image = x.contiguous(memory_format=layout)
        expected = run_torch(
            plan, x.double(), weight.double(), bias.double(), groups=groups, pads_zeros=pads_zeros
        )
        for packed in (None, prepare_native(native, plan, weight, groups)):
            with filled_memory():
                found = run_native(native, plan, image, weight, packed, bias, pads_zeros=pads_zeros, groups=groups)
            assert min(x.shape[2:]) == 1 or found.is_contiguous(memory_format=layout)
            assert measure_error(found, expected) < EXACT


@over_layouts
@over_plans
def test_its_gradients_are_those_of_torch_s_layer(native: Library, key: Any, layout: torch.memory_format) -> None:
    plan = find(native, key)
    for (x, weight, _, groups), pads_zeros in itertools.product(
        vary(plan), (True, False) if plan.is_resize else (True,)
    ):
        exact = [tensor.double().requires_grad_() for tensor in (x, weight)]
        output = run_torch(plan, exact[0], exact[1], None, groups=groups, pads_zeros=pads_zeros)
        gradient = draw(*output.shape, dtype=torch.float32).contiguous(memory_format=layout)
        expected = torch.autograd.grad(output, exact, gradient.double())
        with filled_memory():
            found = run_native_backward(
                native,
                plan,
                x.contiguous(memory_format=layout),
                weight,
                gradient,
                pads_zeros=pads_zeros,
                groups=groups,
            )
        for one, other in zip(found, expected, strict=True):
            assert one is not None
            assert measure_error(one, other) < EXACT


@over_plans
def test_any_strides_of_the_weight(native: Library, key: Any) -> None:
    plan = find(native, key)
    channels = (21, 6) if plan.is_resize else (6, 21)
    base = draw(2 * channels[0], 2 * channels[1], *(plan.kernel_size,) * 2, dtype=torch.float32)
    x = draw(1, 6, 3, 4, dtype=torch.float32)
    last = base.to(memory_format=torch.channels_last)
    for weight in (
        base[: channels[0], : channels[1]],
        base[::2, ::2],
        last[: channels[0], : channels[1]],
        last[::2, 1::2],
        base[: channels[0], : channels[1]].transpose(2, 3),
        base.transpose(0, 1).contiguous().transpose(0, 1)[: channels[0], ::2],
        base[:1, :1].expand(*channels, -1, -1),
    ):
        expected = run_torch(plan, x.double(), weight.double(), None, groups=1, pads_zeros=True)
        for packed in (None, prepare_native(native, plan, weight)):
            assert measure_error(run_native(native, plan, x, weight, packed, None), expected) < EXACT
        ours, theirs = (
            run_native_backward(native, plan, x, one, expected.float()) for one in (weight, weight.contiguous())
        )
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))  # type: ignore[arg-type] # both are wanted


@over_plans
def test_an_output_may_end_early(native: Library, key: Any) -> None:
    plan = find(native, key)
    for x, weight, bias, groups in vary(plan):
        whole = run_native(native, plan, x, weight, None, bias, groups=groups)
        size = (whole.shape[2] - 1, max(whole.shape[3] - plan.scale_factor + 1, 1))
        part = run_native(native, plan, x, weight, None, bias, groups=groups, size=size)
        assert torch.equal(part, whole[:, :, : size[0], : size[1]])
        gradient = draw(*part.shape, dtype=torch.float32)
        padded = functional.pad(gradient, (0, whole.shape[3] - size[1], 0, whole.shape[2] - size[0]))
        found, expected = (
            run_native_backward(native, plan, x, weight, one, groups=groups) for one in (gradient, padded)
        )
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))  # type: ignore[arg-type] # both are wanted
