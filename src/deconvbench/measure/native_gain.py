"""What the compiled form of resize-convolution gains on the machine at hand, in a sentence.

A first impression of one setting. The preset ``fast`` measures many.
"""

import statistics
from dataclasses import replace

import torch

from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.rounds import divide_rounds
from deconvbench.measure.speedup import measure_speedup
from deconvbench.records.case import Case
from deconvbench.records.record import SpeedupRecord

# large enough for the work to count and not the call, small enough for many rounds in a second
_SETTING = Case(
    upsampler="nearest_conv",
    kernel_size=3,
    scale_factor=2,
    in_channels=128,
    out_channels=64,
    height=32,
    width=32,
)
_TILED, _TRANSPOSED, _DECONVOLUTION = "nearest_conv_tiled", "nearest_conv_transposed", "transposed"


def measure_native_gain(policy: LatencyPolicy | None = None) -> str:
    """Time the tiled form, the transposed form and a deconvolution against the plain form, interleaved.

    Parameters
    ----------
    policy : LatencyPolicy or None
        How long to measure; None is about a second.

    Returns
    -------
    str
        One sentence, which also says whether the tiled form that ran is the compiled one.
    """
    ids = {name: replace(_SETTING, upsampler=name).case_id for name in (_TILED, _TRANSPOSED, _DECONVOLUTION)}
    job = SpeedupRecord(
        case=_SETTING,
        twins=(ids[_TILED], ids[_TRANSPOSED]),
        rivals=(ids[_DECONVOLUTION],),
        is_frozen=True,
        replicate=0,
        seed=0,
        status="error",
        message="not measured",
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(_SETTING.threads)
    try:
        *_, done = measure_speedup(job, policy or LatencyPolicy(), measures_memory=False)
    finally:
        torch.set_num_threads(threads)
    gains = {
        name: statistics.median(divide_rounds(done.samples_s, _SETTING.case_id, case_id))
        for name, case_id in ids.items()
    }
    form = done.implementations.get(ids[_TILED], "tiled")
    return (
        f"c{_SETTING.in_channels}x{_SETTING.out_channels}, {_SETTING.height}×{_SETTING.width}, one thread, weight"
        f" kept: {form} is {gains[_TILED]:.1f} times as fast as the plain form; the transposed form is"
        f" {gains[_TRANSPOSED]:.1f}, a deconvolution of kernel 3 {gains[_DECONVOLUTION]:.1f} times as fast"
    )
