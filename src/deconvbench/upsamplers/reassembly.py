"""Content-aware reassembly: each output pixel is an average around its source, weighted by the content.

In torch's own operators alone, so that every device and `torch.compile` runs the same function. The averages have
weights that sum to one, and nothing here may make them do otherwise.
"""

from torch import Tensor, nn
from torch.nn import functional

from deconvbench.theory.macs import conv_macs
from deconvbench.upsamplers.registry import register_upsampler

# Wang et al., arXiv:1905.02188, and the defaults of mmcv's CARAFEPack
COMPRESSED_CHANNELS = 64
ENCODER_KERNEL_SIZE = 3  # input pixels
REASSEMBLY_KERNEL_SIZE = 5  # input pixels
ENCODER_STD = 0.001  # of weights, in mmcv: kernels start close to plain averages


def reassemble(features: Tensor, kernels: Tensor, scale_factor: int) -> Tensor:
    """Average the neighbourhood of each output pixel's source with a kernel of its own.

    y[c, s·h + i, s·w + j] = Σ_{a,b} kernels[k·a + b, s·i + j, h, w] · x[c, h + a − k//2, w + b − k//2] with k = 5,
    and x zero outside the map. The s² output pixels of a source share its k×k patch, so the patches are taken at
    low resolution and multiplied as matrices, (s²×25)·(25×C) for each source.

    Parameters
    ----------
    features : Tensor, shape (N, C, H, W)
        What is averaged.
    kernels : Tensor, shape (N, 25, s², H, W)
        Weights by tap and by phase, both row by row, in the dtype of `features`.
    scale_factor : int
        Scale s.

    Returns
    -------
    Tensor, shape (N, C, sH, sW)
        Contiguous, in the dtype of `features`.

    References
    ----------
    Wang et al., arXiv:1905.02188.
    """
    batch, channels, height, width = features.shape
    size, s = REASSEMBLY_KERNEL_SIZE, scale_factor
    margin = size // 2
    # channels innermost: the copy that makes the patches then moves whole runs of memory
    image = functional.pad(features, (margin,) * 4).permute(0, 2, 3, 1).contiguous()
    patches = image.unfold(1, size, 1).unfold(2, size, 1).permute(0, 1, 2, 4, 5, 3)
    patches = patches.reshape(batch, height, width, size**2, channels)
    blocks = kernels.permute(0, 3, 4, 2, 1) @ patches
    blocks = blocks.reshape(batch, height, width, s, s, channels)
    return blocks.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, s * height, s * width)


def _count_carafe(
    in_channels: int, out_channels: int, kernel_size: None, scale_factor: int, height: int, width: int
) -> int:
    del kernel_size
    taps = REASSEMBLY_KERNEL_SIZE**2
    projection = conv_macs(in_channels, out_channels, 1, height, width)
    compressor = conv_macs(in_channels, COMPRESSED_CHANNELS, 1, height, width)
    encoder = conv_macs(COMPRESSED_CHANNELS, taps * scale_factor**2, ENCODER_KERNEL_SIZE, height, width)
    reassembly = taps * out_channels * scale_factor**2 * height * width
    return projection + compressor + encoder + reassembly


@register_upsampler(
    "carafe",
    summary="average of 5×5 input pixels, weighted by the content (CARAFE)",
    formula="Σ_t softmax_t(enc(x))[m]·conv_1(x)[⌊m/s⌋ + t], t in 5×5",
    macs_formula="1/s² + 64/(s²·C_out) + 14400/(C_in·C_out) + 25/C_in",
    reference="Wang et al., arXiv:1905.02188",
    shift_equivariant=True,
    has_kernel=False,
    macs=_count_carafe,
)
class Carafe(nn.Module):
    """Content-aware reassembly of features (CARAFE) of a 1×1 projection.

    z = conv_1(x) has C_out channels. A compressor conv_1 to 64 channels and an encoder conv_3 to 25·s² channels,
    with nothing between, predict κ = softmax over the taps t of shuffle_s(encoder(compressor(x))), of shape
    (25, sH, sW); along both axes y[c, m] = Σ_t κ[t, m]·z[c, ⌊m/s⌋ + t], where t runs over the 5×5 pixels around
    the source ⌊m/s⌋ and z is zero outside the map. One kernel serves all channels.

    The paper keeps the number of channels. Here the projection changes it, before the reassembly: as κ sums to
    one and serves all channels, projecting afterwards gives the same numbers wherever the 5×5 pixels lie within
    the map, and without bias everywhere, for s² times the projection's multiplications. There a constant input
    also stays constant, whatever the weights; within two input pixels of a border the zeros darken it.

    MACs per image: H·W·(C_in·C_out + 64·C_in + 64·9·25·s²) + 25·C_out·sH·sW, being the projection, the compressor,
    the encoder and the reassembly. Softmax is not counted.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : None
        It has none to choose: its kernels are the paper's.
    scale_factor : int
        Scale s.

    References
    ----------
    Wang, Chen, Xu, Liu, Loy, Lin, "CARAFE: Content-aware reassembly of features", ICCV 2019, arXiv:1905.02188.
    mmcv's `CARAFEPack`, for the padding and the initialisation: Xavier, and a normal distribution of standard
    deviation 0.001 for the encoder, so that it starts close to a plain average of 5×5 pixels.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: None, scale_factor: int) -> None:
        super().__init__()
        del kernel_size
        self.scale_factor = scale_factor
        self.project = nn.Conv2d(in_channels, out_channels, 1)
        self.compress = nn.Conv2d(in_channels, COMPRESSED_CHANNELS, 1)
        self.encode = nn.Conv2d(
            COMPRESSED_CHANNELS,
            REASSEMBLY_KERNEL_SIZE**2 * scale_factor**2,
            ENCODER_KERNEL_SIZE,
            padding=ENCODER_KERNEL_SIZE // 2,
        )
        nn.init.xavier_uniform_(self.compress.weight)
        nn.init.normal_(self.encode.weight, std=ENCODER_STD)
        for layer in (self.compress, self.encode):
            assert layer.bias is not None  # for the type checker
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C_in, H, W) to (N, C_out, sH, sW)."""
        # the phases stay beside the taps: a shuffle to high resolution would only have to be undone
        logits: Tensor = self.encode(self.compress(x))
        taps, phases = REASSEMBLY_KERNEL_SIZE**2, self.scale_factor**2
        kernels = logits.reshape(len(x), taps, phases, *x.shape[2:]).softmax(1)
        return reassemble(self.project(x), kernels, self.scale_factor)
