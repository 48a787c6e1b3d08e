"""``python -m deconvbench`` and the console script: an error becomes one line and an exit code."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # python -m puts the current folder before the standard library; it becomes the last before any import
    sys.path.append(sys.path.pop(0))

from collections.abc import Sequence

from deconvbench.cli.app import app, report_error, run_app
from deconvbench.cli.terminal import guard_streams
from deconvbench.errors import SurroundingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of this process by default.

    Returns
    -------
    int
        The exit code: 0 done, 1 a condition asked for was met or nothing at all could be measured, 2 wrong use, 3
        stopped by the system (such as a full disk or a locked folder; the run can be resumed), 128 and the number
        of the signal that ended it: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
    """
    try:
        with guard_streams():
            return run_app(app, "deconvbench", arguments)
    except SurroundingsError as error:  # only of standard output, which is known at the end
        with guard_streams():
            return report_error(error)


if __name__ == "__main__":
    sys.exit(main())
