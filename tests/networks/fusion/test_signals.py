"""Signals of one axis are fused as one transposed convolution: exact, and only where that was measured to pay."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.fusion import fuse, signals
from deconvbench.networks.fusion.calls import ConvolveCall
from deconvbench.networks.fusion.expressions import LazyExpression, Part
from deconvbench.networks.fusion.signals import SignalTask, plan_signal
from tests.networks.fusion.comparing import LIMITS, differentiate_both, run_both


@pytest.fixture
def fast_signals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Kernels of the convolutions that were fast; every signal is worth it."""
    kernels: list[int] = []
    original = SignalTask.run

    def run(self: SignalTask, *args: Any) -> Tensor:
        kernels.append(self.match.kernel_size)
        return original(self, *args)

    monkeypatch.setattr(SignalTask, "run", run)
    monkeypatch.setattr(SignalTask, "gains", lambda *_, **__: True)
    monkeypatch.setattr(signals, "_LEAST_KERNEL", 2)
    return kernels


class Upsampler(nn.Module):
    """As people write it, with what comes between."""

    def __init__(self, conv: nn.Conv1d, scale: int, between: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__()
        self.conv, self.scale, self.between = conv, scale, between

    def forward(self, x: Tensor) -> Any:
        return self.conv(self.between(functional.interpolate(x, scale_factor=self.scale)))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("padding", [0, 1, "same", "valid"])
@pytest.mark.parametrize("size", [2, 4, 7])
@pytest.mark.parametrize("scale", [2, 3, 8])
def test_signals_are_what_torch_gives(
    scale: int, size: int, padding: int | str, dtype: torch.dtype, fast_signals: list[int]
) -> None:
    torch.manual_seed(0)
    convs = [nn.Conv1d(4, 3, size, padding=padding, bias=has_bias, dtype=dtype) for has_bias in (False, True)]
    for model in (nn.Sequential(nn.Upsample(scale_factor=scale), convs[0]), Upsampler(convs[1], scale)):
        fused = fuse(model).model
        for length in (4, 9):
            x = torch.randn(2, 4, length, dtype=dtype)
            with torch.no_grad():
                assert run_both(model, fused, x) <= LIMITS[dtype]
                assert fused(x).stride() == model(x).stride()
            assert differentiate_both(model, fused, x) <= LIMITS[dtype]
        assert fast_signals
        assert set(fast_signals) == {size}
        fast_signals.clear()


def test_gradients_of_gradients(fast_signals: list[int]) -> None:
    model = Upsampler(nn.Conv1d(4, 3, 3, padding=1), 2, torch.tanh).double()
    fused = fuse(model).model
    for one in (model, fused):
        x = torch.randn(1, 4, 5, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradgradcheck(one, (x,))
    assert fast_signals


BETWEEN: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "gated": (lambda h: h * torch.sigmoid(h), True),
    "of two batches": (lambda h: torch.cat([h, h]), True),
    "as it is": (lambda h: h.contiguous(), True),
    "turned twice": (lambda h: h.transpose(1, 2).transpose(1, 2), False),
    "padded before": (lambda h: functional.pad(h, (1, 2)), False),
    "shifted by a channel": (lambda h: h + h.mean(2, keepdim=True), False),
    "joined": (lambda h: torch.cat([h[:, :2], h[:, 2:]], 1), False),
    "repeated": (lambda h: h.repeat_interleave(2, 2), True),
    "channels repeated": (lambda h: h[:, :2].repeat_interleave(2, 1), False),
    "an image": (lambda h: functional.interpolate(h[None], scale_factor=(1, 2))[0], True),
    "read": (lambda h: h * h.mean(), True),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_what_comes_between(name: str, fast_signals: list[int]) -> None:
    between, is_fast = BETWEEN[name]
    model = Upsampler(nn.Conv1d(4, 3, 3, padding=1), 2, between).double()
    fused = fuse(model).model
    x = torch.randn(3, 4, 6, dtype=torch.float64)
    with torch.no_grad():
        assert run_both(model, fused, x) <= 1e-10
    assert bool(fast_signals) == is_fast
    assert differentiate_both(model, fused, x) <= 1e-10


def test_rows_of_an_image_are_no_channels_of_a_signal(fast_signals: list[int]) -> None:
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(6, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Any:
            return self.conv(functional.interpolate(x, scale_factor=2).squeeze(0))

    model, x = Rows().double(), torch.randn(1, 4, 3, 5, dtype=torch.float64)
    assert run_both(model, fuse(model).model, x) <= 1e-10
    assert not fast_signals


def test_the_report_names_signals() -> None:
    model, x = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv1d(4, 2, 5)), torch.randn(1, 4, 9)
    assert [change.path for change in fuse(model).watched] == ["0"]
    report = fuse(model, x)
    assert [(change.path, change.was) for change in report.changed] == [
        ("1", "nearest-neighbour upsampling by 2 (in 0), then Conv1d 5")
    ]
    limited = fuse(model, x, max_memory="1 MiB")
    assert "in row strips it is of images only" in limited.left[0].reason


def make_call(x: Tensor, weight: Tensor, **options: Any) -> ConvolveCall:
    given: dict[str, Any] = {"stride": (1,), "padding": (1,), "dilation": (1,), "groups": 1} | options
    return ConvolveCall(image=x, weight=weight, bias=None, **given)


def make_signal(scale: int = 2, stretch: tuple[int, int] | None = None, **options: Any) -> LazyExpression[Tensor]:
    part = Part(source=torch.randn(1, 4, 5), channels=4, scale=1, stretch=stretch or (1, scale))
    return LazyExpression(parts=(part,), **options)


@pytest.mark.parametrize(
    ("weight", "options", "reason"),
    [
        ((2, 4, 3), {"stride": (2,)}, "stride (2,), dilation (1,) and groups 1 are not all 1"),
        ((2, 4, 3), {"dilation": (2,)}, "stride (1,), dilation (2,) and groups 1 are not all 1"),
        ((2, 2, 3), {"groups": 2}, "stride (1,), dilation (1,) and groups 2 are not all 1"),
        ((2, 4, 3), {}, "along one axis a kernel of 3 shares too few products"),
        ((2, 3, 4), {}, "its input has 4 channels, its weight 3"),
        ((2, 4, 4), {"padding": (4,)}, "padding (4,) is none that its kernel reaches over"),
        ((2, 4, 13), {}, "a kernel of 13 samples may not fit into it"),
    ],
)
def test_what_is_left_to_torch(weight: tuple[int, ...], options: dict[str, Any], reason: str) -> None:
    assert plan_signal(make_call(torch.empty(1, 4, 10), torch.empty(weight), **options), make_signal()) == reason


def test_signals_have_three_axes_and_one_that_is_upsampled() -> None:
    weight, x = torch.empty(2, 4, 5), torch.empty(1, 4, 10)
    assert plan_signal(make_call(x[None], weight), make_signal()) == "its input has 4 dimensions, not 3 (N, C, L)"
    for expression in (make_signal(stretch=(2, 1)), make_signal(padding=(1, 0, 0, 0))):
        expected = "its channels are repeated, or it is padded before"
        assert plan_signal(make_call(x, weight), expression) == expected
    turned = torch.empty(2, 5, 4).transpose(1, 2)
    assert plan_signal(make_call(x, turned), make_signal()) == "its weight is not contiguous"


@pytest.mark.parametrize(
    ("channels", "out_channels", "length", "size", "scale", "expected"),
    [
        (64, 32, 1024, 7, 4, True),
        (64, 32, 1023, 7, 4, False),
        (16, 16, 1024, 7, 4, False),
        (32, 64, 1024, 7, 4, False),
        # a kernel that outweighs the signal
        (256, 256, 2048, 17, 8, False),
        (256, 256, 8192, 17, 8, True),
        # 20 of 8 products, and 14 of 8
        (64, 64, 2048, 5, 4, True),
        (128, 64, 4096, 7, 2, False),
    ],
)
def test_the_rule_is_that_of_the_measurements(
    channels: int, out_channels: int, length: int, size: int, scale: int, expected: bool
) -> None:
    part = Part(source=torch.empty(1, channels, length), channels=channels, scale=1, stretch=(1, scale))
    call = make_call(torch.empty(1, channels, scale * length), torch.empty(out_channels, channels, size))
    task = plan_signal(call, LazyExpression(parts=(part,)))
    assert isinstance(task, signals.SignalTask)
    assert task.gains(is_prepared=False, is_computed=False) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kernel_size": 4}, True),
        ({"kernel_size": 3}, False),
        ({"kernel_size": 4, "stride": 2}, False),
        ({"kernel_size": 4, "dilation": 2}, False),
        ({"kernel_size": 4, "groups": 2}, False),
        ({"kernel_size": 4, "padding": 1, "padding_mode": "circular"}, False),
        ({"kernel_size": 4, "out_channels": 6}, False),
    ],
)
def test_modules_whose_convolution_never_pays_are_not_watched(options: dict[str, Any], expected: bool) -> None:
    conv = nn.Conv1d(**({"in_channels": 4, "out_channels": 4} | options))
    for model in (nn.Sequential(nn.Upsample(scale_factor=8), conv), Upsampler(conv, 8)):
        report = fuse(model)
        assert bool(report.watched) == expected
        assert len(report.watched) + len(report.left) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("casts", [False, True], ids=["half", "autocast"])
def test_in_half_precision_signals_are_left_to_torch(
    dtype: torch.dtype, casts: bool, fast_signals: list[int]
) -> None:
    kind = torch.float32 if casts else dtype
    model = Upsampler(nn.Conv1d(4, 3, 7, padding=3), 4)
    fused, x = fuse(model).model.to(kind), torch.randn(1, 4, 9).to(kind)
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype, enabled=casts):
        assert torch.equal(fused(x), model.to(kind)(x))
    assert not fast_signals
