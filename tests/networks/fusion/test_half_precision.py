"""Fused networks in half precision and under autocast: the very numbers of the original, also of gradients.

Where the layer is there compiled, they are as close to those of float64.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.half_precision import MEANS, draw_image, draw_zero_sum_weight
from deconvbench.measure.numerics import numerical_error
from deconvbench.networks.fusion import fuse, resizing
from deconvbench.networks.fusion.backend import compile_graph
from deconvbench.networks.fusion.calls import ConvolveCall
from deconvbench.networks.fusion.expressions import LazyExpression, Part
from deconvbench.networks.fusion.matching import plan_convolution
from deconvbench.networks.fusion.resizing import explain_precision
from deconvbench.upsamplers.fast import choice
from deconvbench.upsamplers.fast import forms as all_forms
from deconvbench.upsamplers.fast.choice import NATIVE
from deconvbench.upsamplers.fast.forms import choose
from deconvbench.upsamplers.fast.native import Library

FastCalls = list[tuple[int, ...]]
HALF = (torch.bfloat16, torch.float16)
over_half = pytest.mark.parametrize("dtype", HALF, ids=["bfloat16", "float16"])
REASON = (
    "the convolution after it is computed in half precision, where no fast form but the compiled one is as precise"
)


def up(x: Tensor, scale: int = 2) -> Tensor:
    return functional.interpolate(x, scale_factor=scale, mode="nearest")


class Net(nn.Module):
    """A convolution of something upsampled, whose kernels sum to zero."""

    def __init__(
        self,
        prepare: Callable[[Tensor, Tensor], Tensor],
        channels: int,
        kernel_size: int,
        groups: int,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        padding = kernel_size // 2 if padding is None else padding
        self.conv = nn.Conv2d(channels, 8, kernel_size, padding=padding, groups=groups)
        self.gain = nn.Parameter(torch.linspace(0.5, 1, 16)[:, None, None].bfloat16().float())
        self.prepare = prepare

    def forward(self, x: Tensor) -> Any:
        return self.conv(self.prepare(x, self.gain))


def join(x: Tensor, gain: Tensor) -> Tensor:
    return torch.cat([up(x), torch.ones_like(x, memory_format=torch.contiguous_format).repeat(1, 1, 2, 2)], 1)


NETS: dict[str, Callable[[], nn.Module]] = {
    "alone": lambda: Net(lambda x, _: up(x), 16, 3, 1),
    "kernel 5, scale 3": lambda: Net(lambda x, _: up(x, 3), 16, 5, 1),
    "groups": lambda: Net(lambda x, _: up(x), 16, 3, 4),
    "padded": lambda: Net(lambda x, _: functional.pad(up(x), (1, 1, 1, 1), mode="replicate"), 16, 3, 1, padding=0),
    "activation": lambda: Net(lambda x, gain: torch.relu(up(x) * gain), 16, 3, 1),
    "joined": lambda: Net(join, 32, 3, 1),
    "1x1": lambda: Net(lambda x, gain: up(x) * gain, 16, 1, 1),
    "1x1, joined": lambda: Net(join, 32, 1, 1),
    "container": lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.ReLU(), nn.Conv2d(16, 8, 3, padding=1)),
    "container, 1x1": lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(16, 8, 1)),
}
over_nets = pytest.mark.parametrize("build", NETS.values(), ids=NETS)


def make_net(build: Callable[[], nn.Module], dtype: torch.dtype) -> nn.Module:
    """Make one in float32, of numbers that half precision has too."""
    torch.manual_seed(0)
    net = build().eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            shape = module.weight.shape
            module.weight.data = draw_zero_sum_weight(shape[0], shape[1], shape[2], dtype, seed=1).float()
            assert module.bias is not None
            module.bias.data = module.bias.data.to(dtype).float()
    return net


def fuse_net(
    build: Callable[[], nn.Module], dtype: torch.dtype, fast_calls: FastCalls, *, keeps: bool
) -> tuple[nn.Module, nn.Module]:
    """Make one and fuse it in float32, where all of them have a fast form."""
    net = make_net(build, dtype)
    fused = fuse(net, draw_image(16, 8, 0, torch.float32, seed=3), cache_weights=keeps).model
    assert fused is not net
    fast_calls.clear()
    return net, fused


def compute(net: nn.Module, x: Tensor) -> list[Tensor]:
    """Compute the output without gradients, then with them."""
    with torch.no_grad():
        alone = net(x)
    given = x.clone().requires_grad_()
    y = net(given)
    weights = torch.linspace(-1, 1, y.numel()).view_as(y)
    wanted = [given, *net.parameters()]
    found: Sequence[Tensor | None] = torch.autograd.grad((y.float() * weights).sum(), wanted, allow_unused=True)
    return [alone, y, *(gradient for gradient in found if gradient is not None)]


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


@over_half
@over_nets
@pytest.mark.parametrize("keeps", [False, True], ids=["live", "kept"])
def test_a_fused_network_is_as_precise(
    build: Callable[[], nn.Module], keeps: bool, dtype: torch.dtype, fast_calls: FastCalls
) -> None:
    net, fused = (model.to(dtype) for model in fuse_net(build, dtype, fast_calls, keeps=keeps))
    for mean in MEANS:
        x = draw_image(16, 8, mean, dtype, seed=2)
        assert_same(compute(fused, x), compute(net, x))
    assert not fast_calls


@over_half
@over_nets
@pytest.mark.parametrize("keeps", [False, True], ids=["live", "kept"])
def test_a_fused_network_is_as_precise_under_autocast(
    build: Callable[[], nn.Module], keeps: bool, dtype: torch.dtype, fast_calls: FastCalls
) -> None:
    net, fused = fuse_net(build, dtype, fast_calls, keeps=keeps)
    for mean in MEANS:
        x = draw_image(16, 8, mean, dtype, seed=2).float()
        with torch.autocast("cpu", dtype=dtype):
            assert_same(compute(fused, x), compute(net, x))
    assert not fast_calls


@over_half
def test_what_autocast_left_alone_is_fast_without_it(dtype: torch.dtype, fast_calls: FastCalls) -> None:
    x = draw_image(16, 8, 0, torch.float32, seed=2)
    for name in ("alone", "container"):
        _, fused = fuse_net(NETS[name], dtype, fast_calls, keeps=False)
        with torch.no_grad():
            for _ in range(2):
                with torch.autocast("cpu", dtype=dtype):
                    fused(x)
            assert not fast_calls
            fused(x)
        assert len(fast_calls) == 1


@over_half
@pytest.mark.parametrize("casts", [False, True], ids=["half", "autocast"])
def test_the_report_says_why_nothing_is_fused(casts: bool, dtype: torch.dtype) -> None:
    for name in ("alone", "joined", "container"):
        net, x = make_net(NETS[name], dtype), draw_image(16, 8, 0, torch.float32, seed=2)
        if casts:
            with torch.autocast("cpu", dtype=dtype):
                report = fuse(net, x)
        else:
            report = fuse(net.to(dtype), x.to(dtype))
        assert report.model is net
        assert not report.changed
        assert REASON in str(report)


@over_half
def test_a_1x1_convolution_without_gradients_still_comes_first(dtype: torch.dtype) -> None:
    net, x = make_net(NETS["1x1"], dtype).to(dtype), draw_image(16, 8, 100, dtype, seed=2)
    report = fuse(net, x)
    assert len(report.changed) == 1
    assert_same(compute(report.model, x), compute(net, x))


@over_half
def test_in_half_precision_sums_of_pieces_and_gradients_are_left_to_torch(dtype: torch.dtype) -> None:
    def ask(*scales: int, kernel_size: int, kind: torch.dtype = dtype, trains: bool = False) -> str | None:
        parts = tuple(Part(source=torch.ones(1, 4, 6, 6, dtype=kind), channels=4, scale=scale) for scale in scales)
        weight = torch.ones(3, 4 * len(scales), kernel_size, kernel_size, dtype=kind, requires_grad=trains)
        expression = LazyExpression(parts=parts)
        call = ConvolveCall(
            image=None, weight=None, bias=None, stride=(1, 1), padding="same", dilation=(1, 1), groups=1
        )
        match = plan_convolution(expression, call, weight.shape)
        assert not isinstance(match, str)
        return explain_precision(expression, match, weight, None)

    assert ask(2, kernel_size=1) is None
    assert ask(2, 2, kernel_size=1) is None
    assert ask(2, 1, kernel_size=1) == REASON
    assert ask(2, kernel_size=1, trains=True) == REASON
    assert ask(2, kernel_size=3) == REASON
    for kind in (torch.float32, torch.float64):
        assert ask(2, 1, kernel_size=3, kind=kind, trains=True) is None
    with torch.autocast("cpu", dtype=dtype):
        assert ask(2, kernel_size=3, kind=torch.float32) == REASON
        assert ask(2, kernel_size=3, kind=torch.float64) is None


@pytest.fixture
def chosen(native: Library, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List the forms that are chosen by the rule, with the compiled one among them."""
    forms: list[str] = []

    def choose_and_tell(*args: Any, **options: Any) -> str:
        forms.append(choose(*args, **options))
        return forms[-1]

    # whatever the processor of the tests has, and however small the layer
    monkeypatch.setattr(all_forms, "multiplies_fast", lambda _: False)
    monkeypatch.setattr(choice, "_pays_in_half", lambda *_: True)
    monkeypatch.setattr(resizing, "choose", choose_and_tell)
    return forms


