"""Any padding and any kernel: what is cut from forms that keep the size is what the plain operations give."""

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.fusion import fuse, resizing
from deconvbench.networks.fusion.padded import run_padded
from deconvbench.networks.fusion.resizing import resize_conv2d
from deconvbench.networks.fusion.tensors import compare
from deconvbench.upsamplers.fast import backward, forms
from deconvbench.upsamplers.fast.choice import NATIVE
from deconvbench.upsamplers.fast.native.plans import Plan
from tests.networks.fusion.comparing import differentiate

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
        before, after = (taps.shape[2] - 1) // 2, taps.shape[2] // 2
        upsampled = functional.pad(functional.interpolate(image, scale_factor=2), (before, after) * 2)
        return functional.conv2d(upsampled, taps)

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
    run(2, (0, 0, 0, 0))
    # an odd kernel with zeros before it needs less
    run(2, (1, 0, 1, 0))
    run(4, (1, 2, 2, 1))
    run(4, (1, 2, 1, 2))
    run(3, (2, 2, 2, 2))
    run(3, (1, 1, 1, 1), "circular")
    same = [(5, 5, size, size) for size in (3, 2, 2, 3, 5, 4)]
    assert seen == [*same, (7, 7, 3, 3), (7, 7, 3, 3)]


def make_even(size: int, kind: str) -> nn.Sequential:
    """An upsampling and an even convolution that keeps the size, or leaves a pixel out."""
    before, after = (size - 1) // 2, size // 2
    layers: dict[str, list[nn.Module]] = {
        "zero_pad": [nn.ZeroPad2d((before, after) * 2), nn.Conv2d(12, 20, size)],
        "replication_pad": [nn.ReplicationPad2d((before, after) * 2), nn.Conv2d(12, 20, size)],
        "same": [nn.Conv2d(12, 20, size, padding="same")],
        "valid": [nn.Conv2d(12, 20, size, bias=False)],
        "groups": [nn.ZeroPad2d((before, after) * 2), nn.Conv2d(12, 20, size, groups=2)],
    }
    return nn.Sequential(nn.Upsample(scale_factor=2), *layers[kind])


@pytest.fixture
def compiled_sizes(native: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Which kernels the compiled form computes, forward and backward; it is chosen everywhere."""
    assert native is not None
    sizes: list[tuple[str, int]] = []

    def watch(module: Any, name: str, way: str) -> None:
        original = getattr(module, name)

        def run(library: Any, plan: Plan, *args: Any, **options: Any) -> Any:
            sizes.append((way, plan.kernel_size))
            return original(library, plan, *args, **options)

        monkeypatch.setattr(module, name, run)

    watch(forms, "run_native", "forward")
    watch(backward, "run_native_backward", "backward")
    monkeypatch.setattr(resizing, "choose", lambda *_, **__: NATIVE)
    return sizes


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("is_last", [False, True], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("kind", ["zero_pad", "replication_pad", "same", "valid", "groups"])
@pytest.mark.parametrize("size", [2, 4])
def test_even_kernels_are_compiled(
    size: int, kind: str, is_last: bool, compiled_sizes: list[tuple[str, int]]
) -> None:
    torch.manual_seed(0)
    model = make_even(size, kind)
    exact = copy.deepcopy(model).double()
    fused = fuse(model).model
    layout = torch.channels_last if is_last else torch.contiguous_format
    for sides in ((2, 3), (4, 2), (7, 5), (24, 31)):
        x = torch.randn(2, 12, *sides).contiguous(memory_format=layout)
        with torch.no_grad():
            found = fused(x)
            assert compare(exact(x.double()).float(), found) <= 1e-6
            assert found.stride() == model(x).stride()
        assert compiled_sizes == [("forward", size)]
        gradients = differentiate(fused, x)
        # for a few pixels it would hold more than torch's operations
        assert compiled_sizes[2:] == ([("backward", size)] if sides == (24, 31) else [])
        for expected, one in zip(differentiate(exact, x.double()), gradients, strict=True):
            assert expected is not None
            assert one is not None
            assert compare(expected.float(), one) <= 3e-6
        compiled_sizes.clear()


def test_kept_weights_of_even_kernels_are_those_of_the_compiled_form(
    compiled_sizes: list[tuple[str, int]],
) -> None:
    model = make_even(4, "zero_pad").eval()
    weight = model.get_parameter("2.weight")
    fused = fuse(model, cache_weights=True).model
    for _ in range(2):
        x = torch.randn(1, 12, 6, 5)
        with torch.no_grad():
            assert compare(model(x), fused(x)) <= 1e-5
            weight.mul_(2)
    assert compiled_sizes == [("forward", 4)] * 2
    assert len(vars(fused)["weight_cache"]) == 1


@pytest.mark.parametrize("mode", ["zeros", "replicate", "circular"])
@pytest.mark.parametrize("is_weight_last", [False, True], ids=["weight-nchw", "weight-nhwc"])
def test_the_order_in_memory_is_torch_s(is_weight_last: bool, mode: str) -> None:
    x = torch.randn(2, 4, 5, 6).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(6, 4, 5, 5)
    if is_weight_last:
        weight = weight.contiguous(memory_format=torch.channels_last)
    for padding in ((2, 2, 2, 2), (0, 1, 0, 0), (0, 0, 0, 0)):
        expected = convolve_plainly(x, weight, None, 2, mode, padding, 1)
        found = resize_conv2d(x, weight, None, scale_factor=2, padding_mode=mode, padding=padding)
        assert found.stride() == expected.stride()
