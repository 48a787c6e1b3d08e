"""One more artifact metric, as a contributor would add it: a pure function and a declaration, nothing else."""

from torch import Tensor

from deconvbench.records.metrics import METRICS, Metric


def tap_peak(taps: Tensor, scale_factor: int) -> float:
    """Largest tap of an impulse response (C_out, C_in, h, w), over the RMS of all."""
    assert scale_factor > 0
    return float(taps.abs().max() / taps.square().mean().sqrt())


METRICS["tap_peak"] = Metric(
    name="tap_peak",
    title="tap peak",
    unit="ratio",
    meaning="how much one weight stands out of all; 1 is best",
    heading_of_tradeoff="Cost against the largest tap",
    how_to_read="Weights drawn alike have none that stands out.",
    is_later=True,
    zero_below=1e-9,
    tolerance=(1e-6, 1e-9),
    probe="taps",
    function="tests.added_metric:tap_peak",
    heat_map=3,
)
