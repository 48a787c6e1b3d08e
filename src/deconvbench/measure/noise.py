"""What disturbs a timing, in numbers: other load, CPU-quota throttling, stolen time, spread, a slow start.

Linux tells most of it through files that cost microseconds to read; elsewhere these readings are None and
only the spread of the samples speaks.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from deconvbench.records.record import Latency
from deconvbench.statistics import spread

# a robust relative spread above this is wider than what a quiet machine shows (about 0.5 to 3 %)
MAX_SPREAD = 0.10
# share of the pass that the hypervisor gave to others, or that the quota took, before we call it disturbed
MAX_STOLEN_SHARE = 0.02
# a first sample further above the median of the rest than this was taken while something still warmed up
MAX_FIRST_SLOWER = 0.20

_STAT = Path("/proc/stat")
_CPU_STAT = Path("/sys/fs/cgroup/cpu.stat")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseState:
    """Readings at one moment; differences between two moments tell what happened in between.

    Parameters
    ----------
    load_average : float or None
        Mean number of runnable processes over the last minute.
    stolen_s : float or None
        Seconds that the hypervisor gave to others, summed over cores, since boot.
    throttled_s : float or None
        Seconds that the control group's CPU quota held us back, since it was made.
    """

    load_average: float | None
    stolen_s: float | None
    throttled_s: float | None


def read_noise_state() -> NoiseState:
    """Read what the system tells about disturbance now."""
    return NoiseState(
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        stolen_s=_read_stolen_s(),
        throttled_s=_read_throttled_s(),
    )


def _read_stolen_s() -> float | None:
    """Eighth counter of the first line of /proc/stat, in clock ticks (man 5 proc)."""
    try:
        counters = _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()
        return int(counters[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None


def _read_throttled_s() -> float | None:
    try:
        for line in _CPU_STAT.read_text(encoding="ascii").splitlines():
            if line.startswith("throttled_usec "):
                return int(line.split()[1]) * 1e-6
    except (OSError, ValueError):
        return None
    return None


def explain_noise(before: NoiseState, after: NoiseState, duration_s: float, latency: Latency, cores: int) -> str:
    """Say why a latency should not be trusted.

    Parameters
    ----------
    before, after : NoiseState
        Around the timed pass.
    duration_s : float
        Seconds of the timed pass.
    latency : Latency
        What it gave.
    cores : int
        Cores that this process may use.

    Returns
    -------
    str
        Reasons with their numbers, joined by semicolons; empty when nothing speaks against it.
    """
    reasons = []
    for name, then, now in (
        ("stolen by the hypervisor", before.stolen_s, after.stolen_s),
        ("lost to the CPU quota", before.throttled_s, after.throttled_s),
    ):
        if then is not None and now is not None and now - then > MAX_STOLEN_SHARE * duration_s:
            reasons.append(f"{(now - then) / duration_s:.0%} of the time {name}")
    width = spread(latency.samples_s)
    if width > MAX_SPREAD:
        reasons.append(f"samples spread by {width:.0%}")
    first, *rest = latency.samples_s
    usual = median(rest or [first])
    if first > (1 + MAX_FIRST_SLOWER) * usual > 0:
        reasons.append(f"first sample {first / usual - 1:.0%} slower")
    # our own process makes one; a thread pool of ours can make as many as it has cores
    if after.load_average is not None and after.load_average > cores + 1:
        reasons.append(f"load {after.load_average:.1f} on {cores} cores")
    return "; ".join(reasons)