@over_half
@pytest.mark.parametrize("casts", [False, True], ids=["half", "autocast"])
@pytest.mark.parametrize("keeps", [False, True], ids=["live", "kept"])
@pytest.mark.parametrize("name", ["alone", "padded", "activation", "container"])
def test_the_compiled_form_is_as_precise(
    name: str, keeps: bool, casts: bool, dtype: torch.dtype, chosen: list[str], fast_calls: FastCalls
) -> None:
    kind = torch.float32 if casts else dtype
    net = make_net(NETS[name], dtype).to(kind)
    exact_net = copy.deepcopy(net).double()
    example = draw_image(16, 32, 0, dtype, seed=3).to(kind)
    with torch.autocast("cpu", dtype=dtype, enabled=casts):
        fused = fuse(net, example, cache_weights=keeps).model
        assert fused is not net
        for mean in (*MEANS, 0):
            x = draw_image(16, 32, mean, dtype, seed=2).to(kind)
            fast_calls.clear()
            chosen.clear()
            found, plain = ([tensor.detach() for tensor in compute(model, x)] for model in (fused, net))
            assert len(fast_calls) == 2
            assert NATIVE in chosen
            exact = [tensor.detach() for tensor in compute(exact_net, x.double())]
            for one, other, right in zip(found, plain, exact, strict=True):
                assert one.dtype == other.dtype
                # of few numbers that are rounded once, by chance those of one way are nearer
                assert numerical_error(one, right) <= 1.5 * numerical_error(other, right) + 1e-6


@pytest.mark.compile
@pytest.mark.slow
@over_half
@pytest.mark.parametrize("casts", [False, True], ids=["half", "autocast"])
@pytest.mark.parametrize("is_dynamic", [False, True], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("name", ["alone", "activation", "joined", "1x1"])
def test_the_backend_is_as_precise(name: str, is_dynamic: bool, casts: bool, dtype: torch.dtype) -> None:
    net = make_net(NETS[name], dtype)
    kind = torch.float32 if casts else dtype
    net.to(kind)
    torch.compiler.reset()
    compiled: Any = torch.compile(
        net, backend=compile_graph, options={"inner_backend": "aot_eager"}, dynamic=is_dynamic
    )
    with torch.autocast("cpu", dtype=dtype, enabled=casts):
        for mean in MEANS:
            x = draw_image(16, 8, mean, dtype, seed=2).to(kind)
            assert_same(compute(compiled, x), compute(net, x))
    torch.compiler.reset()
