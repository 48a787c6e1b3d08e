"""The networks of the trial's table: decoders, heads and vocoders with their channels in use, and random weights.

Images are smaller than in use, so that a trial ends within minutes: what is upsampled, and by what, is the same.
The packages are imported only when a network is built.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.fusion_architectures import Call
from bench.fusion_networks import NETWORKS, TrialNetwork, import_package


def _build_decoder(kind: str, **config: Any) -> nn.Module:
    """Build an autoencoder that only decodes: as its package calls it, with its defaults, without the encoder."""
    model: Any = getattr(import_package("diffusers", "diffusers"), kind)(**config)
    # nothing of it runs, and it would be copied with the rest
    model.encoder = nn.Identity()
    return Call(model, lambda model, z: model.decode(z, return_dict=False)[0])


class _SegmentationHead(nn.Module):
    """The head of SegFormer, but with nearest-neighbour upsampling of the four maps that are joined and convolved.

    Channels are those of its smallest encoder (MiT-B0).
    """

    def __init__(
        self, channels: tuple[int, ...] = (32, 64, 160, 256), width: int = 256, classes: int = 150
    ) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.conv = nn.Conv2d(len(channels) * width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, *maps: Tensor) -> Tensor:
        size = maps[0].shape[2:]
        projected = [project(x) for project, x in zip(self.projections, maps, strict=True)]
        ups = [functional.interpolate(x, size=size, mode="nearest") for x in projected[1:]]
        y: Tensor = self.conv(torch.cat([projected[0], *ups], dim=1))
        scores: Tensor = self.classifier(torch.relu(self.norm(y)))
        return scores


def _build_mask_decoder() -> nn.Module:
    """Build the mask decoder of Segment Anything, as it is configured for all its encoders."""
    config = import_package("transformers", "transformers").SamMaskDecoderConfig()
    config._attn_implementation = "eager"

    def decode(model: Any, x: Tensor) -> Any:
        return model(
            image_embeddings=x,
            image_positional_embeddings=torch.ones_like(x),
            sparse_prompt_embeddings=x.new_ones(len(x), 1, 2, x.shape[1]),
            dense_prompt_embeddings=torch.zeros_like(x),
            multimask_output=True,
        )[0]

    modeling = import_package("transformers.models.sam.modeling_sam", "transformers")
    return Call(modeling.SamMaskDecoder(config), decode)


def _build_vocoder() -> nn.Module:
    """Build HiFi-GAN, as SpeechT5 has it."""
    package = import_package("transformers", "transformers")
    model: nn.Module = package.SpeechT5HifiGan(package.SpeechT5HifiGanConfig())
    return model


def _build_monai(kind: str, *sizes: Any, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        model: nn.Module = getattr(import_package("monai.networks.nets", "monai"), kind)(*sizes, **options)
        return model

    return build


TABLE: Mapping[str, TrialNetwork] = {
    "autoencoder": NETWORKS["autoencoder"],
    "flux2": TrialNetwork(
        build=lambda: _build_decoder("AutoencoderKLFlux2"),
        shape=(1, 32, 16, 16),
        title="decoder of FLUX.2, `AutoencoderKLFlux2`",
    ),
    "wan": TrialNetwork(
        build=lambda: _build_decoder("AutoencoderKLWan"),
        shape=(1, 16, 2, 8, 8),
        title="decoder of Wan, `AutoencoderKLWan`, 5 frames",
    ),
    "qwen_image": TrialNetwork(
        build=lambda: _build_decoder("AutoencoderKLQwenImage"),
        shape=(1, 16, 1, 12, 12),
        title="decoder of Qwen-Image, `AutoencoderKLQwenImage`",
    ),
    "flexible_unet": TrialNetwork(
        build=_build_monai(
            *("FlexibleUNet", 3, 2, "resnet18"),
            decoder_channels=(256, 128, 64, 32, 16),
            spatial_dims=2,
            upsample="nontrainable",
        ),
        shape=(1, 3, 256, 256),
        title="U-Net, ResNet-18 and nearest (monai's `FlexibleUNet`)",
    ),
    "segformer_head": TrialNetwork(
        build=_SegmentationHead,
        shape=(1, 32, 128, 128),
        further_shapes=((1, 64, 64, 64), (1, 160, 32, 32), (1, 256, 16, 16)),
        title="SegFormer-like head, nearest",
    ),
    "transformation": NETWORKS["transformation"],
    "transformation_training": NETWORKS["transformation_training"],
    "sam": TrialNetwork(
        build=_build_mask_decoder, shape=(1, 256, 64, 64), title="mask decoder of Segment Anything (transposed)"
    ),
    "dynunet": TrialNetwork(
        build=_build_monai(
            *("DynUNet", 2, 1, 3),
            kernel_size=[3] * 6,
            strides=[1, *[2] * 5],
            upsample_kernel_size=[2] * 5,
            filters=[32, 64, 128, 256, 512, 512],
        ),
        shape=(1, 1, 256, 256),
        title="nnU-Net (monai's `DynUNet`; transposed)",
    ),
    "hifigan": TrialNetwork(
        build=_build_vocoder, shape=(100, 80), title="HiFi-GAN of SpeechT5 (transposed, one axis)"
    ),
}
