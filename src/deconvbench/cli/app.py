"""The command line: each command parses its options and makes one call into the package.

Results go to standard output, progress and errors to standard error. torch and pandas are imported inside the
commands, so that ``--help`` needs neither.
"""

import contextlib
import functools
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from deconvbench import __version__
from deconvbench.cli.commits import compare_commits
from deconvbench.cli.history import history
from deconvbench.cli.images import score
from deconvbench.cli.merge import merge
from deconvbench.cli.networks import audit
from deconvbench.cli.recommendation import recommend
from deconvbench.cli.report import compare, report
from deconvbench.cli.run import env, grid, native, run
from deconvbench.cli.studies import claims, selftest, train, validate
from deconvbench.cli.termination import end_on_signals
from deconvbench.errors import DeconvbenchError, UsageError, find_exit_code, quote
from deconvbench.system.texts import print_text

# typer raises click's own errors but exports only this subclass by name; its base is what click calls UsageError
_CLICK_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]

_CLICK_ABORT: type[Exception] = typer.Abort
# characters: a path is shorter as a rule, and so are the names of all upsamplers
_MAX_WORD, _MAX_LINE = 300, 2000
_LONG_WORD = re.compile(rf"\S{{{_MAX_WORD + 1},}}")

# how typer begins what it says of a value; the rest is what `cli.options` says
_INVALID_VALUE = re.compile(r"Invalid value for '(?P<name>[^']+)'(?: / '[^']+')*: (?P<reason>.*)", re.DOTALL)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,  # which takes [default: quick] for markup, and shows nothing of it
    help="Benchmark of upsampling layers in PyTorch: latency, memory and checkerboard artifacts in one table.",
)


def _print_version(value: bool) -> None:
    if value:
        print(f"deconvbench {__version__}")
        raise typer.Exit


@app.callback()
def set_up(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show tracebacks of errors.")] = False,
) -> None:
    """Take the options given before the command; `main` looks for -v itself."""


def say_interruptions(command: Callable[..., object]) -> Callable[..., object]:
    """Make a command say that it was interrupted, where it does not say itself what is kept.

    Parameters
    ----------
    command : callable
        Of typer; a command that says more ends with `typer.Exit` itself.

    Returns
    -------
    callable
        With the same parameters.
    """

    @functools.wraps(command)
    def run_command(*given: object, **named: object) -> object:
        try:
            return command(*given, **named)
        except KeyboardInterrupt as error:
            with contextlib.suppress(OSError, ValueError):  # the terminal may be what has ended
                print_text("deconvbench: interrupted", sys.stderr)
            raise typer.Exit(find_exit_code(error)) from error

    return run_command


# in the order of --help
for command in (
    grid,
    run,
    report,
    recommend,
    score,
    audit,
    compare,
    compare_commits,
    history,
    merge,
    selftest,
    validate,
    train,
    claims,
    native,
    env,
):
    app.command()(say_interruptions(command))


def _write_line(message: str) -> str:
    """One line of a message, without the middle of what is too long to be read; a path keeps its spaces."""
    line = " ".join(map(str.strip, message.splitlines()))
    line = _LONG_WORD.sub(lambda word: f"{word[0][: _MAX_WORD // 2]}…{word[0][-_MAX_WORD // 2 :]}", line)
    return line if len(line) <= _MAX_LINE else f"{line[: _MAX_LINE // 2]} … {line[-_MAX_LINE // 2 :]}"


def run_app(application: typer.Typer, name: str, arguments: Sequence[str] | None = None) -> int:
    """Run a typer application; an error becomes one line on standard error.

    Parameters
    ----------
    application : Typer
        What to run.
    name : str
        The program's name, for its help.
    arguments : sequence of str, optional
        As `main`.

    Returns
    -------
    int
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    verbose = "-v" in words or "--verbose" in words
    received: list[int] = []
    try:
        for word in words:
            if "\0" in word:
                raise UsageError(f"{quote(word)}: holds a NUL character, which no option or file name may")
        with end_on_signals() as received:
            code = application(words, prog_name=name, standalone_mode=False)
    except KeyboardInterrupt as error:
        return find_exit_code(error)
    except _CLICK_ABORT:  # what versions of typer make of Ctrl-C; later ones make it an exit code of 130
        return 128 + (received or [signal.SIGINT])[0]
    except DeconvbenchError as error:
        if verbose:
            print_text(traceback.format_exc(), sys.stderr)
        return report_error(error)
    except _CLICK_USAGE_ERROR as error:
        return report_error(UsageError(_describe_usage(error)))
    if received:
        return 128 + received[0]
    return code if isinstance(code, int) else 0


def _describe_usage(error: Exception) -> str:
    """Say in this package's words what the command line was given in vain."""
    message: str = getattr(error, "format_message", error.__str__)().rstrip(".")
    found = _INVALID_VALUE.fullmatch(message)
    if found is None:
        return f"{message} (see deconvbench --help)"
    return f"{found['name']}: {found['reason']}"


def report_error(error: DeconvbenchError) -> int:
    """Print an error as one line on standard error.

    Parameters
    ----------
    error : DeconvbenchError
        As caught.

    Returns
    -------
    int
        Its exit code.
    """
    print_text(f"deconvbench: {_write_line(str(error))}", sys.stderr)
    return error.exit_code
