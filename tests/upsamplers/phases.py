"""Phase gains of a linear upsampler, the obvious way: push constants through it and look at the interior."""

import torch
from torch import Tensor, nn

# input pixels; the margin exceeds every receptive field tested here, and leaves the middle 4×4
_SIZE, _MARGIN = 20, 8


def measure_phase_gains(layer: nn.Module, in_channels: int, scale_factor: int) -> Tensor:
    """Return G[i, j, o, c]: what output channel o gains at phase (i, j) from a constant one in input channel c."""
    constants = torch.eye(in_channels, dtype=torch.float64)[:, :, None, None].expand(-1, -1, _SIZE, _SIZE)
    layer = layer.double()
    with torch.no_grad():
        response: Tensor = layer(constants) - layer(torch.zeros_like(constants))
    kept, margin = _SIZE - 2 * _MARGIN, _MARGIN * scale_factor
    interior = response[:, :, margin:-margin, margin:-margin]
    phases = interior.reshape(in_channels, -1, kept, scale_factor, kept, scale_factor)
    assert torch.allclose(phases, phases[:, :, :1, :, :1], rtol=0, atol=1e-12), "not periodic: margin too small"
    return phases.mean(dim=(2, 4)).permute(2, 3, 1, 0)


def compute_ripple(gains: Tensor) -> float:
    """Return the variance over the phases as a share of the mean square, both summed over all channels."""
    return float(gains.var(dim=(0, 1), correction=0).sum() / gains.square().mean(dim=(0, 1)).sum())
