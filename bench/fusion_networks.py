"""Networks that people have, for a trial of `fuse`: from other packages, with random weights, in evaluation mode.

The packages are not dependencies of this one and are imported only when a network is built. Times nothing.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.errors import UnsupportedError


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialNetwork:
    """A network and its input.

    Parameters
    ----------
    build : callable
        Makes it.
    shape : tuple of int
        Of its input.
    further_shapes : tuple of tuple of int
        Of inputs beside it.
    is_small : bool
        Whether its gradients are compared too, in double precision.
    is_trained : bool
        Whether a training step is timed, and not inference.
    title : str
        What a table calls it, in Markdown; empty for its name.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    further_shapes: tuple[tuple[int, ...], ...] = ()
    is_small: bool = False
    is_trained: bool = False
    title: str = ""

    def make_input(self) -> tuple[Tensor, ...]:
        """Draw its inputs."""
        return tuple(torch.randn(shape) for shape in (self.shape, *self.further_shapes))


def import_package(module: str, package: str) -> Any:
    """Import a module of a package that may not be there.

    Parameters
    ----------
    module : str
        Its name.
    package : str
        What is to be installed for it.

    Raises
    ------
    UnsupportedError
        If it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnsupportedError(
            f"the package {package} cannot be imported ({error}): pip install {package}"
        ) from error


def _build_autoencoder(*widths: int) -> nn.Module:
    """Build the decoder of latent diffusion; with (128, 256, 512, 512) that of Stable Diffusion."""
    model: Any = import_package("diffusers", "diffusers").AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=2,
        latent_channels=4,
    )
    decoder: nn.Module = model.decoder
    return decoder


def _build_tiny_autoencoder() -> nn.Module:
    decoder: nn.Module = import_package("diffusers", "diffusers").AutoencoderTiny().decoder
    return decoder


def _build_segmentation(kind: str) -> nn.Module:
    module = import_package("segmentation_models_pytorch", "segmentation-models-pytorch")
    model: nn.Module = getattr(module, kind)("resnet18", encoder_weights=None)
    return model


class _PaddedConv(nn.Module):
    """Upsample, pad by reflection, convolve."""

    def __init__(self, channels: int, out_channels: int, size: int, stride: int = 1, scale: int = 1) -> None:
        super().__init__()
        self.scale = scale
        self.pad = nn.ReflectionPad2d(size // 2)
        self.conv = nn.Conv2d(channels, out_channels, size, stride)

    def forward(self, x: Tensor) -> Tensor:
        if self.scale > 1:
            x = functional.interpolate(x, mode="nearest", scale_factor=self.scale)
        y: Tensor = self.conv(self.pad(x))
        return y


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_make_stage(channels, channels, 3), *_make_stage(channels, channels, 3)[:2])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x) + x
        return y


def _make_stage(channels: int, out_channels: int, size: int, **options: int) -> tuple[nn.Module, ...]:
    conv = _PaddedConv(channels, out_channels, size, **options)
    return conv, nn.InstanceNorm2d(out_channels, affine=True), nn.ReLU()


def _build_transformation() -> nn.Module:
    """Build the article's network for style transfer, as pytorch/examples has it (fast_neural_style)."""
    return nn.Sequential(
        *_make_stage(3, 32, 9),
        *_make_stage(32, 64, 3, stride=2),
        *_make_stage(64, 128, 3, stride=2),
        *(_Residual(128) for _ in range(5)),
        *_make_stage(128, 64, 3, scale=2),
        *_make_stage(64, 32, 3, scale=2),
        _PaddedConv(32, 3, 9),
    )


NETWORKS: Mapping[str, TrialNetwork] = {
    "autoencoder": TrialNetwork(
        build=lambda: _build_autoencoder(128, 256, 512, 512),
        shape=(1, 4, 16, 16),
        title="decoder of diffusers' `AutoencoderKL`",
    ),
    "small_autoencoder": TrialNetwork(
        build=lambda: _build_autoencoder(32, 64, 128), shape=(1, 4, 16, 16), is_small=True
    ),
    "tiny_autoencoder": TrialNetwork(build=_build_tiny_autoencoder, shape=(1, 4, 32, 32)),
    "unet": TrialNetwork(build=lambda: _build_segmentation("Unet"), shape=(1, 3, 256, 256)),
    "unet_plus_plus": TrialNetwork(build=lambda: _build_segmentation("UnetPlusPlus"), shape=(1, 3, 256, 256)),
    "manet": TrialNetwork(build=lambda: _build_segmentation("MAnet"), shape=(1, 3, 256, 256)),
    "fpn": TrialNetwork(build=lambda: _build_segmentation("FPN"), shape=(1, 3, 256, 256)),
    "linknet": TrialNetwork(build=lambda: _build_segmentation("Linknet"), shape=(1, 3, 256, 256)),
    "transformation": TrialNetwork(
        build=_build_transformation, shape=(1, 3, 256, 256), title="the article's transformation network"
    ),
    "transformation_training": TrialNetwork(
        build=_build_transformation,
        shape=(1, 3, 256, 256),
        is_small=True,
        is_trained=True,
        title="the same, a training step",
    ),
}
