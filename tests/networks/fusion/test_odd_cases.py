"""Everything that people do between an upsampling and a convolution: exact, or left alone with the reason."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

from deconvbench.networks.fusion import fuse
from tests.networks.fusion.comparing import LIMITS, differentiate_both, run_both

Forward = Callable[[Any, Tensor], Any]


class Written(nn.Module):
    """A module whose forward pass is given as a function of its convolution (4 to 4 channels) and the input."""

    def __init__(self, forward: Forward, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.steps = forward

    def forward(self, x: Tensor) -> Any:
        return self.steps(self.conv, x)


def up(x: Tensor, **options: Any) -> Tensor:
    return functional.interpolate(x, **(options or {"scale_factor": 2}))


def written(forward: Forward, **conv: Any) -> nn.Module:
    return Written(forward, nn.Conv2d(4, 4, **{"kernel_size": 3, "padding": 1, **conv}))


def plainly(**options: Any) -> Callable[..., nn.Module]:
    """Upsample with these options and convolve with those."""
    return lambda **conv: written(lambda c, x: c(up(x, **options)), **conv)


def chain(*modules: nn.Module, **conv: Any) -> nn.Sequential:
    return nn.Sequential(*modules, nn.Conv2d(4, 4, **{"kernel_size": 3, "padding": 1, **conv}))


def upsample_then(step: Callable[[Tensor], Tensor], **conv: Any) -> nn.Module:
    return written(lambda c, x: c(step(up(x))), **conv)


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2)
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 5, padding=2)

    def forward(self, x: Tensor) -> Any:
        return self.second(self.up(self.first(self.up(x))))


class Scaled(nn.Conv2d):
    def forward(self, x: Tensor) -> Any:
        return 2 * self._conv_forward(x, self.weight.abs(), self.bias)


class Squared(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.square()


class Upsampled(torch.autograd.Function):
    """A function that torch's Python interface does not see."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 2 * x * gradients[0]


