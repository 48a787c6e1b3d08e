"""From the files of a run to a recommendation, with the code to paste."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from deconvbench.analysis.recommendation import Recommendation, check_limits, recommend_layer
from deconvbench.arguments import is_number
from deconvbench.errors import RunFolderError, UsageError, quote
from deconvbench.records.run_folder import find_newest_run, list_hardware, read_run_info
from deconvbench.report.recommendation import Answer
from deconvbench.system.paths import check_path
from deconvbench.tables.files import TABLE_NAME, Tables, read_tables
from deconvbench.tables.table import summarise_quality
from deconvbench.tables.trained import Trained, describe_trained, find_trained
from deconvbench.units import parse_bytes
from deconvbench.upsamplers.torch_code import write_torch_code

RESULTS = Path("results")
# kept with the sources, one folder a machine
REFERENCE = RESULTS / "reference"
# the one of them that ships with the package
_SHIPPED_FOLDER = "reference_run"


def recommend(
    run: str | Path | None = None,
    *,
    device: str | None = None,
    size: object = None,
    channels: object = None,
    scale_factor: int | None = None,
    step: str | None = None,
    batch: int | None = None,
    dtype: str | None = None,
    memory_format: str | None = None,
    threads: int | None = None,
    execution: str | None = None,
    memory: object = None,
    ripple: float | None = None,
    checkerboard: float | None = None,
    psnr: float | None = None,
    extrapolate: bool = False,
    results: str | Path | None = None,
) -> Answer:
    """Recommend an upsampling layer: the cheapest that satisfies all limits, from what a run has measured.

    Nothing is measured. What is not asked for is as in a case's defaults, where the run has that, or else as in
    most of the run.

    Parameters
    ----------
    run : str or Path, optional
        A run folder; by default the newest below ``results/runs``, else what is kept in ``results/reference``,
        else the reference run that ships with the package.
    device, step, batch, dtype, memory_format, threads, execution, scale_factor
        Of the case, as measured (`deconvbench.Case`).
    size : int, str or (int, int), optional
        Height and width of the input, such as ``64x64``; one number is a square. By default the largest at which
        as many layers were measured as at any other. Between measured sizes costs are read off a line through at
        least three sizes, where they lie on one.
    channels : str or (int, int), optional
        Channels in and out, such as ``64x32``.
    memory : int or str, optional
        Most peak memory: bytes, or a text such as ``64MiB``.
    ripple : float, optional
        Most ripple of a constant input at initialisation, as a share of power: 0 to 1.
    checkerboard : float, optional
        Most checkerboard after training, in 8-bit levels.
    psnr : float, optional
        Least PSNR after training, in dB.
    extrapolate : bool
        Estimate beyond the measured sizes, too.
    results : str or Path, optional
        Output folder of ``deconvbench train``; by default ``results/experiments``, else the packaged results.

    Returns
    -------
    Answer
        ``print`` shows it on one screen. ``chosen`` is the layer, None where none satisfies all limits; ``code``
        builds it; ``fitting``, ``ties``, ``relaxed``, ``unjudged`` and ``missing`` have the rest.

    Raises
    ------
    UsageError
        If something that is asked for is not allowed or was not measured; the message lists what was.
    RunFolderError
        If there is no run.

    Examples
    --------
    >>> answer = recommend("results/reference/amd-epyc-2-cores/quick", checkerboard=0.5)  # doctest: +SKIP
    >>> print(answer.code)  # doctest: +SKIP
    """
    question = make_question(
        run,
        device=device,
        size=size,
        channels=channels,
        scale_factor=scale_factor,
        step=step,
        batch=batch,
        dtype=dtype,
        memory_format=memory_format,
        threads=threads,
        execution=execution,
        memory=memory,
        ripple=ripple,
        checkerboard=checkerboard,
        psnr=psnr,
        extrapolate=extrapolate,
        results=results,
    )
    return answer_question(question, read_source(question))


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked; the parameters are those of `recommend`, read and checked.

    Parameters
    ----------
    run : str, Path or None
        Where to look.
    setting : mapping
        Fields of a case that are asked for.
    size : (int, int) or None
        Of the input.
    limits : mapping of str to float
        Bounds by name.
    extrapolate : bool
        Whether to estimate beyond the measured sizes.
    results : str, Path or None
        Where quality after training is read.
    """

    run: str | Path | None = None
    setting: Mapping[str, Any] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    extrapolate: bool = False
    results: str | Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is known: the tables of a run and of trainings.

    Parameters
    ----------
    tables : Tables
        Of the run.
    trained : Trained
        Quality after training.
    name : str
        The run and its machine, for a reader.
    """

    tables: Tables
    trained: Trained
    name: str


def make_question(
    run: str | Path | None = None,
    *,
    size: object = None,
    channels: object = None,
    memory: object = None,
    ripple: float | None = None,
    checkerboard: float | None = None,
    psnr: float | None = None,
    extrapolate: bool = False,
    results: str | Path | None = None,
    **setting: Any,
) -> Question:
    """Read what is asked for.

    Parameters
    ----------
    run, size, channels, memory, ripple, checkerboard, psnr, extrapolate, results, **setting
        As for `recommend`.

    Raises
    ------
    UsageError
        If something is not allowed.
    """
    if channels is not None:
        setting["in_channels"], setting["out_channels"] = parse_pair(channels, "channels", is_square=False)
    bounds = {
        "memory": None if memory is None else parse_bytes(memory, "memory"),
        "ripple": ripple,
        "checkerboard": checkerboard,
        "psnr": psnr,
    }
    return Question(
        run=run,
        setting=_drop_none(setting),
        size=None if size is None else parse_pair(size, "size", is_square=True),
        limits=check_limits(_drop_none(bounds)),
        extrapolate=extrapolate,
        results=results,
    )


def read_source(question: Question) -> Source:
    """Read what there is to answer a question.

    Parameters
    ----------
    question : Question
        Any.

    Raises
    ------
    UsageError, RunFolderError
        If there is no run, or it or the trainings cannot be read.
    """
    folder, remark = _find_run(question.run)
    trained = find_trained(question.results)
    place = "reference run" if folder.name == _SHIPPED_FOLDER else str(folder)
    name = f"{place}{_describe_machine(folder)}{remark}"
    return Source(tables=read_tables(folder, trained), trained=trained, name=name)


def answer_question(question: Question, source: Source) -> Answer:
    """Answer from what there is.

    Parameters
    ----------
    question : Question
        Any.
    source : Source
        What is known.

    Raises
    ------
    UsageError
        If something that is asked for was not measured.
    """
    found = recommend_layer(
        source.tables.summary,
        summarise_quality(source.tables.quality),
        question.setting,
        size=question.size,
        limits=question.limits,
        extrapolate=question.extrapolate,
    )
    return _complete(found, source.name, describe_trained(source.trained))


def _drop_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def parse_pair(value: object, name: str, *, is_square: bool) -> tuple[int, int]:
    """Read ``64x32``, or two numbers.

    Parameters
    ----------
    value : object
        What was given.
    name : str
        The argument's name, for the message.
    is_square : bool
        Whether one number stands for both.

    Raises
    ------
    UsageError
        If it is something else.
    """
    if isinstance(value, str):
        words = value.lower().replace("×", "x").split("x")
        parts: list[Any] = [int(w) if w.isascii() and w.isdigit() and len(w) < 10 else None for w in words]
    elif isinstance(value, tuple | list):
        parts = list(value)
    else:
        parts = [value]
    parts *= 2 if is_square and len(parts) == 1 else 1
    if len(parts) == 2 and all(is_number(p) and 0 < p < math.inf and int(p) == p for p in parts):
        return int(parts[0]), int(parts[1])
    shape = "64x64, or 64 for a square" if is_square else "64x32, in and out"
    raise UsageError(f"{name}: {quote(value)} is not two whole numbers of at least 1; write for example {shape}")


def _find_run(run: str | Path | None) -> tuple[Path, str]:
    """Find the run to read, and what a reader must know of it where nobody named it."""
    if run is not None:
        return check_path(run, "run"), ""
    try:
        return find_newest_run(RESULTS), ""
    except UsageError:
        kept = [path.parent for path in REFERENCE.glob(f"*/*/{TABLE_NAME}")]
        if kept:
            newest = max(kept, key=lambda folder: (_read_info(folder).get("created_at") or "", str(folder)))
            return newest, "; kept results, not of a run of yours"
        shipped = Path(str(files("deconvbench.tables").joinpath(_SHIPPED_FOLDER)))
        if not shipped.is_dir():  # a package in an archive
            raise
        return shipped, "; shipped with the package, not of a run of yours"


def _read_info(folder: Path) -> dict[str, Any]:
    try:
        return read_run_info(folder)
    except RunFolderError:  # tables alone are enough
        return {}


def _describe_machine(folder: Path) -> str:
    environment = _read_info(folder).get("environment")
    if not isinstance(environment, dict):
        return ""
    torch = environment.get("torch_version")
    hardware = [*list_hardware(environment)[:2], *([f"torch {torch}"] if torch else [])]
    return f" ({', '.join(hardware)})" if hardware else ""


def _complete(found: Recommendation, source: str, trained: str) -> Answer:
    known = {each.name: getattr(found, each.name) for each in fields(Recommendation)}
    code = "" if found.case is None else write_torch_code(found.case)
    return Answer(**known, code=code, source=source, trained=trained)
