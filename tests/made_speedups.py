"""Speed-ups made by hand that look like those of a run, for table, figure and report alike."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from deconvbench.records.case import Case
from deconvbench.records.record import SpeedupRecord
from tests.builders import make_case

SHAPES = ((64, 16), (64, 64), (128, 32), (256, 16), (256, 32), (512, 16), (512, 32))
# how much faster than plain, about as measured: contiguous, channels_last
TWINS = {
    "nearest_conv_fast": (2.8, 3.4),
    "nearest_conv_transposed": (2.4, 2.7),
    "nearest_conv_subpixel": (1.2, 1.1),
    "nearest_conv_minimal": (2.6, 3.0),
    "nearest_conv_tiled": (2.7, 3.5),
}
RIVALS = {3: 3.7, 4: 2.4}
FORMATS = ("contiguous", "channels_last")


def make_speedup_record(
    setting: Case, *, is_frozen: bool = False, replicate: int = 0, status: str = "ok", rounds: int = 5
) -> SpeedupRecord:
    """One setting in one replicate: the seed decides by how much numbers stray from those above."""
    twins = tuple(replace(setting, upsampler=name).case_id for name in TWINS)
    rivals = tuple(replace(setting, upsampler="transposed", kernel_size=k).case_id for k in RIVALS)
    job = SpeedupRecord(
        case=setting,
        twins=twins,
        rivals=rivals,
        is_frozen=is_frozen,
        replicate=replicate,
        seed=7,
        status=status,
        message="" if status == "ok" else "nearest_conv_tiled is not equivalent <to> plain",
    )
    if status != "ok":
        return job
    rng = random.Random(f"{setting.case_id}-{is_frozen}")
    late = random.Random(f"{setting.case_id}-{is_frozen}-{replicate}")
    step = 0.6 if setting.step == "train" else 1.0 if is_frozen else 0.95
    layout = FORMATS.index(setting.memory_format)
    step *= 1.0 if setting.threads == 1 else 0.8
    ratios = [1.0, *(pair[layout] * step * rng.uniform(0.7, 1.3) for pair in TWINS.values())]
    ratios += [ratio * rng.uniform(0.8, 1.2) for ratio in RIVALS.values()]
    plain = 1e-9 * setting.height**2 * setting.in_channels**2 / 20 / setting.threads
    names = (setting.case_id, *twins, *rivals)
    is_forward = setting.step == "forward"
    return replace(
        job,
        samples_s={
            name: tuple(plain / ratio * late.uniform(0.98, 1.02) for _ in range(rounds))
            for name, ratio in zip(names, ratios, strict=True)
        },
        stop_reason="precision",
        ceiling_flops_per_s=(1e11,) * rounds,
        macs={name: round(2e10 * plain) for name in names} if is_forward else {},
        peak_memory_bytes={name: 1000 + 10 * i for i, name in enumerate(names)} if replicate == 0 else {},
        implementations={twins[0]: "tiled" if setting.in_channels > 64 else "transposed"},
        measuring_s=0.5,
        total_s=0.7,
    )


def make_settings(
    shapes: Sequence[tuple[int, int]] = SHAPES,
    formats: Sequence[str] = FORMATS,
    threads: Sequence[int] = (1, 2),
    steps: Sequence[str] = ("forward", "train"),
) -> Iterator[Case]:
    """The baseline's cases of a grid like that of the preset `fast`."""
    for (channels, side), memory_format, count, step in itertools.product(shapes, formats, threads, steps):
        yield Case(
            upsampler="nearest_conv",
            kernel_size=3,
            scale_factor=2,
            in_channels=channels,
            out_channels=channels // 2,
            height=side,
            width=side,
            memory_format=memory_format,
            threads=count,
            step=step,
        )


def make_speedup_records(settings: Sequence[Case] | None = None, replicates: int = 2) -> list[SpeedupRecord]:
    """Everything that a run of the preset `fast` times, interleaved."""
    return [
        make_speedup_record(setting, is_frozen=is_frozen, replicate=replicate)
        for setting in (list(make_settings()) if settings is None else settings)
        for is_frozen in ((False, True) if setting.step == "forward" else (False,))
        for replicate in range(replicates)
    ]


CASE = make_case()
FAST, TILED = (CASE.case_id.replace("nearest_conv", name) for name in ("nearest_conv_fast", "nearest_conv_tiled"))
RIVAL = CASE.case_id.replace("nearest_conv", "transposed")


def make_record_of(ratios: dict[str, float], **changes: Any) -> SpeedupRecord:
    """A record in which the machine becomes slower from round to round, whatever the layer."""
    slow = (1.0, 1.5, 2.5)
    case: Case = changes.pop("case", CASE)
    # the same layers at the size of this case
    here = {replace(Case.from_id(name), height=case.height).case_id: ratio for name, ratio in ratios.items()}
    names = {case.case_id: 1.0, **here}
    twins = tuple(name for name in names if name != case.case_id and not name.startswith("transposed"))
    values: dict[str, Any] = {
        "case": case,
        "twins": twins,
        "rivals": tuple(name for name in names if name.startswith("transposed")),
        "is_frozen": False,
        "replicate": 0,
        "seed": 1,
        "status": "ok",
        "samples_s": {name: tuple(2e-3 * s / ratio for s in slow) for name, ratio in names.items()},
        "ceiling_flops_per_s": tuple(1e11 / s for s in slow),
        "macs": dict.fromkeys(names, 10**8),
        "peak_memory_bytes": dict.fromkeys(names, 1000),
        "implementations": {name: "tiled" for name in names if name.startswith("nearest_conv_fast")},
    }
    return SpeedupRecord(**{**values, **changes})
