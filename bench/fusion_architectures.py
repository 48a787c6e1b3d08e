"""Tiny networks of the architectures that people use, from other packages, with random weights.

The packages are not dependencies of this one and are imported only when a network is built. Runs nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench.fusion_networks import import_package

_ENCODER, _DECODER = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2
_WIDTHS = (32, 32)
_SIDES = {"down_block_types": _ENCODER, "up_block_types": _DECODER}
_UNET: dict[str, Any] = {"block_out_channels": _WIDTHS, "layers_per_block": 1, "norm_num_groups": 8}
_FOUR = {"hidden_sizes": [16] * 4, "depths": [1] * 4}
_STAGES = {**_FOUR, "embedding_size": 16, "layer_type": "basic"}
_SEGFORMER = {**_FOUR, "num_attention_heads": [1, 1, 2, 2], "decoder_hidden_size": 16}
_MONAI: dict[str, Any] = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A network and its input.

    Parameters
    ----------
    build : callable
        Makes it.
    shape : tuple of int
        Of one image; the last axis may be longer.
    further : mapping of str to Tensor
        What it takes beside the image, for one image each.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    further: tuple[Tensor, ...] = field(default=())

    def make_input(self, batch: int, times: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Draw an input.

        Parameters
        ----------
        batch : int
            Number N of images.
        times : int
            How many times as wide as `shape` they are.
        dtype : torch.dtype
            Of the numbers that are not counts.
        """
        *sides, width = self.shape
        image = torch.randn(batch, *sides, width * times, generator=torch.Generator().manual_seed(batch))
        repeated = [value.expand(batch, *value.shape) for value in self.further]
        return tuple(tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in (image, *repeated))


class Call(nn.Module):
    """A call of a model in the way of its package, as a module that takes and answers with tensors.

    Parameters
    ----------
    model : nn.Module
        The model.
    call : callable
        Of the model and the inputs.
    """

    def __init__(self, model: nn.Module, call: Callable[..., Any]) -> None:
        super().__init__()
        self.model, self.call = model, call

    def forward(self, *inputs: Tensor) -> Any:
        """Call the model."""
        return self.call(self.model, *inputs)


def _diffusers(kind: str, shape: tuple[int, ...], **config: Any) -> Architecture:
    """Describe the decoder of an autoencoder."""

    def decode(model: Any, z: Tensor) -> Any:
        return model.decode(z, return_dict=False)[0]

    return Architecture(
        build=lambda: Call(getattr(import_package("diffusers", "diffusers"), kind)(**config), decode), shape=shape
    )


def _temporal_decoder() -> nn.Module:
    kind = import_package("diffusers", "diffusers").AutoencoderKLTemporalDecoder
    model = kind(block_out_channels=_WIDTHS, down_block_types=_ENCODER)
    return Call(model, lambda model, z: model.decode(z, num_frames=1, return_dict=False)[0])


def _denoiser(kind: str, shape: tuple[int, ...], suffix: str, *, is_conditional: bool = True) -> Architecture:
    """Describe a U-Net of diffusion."""
    config = {
        **_UNET,
        "down_block_types": (f"DownBlock{suffix}",) * 2,
        "up_block_types": (f"UpBlock{suffix}",) * 2,
    }
    further: tuple[Tensor, ...] = (torch.tensor(3),)
    if is_conditional:
        blocks = (
            (f"CrossAttnDownBlock{suffix}", f"DownBlock{suffix}"),
            (f"UpBlock{suffix}", f"CrossAttnUpBlock{suffix}"),
        )
        config |= {"down_block_types": blocks[0], "up_block_types": blocks[1]}
        config |= {"cross_attention_dim": 16, "attention_head_dim": 8}
        further += (torch.ones(3, 16),)

    def denoise(model: Any, *inputs: Tensor) -> Any:
        return model(*inputs, return_dict=False)[0]

    return Architecture(
        build=lambda: Call(getattr(import_package("diffusers", "diffusers"), kind)(**config), denoise),
        shape=shape,
        further=further,
    )


def _transformers(kind: str, config: Callable[[Any], Any], answer: str) -> Architecture:
    """Describe a model that takes an image of 64 × 64 pixels."""

    def build() -> nn.Module:
        package = import_package("transformers", "transformers")
        return Call(getattr(package, kind)(config(package)), lambda model, x: model(pixel_values=x)[answer])

    return Architecture(build=build, shape=(3, 64, 64))


def _mask_decoder() -> nn.Module:
    """Build the mask decoder of Segment Anything."""
    package = import_package("transformers", "transformers")
    config = package.SamMaskDecoderConfig(
        hidden_size=32, mlp_dim=32, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=16
    )
    config._attn_implementation = "eager"
    modeling = import_package("transformers.models.sam.modeling_sam", "transformers")

    def decode(model: Any, x: Tensor) -> Any:
        return model(
            image_embeddings=x,
            image_positional_embeddings=torch.ones_like(x),
            sparse_prompt_embeddings=x.new_ones(len(x), 1, 2, 32),
            dense_prompt_embeddings=torch.zeros_like(x),
            multimask_output=True,
        )[0]

    return Call(modeling.SamMaskDecoder(config), decode)


