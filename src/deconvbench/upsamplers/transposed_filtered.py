"""Transposed convolution followed by a fixed low-pass filter, as StyleGAN2 upsamples.

The filter removes what the transposed convolution adds around multiples of the input's sampling rate. It is a
constant of the layer: nothing here may train it.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.arguments import is_number
from deconvbench.errors import UsageError, quote
from deconvbench.theory.macs import conv_macs
from deconvbench.upsamplers.constants import ConstantLayer
from deconvbench.upsamplers.registry import register_upsampler
from deconvbench.upsamplers.transposed import count_transposed, find_gap

# StyleGAN2's resample_kernel: the binomial coefficients, along each axis
FILTER_TAPS = (1.0, 3.0, 3.0, 1.0)


def _count_filtered(
    in_channels: int, out_channels: int, kernel_size: int, scale_factor: int, height: int, width: int
) -> int:
    upsampling = count_transposed(in_channels, out_channels, kernel_size, scale_factor, height, width)
    out_height, out_width = scale_factor * height, scale_factor * width
    filter_size = len(FILTER_TAPS)
    return upsampling + conv_macs(
        out_channels, out_channels, filter_size, out_height, out_width, groups=out_channels
    )


class FilteredConvTranspose2d(ConstantLayer, nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d`, then a fixed low-pass filter on each channel: output size and keys as before.

    Along one axis, z[m] = Σ_n x[n]·w[m − s·n] is the transposed convolution without padding, zero outside, and
    y[m] = Σ_j f[j]·z[m + p + j − ⌊n_f/2⌋] with f = s·taps/Σ taps: the filter's gain makes up for the zeros that a
    transposed convolution inserts. The bias comes after the filter. Arguments, defaults, initialisation, output
    size, ``output_size`` in the forward and the keys of the state_dict, ``weight`` and ``bias``, are those of
    `torch.nn.ConvTranspose2d`; the filter is a constant and in no state_dict.

    With [1, 3, 3, 1], whose polynomial is (1 + z)³, the phases of a stride of 2 have equal gains whatever the
    kernel: a constant stays constant. Strides of 3 and 4 need taps that box_s divides, such as (1, 2, 3, 2, 1) and
    (1, 2, 3, 4, 3, 2, 1). With an even number of taps the output lies half a pixel further down and right.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int or (int, int)
        Kernel size k of the transposed convolution.
    stride : int or (int, int)
        Stride s.
    padding, output_padding : int or (int, int)
        Output pixels taken off on each side, and added at the bottom and right.
    groups : int
        Groups of channels of the transposed convolution.
    bias : bool
        Whether to add a learnt bias.
    dilation : int or (int, int)
        Distance of the taps of the transposed convolution.
    padding_mode : str
        ``zeros``; torch has no other here.
    device, dtype
        Of the parameters.
    taps : sequence of float
        The filter along each axis, of any sum but zero.

    Attributes
    ----------
    weight : Parameter, shape (C_in, C_out/groups, k, k)
    bias : Parameter, shape (C_out,), or None

    Raises
    ------
    UsageError
        If `taps` are not numbers of a sum other than zero.

    References
    ----------
    Karras et al., "Analyzing and improving the image quality of StyleGAN", CVPR 2020, arXiv:1912.04958,
    and its code: ``upfirdn_2d.upsample_conv_2d``.
    Zhang, "Making convolutional networks shift-invariant again", ICML 2019, arXiv:1904.11486 (why to filter).

    Examples
    --------
    >>> layer = FilteredConvTranspose2d(8, 4, kernel_size=4, stride=2, padding=1)
    >>> layer(torch.zeros(1, 8, 5, 7)).shape
    torch.Size([1, 4, 10, 14])
    """

    fir: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        output_padding: int | tuple[int, int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, int] = 1,
        padding_mode: Literal["zeros"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        taps: Sequence[float] = FILTER_TAPS,
    ) -> None:
        super().__init__(
            *(in_channels, out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation),
            padding_mode=padding_mode,
            device=device,
            dtype=dtype,
        )
        self.taps = _check_taps(taps)
        self.register_constants(self.weight.device, self.weight.dtype)

    def compute_constants(self) -> dict[str, Tensor]:
        """Compute the filter of each channel, (C_out, 1, n_f, n_f)."""
        taps = torch.tensor(self.taps, dtype=torch.float64, device="cpu") / sum(self.taps)
        fir = torch.outer(self.stride[0] * taps, self.stride[1] * taps)
        # a constant: a state_dict holds what was learned, and fits a plain transposed convolution
        return {"fir": fir.expand(self.out_channels, 1, -1, -1).contiguous()}

    def find_padding(self, output_padding: Sequence[int]) -> tuple[tuple[int, int], tuple[int, ...] | None]:
        """Say how the unpadded map is padded for the filter; negative numbers crop.

        Parameters
        ----------
        output_padding : sequence of int
            Rows and columns.

        Returns
        -------
        symmetric : (int, int)
            Rows and columns of padding that the filter's own convolution makes, without a copy of the map.
        copied : tuple of int or None
            Left, right, top and bottom, of a copy; None where `symmetric` does.
        """
        size = len(self.taps)
        rows, columns = (
            (size // 2 - crop, (size - 1) // 2 - crop + extra)
            for crop, extra in zip(_as_ints(self.padding), output_padding, strict=True)
        )
        if all(before == after >= 0 for before, after in (rows, columns)):
            return (rows[0], columns[0]), None
        return (0, 0), (*columns, *rows)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Upsample (N, C_in, H, W) or (C_in, H, W), as `torch.nn.ConvTranspose2d`."""
        output_padding = self._output_padding(
            input,
            output_size,
            *(self.stride, self.padding, self.kernel_size),  # type: ignore[arg-type] # tuples are lists to torch
            num_spatial_dims=2,
            dilation=self.dilation,  # type: ignore[arg-type]
        )
        y = functional.conv_transpose2d(
            input, self.weight, stride=self.stride, groups=self.groups, dilation=self.dilation
        )
        symmetric, copied = self.find_padding(output_padding)
        if copied is not None:
            y = functional.pad(y, copied)
        return functional.conv2d(y, self.fir, self.bias, padding=symmetric, groups=self.out_channels)

    def extra_repr(self) -> str:
        """Say what the layer is, as torch's own layers do."""
        words: str = super().extra_repr()  # type: ignore[no-untyped-call] # torch has no types here
        return words if self.taps == FILTER_TAPS else f"{words}, taps={self.taps}"


def _check_taps(taps: object) -> tuple[float, ...]:
    """Refuse what is not a filter."""
    if not isinstance(taps, Sequence) or not all(map(is_number, taps)) or sum(taps) == 0:
        raise UsageError(f"taps: {quote(taps)} is not a sequence of numbers of a sum other than zero")
    return tuple(float(tap) for tap in taps)


def _as_ints(padding: Sequence[int] | str) -> Sequence[int]:
    assert not isinstance(padding, str)  # torch's classes allow for names, its transposed convolutions do not
    return padding


@register_upsampler(
    "transposed_fir",
    summary="transposed convolution, then the fixed low-pass filter [1, 3, 3, 1]",
    formula="fir(convT_k(x)), stride s, fir = [1,3,3,1]²",
    macs_formula="k²/s² + 16/C_in",
    reference="Karras et al., arXiv:1912.04958; Zhang, arXiv:1904.11486",
    linear=True,
    shift_equivariant=True,
    objection=find_gap,
    macs=_count_filtered,
)
class TransposedFir(FilteredConvTranspose2d):
    """Uncropped transposed convolution, then a depthwise convolution with a fixed binomial filter.

    Along one axis, z[m] = Σ_n x[n]·w[m − s·n] and y[m] = Σ_j f[j]·z[m + j − b] with f = s·[1, 3, 3, 1]/8. Of the
    s + 3 − k pixels of padding in total, b = ⌈(s+3−k)/2⌉ come before and the rest after; a negative number
    crops. So the output is exactly s times the input, its centre is the input's where s + 3 − k is even, and
    k = 3 with s = 2 is StyleGAN2's ``upsample_conv_2d``: a pixel on each side. The filter has the gain s² in two
    dimensions, which makes up for the zeros that a transposed convolution inserts. The bias comes after it, so
    that the border of zeros does not act on the bias.

    As polynomials f is s/8·(1 + z)³, which box_s divides for s = 2 only: there a constant stays constant,
    whatever the kernel; at scales of 3 and 4 a part of the ripple remains.

    MACs: k²/s² per output pixel in units of C_in·C_out, and 16 per output channel. The filter runs on the
    output's size, so there is no surplus.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k of the transposed convolution, at least s.
    scale_factor : int
        Scale s, its stride.

    References
    ----------
    Karras et al., "Analyzing and improving the image quality of StyleGAN", CVPR 2020, arXiv:1912.04958,
    and its code: ``upfirdn_2d.upsample_conv_2d``.
    Zhang, "Making convolutional networks shift-invariant again", ICML 2019, arXiv:1904.11486 (why to filter).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        excess = kernel_size - scale_factor
        padding = -(-excess // 2)
        # zeros below and to the right are the filter's padding: more of them than torch allows is well
        super().__init__(
            *(in_channels, out_channels, kernel_size),
            stride=scale_factor,
            padding=padding,
            output_padding=2 * padding - excess,
        )
        self.scale_factor = scale_factor
