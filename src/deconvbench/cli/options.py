"""The options that several commands share, and the selection that they make together."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deconvbench.errors import UsageError, quote, suggest
from deconvbench.system.paths import explain_bad_path

if TYPE_CHECKING:
    from deconvbench.workflows.selection import Selection


def parse_path(text: str) -> Path:
    """Take a path as typed; an empty one, such as of a variable without value, would be the current folder."""
    reason = explain_bad_path(text)
    if reason:
        raise typer.BadParameter(reason)
    return Path(text)


def parse_whole(text: int | str) -> int:
    """Take a whole number as typed: digits with or without a sign, and nothing else; a default comes as it is."""
    if isinstance(text, str) and not re.fullmatch(r"[+-]?[0-9]{1,4000}", text):
        raise typer.BadParameter(f"{quote(text)} is not a whole number")
    return int(text)


def parse_number(text: float | str) -> float:
    """Take a number as typed; a default comes as it is."""
    if isinstance(text, str) and not re.fullmatch(
        r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|nan|[+-]?inf", text
    ):
        raise typer.BadParameter(f"{quote(text)} is not a number")
    return float(text)


PresetOption = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME", help="One of smoke, quick (default), article, full, fast, selftest."),
]
GridOption = Annotated[
    Path | None,
    typer.Option("--grid", metavar="FILE", parser=parse_path, help="A TOML file with a grid of your own."),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="AXIS=V,V", help="Replace an axis: --set height=32,64.")
]
KeywordOption = Annotated[
    str, typer.Option("-k", metavar="EXPR", help="Run only cases whose id matches (as pytest -k).")
]
UpsamplerOption = Annotated[
    list[str] | None,
    typer.Option("--upsampler", metavar="MODULE:FACTORY", help="Add an upsampler of your own; repeat for more."),
]
DeviceOption = Annotated[str, typer.Option("--device", metavar="D,D", help="Devices: cpu, cuda, cuda:1, mps.")]
ReplicatesOption = Annotated[
    int | None,
    typer.Option(
        "--replicates",
        metavar="N",
        parser=parse_whole,
        help="Number of passes over the cases, each in a fresh process.",
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout", metavar="S", parser=parse_number, help="Seconds before a case is stopped as hanging."
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision", metavar="SHARE", help="Add replicates until each interval is within this share, e.g. 2%."
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", parser=parse_whole, help="Random seed of case order, weights and inputs."),
]
ConditionsOption = Annotated[
    str | None,
    typer.Option(
        "--conditions",
        metavar="POLICY",
        help="settled (memory is kept, a single thread gets an idle core; default on Linux) or system.",
    ),
]
BaselineOption = Annotated[
    str | None,
    typer.Option(
        "--baseline", metavar="NAME[-kK]", help="Layer that all are compared with [default: transposed-k3]."
    ),
]
ResultsOption = Annotated[
    Path | None,
    typer.Option(
        "--results",
        metavar="DIR",
        parser=parse_path,
        help="Output folder of deconvbench train [default: results/experiments, else the packaged results].",
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Write into a folder, or over a file, that holds other things too.")
]
FailOnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on",
        metavar="VERDICT",
        help="Exit with 1 if a case is slower (default) or inconclusive; repeat, or use commas, for both.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]

FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="Print the values for a dashboard instead: github-action-benchmark or bencher.",
    ),
]


# verdicts that can be made a reason to fail
_FAILING = ("slower", "inconclusive")


def parse_fail_on(words: list[str] | None) -> tuple[str, ...]:
    """Read what ``--fail-on`` was given: one or more verdicts, `slower` by default."""
    names = [name.strip() for word in words or ["slower"] for name in word.split(",")]
    for name in names:
        if name not in _FAILING:
            hint = suggest(name, _FAILING)
            raise UsageError(f"--fail-on: {quote(name)} is not one of {', '.join(_FAILING)}{hint}")
    return tuple(dict.fromkeys(names))


@contextmanager
def name_options(**options: str) -> Iterator[None]:
    """Name options as they are typed where a message names the argument that they became.

    Parameters
    ----------
    **options : str
        Option by argument.
    """
    try:
        yield
    except UsageError as error:
        name, colon, rest = str(error).partition(": ")
        option = options.get(name)
        if not (colon and option):
            raise
        raise type(error)(f"{option}: {rest}") from error


def make_selection(
    preset: str | None,
    grid_file: Path | None,
    settings: list[str] | None,
    keyword: str,
    upsampler: list[str] | None,
    device: str,
    replicates: int | None,
    *,
    timeout_s: float | None = None,
    precision: str | None = None,
    seed: int | None = None,
    baseline: str | None = None,
    conditions: str | None = None,
) -> "Selection":
    """Make a selection from a command's options; torch is imported only here."""
    from deconvbench.workflows.selection import Selection

    return Selection(
        preset=preset,
        grid=grid_file,
        settings=tuple(settings or ()),
        keyword=keyword,
        upsamplers=tuple(upsampler or ()),
        device=device,
        replicates=replicates,
        timeout_s=timeout_s,
        precision=precision,
        seed=seed,
        baseline=baseline,
        conditions=conditions,
    )
