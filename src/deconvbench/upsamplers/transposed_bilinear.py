"""Transposed convolution that starts as bilinear interpolation, as fully convolutional networks do.

An initialisation only: nothing here may keep the kernels at the tent, or their phases equal, during training.
"""

import torch
from torch import Tensor, nn

from deconvbench.upsamplers.registry import register_upsampler
from deconvbench.upsamplers.transposed import Transposed, count_transposed, find_objection


def find_tent_objection(kernel_size: int, scale_factor: int) -> str | None:
    """Say why a kernel cannot start as the tent of bilinear interpolation, or None where it can.

    Parameters
    ----------
    kernel_size : int
        Kernel size k.
    scale_factor : int
        Scale s.
    """
    objection = find_objection(kernel_size, scale_factor)
    if objection is None and kernel_size < 2 * scale_factor - 1:
        return (
            "bilinear initialisation needs kernel_size >= 2·scale_factor - 1 to hold the whole tent: "
            f"{kernel_size} < {2 * scale_factor - 1}"
        )
    return objection


def build_tent(kernel_size: int, scale_factor: int) -> Tensor:
    """Sample the tent of bilinear interpolation in the middle of a kernel.

    Parameters
    ----------
    kernel_size : int
        Kernel size k, at least 2s − 1.
    scale_factor : int
        Scale s, the tent's half-width.

    Returns
    -------
    Tensor, shape (k, k), float64
        Product over the axes of max(0, 1 − |t − (k−1)/2|/s); the taps of each phase sum to one.
    """
    distance = (torch.arange(kernel_size, dtype=torch.float64) - (kernel_size - 1) / 2).abs()
    tent = (1 - distance / scale_factor).clamp(min=0)
    return torch.outer(tent, tent)


@register_upsampler(
    "transposed_bilinear_init",
    summary="transposed convolution that starts as bilinear interpolation of mixed channels",
    formula="convT_k(x), stride s, tents at the start",
    macs_formula="k²/s²",
    reference="Long et al., arXiv:1411.4038",
    linear=True,
    shift_equivariant=True,
    objection=find_tent_objection,
    macs=count_transposed,
)
class TransposedBilinearInit(Transposed):
    """Transposed convolution whose kernels all start as the tent of bilinear interpolation.

    The kernel from input channel i to output channel o starts as w[i, o] = m[i, o]·tent, where along one axis
    tent[t] = max(0, 1 − |t − (k−1)/2|/s), and m is drawn as torch draws the weights of a 1×1 convolution. (In
    fully convolutional networks m is the identity; that needs C_in = C_out, as for the classes there.) With k of
    the parity of s and m the identity this is half-pixel bilinear interpolation, but for the border, where zeros
    stand in for the repeated pixel. The bias is drawn as torch draws it.

    The taps of each phase of a tent sum to one, wherever its centre lies, so the layer starts with a
    `phase_ripple` of 0 for all k ≥ 2s − 1. Training is free to change that.

    MACs: k²/s² per output pixel, in units of C_in·C_out.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k, at least 2s − 1.
    scale_factor : int
        Scale s, the stride.

    Raises
    ------
    UsageError
        Where `find_objection` of the transposed convolution objects to kernel and scale.

    References
    ----------
    Long, Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015,
    arXiv:1411.4038.
    """

    def reset_parameters(self) -> None:
        """Draw the bias as torch does, and the weights as a 1×1 convolution's times the tent."""
        super().reset_parameters()
        weight = self.weight
        mix = nn.Conv2d(
            self.in_channels, self.out_channels, 1, bias=False, device=weight.device, dtype=weight.dtype
        ).weight
        with torch.no_grad():
            weight.copy_(mix.transpose(0, 1) * build_tent(self.kernel_size[0], self.stride[0]).to(weight))
