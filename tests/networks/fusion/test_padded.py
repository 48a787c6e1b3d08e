"""Any padding and any kernel: what is cut from forms that keep the size is what the plain operations give."""

import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.padded import run_padded
from deconvbench.networks.fusion.resizing import resize_conv2d

LIMIT = 1e-12


def convolve_plainly(
    x: Tensor, weight: Tensor, bias: Tensor | None, scale: int, mode: str, padding: tuple[int, ...], groups: int
) -> Tensor:
    upsampled = functional.interpolate(x, scale_factor=(scale, scale), mode="nearest")
    if any(padding):
        upsampled = functional.pad(upsampled, list(padding), mode="constant" if mode == "zeros" else mode)
    return functional.conv2d(upsampled, weight, bias, groups=groups)


@st.composite
def draw_case(draw: st.DrawFn) -> dict[str, Any]:
    size, scale = draw(st.integers(2, 6)), draw(st.integers(2, 4))
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    mode = draw(st.sampled_from(["zeros", "replicate", "circular", "reflect"]))
    most = {"reflect": scale - 1, "circular": scale * min(height, width)}.get(mode, 7)
    padding = tuple(draw(st.integers(0, most)) for _ in range(4))
    left, right, top, bottom = padding
    assume(scale * height + top + bottom >= size and scale * width + left + right >= size)
    return {
        "size": size,
        "scale": scale,
        "sides": (height, width),
        "mode": mode,
        "padding": padding,
        "groups": draw(st.sampled_from([1, 2])),
        "has_bias": draw(st.booleans()),
        "is_last": draw(st.booleans()),
        "seed": draw(st.integers(0, 99)),
    }


@settings(max_examples=120, deadline=None)
@given(draw_case())
def test_all_paddings_and_kernels(case: dict[str, Any]) -> None:
    torch.manual_seed(case["seed"])
    layout = torch.channels_last if case["is_last"] else torch.contiguous_format
    groups, size = case["groups"], case["size"]
    x = torch.randn(2, 4, *case["sides"], dtype=torch.float64).contiguous(memory_format=layout)
    weight = torch.randn(6, 4 // groups, size, size, dtype=torch.float64)
    bias = torch.randn(6, dtype=torch.float64) if case["has_bias"] else None
    leaves = [tensor for tensor in (x, weight, bias) if tensor is not None]
    answers = []
    for run in ("plain", "fast"):
        given_ = [tensor.detach().clone().requires_grad_() for tensor in leaves]
        own_bias = given_[2] if bias is not None else None
        options = (case["scale"], case["mode"], case["padding"], groups)
        if run == "plain":
            y = convolve_plainly(given_[0], given_[1], own_bias, *options)
        else:
            y = resize_conv2d(
                given_[0],
                given_[1],
                own_bias,
                scale_factor=case["scale"],
                padding_mode=case["mode"],
                padding=case["padding"],
                groups=groups,
            )
        answers.append([y, *torch.autograd.grad(y.square().sum(), given_)])
    for expected, found in zip(*answers, strict=True):
        assert found.shape == expected.shape
        scale = float(expected.detach().abs().max()) or 1.0
        assert float((found - expected).detach().abs().max()) <= LIMIT * scale


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize(("size", "padding"), [(2, (0, 1, 0, 1)), (3, (0, 0, 0, 0)), (4, (2, 1, 1, 2))])
def test_what_is_not_finite_spoils_what_it_spoils_in_torch(
    size: int, padding: tuple[int, ...], value: float
) -> None:
    x, weight = torch.randn(1, 2, 5, 5), torch.randn(3, 2, size, size)
    x[0, 0, 2, 2] = value
    expected = convolve_plainly(x, weight, None, 2, "zeros", padding, 1)
    found = resize_conv2d(x, weight, None, scale_factor=2, padding=padding)
    assert torch.equal(found.isfinite(), expected.isfinite())
    assert torch.equal(found.isnan(), expected.isnan())


def test_a_kernel_that_does_not_fit_raises_as_in_torch() -> None:
    x, weight = torch.randn(1, 2, 1, 4), torch.randn(3, 2, 5, 5)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        resize_conv2d(x, weight, None, scale_factor=2, padding=(1, 1, 1, 1))


def test_the_result_lies_in_memory_as_torch_lays_it_out() -> None:
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(1, 4, 5, 6).contiguous(memory_format=layout)
        weight = torch.randn(3, 4, 3, 3)
        for padding in ((0, 0, 0, 0), (0, 1, 2, 0)):
            expected = convolve_plainly(x, weight, None, 2, "zeros", padding, 1)
            assert resize_conv2d(x, weight, None, scale_factor=2, padding=padding).stride() == expected.stride()


def test_no_more_is_padded_than_needed() -> None:
    seen: list[tuple[int, ...]] = []

    def run_form(image: Tensor, taps: Tensor, mode: str) -> Tensor:
        seen.append((*image.shape[2:], *taps.shape[2:]))
        upsampled = functional.interpolate(image, scale_factor=2)
        return functional.conv2d(upsampled, taps, padding=taps.shape[2] // 2)

    def run(size: int, padding: tuple[int, ...], mode: str = "zeros") -> None:
        weight = torch.randn(3, 2, size, size)
        run_padded(
            torch.randn(1, 2, 5, 5),
            weight,
            None,
            scale_factor=2,
            groups=1,
            padding_mode=mode,
            padding=padding,
            run_form=run_form,
        )

    run(3, (0, 0, 0, 0))
    run(2, (0, 1, 0, 1))
    run(2, (1, 0, 1, 0))
    run(4, (1, 2, 2, 1))
    run(3, (2, 2, 2, 2))
    run(3, (1, 1, 1, 1), "circular")
    assert seen == [(5, 5, 3, 3), (5, 5, 3, 3), (5, 5, 3, 3), (5, 5, 5, 5), (7, 7, 3, 3), (7, 7, 3, 3)]
