"""Which conditions of timing a child is started with.

`settled` is what a run is timed under where it can be had: malloc keeps its buffers, and a thread gets a core.
What malloc does is set by variables that glibc reads when a process starts; the rest is done by the child itself
(`measure.conditions`), which also reads back what it really has.
"""

import os
import sys
from collections.abc import Mapping

from deconvbench.errors import UsageError, quote, suggest
from deconvbench.measure.allocator import list_settled_tunables, read_glibc_version
from deconvbench.records.conditions import POLICIES


def choose_policy(asked: str | None, option: str = "--conditions") -> str:
    """Check a policy, or choose one.

    Parameters
    ----------
    asked : str or None
        One of `POLICIES`; None chooses ``settled`` on Linux with glibc, where all of it can be had, and
        ``system`` elsewhere.
    option : str
        What the user calls it, for the message.

    Raises
    ------
    UsageError
        If it is not a policy.
    """
    if asked is None:
        return "settled" if sys.platform == "linux" and read_glibc_version() else "system"
    if asked not in POLICIES:
        raise UsageError(f"{option}: {quote(asked)} is not one of {', '.join(POLICIES)}{suggest(asked, POLICIES)}")
    return asked


def list_variables(policy: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """List the variables that a child gets for a policy, beside those of this process.

    Parameters
    ----------
    policy : str
        One of `POLICIES`.
    environment : mapping of str to str
        The variables of this process; what the user set of malloc himself stays as it is.

    Returns
    -------
    dict of str to str
        None for ``system``, or where the C library is not glibc.
    """
    return list_settled_tunables(environment, read_glibc_version()) if policy == "settled" else {}
