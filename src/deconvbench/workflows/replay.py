"""What the pytest front needs: measured samples replayed into pytest-benchmark, one round a sample.

pytest-benchmark times a CPU clock in one process; the engine measures replicates in processes of their own,
and CUDA with events. So the engine measures, and pytest-benchmark is handed the samples through a clock that
advances by what was measured. Its comparison, storage, groups and histograms then work on true numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch

from deconvbench.errors import UnsupportedError
from deconvbench.records.case import Case, name_group
from deconvbench.records.conditions import describe_conditions
from deconvbench.records.ratio import find_ratio
from deconvbench.records.record import Record
from deconvbench.records.run_folder import read_journal
from deconvbench.records.schema import ARTIFACT_COLUMNS, NUMERICAL_COLUMNS
from deconvbench.tables.files import read_tables
from deconvbench.upsamplers import build_upsampler

_SHOWN_COLUMNS = (
    "peak_memory_bytes",
    "peak_reserved_bytes",
    "workspace_bytes",
    "output_bytes",
    "parameter_bytes",
    "macs",
    *ARTIFACT_COLUMNS,
    *NUMERICAL_COLUMNS,
)


class ReplayClock:
    """A timer for pytest-benchmark that advances by measured samples instead of by waiting.

    Attributes
    ----------
    now : float
        Seconds; 0 until something was replayed.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._left: list[float] = []

    def load(self, samples_s: Sequence[float]) -> None:
        """Take the samples to replay.

        Parameters
        ----------
        samples_s : sequence of float
            Seconds per call, in the order measured.
        """
        self._left = list(reversed(samples_s))

    def advance(self) -> None:
        """Let the next sample pass; nothing more happens once all have (the target may be called once more)."""
        if self._left:
            self.now += self._left.pop()

    def __call__(self) -> float:
        """Return the time, as a timer does."""
        return self.now


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What is passed to pytest-benchmark about one case.

    Parameters
    ----------
    status, message : str
        Of the first replicate that is `ok`, else of the first.
    group : str
        Cases that a reader compares: same channels, size, step and environment, different layers.
    samples_s : tuple of float
        The samples of all replicates, in order; empty where nothing was measured.
    extra_info : dict
        Plain data that is saved beside the samples.
    """

    status: str
    message: str
    group: str
    samples_s: tuple[float, ...]
    extra_info: dict[str, Any]


def collect_results(folder: Path) -> dict[str, CaseResult]:
    """Gather the results of a run folder by case.

    Parameters
    ----------
    folder : Path
        A run folder with journal and tables.

    Returns
    -------
    dict of str to CaseResult
        By `case_id`.
    """
    records: dict[str, list[Record]] = {}
    for record in read_journal(folder):
        if isinstance(record, Record):
            records.setdefault(record.case.case_id, []).append(record)
    summary = read_tables(folder).summary.set_index("case_id")
    return {
        case_id: _join(replicates, {name: summary.loc[case_id, name] for name in _SHOWN_COLUMNS})
        for case_id, replicates in records.items()
    }


def _join(replicates: Sequence[Record], shown: dict[str, Any]) -> CaseResult:
    ordered = sorted(replicates, key=lambda record: record.replicate)
    told = next((record for record in ordered if record.status == "ok"), ordered[0])
    timed = [
        record.latency.samples_s for record in ordered if record.status == "ok" and record.latency is not None
    ]
    found = [(record.baseline_id, find_ratio(record)) for record in ordered if record.status == "ok"]
    paired = [(baseline_id, ratio) for baseline_id, ratio in found if ratio is not None]
    # replicates with another baseline are not of one kind
    is_paired = len({baseline_id for baseline_id, _ in paired}) == 1
    info = {
        "case_id": told.case.case_id,
        "status": told.status,
        "replicate_latency_s": [median(samples) for samples in timed],
        "replicate_floor_s": [min(samples) for samples in timed],
        "baseline_id": paired[0][0] if is_paired else None,
        "replicate_ratio": [ratio for _, ratio in paired] if is_paired else [],
        "machine_id": told.machine_id,
        "torch_version": told.torch_version,
        "conditions": describe_conditions(told.conditions),
        # pandas' missing values have no JSON
        **{name: None if pd.isna(value) else float(value) for name, value in shown.items()},
    }
    return CaseResult(
        status=told.status,
        message=told.message,
        group=name_group(told.case),
        samples_s=tuple(sample for samples in timed for sample in samples),
        extra_info=info,
    )


def run_once(case: Case) -> torch.Tensor:
    """Run one forward pass of a case here and now, to see that it works; nothing is measured.

    Parameters
    ----------
    case : Case
        What to run.

    Returns
    -------
    Tensor
        The output.

    Raises
    ------
    UnsupportedError
        If the upsampler cannot have that kernel or scale.
    """
    layer = build_upsampler(
        case.upsampler, case.in_channels, case.out_channels, case.kernel_size, case.scale_factor
    )
    dtype: torch.dtype = getattr(torch, case.dtype)
    with torch.inference_mode():
        output: torch.Tensor = layer.to(case.device, dtype).eval()(
            torch.zeros(case.input_shape, device=case.device, dtype=dtype)
        )
    if tuple(output.shape) != case.output_shape:
        raise UnsupportedError(f"{case.case_id}: gave shape {tuple(output.shape)}, expected {case.output_shape}")
    return output