class Bent(torch.autograd.Function):
    """A function of one that is followed, with a gradient of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.relu(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return 3 * gradients[0]


def bend_and_read(c: nn.Module, x: Tensor) -> Any:
    h = Bent.apply(up(x))  # type: ignore[no-untyped-call] # torch has no types here
    assert isinstance(h, Tensor)
    return c(h) + h.mean() + c(h + 1)


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class Joining(nn.Module):
    """Joins before a module that treats each channel in its own way, as pre-activation does."""

    def __init__(self, before: nn.Module, conv: nn.Module) -> None:
        super().__init__()
        self.before, self.conv = before, conv
        if isinstance(before, nn.BatchNorm2d):
            for tensor in (before.running_mean, before.running_var, before.weight, before.bias):
                assert tensor is not None
                nn.init.uniform_(tensor, 0.5, 2)

    def forward(self, x: Tensor) -> Any:
        return self.conv(self.before(torch.cat([up(x[:, :3]), x.new_ones(2, 1, 8, 12)], 1)))


def squeeze_and_excite(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    return c(h * functional.adaptive_avg_pool2d(h, 1).sigmoid())


def write_into_source(c: nn.Module, x: Tensor) -> Any:
    x = x * 1
    h = up(x)
    x.mul_(2)
    return c(h)


def write_into_view_of_source(c: nn.Module, x: Tensor) -> Any:
    x = x * 1
    first = x[:, :1]
    h = up(x)
    first.add_(1)
    return c(h)


def write_into_base_of_source(c: nn.Module, x: Tensor) -> Any:
    base = torch.cat([x, x], 1)
    h = up(base[:, :4])
    base.zero_()
    return c(h)


def write_by_activation(c: nn.Module, x: Tensor) -> Any:
    x = x * 1
    h = up(x)
    functional.relu(x, inplace=True)
    return c(h)


def write_by_list(c: nn.Module, x: Tensor) -> Any:
    x = x * 1
    h = up(x)
    torch._foreach_mul_([x.detach()], 2.0)
    return c(h)


def write_into_upsampled(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    h[:, :, ::2] = 0
    return c(h)


def write_into_view_of_upsampled(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    view = h.view(h.shape[0], -1)
    view.mul_(2)
    return c(h)


def write_into_data_of_upsampled(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    h.data.mul_(2)
    return c(h)


def write_by_numpy(c: nn.Module, x: Tensor) -> Any:
    h = up(x.detach())
    h.numpy()[:] *= 2
    return c(h)


def write_into_source_then_follow(c: nn.Module, x: Tensor, *, step: Callable[[Tensor], Tensor]) -> Any:
    x = x * 1
    h = up(x)
    x.mul_(2)
    return c(step(h))


def write_into_skip(c: nn.Module, x: Tensor) -> Any:
    skip = torch.ones_like(up(x[:, :2])) * 1
    h = torch.cat([up(x[:, 2:]), skip], 1)
    skip.zero_()
    return c(h)


def read_before(c: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    h = up(x)
    mean = h.mean()
    return c(h), mean


def read_then_activate(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    mean = h.mean()
    return c(functional.relu(h, inplace=True)) + mean


def reuse_as_skip(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    return h + c(h)


def keep_in_dict(c: nn.Module, x: Tensor) -> dict[str, Any]:
    h = up(x)
    return {"y": c(h), "h": h, "all": [h, (h,)]}


def twice(c: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    h = up(x)
    return c(h), c(functional.relu(h))


def once_each(c: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    return c(x), c(up(x))


def catch_an_error(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    try:
        c(h[:, :3])
    except RuntimeError:
        return c(h)
    raise AssertionError


def without_gradient(c: nn.Module, x: Tensor) -> Any:
    with torch.no_grad():
        h = up(x)
    return c(h) + x.mean()


def read_without_gradient(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    with torch.no_grad():
        scale = h.mean() + h.abs().max()
    return c(h) * scale + (h * h).sum()


def joined(c: nn.Module, x: Tensor) -> Any:
    return c(torch.cat([up(x[:, :2]), up(x[:, :1], scale_factor=2), torch.ones_like(up(x[:, 3:]))], dim=-3))


def joined_scales(c: nn.Module, x: Tensor) -> Any:
    small = x[:, :1, ::2, ::2]
    return c(torch.cat([up(small, size=(4, 6)), x[:, :1], up(small, scale_factor=2), up(small)], 1))


def join_with_read(c: nn.Module, x: Tensor) -> Any:
    read = up(x[:, 3:])
    read.mul_(2)
    return c(torch.cat([up(x[:, :3]), read], 1))


def upsample_after_writing(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    h.mul_(2)
    return c(up(h))


def few_joined(c: nn.Module, x: Tensor) -> Any:
    return c(torch.cat([up(x).cumsum(2).repeat(1, 2, 1, 1)[:, :7], up(x[:, :1])], 1))


def checkpointed(c: nn.Module, x: Tensor, *, use_reentrant: bool) -> Any:
    if not x.requires_grad:
        # it would warn that there is nothing to recompute
        return c(up(x))
    h = torch.utils.checkpoint.checkpoint(c, up(x), use_reentrant=use_reentrant)
    assert isinstance(h, Tensor)
    return h


def named(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    assert h.shape == (*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    assert (h.dtype, h.device, h.ndim, h.dim(), len(h)) == (x.dtype, x.device, 4, 4, len(x))
    assert h.size(2) == 2 * x.size(2)
    assert h.numel() == 4 * x.numel()
    assert h.is_floating_point()
    assert isinstance(h, Tensor)
    return c(h)


def hooked(place: str) -> nn.Module:
    model = chain(nn.Upsample(scale_factor=2))
    seen: list[Tensor] = []

    def change(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        seen.append(output)
        return output * 2 + output.mean()

    if place == "upsampling":
        model[0].register_forward_hook(change)
    elif place == "convolution":
        model[1].register_forward_hook(change)
    elif place == "backward":
        model[1].register_full_backward_hook(lambda module, inputs, outputs: None)
    else:
        model[1].register_forward_pre_hook(lambda module, args: (args[0] * 3,))
    return model


def weight_normed() -> nn.Module:
    model = chain(nn.Upsample(scale_factor=2))
    with pytest.warns(FutureWarning, match="weight_norm"):
        nn.utils.weight_norm(model[1])
    return model


def parametrised() -> nn.Module:
    model = chain(nn.Upsample(scale_factor=2))
    parametrize.register_parametrization(model[1], "weight", Squared())
    return model


def complex_forward(c: nn.Module, x: Tensor) -> Tensor:
    z = torch.complex(x, 2 * x)
    return torch.complex(c(up(z.real)), c(up(z.imag)))


def complex_weight(c: nn.Module, x: Tensor) -> Tensor:
    h = up(x)
    return functional.conv2d(h.to(torch.complex128), torch.ones(1, 4, 1, 1, dtype=torch.complex128)).real


def quantised(c: nn.Module, x: Tensor) -> Any:
    whole = (x * 100).to(torch.uint8)
    return c(up(whole).to(x.dtype))


# build, how many fast convolutions run in evaluation mode, and (part of) the reason why something was left
CASES: dict[str, tuple[Callable[[], nn.Module], int, str | None]] = {
    "module": (lambda: chain(nn.Upsample(scale_factor=2)), 1, None),
    "module_nearest2d": (lambda: chain(nn.UpsamplingNearest2d(scale_factor=2)), 1, None),
    "scale_as_float": (plainly(scale_factor=2.0), 1, None),
    "scale_3": (plainly(scale_factor=3), 1, None),
    "scale_as_pair": (plainly(scale_factor=(2, 2.0)), 1, None),
    "scale_recomputed": (plainly(scale_factor=2.0, recompute_scale_factor=True), 1, None),
    "scale_1": (plainly(scale_factor=1), 0, "it keeps the size"),
    "scale_2_and_1": (plainly(scale_factor=(2, 1)), 0, "rows and columns are upsampled differently, by 2 and 1"),
    "scale_fraction": (plainly(scale_factor=1.5), 0, "scale_factor 1.5 is not whole"),
    "scale_by_size": (plainly(size=(8, 12)), 1, None),
    "size_no_multiple": (plainly(size=(8, 13)), 0, "size (8, 13) is not a multiple of (4, 6)"),
    "size_smaller": (plainly(size=(2, 3)), 0, "size (2, 3) is not a multiple of (4, 6)"),
    "module_by_size": (lambda: chain(nn.Upsample(size=(8, 12))), 1, None),
    "nearest_exact": (plainly(scale_factor=2, mode="nearest-exact"), 1, None),
    "bilinear": (plainly(scale_factor=2, mode="bilinear"), 0, "mode bilinear is not nearest"),
    "module_bilinear": (lambda: chain(nn.UpsamplingBilinear2d(scale_factor=2)), 0, "mode bilinear is not nearest"),
    "bicubic_aligned": (
        plainly(scale_factor=2, mode="bicubic", align_corners=True),
        0,
        "mode bicubic is not nearest",
    ),
    "area": (plainly(scale_factor=2, mode="area"), 0, "mode area is not nearest"),
    "kernel_5": (partial(plainly(scale_factor=2), kernel_size=5, padding=2), 1, None),
    "kernel_1": (partial(plainly(scale_factor=2), kernel_size=1, padding=0), 0, None),
    "kernel_1_then_3": (
        lambda: written(lambda c, x: c(functional.conv2d(up(x), torch.ones(4, 4, 1, 1, dtype=x.dtype)))),
        1,
        None,
    ),
    "kernel_1_to_more_channels": (
        lambda: written(
            lambda c, x: (functional.conv2d(up(x), torch.ones(5, 4, 1, 1, dtype=x.dtype)), c(x)),
        ),
        0,
        "a 1×1 convolution after it would not be faster before it",
    ),
    "kernel_1_of_what_is_read": (
        lambda: written(read_before, kernel_size=1, padding=0),
        0,
        "read by mean; a 1×1 convolution after it would not be faster before it",
    ),
    "kernel_even": (partial(plainly(scale_factor=2), kernel_size=4), 1, None),
    "kernel_not_square": (partial(plainly(scale_factor=2), kernel_size=(3, 5), padding=(1, 2)), 0, "not square"),
    "padding_same": (partial(plainly(scale_factor=2), padding="same"), 1, None),
    "padding_none": (partial(plainly(scale_factor=2), padding=0), 1, None),
    "padding_valid": (partial(plainly(scale_factor=2), padding="valid"), 1, None),
    "padding_uneven": (partial(plainly(scale_factor=2), padding=(1, 0)), 1, None),
    "padding_reflect": (partial(plainly(scale_factor=2), padding_mode="reflect"), 1, None),
    "padding_replicate_5": (
        partial(plainly(scale_factor=2), kernel_size=5, padding=2, padding_mode="replicate"),
        1,
        None,
    ),
    "padding_reflect_5": (
        partial(plainly(scale_factor=2), kernel_size=5, padding=2, padding_mode="reflect"),
        0,
        "reaches beyond",
    ),
    "padding_circular": (
        partial(plainly(scale_factor=2), padding_mode="circular"),
        1,
        None,
    ),
    "padded_by_module": (lambda: chain(nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), padding=0), 1, None),
    "padded_by_zeros": (lambda: chain(nn.Upsample(scale_factor=2), nn.ZeroPad2d(1), padding=0), 1, None),
    "padded_by_one": (
        lambda: chain(nn.Upsample(scale_factor=2), nn.ConstantPad2d(1, 1.0), padding=0),
        0,
        "padding mode constant",
    ),
    "padded_unevenly": (
        lambda: chain(nn.Upsample(scale_factor=2), nn.ZeroPad2d((0, 1, 0, 1)), padding=1),
        1,
        None,
    ),
    "padded_twice": (
        lambda: chain(nn.Upsample(scale_factor=2), nn.ReplicationPad2d(1), kernel_size=5),
        0,
        "padded twice",
    ),
    "padded_twice_by_zeros": (lambda: chain(nn.Upsample(scale_factor=2), nn.ZeroPad2d(1), kernel_size=5), 1, None),
    "padded_by_nothing": (lambda: upsample_then(lambda h: functional.pad(h, [0, 0, 0, 0])), 1, None),
    "cropped": (
        lambda: upsample_then(lambda h: functional.pad(h, [-1, -1, -1, -1])),
        0,
        "padding (-1, -1, -1, -1) crops",
    ),
    "upsampled_after_padding": (
        lambda: chain(nn.Upsample(scale_factor=2), nn.ZeroPad2d(1), nn.Upsample(scale_factor=2)),
        1,
        None,
    ),
    "upsampled_twice": (lambda: chain(nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=3)), 1, None),
    "upsampled_too_much": (lambda: chain(nn.Upsample(scale_factor=8), nn.Upsample(scale_factor=5)), 1, None),
    "stride": (partial(plainly(scale_factor=2), stride=2), 0, "stride (2, 2) is not 1"),
    "dilation": (partial(plainly(scale_factor=2), dilation=2, padding=2), 0, "dilation (2, 2) is not 1"),
    "groups": (partial(plainly(scale_factor=2), groups=2), 1, None),
    "depthwise": (partial(plainly(scale_factor=2), groups=4), 1, None),
    "without_bias": (partial(plainly(scale_factor=2), bias=False), 1, None),
    "relu_between": (lambda: chain(nn.Upsample(scale_factor=2), nn.ReLU()), 1, None),
    "relu_between_in_place": (lambda: chain(nn.Upsample(scale_factor=2), nn.ReLU(inplace=True)), 1, None),
    "relu_in_place_function": (lambda: upsample_then(lambda h: functional.relu(h, inplace=True)), 1, None),
    "relu_in_place_method": (lambda: upsample_then(lambda h: h.relu_()), 1, None),
    "gelu_between": (lambda: upsample_then(functional.gelu), 1, None),
    "relu_in_place_after_reading": (lambda: written(read_then_activate), 0, "read by mean"),
    "softmax_between": (lambda: upsample_then(lambda h: h.softmax(1)), 0, "read by softmax"),
    "relu_after_padding": (
        lambda: chain(nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Sigmoid(), padding=0),
        0,
        "sigmoid",
    ),
    "dropout_between": (lambda: chain(nn.Upsample(scale_factor=2), nn.Dropout2d(0.5)), 1, None),
    "batch_norm_between": (lambda: chain(nn.Upsample(scale_factor=2), nn.BatchNorm2d(4)), 1, None),
    "batch_norm_of_batches": (
        lambda: chain(nn.Upsample(scale_factor=2), nn.BatchNorm2d(4, track_running_stats=False)),
        0,
        "read by batch_norm",
    ),
    "group_norm_between": (
        lambda: chain(nn.Upsample(scale_factor=2), nn.GroupNorm(2, 4)),
        0,
        "read by group_norm",
    ),
    "prelu_between": (lambda: chain(nn.Upsample(scale_factor=2), nn.PReLU()), 1, None),
    "prelu_for_each_channel": (lambda: chain(nn.Upsample(scale_factor=2), nn.PReLU(4)), 1, None),
    "scaled": (lambda: upsample_then(lambda h: 3 * h / 2 - 1 + 2 * (1 - h)), 1, None),
    "scaled_by_numbers": (lambda: upsample_then(lambda h: 1 - torch.add(3 * h / 2, 1, alpha=2)), 1, None),
    "scaled_by_channel": (
        lambda: written(lambda c, x: c(up(x) * x.mean((2, 3), keepdim=True) + x.mean())),
        1,
        None,
    ),
    "scaled_in_place": (lambda: upsample_then(lambda h: h.mul_(2)), 1, None),
    "scaled_by_pixel": (lambda: written(lambda c, x: c(up(x) * up(x)[:, :1])), 0, "read by mul"),
    "scaled_by_row": (lambda: upsample_then(lambda h: h * torch.ones(8, 1, dtype=h.dtype)), 0, "read by mul"),
    "scaled_by_integers": (
        lambda: upsample_then(lambda h: h * torch.ones(4, 1, 1, dtype=torch.int64)),
        0,
        "read by mul",
    ),
    "scaled_after_padding": (
        lambda: chain(nn.Upsample(scale_factor=2), nn.ZeroPad2d(1), Doubled(), padding=0),
        0,
        "mul comes after the padding",
    ),
    "divided_by": (lambda: upsample_then(lambda h: 1 / (2 + h)), 1, None),
    "rounded": (lambda: upsample_then(lambda h: torch.div(h, 2, rounding_mode="floor")), 0, "read by div"),
    "squeezed_and_excited": (lambda: written(squeeze_and_excite), 1, None),
    "joined_scaled": (
        lambda: written(
            lambda c, x: c(torch.cat([up(x[:, :3]), x.new_ones(2, 1, 8, 12)], 1) * x.mean((2, 3))[..., None, None])
        ),
        1,
        None,
    ),
    "joined_normalised": (
        lambda: Joining(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)),
        1,
        None,
    ),
    "joined_bent": (lambda: Joining(nn.PReLU(4), nn.Conv2d(4, 4, 3, padding=1)), 1, None),
    "cast_between": (
        lambda: upsample_then(
            lambda h: h.to(torch.float32).double() if h.dtype == torch.float64 else h.double().float()
        ),
        1,
        None,
    ),
    "contiguous_between": (
        lambda: upsample_then(lambda h: h.contiguous(memory_format=torch.channels_last).contiguous()),
        1,
        None,
    ),
    "contiguous_already": (lambda: upsample_then(lambda h: h.contiguous()), 1, None),
    "cloned_between": (lambda: upsample_then(lambda h: h.clone()), 0, "read by clone"),
    "permuted_between": (lambda: upsample_then(lambda h: h.mT.mT), 0, "read by __get__"),
    "functional_convolution": (
        lambda: written(lambda c, x: functional.conv2d(weight=c.weight, input=up(x), padding=1)),
        1,
        None,
    ),
    "strange_arguments": (
        lambda: written(lambda c, x: torch.conv2d(up(x), c.weight, c.bias, (1,), [1, 1])),
        1,
        None,
    ),
    "convolution_of_upsampled_weight": (
        lambda: written(lambda c, x: functional.conv2d(x, up(x[:1, :, :2, :2])[:, :, :3, :3])),
        0,
        "read by __getitem__",
    ),
    "shared_upsampling": (Shared, 2, None),
    "shared_convolution": (lambda: written(once_each), 1, None),
    "two_readers": (lambda: written(twice), 2, None),
    "reused_as_skip": (lambda: written(reuse_as_skip), 1, None),
    "read_before": (lambda: written(read_before), 1, None),
    "returned_too": (lambda: written(keep_in_dict), 1, None),
    "subclass_of_conv": (lambda: nn.Sequential(nn.Upsample(scale_factor=2), Scaled(4, 4, 3, padding=1)), 1, None),
    "hook_on_upsampling": (lambda: hooked("upsampling"), 1, None),
    "hook_on_convolution": (lambda: hooked("convolution"), 1, None),
    "backward_hook_on_convolution": (lambda: hooked("backward"), 1, None),
    "pre_hook_on_convolution": (lambda: hooked("before"), 1, None),
    "weight_norm": (weight_normed, 1, None),
    "spectral_norm": (
        lambda: nn.Sequential(
            nn.Upsample(scale_factor=2), parametrizations.spectral_norm(nn.Conv2d(4, 4, 3, padding=1))
        ),
        1,
        None,
    ),
    "parametrised": (parametrised, 1, None),
    "lazy_convolution": (
        lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.LazyConv2d(4, 3, padding=1)),
        1,
        None,
    ),
    "written_source": (lambda: written(write_into_source), 0, "read by mul_"),
    "written_source_then_activated": (
        lambda: written(partial(write_into_source_then_follow, step=functional.relu)),
        0,
        "read by mul_",
    ),
    "written_source_then_scaled": (
        lambda: written(partial(write_into_source_then_follow, step=lambda h: h * 2)),
        0,
        "read by mul_",
    ),
    "written_source_then_upsampled": (
        lambda: written(partial(write_into_source_then_follow, step=up)),
        1,
        None,
    ),
    "written_source_then_joined": (
        lambda: written(partial(write_into_source_then_follow, step=lambda h: torch.cat([h[:, :2], h[:, 2:]], 1))),
        0,
        "read by mul_",
    ),
    "written_view_of_source": (lambda: written(write_into_view_of_source), 0, "read by add_"),
    "written_base_of_source": (lambda: written(write_into_base_of_source), 0, "read by zero_"),
    "written_source_by_activation": (lambda: written(write_by_activation), 0, "read by relu"),
    "written_source_by_list": (lambda: written(write_by_list), 0, "read by _foreach_mul_"),
    "written_upsampled": (lambda: written(write_into_upsampled), 0, "read by __setitem__"),
    "written_view_of_upsampled": (lambda: written(write_into_view_of_upsampled), 0, "read by view"),
    "written_data_of_upsampled": (lambda: written(write_into_data_of_upsampled), 0, "read by __get__"),
    "written_by_numpy": (lambda: written(write_by_numpy), 0, "read by numpy"),
    "written_skip": (lambda: written(write_into_skip), 0, "read by zero_"),
    "joined": (lambda: written(joined), 1, None),
    "joined_scales": (lambda: written(joined_scales), 2, None),
    "joined_few": (
        lambda: Written(few_joined, nn.Conv2d(8, 4, 3, padding=1)),
        0,
        "only 1 of its 8 channels are upsampled",
    ),
    "joined_along_rows": (lambda: written(lambda c, x: c(torch.cat([up(x), up(x)], 2))), 0, "read by cat"),
    "joined_in_groups": (
        lambda: written(lambda c, x: c(torch.cat([up(x[:, :2]), up(x[:, 2:])], 1)), groups=2),
        1,
        None,
    ),
    "joined_with_padded": (
        lambda: written(
            lambda c, x: c(
                torch.cat([functional.pad(up(x[:, :2]), [1] * 4), torch.ones(2, 2, 10, 14, dtype=x.dtype)], 1)
            )
        ),
        0,
        "read by cat",
    ),
    "joined_with_read": (lambda: written(join_with_read), 1, None),
    "joined_with_integers": (
        lambda: written(lambda c, x: c(torch.cat([up(x[:, :3]), torch.ones(2, 1, 8, 12, dtype=torch.int64)], 1))),
        0,
        "joined with something that is not an ordinary image",
    ),
    "joined_with_a_signal": (
        lambda: written(lambda c, x: (c(x), torch.cat([up(x), x.new_ones(0)], 1))),
        0,
        "joined with something that is not an ordinary image",
    ),
    "weight_that_is_computed": (
        lambda: written(
            lambda c, x: functional.conv2d(up(x), up(c.weight[:, :, :1, :1], scale_factor=3), padding=1)
        ),
        0,
        "read by conv2d",
    ),
    "upsampled_as_dict": (
        lambda: written(lambda c, x: c(torch.utils._pytree.tree_map(torch.relu, {"h": up(x)})["h"])),
        1,
        None,
    ),
    "joined_signals": (
        lambda: written(lambda c, x: (c(x), torch.cat([up(x).flatten(2), x.flatten(2)], -1))),
        0,
        "read by flatten",
    ),
    "joined_precisions": (
        lambda: written(
            lambda c, x: c(torch.cat([up(x[:, :3]), torch.ones(2, 1, 8, 12, dtype=torch.float16)], 1))
        ),
        1,
        None,
    ),
    "joined_one_by_one": (
        lambda: written(
            lambda c, x: c(torch.cat([up(x[:, :3]), torch.ones_like(up(x[:, 3:]))], 1)), kernel_size=1, padding=0
        ),
        0,
        "a 1×1 convolution after it would not be faster before it",
    ),
    "joined_one_by_one_to_fewer": (
        lambda: Written(
            lambda c, x: c(torch.cat([up(x[:, :3]), torch.ones_like(up(x[:, 3:]))], 1)), nn.Conv2d(4, 3, 1)
        ),
        0,
        None,
    ),
    "upsampled_after_writing": (lambda: written(upsample_after_writing), 1, None),
    "cast_to_integers": (lambda: upsample_then(lambda h: h.to(torch.int64).to(h.dtype)), 0, "read by to"),
    "activation_of_two": (lambda: upsample_then(lambda h: torch.where(h > 0, h, 0 * h)), 0, "read by gt"),
    "stacked": (lambda: written(lambda c, x: c(torch.stack([up(x), up(x)]).sum(0))), 0, "read by stack"),
    "error_inside": (lambda: written(catch_an_error), 1, None),
    "without_gradient": (lambda: written(without_gradient), 1, None),
    "read_without_gradient": (lambda: written(read_without_gradient), 1, None),
    "checkpointed": (lambda: written(partial(checkpointed, use_reentrant=False)), 1, None),
    "checkpointed_reentrant": (lambda: written(partial(checkpointed, use_reentrant=True)), 1, None),
    "asked_for_its_shape": (lambda: written(named), 1, None),
    "custom_function": (lambda: upsample_then(Upsampled.apply), 1, None),
    "custom_function_of_a_followed_one": (lambda: upsample_then(Bent.apply), 1, None),
    "custom_function_read_before": (lambda: written(bend_and_read), 2, None),
    "complex_forward": (lambda: written(complex_forward), 2, None),
    "complex_weight": (lambda: written(complex_weight), 0, "read by to"),
    "integers": (lambda: written(quantised), 0, "not an ordinary tensor of floating-point numbers"),
    "one_dimension": (
        lambda: written(lambda c, x: c(up(x.flatten(2)).view(2, 4, 4, -1))),
        0,
        "read by view",
    ),
    "three_dimensions": (lambda: written(lambda c, x: c(up(x[..., None]).flatten(3))), 0, "read by flatten"),
    "unused": (lambda: written(lambda c, x: (c(x), up(x))[0]), 0, "nothing reads its output"),
    "returned": (lambda: written(lambda c, x: (c(x), up(x))), 0, "the model returns or keeps its output"),
    "called_without_call": (lambda: written(lambda c, x: c.forward(up(x))), 1, None),
}
over_cases = pytest.mark.parametrize("name", CASES)


def build(name: str, dtype: torch.dtype) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return CASES[name][0]().to(dtype).eval(), torch.randn(2, 4, 4, 6, dtype=dtype)


@over_cases
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_exact_or_left_alone_with_the_reason(
    name: str, dtype: torch.dtype, fast_calls: list[tuple[int, ...]]
) -> None:
    model, x = build(name, dtype)
    report = fuse(model, x)
    _, expected_calls, reason = CASES[name]
    fast_calls.clear()
    assert run_both(model, report.model, x) <= LIMITS[dtype]
    assert len(fast_calls) == expected_calls
    assert (report.model is model) == (not report.changed)
    if reason is None:
        assert report.changed
        if name not in {"kernel_1", "kernel_1_then_3", "joined_one_by_one_to_fewer"}:
            assert expected_calls
    else:
        assert any(reason in left.reason for left in report.left), report
        assert reason in str(report)


@pytest.mark.parametrize("name", [name for name in CASES if name != "checkpointed_reentrant"])
def test_gradients_are_the_same(name: str) -> None:
    model, x = build(name, torch.float64)
    # the model itself is in training mode: dropout draws, and the lazy one is no longer lazy
    with torch.no_grad():
        model(x)
    fused = fuse(model, x).model
    # one of them computes in between in float32
    assert differentiate_both(model, fused, x) <= (1e-6 if name == "cast_between" else 1e-9)


@over_cases
def test_without_an_example_it_is_exact_too(name: str) -> None:
    model, x = build(name, torch.float64)
    with torch.no_grad():
        model(x)
    fused = fuse(model).model
    assert run_both(model, fused, x) <= 1e-10


@pytest.mark.parametrize("name", [name for name in CASES if "norm" not in name and "lazy" not in name])
def test_in_training_mode_it_is_exact_too(name: str) -> None:
    model, x = build(name, torch.float64)
    fused = fuse(model, x).model
    assert run_both(model.train(), fused.train(), x) <= 1e-10


@over_cases
def test_in_inference_mode_it_is_exact_too(name: str) -> None:
    model, x = build(name, torch.float64)
    fused = fuse(model, x).model
    with torch.inference_mode():
        assert run_both(model, fused, x) <= 1e-10


def switch_on(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    with torch.enable_grad():
        return c(h)


def switch_on_after_activation(c: nn.Module, x: Tensor) -> Any:
    h = torch.relu(up(x))
    with torch.enable_grad():
        return c(h)


def switch_on_then_join(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    with torch.enable_grad():
        return c(h + up(x))


@pytest.mark.parametrize("forward", [switch_on, switch_on_after_activation, switch_on_then_join])
@pytest.mark.parametrize("conv", [{}, {"kernel_size": 1, "padding": 0}], ids=["k3", "k1"])
@pytest.mark.parametrize("is_training", [True, False])
def test_gradients_that_are_switched_on_in_inference_mode_are_none(
    forward: Forward, is_training: bool, conv: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    model, x = written(forward, **conv).double().train(is_training), torch.randn(1, 4, 6, 5, dtype=torch.float64)
    fused = fuse(model, x).model
    with torch.inference_mode():
        assert run_both(model, fused, x) <= 1e-10
        expected, found = model(x), fused(x)
    assert (found.requires_grad, found.is_inference()) == (expected.requires_grad, expected.is_inference())
    assert not found.requires_grad
