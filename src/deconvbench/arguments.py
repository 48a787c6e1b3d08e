"""Checks of what callers hand to public functions; each error is one line: argument, value, what is allowed.

Standard library only.
"""

import numbers
import operator
from typing import Any, TypeVar

from deconvbench.errors import UsageError, quote

T = TypeVar("T")

# what every file of a run can hold: 64 bits with a sign
LARGEST_SEED = 2**63 - 1


def check_whole(name: str, value: object, least: int, most: int | None = None) -> int:
    """Check that an argument is a whole number within limits, numpy's among them.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : object
        What it was given.
    least, most : int
        Smallest and largest allowed value; None sets no limit.

    Returns
    -------
    int
        The same number as Python's own.

    Raises
    ------
    UsageError
        If it is not; bool does not count as a number.
    """
    try:
        # torch's 0-dimensional tensors are numbers to Python too, those of bool among them
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type] # refused below
    except TypeError:
        number = None
    if number is None or number < least:
        raise UsageError(f"{name}: {quote(value)} is not a whole number of at least {least}")
    if most is not None and number > most:
        raise UsageError(f"{name}: {quote(value)} is too large; at most {most} is allowed")
    return number


def is_number(value: object) -> bool:
    """Whether an argument is a real number, numpy's among them; bool does not count as one.

    Parameters
    ----------
    value : object
        What it was given.
    """
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_text(value: object) -> bool:
    """Whether an argument is text.

    Parameters
    ----------
    value : object
        What it was given.
    """
    return isinstance(value, str)


def check_kind(name: str, value: object, kind: type[T], described: str) -> T:
    """Check that an argument is of a type.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : object
        What it was given.
    kind : type
        What it must be an instance of.
    described : str
        The same in words, such as ``text``.

    Raises
    ------
    UsageError
        If it is not.
    """
    if not isinstance(value, kind):
        raise UsageError(f"{name}: {quote(value)} is not {described}")
    return value


def check_callable(name: str, value: Any) -> None:
    """Check that an argument can be called.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : object
        What it was given.

    Raises
    ------
    UsageError
        If it cannot.
    """
    if not callable(value):
        raise UsageError(f"{name}: {quote(value)} cannot be called")
