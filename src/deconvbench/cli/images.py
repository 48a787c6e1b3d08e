"""The command that scores picture files."""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deconvbench.cli.options import ForceOption, JsonOption, parse_number, parse_path
from deconvbench.cli.output import OWN_PICTURE_SCORES, OWN_PNG, print_rows
from deconvbench.errors import UsageError, find_exit_code, quote
from deconvbench.system.texts import print_text
from deconvbench.system.writing import check_target, write_whole

if TYPE_CHECKING:
    from deconvbench.analysis.picture_verdicts import PictureScore


def score(
    context: typer.Context,
    pictures: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE|DIR", parser=parse_path, help="Picture files, or folders of them."),
    ],
    period: Annotated[
        str,
        typer.Option(
            "--period", metavar="N", help="Period of the grid in pixels, 2 to 32, or auto: looked for, 2 to 64."
        ),
    ] = "auto",
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            metavar="FILE",
            parser=parse_path,
            help="Score the difference from this picture, of the same size.",
        ),
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", metavar="X,Y,W,H", help="Score only this part, in pixels.")
    ] = None,
    picture_map: Annotated[
        Path | None,
        typer.Option(
            "--map",
            metavar="FILE.png",
            parser=parse_path,
            help="Draw where in the picture it is; one picture only.",
        ),
    ] = None,
    as_json: JsonOption = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", parser=parse_path, help="Write the scores as CSV.")
    ] = None,
    fail_over: Annotated[
        float | None,
        typer.Option(
            "--fail-over",
            metavar="LEVELS",
            parser=parse_number,
            help="Exit 1 if a picture has a grid of more 8-bit levels than that.",
        ),
    ] = None,
    force: ForceOption = False,
) -> int:
    """Score picture files: amplitude of checkerboards in 8-bit levels, of each scale, and what they are.

    Files that are not pictures are named and left out; exit 2 if none could be scored.
    """
    if fail_over is not None and not 0 <= fail_over < math.inf:
        raise UsageError(f"--fail-over: {quote(fail_over)} is not a number of at least 0 (8-bit levels)")
    _check_files(csv, picture_map, pictures, reference, force=force)

    from deconvbench.progress import show_steps
    from deconvbench.report.picture_scores import describe_scores, format_csv, list_left_out, list_rows
    from deconvbench.workflows import picture_scores

    with _say_interruption("no scores were written"), show_steps(sys.stderr) as observer:
        found = picture_scores.score(
            pictures, period=period, reference=reference, region=region, observer=observer
        )
    if context.find_root().params.get("verbose"):
        for one in filter(lambda one: one.details, found.left_out):
            print_text(one.details.rstrip(), sys.stderr)
    if as_json:
        print_rows("score", list_rows(found), describe_scores(found))
        for line in list_left_out(found):
            print_text(line, sys.stderr)
    else:
        print_text(found)
    if csv is not None:
        write_whole(csv, format_csv(found).encode())
    if picture_map is not None:
        # last: whatever becomes of it, the scores are there already
        with _say_interruption("no map was drawn"), show_steps(sys.stderr) as observer:
            drawn = picture_scores.draw_map(
                pictures[0], found.pictures[0], reference=reference, region=region, observer=observer
            )
        write_whole(picture_map, drawn)
    return 0 if fail_over is None else _judge(found.pictures, fail_over)


def _check_files(
    csv: Path | None, picture_map: Path | None, pictures: list[Path], reference: Path | None, *, force: bool
) -> None:
    """Refuse files that cannot be written, before anything is scored."""
    for path, option, own in ((csv, "--csv", OWN_PICTURE_SCORES), (picture_map, "--map", OWN_PNG)):
        if path is not None:
            _check_apart(path, option, [*pictures, *filter(None, [reference])])
            check_target(path, option, own, force=force)
    if picture_map is not None and picture_map.suffix.lower() != ".png":
        raise UsageError(f"--map: {str(picture_map)!r} does not end in .png, which is what it is")
    if picture_map is not None and (len(pictures) > 1 or pictures[0].is_dir()):
        raise UsageError("--map: is of one picture; name one file")


@contextmanager
def _say_interruption(what: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        print_text(f"deconvbench: interrupted; {what}", sys.stderr)
        raise typer.Exit(find_exit_code(error)) from error


def _judge(pictures: "Sequence[PictureScore]", limit: float) -> int:
    """Exit code by a limit in 8-bit levels; pictures that cannot be judged at it are named."""
    unknown = [one for one in pictures if not one.can_be_judged(limit)]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        print_text(
            f"not judged at {limit:g} levels, which is below the detection level: {unknown[0].name}{more}",
            sys.stderr,
        )
    return int(any(one.exceeds(limit) for one in pictures))


def _check_apart(path: Path, option: str, pictures: list[Path]) -> None:
    """Refuse to write over what is read, whatever else may be replaced."""
    for picture in pictures:
        if path.exists() and picture.exists() and path.samefile(picture):
            raise UsageError(f"{option}: {str(path)!r} is a picture to score; name another file")
