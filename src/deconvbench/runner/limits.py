"""How many threads and processes this machine is asked for, checked before anything starts."""

import os
from collections.abc import Iterable, Mapping

from deconvbench.errors import UsageError
from deconvbench.records.case import Case

# more threads than cores are a measurement too, but not without bound: each takes memory and a process number
_PER_CORE = 4
_ALWAYS_ALLOWED = 16
# what sets a library's threads when it is loaded
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# of a number that is too large whatever follows, and that Python still converts
_DIGITS = 18


def limit_threads(cores: int | None = None) -> int:
    """Return how many threads, or processes that train, a machine may be asked for: 4 a core, at least 16.

    Parameters
    ----------
    cores : int or None
        Of the machine; None: those of this one.
    """
    return max(_ALWAYS_ALLOWED, _PER_CORE * (cores or os.cpu_count() or 1))


def check_threads(
    cases: Iterable[Case], environment: Mapping[str, str] = os.environ, *, cores: int | None = None
) -> None:
    """Refuse cases, and settings of the environment, that ask for more threads than the machine may be asked for.

    Parameters
    ----------
    cases : iterable of Case
        What is to be measured.
    environment : mapping
        The variables of this process, which its children have too.
    cores : int or None
        Of the machine that measures; None: those of this one.

    Raises
    ------
    UsageError
        Naming the number and what is allowed.
    """
    for threads in sorted({case.threads for case in cases}):
        check_count("threads", threads, cores)
    for name in _THREAD_VARIABLES:
        # OpenMP takes a list, a number for each level of nesting
        for word in environment.get(name, "").split(","):
            if word.strip().isascii() and word.strip().isdigit():
                check_count(name, int(word.strip()[:_DIGITS]))


def check_count(name: str, count: int, cores: int | None = None) -> None:
    """Refuse a number of threads or processes.

    Parameters
    ----------
    name : str
        What sets it.
    count : int
        How many are asked for.
    cores : int or None
        Of the machine; None: those of this one.

    Raises
    ------
    UsageError
        If there are more than the machine may be asked for, or less than one.
    """
    cores = cores or os.cpu_count() or 1
    limit = limit_threads(cores)
    if not 1 <= count <= limit:
        raise UsageError(f"{name}: {count} is not from 1 to {limit}, the most on this machine of {cores} cores")
