"""Journals of any length with the structure of a real run: what loading and reports are timed and tested with.

In a run of all layers in many settings nearly every line is a case in one of its replicates; the others are the
quality and the rounding of its layers. Each case has samples and ratios of 20 rounds, about as many as the median
case of `quick`. The numbers are drawn, so no value means anything.

``python -m bench.made_journal FOLDER [RECORDS]`` writes a run folder to try something with.
"""

import itertools
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deconvbench.records.case import Case, name_layer
from deconvbench.records.conditions import Conditions
from deconvbench.records.record import (
    SCHEMA_VERSION,
    AnyRecord,
    Latency,
    Memory,
    NumericsRecord,
    QualityRecord,
    Record,
)
from deconvbench.records.run_folder import JOURNAL_NAME, write_run_info
from deconvbench.records.schema import ARTIFACT_COLUMNS

REPLICATES = 5
ROUNDS = 20
QUALITY_SEEDS = 5
MACHINE_ID = "9d6a84b3ce93"
UPSAMPLERS = (
    "transposed", "transposed_smoothed", "zero_insert", "nearest_conv", "nearest_conv_fast", "bilinear_conv",
    "bicubic_conv", "conv_nearest", "conv_bilinear", "subpixel", "subpixel_icnr", "sinc_conv",
)  # fmt: skip
_LAYERS = tuple(itertools.product(UPSAMPLERS, (2, 3, 4, 5, 6)))
_AXES: dict[str, tuple[Any, ...]] = {
    "channels": (32, 64, 128, 256),
    "height": (8, 16, 32, 64, 128, 256),
    "step": ("forward", "train"),
    "memory_format": ("contiguous", "channels_last"),
    "threads": (1, 2),
    "dtype": ("float32", "bfloat16"),
    "batch": (1, 8),
    "scale_factor": (2, 3),
}
_BASELINE = ("transposed", 3)


def make_lines(records: int, seed: int = 0, machine_id: str = MACHINE_ID) -> Iterator[str]:
    """Make the lines of a journal.

    Parameters
    ----------
    records : int
        How many lines of cases; those of layers come in addition, once for each layer and seed.
    seed : int
        Of the drawn numbers.
    machine_id : str
        Of the machine that is said to have measured.

    Yields
    ------
    str
        One record as JSON, without the line's end: settings one after another, in each every layer, in each all
        replicates.
    """
    draw = random.Random(seed)
    yield from (json.dumps(line, separators=(",", ":")) for line in _describe_layers(draw, records))
    lines = itertools.islice(_describe_cases(draw, machine_id), records)
    yield from (json.dumps(line, separators=(",", ":")) for line in lines)


