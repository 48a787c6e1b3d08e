"""The command line: each command parses its options and makes one call into the package.

Results go to standard output, progress and errors to standard error. torch and pandas are imported inside the
commands, so that ``--help`` needs neither.
"""

import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from deconvbench import __version__
from deconvbench.cli.commits import compare_commits
from deconvbench.cli.report import compare, report
from deconvbench.cli.run import env, grid, native, run
from deconvbench.cli.studies import claims, selftest, train, validate
from deconvbench.cli.termination import end_on_signals
from deconvbench.errors import DeconvbenchError, find_exit_code

# typer raises click's own errors but exports only this subclass by name; its base is what click calls UsageError
_CLICK_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]

_CLICK_ABORT: type[Exception] = typer.Abort

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
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


# in the order of --help
for command in (grid, run, report, compare, compare_commits, selftest, validate, train, claims, native, env):
    app.command()(command)


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
        with end_on_signals() as received:
            code = application(words, prog_name=name, standalone_mode=False)
    except KeyboardInterrupt as error:
        return find_exit_code(error)
    except _CLICK_ABORT:  # what versions of typer make of Ctrl-C; later ones make it an exit code of 130
        return 128 + (received or [signal.SIGINT])[0]
    except DeconvbenchError as error:
        if verbose:
            traceback.print_exc()
        # one line, in which a path keeps its spaces
        print(f"deconvbench: {' '.join(map(str.strip, str(error).splitlines()))}", file=sys.stderr)
        return error.exit_code
    except _CLICK_USAGE_ERROR as error:
        message: str = getattr(error, "format_message", error.__str__)()
        print(f"deconvbench: {' '.join(message.split())} (see deconvbench --help)", file=sys.stderr)
        return 2
    if received:
        return 128 + received[0]
    return code if isinstance(code, int) else 0
