"""Runs of several made machines: journals and descriptions whose numbers follow from the machine."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deconvbench.records.record import AnyRecord, encode_record
from deconvbench.records.run_folder import JOURNAL_NAME, write_run_info
from tests.builders import make_case, make_record
from tests.tables.made_records import make_latency, make_numerics, make_quality

# over the baseline, which is the first
COSTS: Mapping[str, float] = {
    "transposed": 1.0, "nearest_conv": 1.6, "bilinear_conv": 2.4, "subpixel": 0.8, "conv_nearest": 1.2,
    "bicubic_conv": 3.5,
}  # fmt: skip


def make_machine_records(
    machine_id: str,
    costs: Mapping[str, float] = COSTS,
    *,
    seconds: float = 1e-3,
    replicates: int = 3,
    height: int = 8,
    **changes: Any,
) -> list[AnyRecord]:
    """Make what one machine measured: each layer over the baseline as `costs` say, but for a percent of noise."""
    draw = random.Random(f"{machine_id} {seconds} {height}")
    records: list[AnyRecord] = [make_quality(upsampler=name, total_s=draw.random()) for name in costs]
    records += [make_numerics(upsampler=name, numerical_error=1e-7 * draw.random()) for name in costs]
    baseline = make_case(upsampler=next(iter(costs)), height=height, width=height)
    for replicate in range(replicates):
        for order, (name, cost) in enumerate(costs.items()):
            ratio = 1.0 if not order else cost * draw.uniform(0.99, 1.01)
            samples = tuple(seconds * ratio * draw.uniform(1, 1.01) for _ in range(10))
            values: dict[str, Any] = {
                "case": make_case(upsampler=name, height=height, width=height),
                "replicate": replicate,
                "order": order,
                "latency": make_latency(*samples),
                "machine_id": machine_id,
                "torch_version": "2.13.0",
                "baseline_id": baseline.case_id,
                "ratios": (ratio,) * 9,  # other than samples, so that the ratio is their median
            }
            records.append(make_record(**{**values, **changes}))
    return records


def write_machine(folder: Path, records: list[AnyRecord], **info: Any) -> Path:
    """Write a run folder of one machine, without tables."""
    folder.mkdir(parents=True)
    lines = [encode_record(record) + "\n" for record in records]
    (folder / JOURNAL_NAME).write_text("".join(lines), encoding="utf-8")
    machine = next((m for r in records if (m := getattr(r, "machine_id", ""))), "")
    environment = {"machine_id": machine, "cpu": f"Processor {machine}", "cores": 2, "torch_version": "2.13.0"}
    described = {"created_at": "2026-11-28T12:00:00+00:00", "finished_at": "2026-11-28T13:00:00+00:00", "seed": 7}
    write_run_info(folder, {**described, "grid": {"name": "made"}, "environment": environment, **info})
    return folder


def write_machines(parent: Path, *names: str, **changes: Any) -> list[Path]:
    """Write a run for each name, of a machine called so."""
    return [write_machine(parent / name, make_machine_records(name, **changes)) for name in names]
