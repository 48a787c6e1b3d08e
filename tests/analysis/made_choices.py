"""Summaries and quality tables with numbers of the test's own choice, for what chooses among layers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from deconvbench.records.case import Case
from deconvbench.records.schema import QUALITY_SUMMARY_DTYPES, SUMMARY_DTYPES
from deconvbench.tables.files import encode_tables
from tests.builders import make_case
from tests.plots.made_tables import make_frame, make_layer_quality, make_tables

BASELINE = "transposed"


def make_row(case: Case, ratio: float | None = 1.0, **changes: Any) -> dict[str, Any]:
    """One case, 5 % of an interval on either side; without a ratio it was timed alone, in a millisecond."""
    row: dict[str, Any] = {"case_id": case.case_id, "status": "ok", "message": "", "noisy": False, "seed": 0}
    row |= {name: getattr(case, name) for name in Case.__dataclass_fields__}
    latency = 1e-3 * (1.0 if ratio is None else ratio) * case.height * case.width / 64
    row |= {
        "latency_s": latency,
        "latency_ci_low_s": 0.95 * latency,
        "latency_ci_high_s": 1.05 * latency,
        "peak_memory_bytes": 1000 * case.height * case.width,
        "phase_ripple": 0.0,
        "replicates": 3,
    }
    if ratio is not None:
        baseline = Case(
            **{name: getattr(case, name) for name in Case.__dataclass_fields__}
            | {"upsampler": BASELINE, "kernel_size": 3}
        )
        row |= {"baseline_id": baseline.case_id, "ratio": ratio}
        row |= {"ratio_low": 0.95 * ratio, "ratio_high": 1.05 * ratio}
        if case == baseline:
            row |= {"ratio_low": ratio, "ratio_high": ratio}
    row |= changes
    if row["status"] != "ok":
        row |= dict.fromkeys(("latency_s", "ratio", "ratio_low", "ratio_high", "peak_memory_bytes"))
    return row


def make_summary(*rows: dict[str, Any]) -> pd.DataFrame:
    return make_frame(list(rows), SUMMARY_DTYPES)


def make_layers(ratios: Mapping[str, float], **changes: Any) -> pd.DataFrame:
    """Layers by upsampler with their ratios, alike otherwise."""
    case = {name: changes.pop(name) for name in list(changes) if name in Case.__dataclass_fields__}
    return make_summary(*(make_row(make_case(upsampler=n, **case), r, **changes) for n, r in ratios.items()))


def make_quality(**layers: Mapping[str, float]) -> pd.DataFrame:
    """What is known of layers of kernel 3 and scale 2, by upsampler, after training."""
    rows = [
        {
            "upsampler": name,
            "kernel_size": 3,
            "scale_factor": 2,
            "seeds": 3,
            "status": "ok",
            "message": "",
            **known,
        }
        for name, known in layers.items()
    ]
    return make_frame(rows, QUALITY_SUMMARY_DTYPES)


def write_run(folder: Path, summary: pd.DataFrame | None = None) -> Path:
    """A run folder without a journal: clean layers, two with a ripple and a failure, at three sizes."""
    if summary is None:
        ratios = {"transposed": 1.0, "nearest_conv_fast": 0.8, "subpixel_icnr": 2.0, "separable_transposed": 0.7}
        rows = []
        for size in (8, 16, 32):
            for upsampler, ratio in ratios.items():
                case = make_case(upsampler=upsampler, height=size, width=size)
                rows.append(make_row(case, ratio, phase_ripple=0.75 if "transposed" in upsampler else 0.0))
            case = make_case(upsampler="carafe", kernel_size=None, height=size, width=size)
            rows.append(make_row(case, 3.0, status="oom", message="3 GiB <big> | failed"))
        summary = make_summary(*rows)
    folder.mkdir(parents=True, exist_ok=True)
    layers = tuple(
        (u, None if pd.isna(k) else int(k))
        for u, k in {*zip(summary["upsampler"], summary["kernel_size"], strict=True)}
    )
    for name, content in encode_tables(make_tables(summary, make_layer_quality(layers, spread=0))).items():
        (folder / name).write_bytes(content)
    return folder
