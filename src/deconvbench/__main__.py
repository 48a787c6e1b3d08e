"""``python -m deconvbench`` and the console script: errors become one line and an exit code."""

import sys
import traceback
from collections.abc import Sequence

import typer

from deconvbench.cli.app import app
from deconvbench.errors import DeconvbenchError

# typer raises click's own errors but exports only this subclass by name; its base is what click calls UsageError
_CLICK_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of this process by default.

    Returns
    -------
    int
        The exit code: 0 done, 1 a condition asked for was met, 2 wrong use, 3 stopped by the surroundings,
        130 interrupted.
    """
    return run_app(app, "deconvbench", arguments)


def run_app(application: typer.Typer, name: str, arguments: Sequence[str] | None = None) -> int:
    """Run a typer application; what goes wrong becomes one line on standard error.

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
    try:
        code = application(words, prog_name=name, standalone_mode=False)
    except DeconvbenchError as error:
        if verbose:
            traceback.print_exc()
        print(f"deconvbench: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except _CLICK_USAGE_ERROR as error:
        message: str = getattr(error, "format_message", error.__str__)()
        print(f"deconvbench: {' '.join(message.split())} (see deconvbench --help)", file=sys.stderr)
        return 2
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