def write_run(folder: Path, records: int, seed: int = 0, machine_id: str = MACHINE_ID) -> Path:
    """Write a run folder with such a journal, as an interrupted run leaves it: without tables.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    records, seed, machine_id
        As `make_lines`.

    Returns
    -------
    Path
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / JOURNAL_NAME).open("w", encoding="ascii") as file:
        file.writelines(f"{line}\n" for line in make_lines(records, seed, machine_id))
    environment = {"machine_id": machine_id, "cpu": f"made processor {machine_id}"}
    grid = {"name": "made", "replicates": REPLICATES}
    write_run_info(folder, {"grid": grid, "seed": seed, "environment": environment})
    return folder


def _describe(record: AnyRecord) -> dict[str, Any]:
    return {"schema_version": SCHEMA_VERSION, "kind": record.KIND, **asdict(record)}


def _list_settings() -> Iterator[dict[str, Any]]:
    # the last axis changes last, as the sizes of one setting come one after another in a run
    for values in itertools.product(*reversed(_AXES.values())):
        setting = dict(zip(reversed(_AXES), values, strict=True))
        channels = setting.pop("channels")
        height = setting["height"]
        yield {**setting, "width": height, "in_channels": channels, "out_channels": channels // 2}


def _describe_layers(draw: random.Random, records: int) -> Iterator[dict[str, Any]]:
    settings = list(itertools.islice(_list_settings(), -(-records // (len(_LAYERS) * REPLICATES))))
    for scale, (upsampler, kernel) in itertools.product(
        dict.fromkeys(setting["scale_factor"] for setting in settings), _LAYERS
    ):
        layer = {"upsampler": upsampler, "kernel_size": kernel, "scale_factor": scale}
        for seed in range(QUALITY_SEEDS):
            metrics: dict[str, float | None] = {name: draw.random() for name in ARTIFACT_COLUMNS}
            yield _describe(
                QualityRecord(**layer, seed=seed, channels=16, status="ok", metrics=metrics, total_s=0.05)
            )
    for names in dict.fromkeys(
        (s["scale_factor"], s["in_channels"], s["out_channels"], s["dtype"]) for s in settings
    ):
        scale, in_channels, out_channels, dtype = names
        for upsampler, kernel in _LAYERS:
            yield _describe(
                NumericsRecord(
                    upsampler=upsampler,
                    kernel_size=kernel,
                    scale_factor=scale,
                    in_channels=in_channels,
                    out_channels=out_channels,
                    dtype=dtype,
                    device="cpu",
                    status="ok",
                    numerical_error=1e-7 * draw.random(),
                )
            )


def _describe_cases(draw: random.Random, machine_id: str) -> Iterator[dict[str, Any]]:
    for order, (setting, (upsampler, kernel)) in enumerate(itertools.product(_list_settings(), _LAYERS)):
        case = Case(upsampler=upsampler, kernel_size=kernel, **setting)
        baseline = Case(upsampler=_BASELINE[0], kernel_size=_BASELINE[1], **setting)
        template = _describe(_make_record(case, baseline.case_id, order, machine_id))
        middle = 1e-9 * case.in_channels * case.height**2 * (1 + draw.random())
        for replicate in range(REPLICATES):
            baseline_s = [middle * (1 + 0.02 * draw.random()) for _ in range(ROUNDS)]
            samples_s = [middle * (1 + 0.02 * draw.random()) for _ in range(ROUNDS)]
            ratios = [own / other for own, other in zip(samples_s, baseline_s, strict=True)]
            latency = {**template["latency"], "samples_s": samples_s}
            yield {**template, "replicate": replicate, "latency": latency, "ratios": ratios}


def _make_record(case: Case, baseline_id: str, order: int, machine_id: str) -> Record:
    elements = case.batch * case.height * case.width
    is_noisy = order % 97 == 0
    return Record(
        case=case,
        replicate=0,
        process_index=0,
        seed=1236583567,
        order=order,
        started_at="2026-11-28T16:00:55+00:00",
        status="ok",
        noisy=is_noisy,
        noise_reason="load 6.6 on 2 cores" if is_noisy else "",
        latency=Latency(samples_s=(), calls_per_sample=16, first_call_s=0.001, stop_reason="precision"),
        memory=Memory(
            peak_memory_bytes=16 * elements * case.in_channels,
            peak_reserved_bytes=None,
            input_bytes=4 * elements * case.in_channels,
            output_bytes=4 * elements * case.out_channels * case.scale_factor**2,
            parameter_bytes=4 * 9 * case.in_channels * case.out_channels,
            gradient_bytes=0,
        ),
        macs=9 * elements * case.in_channels * case.out_channels,
        latency_pass_s=0.36,
        total_s=0.37,
        machine_id=machine_id,
        torch_version="2.13.0+cpu",
        code_version="0.1.0",
        baseline_id=baseline_id,
        conditions=Conditions(
            policy="settled", allocator="settled", huge_pages="malloc", pinned_cores=(1,), priority=0
        ),
        kernel=f"{name_layer(case.upsampler, case.kernel_size)}, made",
    )


if __name__ == "__main__":
    print(write_run(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100_000))
