"""The plain form, as people write it, which every fast form must equal; and what to try it with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.dlpack import from_dlpack

from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast.forms import Geometry, prepare, run

FORMS = ("transposed", "subpixel", "minimal", "tiled")
# what the minimal forms need no copy of, and what torch stores the channels last of
LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}


def _assign_twice(weight: Tensor) -> None:
    # the second time at the address that the first had
    weight.data = weight.data * 2
    weight.data = weight.data / 4


def _step_fused(weight: Tensor) -> None:
    with torch.no_grad():
        weight.grad = torch.ones_like(weight)
        torch.optim.Adam([weight], lr=0.1, fused=True).step()
        weight.grad = None


def _vector_twice(weight: Tensor) -> None:
    for factor in (2, 0.25):
        nn.utils.vector_to_parameters(factor * nn.utils.parameters_to_vector([weight]).detach(), [weight])


def _swap_channels(weight: Tensor) -> None:
    weight.data[:2] = weight.data[:2].flip(0)


def _swap(weight: Tensor) -> None:
    torch.utils.swap_tensors(weight, nn.Parameter(2 * weight.detach()))  # type: ignore[no-untyped-call] # torch has no types here


def _write_one(weight: Tensor) -> None:
    weight.detach().numpy()[1, 1, 1, 1] *= -1


def _average(weight: Tensor) -> None:
    torch._foreach_lerp_([weight.data], [weight.data + 1], 1e-4)


# changes of a weight that torch's version counter, its address or both may miss
UNSEEN: dict[str, Callable[[Any], object]] = {
    "data assigned twice": _assign_twice,
    "vector_to_parameters twice": _vector_twice,
    "fused optimizer": _step_fused,
    "data written": lambda weight: weight.data.mul_(2),
    "channels swapped": _swap_channels,
    "one value through numpy": _write_one,
    "one value through DLPack": lambda weight: from_dlpack(weight.detach())[0, 0].neg_(),
    "set": lambda weight: torch.no_grad()(weight.set_)(2 * weight.detach()),
    "data copied by storage": lambda weight: weight.untyped_storage().copy_((-weight.detach()).untyped_storage()),
    "moving average": _average,
    "negated for each": lambda weight: torch._foreach_neg_([weight.data]),
    "NaN": lambda weight: weight.data[0].fill_(torch.nan),
    "swapped": _swap,
}

over_forms = pytest.mark.parametrize("form", FORMS)
over_layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A resize-convolution in one of its forms."""

    form: str
    kernel_size: int = 3
    scale_factor: int = 2
    groups: int = 1
    bias: bool = True
    padding_mode: Literal["zeros", "reflect", "replicate"] = "zeros"

    @property
    def id(self) -> str:
        words = [self.form, f"k{self.kernel_size}", f"s{self.scale_factor}"]
        if self.groups > 1:
            words.append(f"g{self.groups}")
        if not self.bias:
            words.append("nobias")
        if self.padding_mode != "zeros":
            words.append(self.padding_mode)
        return "-".join(words)

    @property
    def is_possible(self) -> bool:
        if self.form == "tiled" and (self.kernel_size, self.scale_factor) != (3, 2):
            return False
        return self.padding_mode != "reflect" or (self.kernel_size - 1) // 2 < self.scale_factor

    def make_conv(self, in_channels: int = 4, out_channels: int = 6, seed: int = 0) -> nn.Conv2d:
        """Make the convolution, in float64."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nn.Conv2d(
                in_channels,
                out_channels,
                self.kernel_size,
                padding=(self.kernel_size - 1) // 2,
                groups=self.groups,
                bias=self.bias,
                padding_mode=self.padding_mode,
                dtype=torch.float64,
            )

    def make(self, conv: nn.Conv2d) -> ResizeConv2d:
        return ResizeConv2d.from_conv(conv, self.scale_factor, self.form)

    def run_plain(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        upsampled = functional.interpolate(x, scale_factor=self.scale_factor, mode="nearest")
        y: Tensor = conv(upsampled)
        return y

    @property
    def geometry(self) -> Geometry:
        """What the forms know of it; where reflection is exact, it is replication."""
        return Geometry(
            kernel_size=self.kernel_size,
            scale_factor=self.scale_factor,
            groups=self.groups,
            padding_mode="zeros" if self.padding_mode == "zeros" else "replicate",
        )

    def run_form(self, conv: nn.Conv2d, x: Tensor, *, is_prepared: bool = False) -> Tensor:
        """Run the form itself, without the layer around it."""
        prepared = prepare(self.form, conv.weight, self.geometry, x.dtype) if is_prepared else None
        return run(self.form, x, conv.weight, prepared, conv.bias, self.geometry)


def over(layers: list[Layer]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("layer", [pytest.param(layer, id=layer.id) for layer in layers])


def make_plain(layer: ResizeConv2d) -> nn.Sequential:
    """Build the plain form with a copy of the parameters."""
    conv = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        padding=layer.kernel_size // 2,
        groups=layer.groups,
        bias=layer.bias is not None,
        dtype=layer.weight.dtype,
    )
    conv.load_state_dict(layer.state_dict())
    return nn.Sequential(nn.Upsample(scale_factor=layer.scale_factor), conv)


def assert_plain(layer: ResizeConv2d, x: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(layer(x), make_plain(layer)(x), rtol=0, atol=1e-12)


def make_layer(form: str = "auto", **options: Any) -> ResizeConv2d:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ResizeConv2d(4, 6, implementation=form, **{"dtype": torch.float64, **options})


def draw(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def measure_error(found: Tensor, expected: Tensor) -> float:
    """Largest error in units of the largest value."""
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max())


@contextmanager
def filled_memory() -> Iterator[None]:
    """Fill whatever torch allocates without a value with NaN, so that reading it is noticed."""
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined] # made at import
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
