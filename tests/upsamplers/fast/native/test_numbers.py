"""In half precision the compiled form is its float32 form, rounded once: every number, everywhere it may lie."""

import math
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from deconvbench.upsamplers.fast.native import Library
from deconvbench.upsamplers.fast.native.backward import run_native_backward
from deconvbench.upsamplers.fast.native.form import run_native
from deconvbench.upsamplers.fast.native.plans import Plan, find_plan, list_plans
from tests.upsamplers.fast.plain_form import draw

pytestmark = pytest.mark.usefixtures("native")
HALF = (torch.bfloat16, torch.float16)
over_half = pytest.mark.parametrize("dtype", HALF, ids=["bfloat16", "float16"])
LAYOUTS = ("contiguous", "channels_last", "spread")


def find_nearest(library: Library) -> Plan:
    """Upsampling by two and convolution 3."""
    found = find_plan(library, kernel_size=3, scale_factor=2, padding=1, is_resize=True)
    assert found is not None
    return found


def lay_out(values: Tensor, layout: str) -> Tensor:
    """The same values in another order in memory."""
    if layout == "channels_last":
        return values.contiguous(memory_format=torch.channels_last)
    if layout == "spread":
        # no two values are neighbours
        return torch.stack([values, torch.full_like(values, math.nan)], -1)[..., 0]
    return values


def make_all_numbers(dtype: torch.dtype) -> Tensor:
    """Every number of two bytes, each in an image of its own."""
    return torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype).reshape(-1, 1, 1, 1)


# of float16 the least, a half of which is rounded, and numbers beyond the greatest
@pytest.mark.parametrize("factor", [1.0, 1 + 2**-9, 1 + 2**-12, 3e-5, 1e5])
@over_half
def test_every_number_is_read_and_rounded_as_torch_does(
    dtype: torch.dtype, factor: float, native: Library
) -> None:
    x, weight = make_all_numbers(dtype), torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = factor
    expected = (x.float() * factor).to(dtype)
    y = run_native(native, find_nearest(native), x, weight, None, None)
    # products of sums that hold what is infinite are not numbers: who calls this computes them again
    finite = torch.isfinite(x.float() * factor * 4).flatten()
    assert int(finite.sum()) > 2**15
    for phase in y.flatten(2).unbind(2):
        assert torch.equal(phase.flatten()[finite], expected.flatten()[finite])
    assert bool(torch.isnan(y[x.flatten().isnan()]).all())


@given(
    batch=st.integers(1, 2),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 70)),
    size=st.tuples(st.integers(1, 9), st.one_of(st.integers(1, 20), st.integers(60, 70))),
    layouts=st.tuples(*[st.sampled_from(LAYOUTS)] * 2),
    dtype=st.sampled_from(HALF),
    number=st.integers(0, 20),
    threads=st.integers(1, 3),
)
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_output_and_gradients_are_those_of_float32_rounded(
    batch: int,
    channels: tuple[int, int],
    size: tuple[int, int],
    layouts: tuple[str, str],
    dtype: torch.dtype,
    number: int,
    threads: int,
    native: Library,
) -> None:
    plans = list_plans(native)
    plan = plans[number % len(plans)]
    x = lay_out(draw(batch, channels[0], *size, dtype=dtype), layouts[0])
    shape = (*(channels[::-1] if plan.is_resize else channels), plan.kernel_size, plan.kernel_size)
    weight, bias = (draw(*some, dtype=dtype) for some in (shape, (channels[1],)))
    torch.set_num_threads(threads)
    try:
        wide = run_native(native, plan, x.float(), weight.float(), None, bias.float())
        found = run_native(native, plan, x, weight, None, bias)
        assert found.dtype == dtype
        assert torch.equal(found, wide.to(dtype))
        gradient = lay_out(draw(*found.shape, dtype=dtype), layouts[1])
        with torch.no_grad():
            results: list[Any] = [
                run_native_backward(native, plan, *tensors, pads_zeros=plan.kernel_size != 3)
                for tensors in ((x.float(), weight.float(), gradient.float()), (x, weight, gradient))
            ]
    finally:
        torch.set_num_threads(1)
    for exact, rounded, like in zip(*results, (x, weight), strict=True):
        assert rounded.dtype == dtype
        assert rounded.shape == like.shape
        # how a band is cut depends on the memory there is, and the order of sums on that
        assert float((exact - rounded.float()).abs().max()) <= 1e-5 + torch.finfo(dtype).eps * float(
            exact.abs().max()
        )


@over_half
def test_a_weight_of_more_digits_is_taken_as_it_is(dtype: torch.dtype, native: Library) -> None:
    plan = find_nearest(native)
    x, weight = draw(1, 16, 5, 7, dtype=dtype), draw(8, 16, 3, 3, dtype=torch.float32)
    found = run_native(native, plan, x, weight, None, None)
    assert torch.equal(found, run_native(native, plan, x.float(), weight, None, None).to(dtype))
    with torch.no_grad():
        _, to_weight = run_native_backward(native, plan, x, weight, draw(*found.shape, dtype=dtype))
    assert to_weight is not None
    assert to_weight.dtype == torch.float32
