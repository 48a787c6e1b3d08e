"""Upsampling sites of a network, and what an audit measured of each: plain data.

Finds and measures nothing (see `networks.inspection`).
"""

import math
from dataclasses import dataclass

# kinds of sites
TRANSPOSED_CONVOLUTION = "transposed_convolution"
RESIZE_CONVOLUTION = "resize_convolution"
RESIZE = "resize"
SUBPIXEL_CONVOLUTION = "subpixel_convolution"
DEPTH_TO_SPACE = "depth_to_space"
MAX_UNPOOLING = "max_unpooling"
FOLD = "fold"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionInfo:
    """A convolution, or a linear layer, beside a site.

    Parameters
    ----------
    path : str
        Of the module that calls it.
    kernel_size, stride, padding : tuple of int
        For each axis; empty for a linear layer.
    in_channels, out_channels : int
        Channels.
    """

    path: str
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    in_channels: int
    out_channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One place where a network upsamples.

    Parameters
    ----------
    number : int
        From 1, in network order.
    path : str
        Of the module that calls the function; empty for the network itself.
    kind : str
        ``transposed_convolution``, ``resize_convolution`` (a resize whose output reaches a convolution),
        ``resize``, ``subpixel_convolution`` (a layer, then its channels become pixels), ``depth_to_space``
        (the same, with no layer to be found before it), ``max_unpooling`` or ``fold``.
    operation : str
        The function, with what decides about its result.
    dims : int
        Spatial axes.
    scale : tuple of float
        Output pixels for an input pixel, along each of them; whole where that is a whole number.
    kernel_size, stride, padding, output_padding, dilation : tuple of int
        Of the transposed convolution, or of the convolution of a resize or sub-pixel convolution; for each axis,
        empty where there is none.
    groups : int
        Groups of channels of the same.
    in_shape, out_shape : tuple of int
        Of the upsampling's own input and output.
    in_channels, out_channels : int
        Of the transposed convolution, of the convolution, or of the map itself.
    macs : int
        Multiply-accumulates of one execution, the convolution's among them, whole batch; without interpolation.
    uses : int
        Executions in one run of the network.
    is_shared : bool
        Whether the same weights are used more than once: here, or at another site.
    is_last : bool
        Whether its output leaves the network with no convolution after it.
    convolution : ConvolutionInfo or None
        The convolution after a resize, the layer before a shuffle.
    order : str
        Of channels before a shuffle: ``c i j`` as `torch.nn.PixelShuffle`; empty for other kinds.
    dtype : str
        Of what is upsampled.
    is_channels_last : bool
        Whether the channels are the last axis of `out_shape`, and not the second.
    """

    number: int
    path: str
    kind: str
    operation: str
    dims: int
    scale: tuple[float, ...]
    kernel_size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    output_padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    in_channels: int
    out_channels: int
    macs: int
    uses: int = 1
    is_shared: bool = False
    is_last: bool = False
    convolution: ConvolutionInfo | None = None
    order: str = ""
    dtype: str = "float32"
    is_channels_last: bool = False

    @property
    def name(self) -> str:
        """The path, or words where it is empty."""
        return self.path or "(the model)"

    def __str__(self) -> str:
        kernel = f" k{'×'.join(map(str, dict.fromkeys(self.kernel_size)))}" if self.kernel_size else ""
        scale = "×".join(f"{one:g}" for one in dict.fromkeys(self.scale))
        return f"{self.number}. {self.name}: {self.kind.replace('_', ' ')}{kernel}, ×{scale}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReport:
    """What was measured of one site.

    Parameters
    ----------
    site : Site
        Which.
    gains_from : str
        Where its phase gains are known from: ``weights``, ``construction`` (a resize: all equal), or empty where
        they are not known (max-unpooling, a shuffle with no layer right before it).
    overlap_cv : float
        Coefficient of variation over the phases of how many taps reach an output pixel; 0 is even.
    phase_ripple : float or None
        Share of power, 0 to 1, with every pair of input and output for itself. Says little about trained layers.
    effective_ripple : float or None
        The same with gains summed over inputs, weighted by their mean activation on the images.
    relative_ripple : float or None
        RMS over the phases of the layer's answer to local means of its input, over the RMS of its output.
    image_rejection_db : float or None
        dB, of the weights; of a resize for itself. Two axes of one whole scale only.
    period : int or None
        Of its ripple, in pixels of the network's output; None where that is not a whole number.
    flat_levels : float or None
        RMS amplitude, in 8-bit levels of the output, that the plain colour with most ripple loses with equal gains
        here; negative where it gains as much. None where it was not measured.
    real_levels : float or None
        Checkerboard amplitude of what equal gains here change in outputs for real images.
    time_share, memory_share : float
        Of one run, with the convolution of a resize or shuffle; of all memory that calls return.
    is_fusible : bool
        Whether `deconvbench.fuse` has a faster exact form.
    fuse_speedup : float or None
        Time of the network over that of the fused one, if asked for.
    is_diagonal : bool
        Whether the layer is dense, and zero but from each channel to itself.
    smoother_order : str
        An order of channels that gives a smoother map; empty if there is none.
    network_dtype : str
        Of the network's parameters.
    """

    site: Site
    gains_from: str = ""
    overlap_cv: float = 0.0
    phase_ripple: float | None = None
    effective_ripple: float | None = None
    relative_ripple: float | None = None
    image_rejection_db: float | None = None
    period: int | None = None
    flat_levels: float | None = None
    real_levels: float | None = None
    time_share: float = math.nan
    memory_share: float = math.nan
    is_fusible: bool = False
    fuse_speedup: float | None = None
    is_diagonal: bool = False
    smoother_order: str = ""
    network_dtype: str = "float32"

    def __str__(self) -> str:
        words = [f"{self.time_share:.0%} of the time", f"{self.memory_share:.0%} of the memory"]
        if self.gains_from == "construction":
            words.append("equal gains by construction")
        elif self.relative_ripple is not None:
            words.append(f"ripple {self.relative_ripple:.2%} of its output")
        if self.flat_levels is not None:
            words.append(f"{self.flat_levels:.2f} levels in plain colours")
        if self.real_levels is not None:
            words.append(f"{self.real_levels:.2f} levels in images")
        return f"{self.site}: {', '.join(words)}"
