"""Transposed convolution that cannot turn a constant into a checkerboard: its phases have equal gains by design.

A parametrisation for training: the free weight is projected in every forward. It may not be applied to a network
that was trained without it and called the same network, and it equalises sums of taps only, not their squares.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.theory.overlap import phase_counts
from deconvbench.theory.sizes import exact_padding
from deconvbench.upsamplers.registry import register_upsampler
from deconvbench.upsamplers.torch_code import write_ours
from deconvbench.upsamplers.transposed import count_transposed, find_objection


class GainProjection(nn.Module):
    """Orthogonal projection of kernels onto those whose phases have equal gains.

    With S_φ the sum of the n_φ taps of phase φ, each tap t of it becomes w_t + (g − S_φ)/n_φ. A kernel at least
    distance from w with S'_φ = g for all φ minimises ½Σ(w'_t − w_t)² − Σ_φ λ_φ(S'_φ − g), so w'_t = w_t + λ_φ,
    S'_φ = S_φ + n_φ·λ_φ = g and λ_φ = (g − S_φ)/n_φ. What it costs, Σ_φ (g − S_φ)²/n_φ, is least at
    g = Σ_φ(S_φ/n_φ) / Σ_φ(1/n_φ), that is at Σ_φ λ_φ = 0. These kernels are a linear subspace of k² − (s² − 1)
    dimensions, so this is the orthogonal projection onto it: linear, symmetric and idempotent.

    It adds and does not multiply matrices: a matrix product would be rounded as the device rounds those.

    Parameters
    ----------
    kernel_size : int
        Kernel size k, at least s.
    stride : int
        Stride s of the transposed convolution.
    """

    tap_counts: Tensor
    phase_of_tap: Tensor
    tap_of_place: Tensor

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        counts = phase_counts(kernel_size, stride)
        phases = np.arange(kernel_size) % stride
        # the kernel filled up to whole blocks of s×s: places past its end hold the tap k², which is zero
        taps = np.arange(kernel_size**2).reshape(kernel_size, kernel_size)
        filled = np.pad(taps, (0, -kernel_size % stride), constant_values=taps.size)
        blocks = len(filled) // stride
        places = filled.reshape(blocks, stride, blocks, stride).swapaxes(1, 2)
        self.is_filled = filled.size > taps.size
        self.blocks = blocks**2
        # on the weight's device, so that no forward waits for a copy; whole numbers, exact in any precision
        self.register_buffer(
            "tap_counts",
            torch.tensor(np.outer(counts, counts).ravel(), dtype=torch.get_default_dtype()),
            persistent=False,
        )
        self.register_buffer(
            "phase_of_tap", torch.tensor(np.add.outer(stride * phases, phases).ravel()), persistent=False
        )
        self.register_buffer("tap_of_place", torch.tensor(places.ravel()), persistent=False)

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
class EqualGainTransposed(nn.Module):
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
        super().__init__()
        self.padding, self.output_padding = exact_padding(kernel_size, scale_factor)
        self.scale_factor = scale_factor
        like = nn.ConvTranspose2d(in_channels, out_channels, kernel_size)
        self.weight, self.bias = like.weight, like.bias
        self.projection = GainProjection(kernel_size, scale_factor)

    def compute_kernel(self) -> Tensor:
        """Project the free weight: the kernel of the equal `nn.ConvTranspose2d`, for use after training.

        Returns
        -------
        Tensor, shape (C_in, C_out, k, k)
            P(w), differentiable in w.
        """
        kernel: Tensor = self.projection(self.weight)
        return kernel

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C_in, H, W) to (N, C_out, sH, sW)."""
        return functional.conv_transpose2d(
            x,
            self.compute_kernel(),
            self.bias,
            stride=self.scale_factor,
            padding=self.padding,
            output_padding=self.output_padding,
        )