def _pixel_decoder() -> nn.Module:
    """Build backbone and pixel decoder of MaskFormer."""
    package = import_package("transformers", "transformers")
    backbone = package.ResNetConfig(**_STAGES, out_features=_name_stages(1, 4))
    config = package.MaskFormerConfig(backbone_config=backbone, fpn_feature_size=32, mask_feature_size=32)
    modeling = import_package("transformers.models.maskformer.modeling_maskformer", "transformers")
    return Call(modeling.MaskFormerPixelLevelModule(config), lambda model, x: model(x).decoder_last_hidden_state)


def _name_stages(first: int, last: int) -> list[str]:
    return [f"stage{number}" for number in range(first, last + 1)]


def _detector(package: Any) -> Any:
    return package.RTDetrConfig(
        backbone_config=package.RTDetrResNetConfig(**_STAGES, out_features=_name_stages(2, 4)),
        encoder_in_channels=[16] * 3,
        decoder_in_channels=[16] * 3,
        feat_strides=[8, 16, 32],
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        decoder_layers=1,
        num_queries=5,
        hidden_expansion=0.5,
        **dict.fromkeys(("encoder_hidden_dim", "encoder_ffn_dim", "d_model", "decoder_ffn_dim"), 16),
    )


def _matte() -> Architecture:
    def config(package: Any) -> Any:
        backbone = package.VitDetConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=64,
            pretrain_image_size=64,
            patch_size=16,
            num_channels=4,
            out_features=["stage1"],
        )
        return package.VitMatteConfig(
            backbone_config=backbone,
            hidden_size=16,
            fusion_hidden_sizes=[16, 8, 8, 8],
            convstream_hidden_sizes=[8, 8, 8],
        )

    made = _transformers("VitMatteForImageMatting", config, "alphas")
    return Architecture(build=made.build, shape=(4, 64, 64))


def _monai(kind: str, side: int = 32, further: tuple[Tensor, ...] = (), **options: Any) -> Architecture:
    def call(model: Any, *inputs: Tensor) -> Any:
        answer = model(*inputs)
        return answer[0] if isinstance(answer, tuple) else answer

    return Architecture(
        build=lambda: Call(getattr(import_package("monai.networks.nets", "monai"), kind)(**options), call),
        shape=(1, side, side),
        further=further,
    )


def _segmentation(kind: str, side: int = 64, **options: Any) -> Architecture:
    def build() -> nn.Module:
        package = import_package("segmentation_models_pytorch", "segmentation-models-pytorch")
        model: nn.Module = getattr(package, kind)("resnet18", encoder_weights=None, **options)
        return model

    return Architecture(build=build, shape=(3, side, side))


