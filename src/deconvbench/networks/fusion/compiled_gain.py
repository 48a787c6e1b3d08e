"""Where forms pay for even kernels, and for paddings that do not keep the size, beside the rule for all layers.

Computes nothing.
"""

from torch import Tensor

from deconvbench.networks.fusion.matching import Match, Piece
from deconvbench.upsamplers.fast.choice import NATIVE

# for these the compiled form only was measured to pay: of 2×2 products other forms save too few
NATIVE_ONLY_KERNELS = frozenset({2})
# it pays from so many products of the plain form on, with the channels first and last, and for even kernels from
# twice as many where its output is cut. Measured on one core (8 to 256 channels in, 8×8 to 64×64 pixels, a busy
# machine): from there on it is 0.8 to 5.5 times as fast, with fewer 0.4 to 1.3
LEAST_PRODUCTS = {2: (2**24, 2**26), 4: (2**23, 2**25)}
# for other kernels where its input is padded or its output cut
LEAST_PRODUCTS_PADDED = (2**24, 2**25)


def pays_compiled(match: Match, piece: Piece, source: Tensor, is_last: bool, chosen: str) -> bool:
    """Whether the form that is chosen is faster than the plain one for this kernel and this padding.

    Parameters
    ----------
    match : Match
        The convolution.
    piece : Piece
        Which of its channels.
    source : Tensor, shape (N, C, H, W)
        What is upsampled; all parts of a piece are of its size.
    is_last : bool
        Whether input or weight have the channels last in memory.
    chosen : str
        By the rule for all layers.
    """
    size = match.kernel_size
    if chosen != NATIVE:
        return size not in NATIVE_ONLY_KERNELS
    if not match.padding:
        return True
    pixels = piece.scale**2 * source.shape[0] * source.shape[2] * source.shape[3]
    products = size**2 * pixels * piece.length * match.out_channels // match.groups
    least = LEAST_PRODUCTS.get(size, LEAST_PRODUCTS_PADDED)[is_last]
    before, after = (size - 1) // 2, size // 2
    is_cut = size in LEAST_PRODUCTS and match.padding != (before, after, before, after)
    return products >= (2 * least if is_cut else least)
