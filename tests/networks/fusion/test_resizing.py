"""An expression and its convolution become arithmetic: the right sum, and only where it is faster."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion import resizing
from deconvbench.networks.fusion.calls import ConvolveCall
from deconvbench.networks.fusion.evaluation import evaluate
from deconvbench.networks.fusion.expressions import LazyExpression, Part
from deconvbench.networks.fusion.matching import Match, plan_convolution
from deconvbench.networks.fusion.resizing import convolve, is_faster, resize_conv2d
from deconvbench.networks.fusion.session import Session
from deconvbench.networks.fusion.tensors import count_changes
from deconvbench.networks.fusion.weight_cache import WeightCache
from deconvbench.upsamplers.fast import forms
from deconvbench.upsamplers.fast.choice import NATIVE


def make_expression(*parts: tuple[int, int], size: int = 12, **options: Any) -> LazyExpression[Tensor]:
    """Parts of so many channels, upsampled by so much to one size."""
    made = [
        Part(
            source=torch.randn(2, channels, size // scale, size // scale).double(), channels=channels, scale=scale
        )
        for channels, scale in parts
    ]
    return LazyExpression(parts=tuple(made), **options)


def plan(expression: LazyExpression[Tensor], weight: Tensor, padding: int, groups: int = 1) -> Match:
    call = ConvolveCall(
        *(), image=None, weight=None, bias=None, stride=(1, 1), dilation=(1, 1),
        padding=(padding, padding), groups=groups,
    )  # fmt: skip
    match = plan_convolution(expression, call, weight.shape)
    assert isinstance(match, Match)
    return match


EXPRESSIONS: dict[str, tuple[list[tuple[int, int]], dict[str, Any], int, int]] = {
    "one part": ([(4, 2)], {}, 3, 1),
    "scale 3": ([(4, 3)], {}, 3, 1),
    "kernel 5": ([(4, 2)], {}, 5, 1),
    "groups": ([(4, 2)], {}, 3, 2),
    "reflected": ([(4, 2)], {"padding": (1,) * 4, "padding_mode": "reflect"}, 3, 1),
    "replicated": ([(4, 2)], {"padding": (2,) * 4, "padding_mode": "replicate"}, 5, 1),
    "with a skip": ([(4, 2), (3, 1)], {}, 3, 1),
    "with a reflected skip": ([(3, 1), (4, 2)], {"padding": (1,) * 4, "padding_mode": "reflect"}, 3, 1),
    "neighbours of one scale": ([(2, 2), (3, 2), (1, 1), (2, 4)], {}, 3, 1),
    "joined, one by one": ([(4, 2), (3, 1)], {}, 1, 1),
    "joined, one by one, of four sizes": ([(3, 1), (2, 2), (4, 4), (2, 12)], {}, 1, 1),
    "joined, one by one, of sizes without order": ([(2, 2), (3, 3), (2, 1), (2, 6), (4, 2)], {}, 1, 1),
    "joined groups": ([(2, 2), (2, 2)], {}, 3, 2),
}


@pytest.mark.parametrize("has_bias", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_the_convolution_is_that_of_the_computed_image(name: str, has_bias: bool) -> None:
    torch.manual_seed(0)
    parts, options, size, groups = EXPRESSIONS[name]
    expression = make_expression(*parts, **options)
    weight = torch.randn(4, expression.channels // groups, size, size).double()
    bias = torch.randn(4).double() if has_bias else None
    own = 0 if options else (size - 1) // 2
    expected = functional.conv2d(evaluate(expression), weight, bias, padding=own, groups=groups)
    found = convolve(expression, plan(expression, weight, own, groups), weight, bias, Session())
    assert isinstance(found, Tensor)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_a_1x1_convolution_comes_before_the_upsampling() -> None:
    expression = make_expression((2, 2), (3, 2))
    weight, bias = torch.randn(4, 5, 1, 1).double(), torch.randn(4).double()
    found = convolve(expression, plan(expression, weight, 0), weight, bias, Session())
    assert isinstance(found, LazyExpression)
    assert (found.channels, [part.scale for part in found.parts]) == (4, [2])
    expected = functional.conv2d(evaluate(expression), weight, bias)
    assert torch.allclose(evaluate(found), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("scales", "left", "upsampled"),
    [((1, 2, 4, 8), 1, [(6, 2), (12, 2), (24, 2)]), ((4, 8, 4), 4, [(6, 2)]), ((2, 3), 1, [(16, 3), (24, 2)])],
    ids=["to full size", "as far as is common", "neither divides the other"],
)
def test_sums_of_1x1_convolutions_are_upsampled_together(
    scales: tuple[int, ...], left: int, upsampled: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    expression = make_expression(*((2, scale) for scale in scales), size=48)
    weight, bias = torch.randn(4, 2 * len(scales), 1, 1).double(), torch.randn(4).double()
    seen: list[tuple[int, int]] = []

    def upsample(x: Tensor, by: tuple[int, int]) -> Tensor:
        seen.append((x.shape[2], by[0]))
        return functional.interpolate(x, scale_factor=by)

    monkeypatch.setattr(resizing, "upsample", upsample)
    found = convolve(expression, plan(expression, weight, 0), weight, bias, Session())
    assert seen == upsampled
    assert (found.parts[0].scale if isinstance(found, LazyExpression) else 1) == left
    image = evaluate(found) if isinstance(found, LazyExpression) else found
    expected = functional.conv2d(evaluate(expression), weight, bias)
    assert torch.allclose(image, expected, rtol=1e-12, atol=1e-12)


def test_autocast_computes_in_the_dtype_of_a_convolution() -> None:
    x, weight = torch.randn(1, 4, 4, 4), torch.randn(3, 4, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert resize_conv2d(x, weight, None, scale_factor=2).dtype == torch.bfloat16
        wide = resize_conv2d(x.double(), weight.double(), None, scale_factor=2)
    assert wide.dtype == torch.float64


def test_kept_weights_are_used_and_found_again() -> None:
    expression = make_expression((4, 2), (3, 1))
    weight = torch.nn.Parameter(torch.randn(4, 7, 3, 3).double(), requires_grad=False)
    weight_cache = WeightCache()
    match = plan(expression, weight, 1)
    results = [convolve(expression, match, weight, None, Session(weight_cache)) for _ in range(2)]
    assert isinstance(results[0], Tensor)
    assert isinstance(results[1], Tensor)
    assert torch.equal(results[0], results[1])
    assert len(weight_cache) == 1
    assert torch.allclose(results[0], functional.conv2d(evaluate(expression), weight, padding=1), atol=1e-12)


def ask(expression: LazyExpression[Tensor], weight: Tensor, **options: Any) -> bool:
    match = plan(expression, weight, (weight.shape[2] - 1) // 2)
    return is_faster(expression, match, weight, is_prepared=False, **options)


def test_the_rule_of_the_forms_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    expression, weight = make_expression((4, 2)), torch.randn(4, 4, 3, 3).double()
    assert ask(expression, weight)
    monkeypatch.setattr(resizing, "choose", lambda *_, **__: "plain")
    assert not ask(expression, weight)


def test_small_concatenations_are_not_split(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(4, 7, 3, 3).double()
    monkeypatch.setattr(resizing, "LEAST_PIXELS_SPLIT", 2 * 6 * 6)
    assert ask(make_expression((4, 2), (3, 1)), weight)
    monkeypatch.setattr(resizing, "LEAST_PIXELS_SPLIT", 2 * 6 * 6 + 1)
    assert not ask(make_expression((4, 2), (3, 1)), weight)


def test_a_compiled_form_is_worth_it_on_smaller_images(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(4, 7, 3, 3).double()
    monkeypatch.setattr(resizing, "LEAST_PIXELS_SPLIT", 2 * 6 * 6 + 1)
    monkeypatch.setattr(resizing, "LEAST_PIXELS_SPLIT_NATIVE", 2 * 6 * 6)
    monkeypatch.setattr(resizing, "choose", lambda *_, **__: "tiled")
    assert not ask(make_expression((4, 2), (3, 1)), weight)
    monkeypatch.setattr(resizing, "choose", lambda *_, **__: NATIVE)
    assert ask(make_expression((4, 2), (3, 1)), weight)
    assert not ask(make_expression((4, 2), (3, 1), size=10), weight)


def test_the_weight_of_each_part_is_what_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []

    def choose(x: Tensor, weight: Tensor, geometry: forms.Geometry, *, is_prepared: bool) -> str:
        asked.append((x.shape[1], weight.shape[1], geometry.scale_factor))
        return "transposed"

    monkeypatch.setattr(resizing, "choose", choose)
    ask(make_expression((4, 2), (3, 1), (2, 4)), torch.randn(4, 9, 3, 3).double())
    assert asked == [(4, 4, 2), (2, 2, 4)]


def test_a_1x1_convolution_must_leave_less_to_upsample() -> None:
    expression = make_expression((4, 2), (3, 1))
    fewer, more = torch.randn(4, 7, 1, 1).double(), torch.randn(5, 7, 1, 1).double()
    assert ask(expression, fewer)
    assert not ask(expression, more)
    assert not ask(expression, fewer, is_computed=True)
    last = expression.map(lambda source: source.contiguous(memory_format=torch.channels_last))
    assert ask(last, more)


def make_part(source: Tensor, scale: int) -> Part[Tensor]:
    return Part(source=source, channels=source.shape[1], scale=scale)


@pytest.mark.parametrize("scale", [2, 3])
def test_a_part_is_upsampled(scale: int) -> None:
    x = torch.randn(2, 3, 4, 5)
    expected = x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    assert torch.equal(evaluate(LazyExpression(parts=(make_part(x, scale),))), expected)


def test_parts_are_joined_in_their_order() -> None:
    x, skip = torch.randn(1, 2, 3, 3), torch.randn(1, 1, 6, 6)
    y = evaluate(LazyExpression(parts=(make_part(skip, 1), make_part(x, 2))))
    assert torch.equal(y[:, :1], skip)
    assert torch.equal(y[:, 1:], functional.interpolate(x, scale_factor=2))


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate"])
def test_padding_comes_last(mode: str) -> None:
    x = torch.randn(1, 2, 3, 3)
    y = evaluate(LazyExpression(parts=(make_part(x, 2),), padding=(1,) * 4, padding_mode=mode))
    upsampled = functional.interpolate(x, scale_factor=2)
    expected = functional.pad(upsampled, [1] * 4, mode="constant" if mode == "zeros" else mode)
    assert torch.equal(y, expected)


def test_gradients_flow_to_every_source() -> None:
    x, skip = torch.ones(1, 1, 2, 2, requires_grad=True), torch.ones(1, 1, 4, 4, requires_grad=True)
    y = evaluate(LazyExpression(parts=(make_part(x, 2), make_part(skip, 1))))
    to_x, to_skip = torch.autograd.grad(y.sum(), (x, skip))
    assert torch.equal(to_x, torch.full_like(x, 4))
    assert torch.equal(to_skip, torch.ones_like(skip))


def test_changes_are_counted_where_torch_counts_them() -> None:
    x = torch.ones(2)
    before = count_changes(x)
    x.add_(1)
    assert before is not None
    assert count_changes(x) == before + 1
    with torch.inference_mode():
        assert count_changes(torch.ones(2)) is None
