"""The layer: output and parameters of the plain one, in any precision, and clear refusals."""

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, weight_norm
from torch.utils.flop_counter import FlopCounterMode

from deconvbench.errors import UsageError
from deconvbench.upsamplers.convolution import SameConv2d
from deconvbench.upsamplers.fast import IMPLEMENTATIONS, ResizeConv2d, forms
from deconvbench.upsamplers.fast import layer as layer_module
from deconvbench.upsamplers.fast.layer import explain_conv
from deconvbench.upsamplers.fast.native.library import find_library
from tests.upsamplers.fast.plain_form import (
    FORMS,
    Layer,
    assert_plain,
    draw,
    make_layer,
    make_plain,
    measure_error,
    over_forms,
    over_layouts,
)

over_implementations = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)


# ---- what it computes


@over_layouts
@over_implementations
def test_every_implementation_is_the_plain_form(implementation: str, layout: torch.memory_format) -> None:
    for height, width in ((1, 1), (5, 4), (17, 20)):
        x = draw(2, 4, height, width).contiguous(memory_format=layout)
        assert_plain(make_layer(implementation), x)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the rule of `auto` answered, whenever it was asked."""
    found: list[str] = []
    choose = forms.choose

    def ask(*arguments: Any, **keywords: Any) -> str:
        found.append(choose(*arguments, **keywords))
        return found[-1]

    monkeypatch.setattr(layer_module, "choose", ask)
    return found


def test_where_the_plain_form_is_the_fastest_the_rule_is_asked_once(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x = make_layer("auto"), draw(2, 4, 2, 3)
    assert torch.equal(layer(x), layer(x))
    assert torch.equal(layer(x), make_plain(copy.deepcopy(layer))(x))
    assert asked == ["plain"]
    # of other sizes, strides, threads, with a kept weight or a gradient others may be faster
    layer(x[:1])
    layer(x.contiguous(memory_format=torch.channels_last))
    layer(x.clone().requires_grad_())
    layer.requires_grad_(False)
    layer(x)
    layer.eval().cache_weight()(x)
    # nor where the compiled form has come since
    is_there = find_library() is not None
    monkeypatch.setattr(layer_module, "find_library", lambda: None if is_there else object())
    layer(x)
    assert asked == ["plain"] * len(asked)
    assert len(asked) == 6
    for index in range(100):
        layer(draw(1, 4, 1, index + 1))
    assert len(layer._idle) <= 64
    assert not copy.deepcopy(layer)._idle


@pytest.mark.parametrize(
    "make_context",
    [lambda: FlopCounterMode(display=False), lambda: torch.autocast("cpu")],
    ids=["watched", "cast"],
)
def test_a_watched_or_cast_call_is_neither_remembered_nor_answered_from_memory(
    asked: list[str], make_context: Callable[[], Any]
) -> None:
    layer, x = make_layer("auto").float(), draw(2, 4, 2, 3).float()
    with make_context():
        layer(x)
    assert not layer._idle
    layer(x)
    asked.clear()
    with make_context():
        layer(x)
    assert len(asked) == 1
    torch.func.vmap(layer)(x[None])
    assert len(asked) == 2


def test_what_is_remembered_leaves_refusals_as_they_were() -> None:
    layer, x = make_layer("auto"), draw(2, 4, 2, 3)
    layer(x)
    with pytest.raises(UsageError, match="dtype torch.float32 is not that of the weight"):
        layer(x.float())
    layer.weight.data = layer.weight.data.float()
    with pytest.raises(UsageError, match="dtype torch.float64 is not that of the weight"):
        layer(x)


def test_what_is_remembered_is_of_the_layer_as_it_was() -> None:
    x = draw(2, 4, 2, 3)
    for changes in (
        {"padding_mode": "replicate"},
        {"scale_factor": 3},
        {"kernel_size": 5, "weight": nn.Parameter(draw(6, 4, 5, 5))},
    ):
        layer = make_layer("auto")
        layer(x)
        for name, value in changes.items():
            setattr(layer, name, value)
        fresh = copy.deepcopy(layer)
        assert torch.equal(layer(x), fresh(x))
        assert layer(x).shape[2:] == (2 * layer.scale_factor, 3 * layer.scale_factor)
    layer = make_layer("auto")
    expected = layer(x)
    assert layer.bias is not None
    layer.bias.data = layer.bias.data.float()
    torch.testing.assert_close(layer(x), expected)


def test_a_layer_pickled_before_calls_were_remembered_runs() -> None:
    layer, x = make_layer("auto"), draw(2, 4, 2, 3)
    state = {name: value for name, value in layer.__getstate__().items() if name != "_idle"}
    older = ResizeConv2d.__new__(ResizeConv2d)
    older.__setstate__(state)
    assert torch.equal(older(x), layer(x))


@over_implementations
def test_float32_is_exact_to_rounding(implementation: str) -> None:
    layer, x = ResizeConv2d(64, 32, implementation=implementation), draw(1, 64, 16, 17)
    with torch.no_grad():
        assert measure_error(layer(x.float()), make_plain(copy.deepcopy(layer).double())(x)) < 1e-6


@over_implementations
def test_one_image_needs_no_batch(implementation: str) -> None:
    layer, x = make_layer(implementation), draw(4, 3, 5)
    assert torch.equal(layer(x), layer(x[None])[0])


@over_implementations
def test_an_empty_batch_stays_empty(implementation: str) -> None:
    layer, x = make_layer(implementation), draw(0, 4, 5, 6)
    y = layer(x)
    assert y.shape == make_plain(layer)(x).shape
    y.sum().backward()
    assert layer.weight.grad is not None
    assert not layer.weight.grad.any()


@over_implementations
def test_it_has_shapes_where_there_is_no_data(implementation: str) -> None:
    layer = make_layer(implementation, device="meta")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(draw(2, 4, 5, 7).to("meta")).shape == (2, 6, 10, 14)


def test_reflection_that_no_fast_form_has_is_plain() -> None:
    conv = nn.Conv2d(4, 6, 5, padding=2, padding_mode="reflect", dtype=torch.float64)
    layer, x = ResizeConv2d.from_conv(conv, 2), draw(1, 4, 5, 6)
    assert layer.choose(x) == "plain"
    with torch.no_grad():
        expected = conv(functional.interpolate(x, scale_factor=2))
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kernel_size", "scale_factor", "groups", "dtype"),
    list(itertools.product((1, 3, 5), (2, 3), (1, 2), (torch.float32, torch.float64, torch.bfloat16))),
)
def test_the_choice_is_a_form_that_exists(
    kernel_size: int, scale_factor: int, groups: int, dtype: torch.dtype
) -> None:
    for channels, size, layout in itertools.product((4, 256), (1, 7, 32), (0, 1)):
        layer = ResizeConv2d(channels, channels, kernel_size, scale_factor, groups=groups, device="meta")
        x = torch.empty(1, channels, size, size, dtype=dtype, device="meta")
        if layout:
            x = x.to(memory_format=torch.channels_last)
        for is_prepared in (False, True):
            chosen = layer.choose(x, is_prepared=is_prepared)
            assert chosen in {*FORMS, "plain"}
            assert chosen != "tiled" or (kernel_size, scale_factor) == (3, 2)


@over_forms
def test_a_named_form_is_what_is_chosen(form: str) -> None:
    assert make_layer(form).choose(draw(1, 4, 3, 4)) == form


# ---- autocast


@over_implementations
def test_autocast_computes_in_its_type_near_the_plain_form(implementation: str) -> None:
    layer, x = make_layer(implementation, dtype=torch.float32), draw(1, 4, 9, 8, dtype=torch.float32)
    plain = make_plain(layer)
    exact = plain(x).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = layer(x), plain(x)
    assert found.dtype == expected.dtype == torch.bfloat16
    assert measure_error(found.detach(), exact) < 4 * measure_error(expected.detach(), exact)

    found.float().square().sum().backward()
    expected.float().square().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32
    grad = plain[1].weight.grad
    assert isinstance(grad, Tensor)
    assert measure_error(layer.weight.grad, grad) < 5e-2


@over_implementations
def test_autocast_leaves_float64_alone(implementation: str) -> None:
    layer, x = make_layer(implementation), draw(1, 4, 5, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_plain(layer, x)


@over_forms
def test_autocast_uses_what_is_frozen(form: str) -> None:
    layer, x = make_layer(form, dtype=torch.float32), draw(1, 4, 5, 6, dtype=torch.float32)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = layer(x)
        assert torch.equal(layer.eval().cache_weight()(x), expected)
        assert torch.equal(layer(x), expected)
    with torch.no_grad():
        assert layer(x).dtype == torch.float32


# ---- parameters


def test_it_starts_as_the_plain_form_does() -> None:
    torch.manual_seed(3)
    conv = nn.Conv2d(4, 6, 5, groups=2)
    torch.manual_seed(3)
    layer = ResizeConv2d(4, 6, 5, groups=2)
    assert torch.equal(layer.weight, conv.weight)
    assert layer.bias is not None
    assert conv.bias is not None
    assert torch.equal(layer.bias, conv.bias)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "nobias"])
def test_weights_of_the_plain_form_load(bias: bool) -> None:
    plain = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(4, 6, 3, padding=1, bias=bias))
    fast = nn.Sequential(nn.Identity(), ResizeConv2d(4, 6, bias=bias))
    fast.load_state_dict(plain.state_dict())
    plain.load_state_dict(fast.state_dict())
    x = draw(1, 4, 5, 6, dtype=torch.float32)
    torch.testing.assert_close(fast(x), plain(x))


def test_a_layer_made_of_a_convolution_shares_its_parameters() -> None:
    for layer in (Layer(form="auto"), Layer(form="minimal", kernel_size=5, groups=2, bias=False)):
        conv = layer.make_conv().eval()
        state = torch.get_rng_state()
        made = layer.make(conv)
        assert torch.equal(torch.get_rng_state(), state)
        assert made.weight is conv.weight
        assert made.bias is conv.bias
        assert list(made.state_dict()) == list(conv.state_dict())
        assert not made.training
        assert (made.groups, made.kernel_size, made.implementation) == (
            layer.groups,
            layer.kernel_size,
            layer.form,
        )
        # training one trains the other
        torch.optim.SGD(made.parameters(), lr=0.1).zero_grad()
        made(draw(1, 4, 3, 3)).sum().backward()
        assert conv.weight.grad is made.weight.grad is not None


def change_forward(conv: nn.Conv2d) -> nn.Conv2d:
    vars(conv)["forward"] = conv.forward  # as wrappers do
    return conv


class Scaled(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


UNSUITABLE: dict[str, tuple[Callable[[], Any], str]] = {
    "oblong": (lambda: nn.Conv2d(2, 2, (3, 1), padding=(1, 0)), r"kernel_size \(3, 1\) is not square and odd"),
    "even": (lambda: nn.Conv2d(2, 2, 4, padding=1), r"kernel_size \(4, 4\) is not square and odd"),
    "same, even": (lambda: nn.Conv2d(2, 2, 4, padding="same"), r"kernel_size \(4, 4\)"),
    "stride": (lambda: nn.Conv2d(2, 2, 3, stride=2, padding=1), r"stride \(2, 2\) is not 1"),
    "dilation": (lambda: nn.Conv2d(2, 2, 3, dilation=2, padding=2), r"dilation \(2, 2\) is not 1"),
    "no padding": (lambda: nn.Conv2d(2, 2, 3), r"padding \(0, 0\) does not keep the size.* needs \(1, 1\)"),
    "valid": (lambda: nn.Conv2d(2, 2, 3, padding="valid"), "padding valid does not keep the size"),
    "much padding": (lambda: nn.Conv2d(2, 2, 3, padding=2), r"padding \(2, 2\) does not"),
    "circular": (lambda: nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), "padding_mode 'circular' is not"),
    "transposed": (lambda: nn.ConvTranspose2d(2, 2, 3, padding=1), "ConvTranspose2d has a forward of its own"),
    "subclass": (lambda: Scaled(2, 2, 3, padding=1), "Scaled has a forward of its own"),
    "wrapped": (lambda: change_forward(nn.Conv2d(2, 2, 3, padding=1)), "Conv2d has a forward of its own"),
    "lazy": (lambda: nn.LazyConv2d(2, 3, padding=1), "its weight has no shape yet"),
    "parametrised": (
        lambda: parametrizations.weight_norm(nn.Conv2d(2, 2, 3, padding=1)),
        "its weight is not a parameter but computed",
    ),
}


@pytest.mark.filterwarnings(
    "ignore:Lazy modules are a new feature:UserWarning", "ignore:Using padding='same':UserWarning"
)
@pytest.mark.parametrize(("make", "reason"), UNSUITABLE.values(), ids=UNSUITABLE)
def test_an_unsuitable_convolution_is_refused(make: Callable[[], nn.Conv2d], reason: str) -> None:
    with pytest.raises(UsageError, match=f"conv: .*{reason}"):
        ResizeConv2d.from_conv(make(), 2)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(2, 2, 3, padding=1),
        nn.Conv2d(2, 2, 3, padding="same"),
        nn.Conv2d(2, 2, 1, padding="valid"),
        nn.Conv2d(2, 2, 1),
        SameConv2d(2, 2, 5),
    ],
    ids=["padding", "same", "valid", "k1", "own"],
)
def test_a_suitable_convolution_is_taken(conv: nn.Conv2d) -> None:
    assert explain_conv(conv) is None
    layer, x = ResizeConv2d.from_conv(conv, 3), draw(1, 2, 3, 4, dtype=torch.float32)
    torch.testing.assert_close(layer(x), conv(functional.interpolate(x, scale_factor=3)))


@over_implementations
def test_a_parametrised_weight_is_computed_once_a_call(implementation: str) -> None:
    class Count(nn.Module):
        calls = 0

        def forward(self, weight: Tensor) -> Tensor:
            type(self).calls += 1
            return 2 * weight

    layer, x = make_layer(implementation), draw(1, 4, 3, 4)
    expected = layer(x)
    parametrize.register_parametrization(layer, "weight", Count())
    Count.calls = 0
    found = layer(x)
    assert Count.calls == 1
    assert layer.bias is not None
    bias = layer.bias[:, None, None]
    torch.testing.assert_close(found - bias, 2 * (expected - bias), rtol=0, atol=1e-12)
    with pytest.raises(UsageError, match="cache_weight: the weight is not a parameter"):
        layer.eval().cache_weight()


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
def test_the_older_weight_norm_trains_too() -> None:
    layer = make_layer()
    expected = layer(draw(1, 4, 3, 4))
    normed = weight_norm(layer)
    found = normed(draw(1, 4, 3, 4))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    found.sum().backward()
    assert normed.weight_g.grad is not None


# ---- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 0}, "in_channels: 0 is not a whole number of at least 1"),
        ({"out_channels": 2.0}, "out_channels: 2.0 is not a whole number"),
        ({"kernel_size": 0}, "kernel_size: 0 is not a whole number of at least 1"),
        ({"kernel_size": True}, "kernel_size: True is not a whole number"),
        ({"kernel_size": 4}, "kernel_size: 4 is even"),
        ({"scale_factor": 1}, "scale_factor: 1 is not a whole number of at least 2"),
        ({"scale_factor": 2.0}, "scale_factor: 2.0 is not a whole number"),
        ({"groups": 0}, "groups: 0 is not"),
        ({"groups": 4}, "groups: 4 does not divide both in_channels 4 and out_channels 6"),
        ({"padding_mode": "circular"}, "padding_mode: 'circular' is not one of zeros, reflect, replicate"),
        ({"implementation": "fast"}, "implementation: 'fast' is not one of auto, plain"),
        (
            {"implementation": "tiled", "kernel_size": 5},
            "implementation: tiled is for kernel_size 3 and scale_factor 2, not 5 and 2",
        ),
        ({"implementation": "tiled", "scale_factor": 3}, "not 3 and 3"),
        (
            {"implementation": "minimal", "kernel_size": 5, "padding_mode": "reflect"},
            "minimal reflects at most scale_factor - 1 = 1 pixels exactly; kernel_size 5 needs 2: take auto",
        ),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_parameters_that_are_not_allowed_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ResizeConv2d(**{"in_channels": 4, "out_channels": 6, **options})


@pytest.mark.parametrize(
    "shape", [(4,), (3, 4), (5, 3, 3), (1, 5, 3, 3), (1, 1, 4, 3, 3), (1, 4, 0, 3), (4, 3, 0)], ids=str
)
@over_implementations
def test_an_input_of_another_shape_is_refused(implementation: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"x: shape \(.*\) is not \(N, 4, H, W\) or \(4, H, W\)"):
        make_layer(implementation)(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (torch.float32, "x: dtype torch.float32 is not that of the weight, torch.float64"),
        (torch.int64, "x: dtype torch.int64 is not a real floating-point one"),
        (torch.complex128, "x: dtype torch.complex128 is not a real"),
    ],
    ids=["float32", "int64", "complex128"],
)
@over_implementations
def test_an_input_of_another_type_is_refused(implementation: str, dtype: torch.dtype, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_layer(implementation)(torch.zeros(1, 4, 3, 3, dtype=dtype))


def test_it_says_what_it_is() -> None:
    assert repr(ResizeConv2d(4, 6)) == "ResizeConv2d(4, 6, kernel_size=3, scale_factor=2, implementation=auto)"
    layer = ResizeConv2d(4, 6, 5, 3, groups=2, bias=False, padding_mode="replicate", implementation="minimal")
    assert repr(layer) == (
        "ResizeConv2d(4, 6, kernel_size=5, scale_factor=3, groups=2, bias=False, padding_mode=replicate,"
        " implementation=minimal)"
    )


# ---- compilers


@pytest.mark.compile
@pytest.mark.slow
@over_implementations
def test_compiled_layer_is_the_plain_form(implementation: str) -> None:
    layer, x = make_layer(implementation, dtype=torch.float32).eval().cache_weight(), draw(2, 4, 5, 6).float()
    torch.compiler.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), layer(x))
        # what is compiled knows nothing of freezing, so no change can escape it
        layer.weight.data.mul_(2)
        torch.testing.assert_close(compiled(x), make_plain(layer)(x))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert compiled(x).dtype == torch.bfloat16


@pytest.mark.slow
@over_implementations
def test_exported_layer_is_the_plain_form(implementation: str) -> None:
    layer = make_layer(implementation)
    dynamic = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    program = torch.export.export(layer, (draw(2, 4, 6, 8),), dynamic_shapes=(dynamic,))
    x = draw(3, 4, 5, 7)
    torch.testing.assert_close(program.module()(x), make_plain(layer)(x), rtol=0, atol=1e-12)
