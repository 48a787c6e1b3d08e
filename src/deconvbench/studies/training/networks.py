"""The networks that are trained: the article's transformation network, and one for super-resolution.

Upsampler and norm are exchangeable, everything else is the same whichever they are, down to the first weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.records.training_tasks import COLOURS
from deconvbench.studies.training.first_weights import draw_first_weights
from deconvbench.studies.training.settings import TrainingSettings
from deconvbench.upsamplers import build_upsampler

_MIDDLE_GREY = 0.5  # of images from 0 to 1: what the network sees as zero, and starts from at its output


def build_network(settings: TrainingSettings) -> "TransformationNetwork | SuperResolutionNetwork":
    """Build the network of a training run, with the first weights that its seed draws.

    Networks of one task, width and seed share the first weights of all layers but the upsamplers. The global
    random state is left as it was.

    Parameters
    ----------
    settings : TrainingSettings
        Which network, upsampler and norm; device and numbers of the training do not count.

    Returns
    -------
    TransformationNetwork or SuperResolutionNetwork
        In float32, on the CPU.

    Raises
    ------
    UnsupportedError
        If the upsampler cannot be built with that kernel and scale.
    """
    kind: type[TransformationNetwork | SuperResolutionNetwork] = SuperResolutionNetwork
    if settings.task_facts.upsamplers > 1:
        kind = SwitchedNetwork if settings.network_variant.has_switches else TransformationNetwork
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = kind(settings)
        if settings.recipe == "tuned":
            draw_first_weights(network, settings.seed, settings.network_variant.upsampler_gain)
        return network


class TransformationNetwork(nn.Module):
    """The transformation network of fast style transfer, for whatever is given pixel by pixel.

    9×9 convolution to `width` w, two 3×3 convolutions of stride s to 2w and 4w, residual blocks, two upsamplers to
    2w and w, and a 9×9 convolution to three colours or the classes. A norm follows each convolution and upsampler
    but the last, and a ReLU each norm but the second of a block. The last layer is linear.

    Johnson et al. pad the input by reflection, so that the unpadded convolutions of their blocks end at its size;
    here every convolution pads by reflection, which costs less and keeps invented edges out just as well. The
    upsamplers pad as they are.

    Parameters
    ----------
    settings : TrainingSettings
        Width, blocks, norm and upsampler.

    References
    ----------
    Johnson, Alahi, Fei-Fei, "Perceptual losses for real-time style transfer and super-resolution",
    arXiv:1603.08155, and its supplement.
    The article, figures 5 and 7.
    """

    # names of its upsamplers, the first one first; a norm and a ReLU follow each
    upsamplers = ("decoder.0", "decoder.3")

    def __init__(self, settings: TrainingSettings) -> None:
        super().__init__()
        width = settings.width
        stride = 1 if settings.network_variant.has_switches else settings.scale_factor
        self.encoder = nn.Sequential(
            *_make_stage(_make_conv(COLOURS, width, 9), width, settings.norm),
            *_make_stage(_make_conv(width, 2 * width, 3, stride), 2 * width, settings.norm),
            *_make_stage(_make_conv(2 * width, 4 * width, 3, stride), 4 * width, settings.norm),
        )
        self.blocks = nn.Sequential(
            *(ResidualBlock(4 * width, settings.norm) for _ in range(settings.residual_blocks))
        )
        outputs = settings.task_facts.output_channels
        self.last = _make_conv(width, outputs, settings.network_variant.last_kernel_size or 9)
        # built last: how much chance an upsampler takes must not reach the other layers
        self.decoder = nn.Sequential(
            *_make_stage(_make_upsampler(settings, 4 * width, 2 * width), 2 * width, settings.norm),
            *_make_stage(_make_upsampler(settings, 2 * width, width), width, settings.norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Give images back, or whatever the task is.

        Parameters
        ----------
        x : Tensor, shape (N, 3, H, W)
            From 0 to 1; H and W multiples of s².

        Returns
        -------
        Tensor, shape (N, 3, H, W)
            Not clipped; of segmentation (N, 4, H, W), logits with the background first.
        """
        y: Tensor = self.last(self.decoder(self.blocks(self.encoder(x - _MIDDLE_GREY))))
        return y + _MIDDLE_GREY