_NARROW: dict[str, Any] = {"decoder_channels": (32, 16, 16, 8, 8)}
_DIFFUSION: dict[str, Any] = {
    "channels": (8, 8),
    "num_res_blocks": 1,
    "norm_num_groups": 4,
    "attention_levels": (False, False),
}
ARCHITECTURES: Mapping[str, Architecture] = {
    "AutoencoderKL": _diffusers(
        "AutoencoderKL", (4, 8, 8), block_out_channels=_WIDTHS, latent_channels=4, **_SIDES
    ),
    "AutoencoderTiny": _diffusers(
        "AutoencoderTiny",
        (4, 8, 8),
        encoder_block_out_channels=(16, 16),
        decoder_block_out_channels=(16, 16),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    ),
    "AsymmetricAutoencoderKL": _diffusers(
        "AsymmetricAutoencoderKL",
        (4, 8, 8),
        down_block_out_channels=_WIDTHS,
        up_block_out_channels=_WIDTHS,
        **_SIDES,
    ),
    "AutoencoderKLTemporalDecoder": Architecture(build=_temporal_decoder, shape=(4, 8, 8)),
    "VQModel": _diffusers("VQModel", (3, 8, 8), block_out_channels=_WIDTHS, latent_channels=3, **_SIDES),
    "MoVQ": _diffusers(
        "VQModel",
        (4, 8, 8),
        block_out_channels=_WIDTHS,
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        vq_embed_dim=4,
        norm_type="spatial",
        num_vq_embeddings=16,
    ),
    "AutoencoderDC": _diffusers(
        "AutoencoderDC",
        (4, 8, 8),
        **dict.fromkeys(("encoder_block_out_channels", "decoder_block_out_channels"), _WIDTHS),
        **dict.fromkeys(("encoder_layers_per_block", "decoder_layers_per_block"), (1, 1)),
        **dict.fromkeys(("encoder_block_types", "decoder_block_types"), "ResBlock"),
        **dict.fromkeys(("encoder_qkv_multiscales", "decoder_qkv_multiscales"), ((), ())),
        latent_channels=4,
        upsample_block_type="interpolate",
        attention_head_dim=8,
    ),
    "AutoencoderKLWan": _diffusers(
        *("AutoencoderKLWan", (4, 2, 8, 8)),
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1],
        num_res_blocks=1,
        temperal_downsample=[True],
    ),
    "AutoencoderKLQwenImage": _diffusers(
        *("AutoencoderKLQwenImage", (4, 1, 8, 8)),
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1],
        num_res_blocks=1,
        temperal_downsample=[False],
    ),
    "AutoencoderKLCogVideoX": _diffusers(
        "AutoencoderKLCogVideoX",
        (4, 2, 8, 8),
        block_out_channels=_WIDTHS,
        down_block_types=("CogVideoXDownBlock3D",) * 2,
        up_block_types=("CogVideoXUpBlock3D",) * 2,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        temporal_compression_ratio=1,
    ),
    "AutoencoderKLHunyuanVideo": _diffusers(
        "AutoencoderKLHunyuanVideo",
        (4, 2, 4, 4),
        latent_channels=4,
        block_out_channels=(16,) * 4,
        layers_per_block=1,
        norm_num_groups=4,
    ),
    "AutoencoderOobleck": _diffusers(
        "AutoencoderOobleck",
        (4, 16),
        encoder_hidden_size=8,
        downsampling_ratios=[2, 4],
        channel_multiples=[1, 2],
        decoder_channels=8,
        decoder_input_channels=4,
    ),
    "UNet2DModel": _denoiser("UNet2DModel", (3, 16, 16), "2D", is_conditional=False),
    "UNet2DConditionModel": _denoiser("UNet2DConditionModel", (4, 16, 16), "2D"),
    "UNet3DConditionModel": _denoiser("UNet3DConditionModel", (4, 2, 16, 16), "3D"),
    "Segformer": _transformers(
        "SegformerForSemanticSegmentation", lambda package: package.SegformerConfig(**_SEGFORMER), "logits"
    ),
    "GLPN": _transformers(
        "GLPNForDepthEstimation", lambda package: package.GLPNConfig(**_SEGFORMER), "predicted_depth"
    ),
    "Swin2SR": _transformers(
        "Swin2SRForImageSuperResolution",
        lambda package: package.Swin2SRConfig(
            image_size=64,
            embed_dim=16,
            depths=[1, 1],
            num_heads=[2, 2],
            window_size=4,
            upscale=4,
            upsampler="nearest+conv",
        ),
        "reconstruction",
    ),
    "VitMatte": _matte(),
    "UPerNet": _transformers(
        "UperNetForSemanticSegmentation",
        lambda package: package.UperNetConfig(
            backbone_config=package.ResNetConfig(**_STAGES, out_features=_name_stages(1, 4)),
            hidden_size=16,
            use_auxiliary_head=False,
        ),
        "logits",
    ),
    "RT-DETR": _transformers("RTDetrForObjectDetection", _detector, "logits"),
    "MaskFormer pixel decoder": Architecture(build=_pixel_decoder, shape=(3, 64, 64)),
    "SAM mask decoder": Architecture(build=_mask_decoder, shape=(32, 16, 16)),
    "monai UNet": _monai("UNet", channels=(8, 16, 16), strides=(2, 2), num_res_units=1, **_MONAI),
    "monai BasicUNet": _monai("BasicUNet", features=(8,) * 6, upsample="nontrainable", **_MONAI),
    "monai BasicUNet, deconvolution": _monai("BasicUNet", features=(8,) * 6, **_MONAI),
    "monai SegResNet": _monai("SegResNet", init_filters=8, upsample_mode="nontrainable", **_MONAI),
    "monai AttentionUnet": _monai("AttentionUnet", channels=(8, 8, 8), strides=(2, 2), **_MONAI),
    "monai DynUNet": _monai(
        "DynUNet",
        kernel_size=[3] * 3,
        strides=[1, 2, 2],
        upsample_kernel_size=[2, 2],
        filters=[8] * 3,
        **_MONAI,
    ),
    "monai AutoencoderKL": _monai("AutoencoderKL", 16, latent_channels=3, **{**_MONAI, **_DIFFUSION}),
    "monai DiffusionModelUNet": _monai("DiffusionModelUNet", 16, (torch.tensor(3),), **{**_MONAI, **_DIFFUSION}),
    "monai FlexibleUNet": _monai(
        *("FlexibleUNet", 64),
        in_channels=1,
        out_channels=2,
        backbone="resnet10",
        decoder_channels=(16, 8, 8, 8, 8),
        upsample="nontrainable",
        spatial_dims=2,
    ),
    "smp Unet": _segmentation("Unet", **_NARROW),
    "smp UnetPlusPlus": _segmentation("UnetPlusPlus", **_NARROW),
    "smp MAnet": _segmentation("MAnet", **_NARROW),
    "smp Linknet": _segmentation("Linknet"),
    "smp FPN": _segmentation("FPN"),
    "smp PSPNet": _segmentation("PSPNet"),
    "smp PAN": _segmentation("PAN", 128),
    "smp DeepLabV3Plus": _segmentation("DeepLabV3Plus"),
    "smp UPerNet": _segmentation("UPerNet"),
    "smp Segformer": _segmentation("Segformer"),
}
