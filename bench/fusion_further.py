"""Further architectures for `fusion_count`: decoders of videos, detectors, and blocks by themselves.

A block by itself is what a package cannot be had for: its upsampling and convolution as its authors write them.
Runs nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.fusion_architectures import (
    _DECODER,
    _ENCODER,
    _MONAI,
    _STAGES,
    _WIDTHS,
    Architecture,
    Call,
    _diffusers,
    _monai,
    _name_stages,
    _transformers,
)
from bench.fusion_networks import import_package


def _decode_alone(kind: str, shape: tuple[int, ...], **config: Any) -> Architecture:
    """Describe the decoder of an autoencoder that decodes in tiles only."""

    def build() -> nn.Module:
        model = getattr(import_package("diffusers", "diffusers"), kind)(**config)
        return Call(model.decoder, lambda decoder, z: decoder(z))

    return Architecture(build=build, shape=shape)


def _build_vidtok() -> nn.Module:
    model = import_package("diffusers", "diffusers").AutoencoderVidTok(
        ch=32, ch_mult=[1, 1, 1, 1], num_res_blocks=1, z_channels=4
    )
    return Call(model, lambda model, z: model.decoder(z))


def _unet_2d(**config: Any) -> Architecture:
    made = {"block_out_channels": _WIDTHS, "layers_per_block": 1, "norm_num_groups": 8, **config}
    return Architecture(
        build=lambda: Call(
            import_package("diffusers", "diffusers").UNet2DModel(**made),
            lambda model, x, t: model(x, t, return_dict=False)[0],
        ),
        shape=(3, 16, 16),
        further=(torch.tensor(3),),
    )


def _video_unet() -> nn.Module:
    model = import_package("diffusers", "diffusers").UNetSpatioTemporalConditionModel(
        block_out_channels=_WIDTHS,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        cross_attention_dim=16,
        num_attention_heads=2,
        layers_per_block=1,
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
    )

    def denoise(model: Any, x: Tensor) -> Any:
        states, ids = x.new_ones(len(x), 1, 16), x.new_ones(len(x), 3)
        return model(x, torch.tensor(3), states, ids, return_dict=False)[0]

    return Call(model, denoise)


def _decode_tokens(
    kind: str,
    module: str,
    config: Callable[[Any], Any],
    shape: tuple[int, ...],
) -> Architecture:
    """Describe the decoder of a model of tokens."""

    def build() -> nn.Module:
        package = import_package(f"transformers.models.{module}.modeling_{module}", "transformers")
        configs = import_package("transformers", "transformers")
        return Call(getattr(package, kind)(config(configs)), lambda decoder, z: decoder(z))

    return Architecture(build=build, shape=shape)


def _detector(prefix: str, backbone: Callable[[Any], Any], **options: Any) -> Architecture:
    sizes = dict.fromkeys(("encoder_hidden_dim", "encoder_ffn_dim", "d_model", "decoder_ffn_dim"), 16)

    def config(package: Any) -> Any:
        return getattr(package, f"{prefix}Config")(
            backbone_config=backbone(package),
            encoder_in_channels=[16] * 3,
            decoder_in_channels=[16] * 3,
            feat_strides=[8, 16, 32],
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            decoder_layers=2,
            num_queries=5,
            hidden_expansion=0.5,
            **sizes,
            **options,
        )

    return _transformers(f"{prefix}ForObjectDetection", config, "logits")


def _resnet(package: Any) -> Any:
    return package.RTDetrResNetConfig(**_STAGES, out_features=_name_stages(2, 4))


def _panoptic(kind: str, config: str) -> Architecture:
    def make(package: Any) -> Any:
        return getattr(package, config)(
            use_timm_backbone=False,
            backbone=None,
            backbone_config=package.ResNetConfig(**_STAGES, out_features=_name_stages(1, 4)),
            d_model=64,
            num_queries=3,
            **dict.fromkeys(("encoder_layers", "decoder_layers"), 1),
            **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 16),
            **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 8),
        )

    return _transformers(kind, make, "pred_masks")


class _Block(nn.Module):
    """A block by itself: modules by name, and what its forward pass does with them.

    Parameters
    ----------
    call : callable
        Of the block and its input.
    **modules : nn.Module
        Its own.
    """

    def __init__(self, call: Callable[..., Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.call = call
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        """Call the block."""
        return self.call(self, x)


def _block(
    call: Callable[..., Tensor], shape: tuple[int, ...] = (8, 8, 8), **modules: Callable[[], nn.Module]
) -> Architecture:
    return Architecture(
        build=lambda: _Block(call, **{name: make() for name, make in modules.items()}), shape=shape
    )


def _conv(*sizes: Any, **options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(*sizes, **{"padding": 1, **options})


def _chain(*makers: Callable[[], nn.Module]) -> Architecture:
    return Architecture(build=lambda: nn.Sequential(*(make() for make in makers)), shape=(8, 8, 8))


def _nearest() -> nn.Module:
    return nn.Upsample(scale_factor=2)


def _enhance(own: Any, x: Tensor) -> Tensor:
    x = functional.leaky_relu(own.first(functional.interpolate(x, scale_factor=2, mode="nearest")), 0.2)
    y: Tensor = own.second(functional.interpolate(x, scale_factor=2, mode="nearest"))
    return functional.leaky_relu(y, 0.2)


def _join_skip(own: Any, x: Tensor) -> Tensor:
    skip = own.skip(functional.avg_pool2d(x, 2))
    up = functional.interpolate(own.deep(functional.avg_pool2d(x, 4)), scale_factor=2.0, mode="nearest")
    y: Tensor = own.conv(torch.cat([up, skip], dim=1))
    return y


def _add_skip(own: Any, x: Tensor) -> Tensor:
    up = functional.interpolate(own.deep(functional.avg_pool2d(x, 2)), scale_factor=2.0, mode="nearest")
    y: Tensor = own.conv(up + own.skip(x))
    return y


def _gate(own: Any, x: Tensor) -> Tensor:
    up = functional.interpolate(x, scale_factor=2)
    y: Tensor = own.conv(up * torch.sigmoid(up))
    return y


def _expand(own: Any, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    y: Tensor = own.conv(x[:, :, :, None, :, None].expand(n, c, h, 2, w, 2).reshape(n, c, 2 * h, 2 * w))
    return y


def _repeat(own: Any, x: Tensor) -> Tensor:
    y: Tensor = own.conv(x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    return y


def _einops(own: Any, x: Tensor) -> Tensor:
    repeated = import_package("einops", "einops").repeat(x, "b c h w -> b c (h 2) (w 2)")
    y: Tensor = own.conv(repeated)
    return y


def _lower(own: Any, x: Tensor) -> Tensor:
    up = torch.ops.aten.upsample_nearest2d.vec(x, None, [2.0, 2.0])
    y: Tensor = own.conv(torch.relu_(up))
    return y


def _pyramid(own: Any, x: Tensor) -> Tensor:
    levels = [own.a(x), *(getattr(own, name)(functional.avg_pool2d(x, by)) for name, by in (("b", 2), ("c", 4)))]
    ups = [functional.interpolate(level, size=x.shape[2:], mode="nearest") for level in levels[1:]]
    y: Tensor = own.fuse(torch.cat([levels[0], *ups], dim=1))
    return y


def _volume(own: Any, x: Tensor) -> Tensor:
    deep = own.deep(functional.avg_pool3d(x, 2))
    y: Tensor = own.conv(functional.interpolate(deep, size=x.shape[2:], mode="nearest"))
    return y


def _volume_joined(own: Any, x: Tensor) -> Tensor:
    deep = own.deep(functional.avg_pool3d(x, 2))
    up = functional.interpolate(deep, size=x.shape[2:], mode="nearest")
    y: Tensor = own.conv(torch.cat([x, up], dim=1))
    return y


def _signal(own: Any, x: Tensor) -> Tensor:
    y: Tensor = own.conv(functional.interpolate(x, scale_factor=2, mode="nearest"))
    return y


def _volume_autoencoder() -> Architecture:
    options = {
        **_MONAI,
        "channels": (8, 8),
        "num_res_blocks": 1,
        "norm_num_groups": 4,
        "attention_levels": (False, False),
        "spatial_dims": 3,
        "latent_channels": 3,
    }
    made = _monai("AutoencoderKL", 8, **options)
    return Architecture(build=made.build, shape=(1, 8, 8, 8))


_AUDIO: dict[str, Any] = {"causality_axis": "height", "mel_bins": 16, "resolution": 16}
FURTHER: Mapping[str, Architecture] = {
    "AutoencoderKLFlux2": _diffusers(
        *("AutoencoderKLFlux2", (4, 8, 8)),
        block_out_channels=_WIDTHS,
        latent_channels=4,
        down_block_types=_ENCODER,
        up_block_types=_DECODER,
    ),
    "AutoencoderKLCosmos": _diffusers(
        *("AutoencoderKLCosmos", (4, 2, 8, 8)),
        encoder_block_out_channels=(8, 8, 8, 8),
        decode_block_out_channels=(8, 8, 8, 8),
        attention_resolutions=(),
        resolution=32,
        num_layers=1,
        patch_size=1,
        latent_channels=4,
        latents_mean=None,
        latents_std=None,
        spatial_compression_ratio=8,
        temporal_compression_ratio=4,
    ),
    "AutoencoderKLMagvit": _diffusers(
        *("AutoencoderKLMagvit", (4, 2, 8, 8)),
        latent_channels=4,
        block_out_channels=(16, 16),
        down_block_types=["SpatialDownBlock3D", "SpatialTemporalDownBlock3D"],
        up_block_types=["SpatialUpBlock3D", "SpatialTemporalUpBlock3D"],
        layers_per_block=1,
        norm_num_groups=4,
    ),
    "AutoencoderKLAllegro": _decode_alone(
        *("AutoencoderKLAllegro", (4, 2, 8, 8)),
        down_block_types=("AllegroDownBlock3D",) * 2,
        up_block_types=("AllegroUpBlock3D",) * 2,
        block_out_channels=(16, 16),
        temporal_downsample_blocks=(True, False),
        temporal_upsample_blocks=(False, True),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
    ),
    "AutoencoderKLKVAE": _diffusers(
        *("AutoencoderKLKVAE", (4, 8, 8)),
        channels=32,
        num_enc_blocks=1,
        num_dec_blocks=1,
        z_channels=4,
        ch_mult=(1, 1),
    ),
    "AutoencoderVidTok": Architecture(build=_build_vidtok, shape=(4, 2, 8, 8)),
    "AutoencoderKLLTX2Audio": _decode_alone(
        *("AutoencoderKLLTX2Audio", (8, 4, 8)),
        base_channels=32,
        ch_mult=(1, 1),
        num_res_blocks=1,
        **_AUDIO,
    ),
    "UNet2DModel, resnet upsampling": _unet_2d(
        down_block_types=("ResnetDownsampleBlock2D",) * 2, up_block_types=("ResnetUpsampleBlock2D",) * 2
    ),
    "UNetSpatioTemporalConditionModel": Architecture(build=_video_unet, shape=(2, 8, 16, 16)),
    "Janus decoder": _decode_tokens(
        *("JanusVQVAEDecoder", "janus"),
        lambda package: package.JanusVQVAEConfig(
            base_channels=32, channel_multiplier=[1, 1], num_res_blocks=1, latent_channels=4
        ),
        (4, 8, 8),
    ),
    "RT-DETRv2": _detector("RTDetrV2", _resnet),
    "D-FINE": _detector(
        "DFine",
        lambda package: package.RTDetrResNetConfig(**_STAGES, out_features=_name_stages(2, 4)),
        decoder_n_points=4,
    ),
    "DETR, panoptic": _panoptic("DetrForSegmentation", "DetrConfig"),
    "Conditional DETR, panoptic": _panoptic("ConditionalDetrForSegmentation", "ConditionalDetrConfig"),
    "monai AutoencoderKL, volumes": _volume_autoencoder(),
    # blocks by themselves
    "ESRGAN, end of the generator": _block(_enhance, first=_conv(8, 8, 3), second=_conv(8, 4, 3)),
    "smp Unet, block": _block(
        _join_skip, (8, 16, 16), deep=_conv(8, 8, 3), skip=_conv(8, 4, 3), conv=_conv(12, 8, 3)
    ),
    "smp FPN, block": _block(
        _add_skip, (8, 16, 16), deep=_conv(8, 8, 1, padding=0), skip=_conv(8, 8, 1, padding=0), conv=_conv(8, 8, 3)
    ),
    "YOLO neck": _block(
        _join_skip, (8, 16, 16), deep=_conv(8, 8, 3), skip=_conv(8, 4, 3), conv=_conv(12, 8, 1, padding=0)
    ),
    "SegFormer-like head, nearest": _block(
        _pyramid,
        (8, 16, 16),
        **{name: _conv(8, 8, 1, padding=0) for name in ("a", "b", "c")},
        fuse=_conv(24, 8, 1, padding=0),
    ),
    "CycleGAN, resize-convolution": _chain(_nearest, lambda: nn.ReflectionPad2d(1), _conv(8, 4, 3, padding=0)),
    "U-Net of 2015, up-convolution 2×2": _chain(_nearest, _conv(8, 4, 2, padding="same")),
    "kernel 4 after asymmetric padding": _chain(
        _nearest, lambda: nn.ZeroPad2d((1, 2, 1, 2)), _conv(8, 4, 4, padding=0)
    ),
    "seamless tiling (circular padding)": _chain(_nearest, _conv(8, 4, 3, padding_mode="circular")),
    "no padding": _chain(_nearest, _conv(8, 4, 3, padding=0)),
    "gated by its own sigmoid": _block(_gate, conv=_conv(8, 4, 3)),
    "expand and reshape": _block(_expand, conv=_conv(8, 4, 3)),
    "einops repeat": _block(_einops, conv=_conv(8, 4, 3)),
    "repeat_interleave twice": _block(_repeat, conv=_conv(8, 4, 3)),
    "aten and relu_": _block(_lower, conv=_conv(8, 4, 3)),
    "rows and columns by 4 and 2": _chain(lambda: nn.Upsample(scale_factor=(4, 2)), _conv(8, 4, 3)),
    "volumes, nearest": _block(
        _volume, (4, 8, 8, 8), deep=lambda: nn.Conv3d(4, 4, 1), conv=lambda: nn.Conv3d(4, 4, 3, padding=1)
    ),
    "volumes, joined (3-D U-Net)": _block(
        _volume_joined, (4, 8, 8, 8), deep=lambda: nn.Conv3d(4, 4, 1), conv=lambda: nn.Conv3d(8, 4, 3, padding=1)
    ),
    "ProGAN, 1-D": _block(_signal, (8, 16), conv=lambda: nn.Conv1d(8, 4, 3, padding=1)),
}