class SwitchedNetwork(TransformationNetwork):
    """The transformation network with max pooling in its encoder, whose switches its decoder unpools to.

    The two convolutions of stride s have stride 1 here, and max pooling of s×s follows the ReLU behind each. Where
    the maximum of each window was, its switch, is where the decoder's unpooling puts a value: that of the first
    upsampler has the 4w channels that the second pooling had, and that of the second one the 2w of the first, so
    each value goes back along its own channel. All weights are those of the network without switches.

    Parameters
    ----------
    settings : TrainingSettings
        As of `TransformationNetwork`; the upsampler is ``max_unpool_conv``.

    References
    ----------
    Zeiler, Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, arXiv:1311.2901,
    section 2.1.
    Zeiler, Taylor, Fergus, "Adaptive deconvolutional networks for mid and high level feature learning", ICCV 2011.
    """

    def __init__(self, settings: TrainingSettings) -> None:
        super().__init__(settings)
        self._scale_factor = settings.scale_factor

    def forward(self, x: Tensor) -> Tensor:
        """Give images back, as `TransformationNetwork.forward`."""
        # convolution or upsampler, norm and ReLU each
        first, second, third = self.encoder[:3], self.encoder[3:6], self.encoder[6:]
        switches: list[Tensor] = []
        y: Tensor = first(x - _MIDDLE_GREY)
        for stage in (second, third):
            y, indices = functional.max_pool2d(stage(y), self._scale_factor, return_indices=True)
            switches.append(indices)
        y = self.blocks(y)
        for upsampler, rest in ((self.decoder[0], self.decoder[1:3]), (self.decoder[3], self.decoder[4:])):
            y = rest(upsampler(y, switches.pop()))
        y = self.last(y)
        return y + _MIDDLE_GREY


class SuperResolutionNetwork(nn.Module):
    """A residual network that works at low resolution, with the upsampler as its head.

    5×5 convolution to `width` w, residual blocks, and the upsampler from w channels to three colours, which is the
    last layer: what it does to the grid is in the picture, unmixed. All convolutions pad by reflection.

    Parameters
    ----------
    settings : TrainingSettings
        Width, blocks, norm and upsampler.

    References
    ----------
    Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
    neural network", arXiv:1609.05158 (5×5 first, upsampling last).
    """

    # name of its upsampler
    upsamplers = ("decoder",)

    def __init__(self, settings: TrainingSettings) -> None:
        super().__init__()
        width = settings.width
        self.encoder = nn.Sequential(*_make_stage(_make_conv(COLOURS, width, 5), width, settings.norm))
        self.blocks = nn.Sequential(
            *(ResidualBlock(width, settings.norm) for _ in range(settings.residual_blocks))
        )
        last = settings.network_variant.last_kernel_size
        self.last = None if last is None else _make_conv(width, COLOURS, last)
        # built last: how much chance an upsampler takes must not reach the other layers
        self.decoder = _make_upsampler(settings, width, COLOURS if last is None else width)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample images.

        Parameters
        ----------
        x : Tensor, shape (N, 3, H, W)
            From 0 to 1.

        Returns
        -------
        Tensor, shape (N, 3, s·H, s·W)
            Not clipped.
        """
        y: Tensor = self.decoder(self.blocks(self.encoder(x - _MIDDLE_GREY)))
        if self.last is not None:
            y = self.last(y.relu())
        return y + _MIDDLE_GREY


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions, with a norm each and a ReLU between, whose result is added to the input.

    Parameters
    ----------
    channels : int
        In and out.
    norm : str
        ``instance`` or ``none``.

    References
    ----------
    Johnson et al., arXiv:1603.08155; without the second ReLU, as Gross & Wilber's residual networks.
    """

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *_make_stage(_make_conv(channels, channels, 3), channels, norm),
            _make_conv(channels, channels, 3),
            _make_norm(channels, norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to (N, C, H, W)."""
        y: Tensor = x + self.branch(x)
        return y


def _make_conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, padding_mode="reflect"
    )


def _make_norm(channels: int, norm: str) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True) if norm == "instance" else nn.Identity()


def _make_stage(layer: nn.Module, channels: int, norm: str) -> tuple[nn.Module, ...]:
    return layer, _make_norm(channels, norm), nn.ReLU()


def _make_upsampler(settings: TrainingSettings, in_channels: int, out_channels: int) -> nn.Module:
    return build_upsampler(
        settings.upsampler, in_channels, out_channels, settings.kernel_size, settings.scale_factor
    )
