"""Transposed convolution that cannot turn a constant into a checkerboard: its phases have equal gains by design.

A parametrisation for training: the free weight is projected in every forward. It may not be applied to a network
that was trained without it and called the same network, and it equalises sums of taps only, not their squares.
"""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.theory.overlap import phase_counts
from deconvbench.theory.sizes import exact_padding
from deconvbench.upsamplers.constants import ConstantLayer
from deconvbench.upsamplers.registry import register_upsampler
from deconvbench.upsamplers.torch_code import write_ours
from deconvbench.upsamplers.transposed import count_transposed, find_objection


class GainProjection(ConstantLayer):
    """Orthogonal projection of kernels onto those whose phases have equal gains.

    With S_φ the sum of the n_φ taps of phase φ, each tap t of it becomes w_t + (g − S_φ)/n_φ. A kernel at least
    distance from w with S'_φ = g for all φ minimises ½Σ(w'_t − w_t)² − Σ_φ λ_φ(S'_φ − g), so w'_t = w_t + λ_φ,
    S'_φ = S_φ + n_φ·λ_φ = g and λ_φ = (g − S_φ)/n_φ. What it costs, Σ_φ (g − S_φ)²/n_φ, is least at
    g = Σ_φ(S_φ/n_φ) / Σ_φ(1/n_φ), that is at Σ_φ λ_φ = 0. These kernels are a linear subspace of k² − (s² − 1)
    dimensions, so this is the orthogonal projection onto it: linear, symmetric and idempotent.

    A dilation that has no divisor in common with the stride permutes the phases and keeps them apart, so the same
    projection serves.

    It adds and does not multiply matrices: a matrix product would be rounded as the device rounds those.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Kernel size k, at least s; rows and columns.
    stride : int or (int, int)
        Stride s of the transposed convolution; rows and columns.
    device, dtype
        Of the weights that it is to project.
    """

    tap_counts: Tensor
    phase_of_tap: Tensor
    tap_of_place: Tensor

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int],
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        rows, columns = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        down, across = (stride, stride) if isinstance(stride, int) else stride
        self._axes = ((rows, down), (columns, across))
        self.is_filled = bool(rows % down or columns % across)
        self.blocks = -(-rows // down) * -(-columns // across)
        # on the weight's device, so that no forward waits for a copy; whole numbers, exact in any precision
        self.register_constants(device, dtype)

    def compute_constants(self) -> dict[str, Tensor]:
        """Compute the taps of each phase, the phase of each tap, and the tap at each place of a block."""
        (rows, down), (columns, across) = self._axes
        counts = np.outer(phase_counts(rows, down), phase_counts(columns, across))
        phases = np.add.outer(across * (np.arange(rows) % down), np.arange(columns) % across)
        # the kernel filled up to whole blocks of s×s: what is past its end holds the tap behind the last, 0
        taps = np.arange(rows * columns).reshape(rows, columns)
        filled = np.pad(taps, ((0, -rows % down), (0, -columns % across)), constant_values=taps.size)
        places = filled.reshape(-1, down, filled.shape[1] // across, across).swapaxes(1, 2)
        return {
            "tap_counts": torch.tensor(counts.ravel(), dtype=torch.float64),
            "phase_of_tap": torch.tensor(phases.ravel()),
            "tap_of_place": torch.tensor(places.ravel()),
        }

    def forward(self, weight: Tensor) -> Tensor:
        """Project kernels (C_in, C_out, k, k); differentiable."""
        kernels = weight.flatten(2).flatten(0, 1)
        filled = functional.pad(kernels, (0, 1)) if self.is_filled else kernels
        # one long sum a block: reductions over a handful of neighbours are several times slower
        places = filled.index_select(1, self.tap_of_place)
        by_block = places.view(-1, self.blocks, self.tap_counts.numel()).unbind(1)
        means = sum(by_block[1:], start=by_block[0]) / self.tap_counts
        gain = means.sum(1, keepdim=True) / (1 / self.tap_counts).sum()
        shifts = gain / self.tap_counts - means
        projected: Tensor = weight + shifts.index_select(1, self.phase_of_tap).view_as(weight)
        return projected


class EqualGainConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` that cannot turn a constant into a checkerboard: its phases have equal gains.

    It computes a transposed convolution with the kernel P(w), where P is the orthogonal projection of the free
    weight w onto the kernels whose s×s phases have equal sums (`GainProjection`); P(w) is computed in every
    forward, differentiably. Arguments, defaults, initialisation, output size, ``output_size`` in the forward and
    the keys of the state_dict, ``weight`` and ``bias``, are those of `torch.nn.ConvTranspose2d`, and a checkpoint
    of it loads. It is meant for training from the start: with the weights of a finished network it computes
    something else.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int or (int, int)
        Kernel size k, at least the stride.
    stride : int or (int, int)
        Stride s.
    padding, output_padding : int or (int, int)
        Output pixels taken off on each side, and added at the bottom and right.
    groups : int
        Groups of channels.
    bias : bool
        Whether to add a learnt bias.
    dilation : int or (int, int)
        Distance of the taps; without a divisor in common with the stride.
    padding_mode : str
        ``zeros``; torch has no other here.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    weight : Parameter, shape (C_in, C_out/groups, k, k)
        The free weight w; `compute_kernel` gives P(w).
    bias : Parameter, shape (C_out,), or None

    Raises
    ------
    UsageError
        If the kernel is smaller than the stride, or stride and dilation have a divisor in common: some phases
        have no taps then.

    References
    ----------
    Sugawara, Shiota, Kiya, "Super-resolution using convolutional neural networks without any checkerboard
    artifacts", arXiv:1806.02658 (equal phase gains as the condition; the parametrisation is ours).

    Examples
    --------
    >>> layer = EqualGainConvTranspose2d(8, 4, kernel_size=4, stride=2, padding=1)
    >>> layer(torch.zeros(1, 8, 5, 7)).shape
    torch.Size([1, 4, 10, 14])
    """

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
    ) -> None:
        super().__init__(
            *(in_channels, out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation),
            padding_mode=padding_mode,
            device=device,
            dtype=dtype,
        )
        objection = find_missing_phase(self.kernel_size, self.stride, self.dilation)
        if objection is not None:
            raise UsageError(objection)
        self.projection = GainProjection(
            (self.kernel_size[0], self.kernel_size[1]),
            (self.stride[0], self.stride[1]),
            device=self.weight.device,
            dtype=self.weight.dtype,
        )

    def compute_kernel(self) -> Tensor:
        """Project the free weight: the kernel of the equal `nn.ConvTranspose2d`, for use after training.

        Returns
        -------
        Tensor, shape (C_in, C_out/groups, k, k)
            P(w), differentiable in w.
        """
        kernel: Tensor = self.projection(self.weight)
        return kernel

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Upsample (N, C_in, H, W) or (C_in, H, W), as `torch.nn.ConvTranspose2d`."""
        output_padding = self._output_padding(
            input,
            output_size,
            *(self.stride, self.padding, self.kernel_size),  # type: ignore[arg-type] # tuples are lists to torch
            num_spatial_dims=2,
            dilation=self.dilation,  # type: ignore[arg-type]
        )
        return functional.conv_transpose2d(
            *(input, self.compute_kernel(), self.bias, self.stride),
            padding=self.padding,  # type: ignore[arg-type] # a transposed convolution takes numbers only
            output_padding=output_padding,
            groups=self.groups,
            dilation=self.dilation,
        )


def find_missing_phase(
    kernel_size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> str | None:
    """Say why some phases of a transposed convolution have no taps, or None where all have.

    Parameters
    ----------
    kernel_size, stride, dilation : tuple of int
        Of the transposed convolution, for each axis.
    """
    for taps, step, distance in zip(kernel_size, stride, dilation, strict=True):
        if taps < step:
            return f"kernel_size: {taps} is below stride {step} and leaves gaps in the output; at least {step}"
        if math.gcd(step, distance) != 1:
            return (
                f"dilation: {distance} has a divisor in common with stride {step}, so that phases have no taps;"
                " take a dilation of 1"
            )
    return None


@register_upsampler(
    "equal_gain_transposed",
    summary="transposed convolution whose phases have equal gains by parametrisation",
    formula="convT_k(x), stride s, kernel P(w), P: equal phase gains",
    macs_formula="k²/s²",
    reference="ours; the condition: Sugawara et al., arXiv:1806.02658",
    linear=True,
    shift_equivariant=True,
    objection=find_objection,
    macs=count_transposed,
    code=write_ours("EqualGainTransposed"),
)
class EqualGainTransposed(EqualGainConvTranspose2d):
    """Transposed convolution with the kernel P(w), where P makes the phase gains of every kernel equal.

    Along one axis, y[m] = Σ_n x[n]·P(w)[m + p − s·n], as `Transposed` with another kernel. P adds (g − S_φ)/n_φ to
    every tap of w in phase φ, where S_φ is the sum of the n_φ taps of the phase and
    g = Σ(S_φ/n_φ) / Σ(1/n_φ): the orthogonal projection onto the kernels with equal phase gains
    (`GainProjection` derives it). The free weight w is an ordinary one, (C_in, C_out, k, k), and with the bias all
    that a state_dict holds; the projection is computed in every forward.

    So `phase_ripple` is 0 at the start, during training and after, for every k ≥ s, at the cost of a
    transposed convolution. Resize-convolution has equal gains too, but fewer of them: with k = 4 and s = 2 this
    layer chooses from 13 dimensions of 16, a 3×3 kernel after nearest ×2 (as large together) from 9.

    It is meant for training from the start. Projecting the kernels of a finished network changes what it
    computes.

    MACs: k²/s² per output pixel, in units of C_in·C_out; the projection only adds, and on the kernels only.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k, at least s.
    scale_factor : int
        Scale s, the stride.

    Raises
    ------
    UsageError
        Where `find_objection` objects to kernel and scale.

    References
    ----------
    Sugawara, Shiota, Kiya, "Super-resolution using convolutional neural networks without any checkerboard
    artifacts", arXiv:1806.02658 (equal phase gains as the condition; the parametrisation is ours).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        padding, output_padding = exact_padding(kernel_size, scale_factor)
        super().__init__(
            *(in_channels, out_channels, kernel_size),
            stride=scale_factor,
            padding=padding,
            output_padding=output_padding,
        )
        self.scale_factor = scale_factor
