"""Checking what a grid file says, value by value; every error names file, key, value and what is allowed.

Knows the fields of a case and the upsamplers, not what a grid makes of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from deconvbench.errors import GridError, UsageError, quote, suggest
from deconvbench.grid.expressions import compile_constraint
from deconvbench.records.case import CASE_FIELDS, check_field
from deconvbench.upsamplers import get_upsampler

# what would take months, and what a clock of the system still counts
LARGEST_COUNT = 100_000
LONGEST_S = 1_000_000.0
# more overflows what torch counts elements with
LARGEST_SIZE = 2**31 - 1


def check_upsamplers(names: Sequence[str], where: str) -> None:
    """Check that upsamplers exist.

    Parameters
    ----------
    names : sequence of str
        Of upsamplers.
    where : str
        File and key, for the message, as in all functions here.

    Raises
    ------
    GridError
        As do all functions here, if something is not allowed.
    """
    for name in names:
        try:
            get_upsampler(name)
        except UsageError as error:
            raise GridError(f"{where}: {str(error).removeprefix('upsampler: ')}") from error


def read_axes(data: Any, allowed: Sequence[str], where: str) -> dict[str, tuple[Any, ...]]:
    """Read a table of axes: each a value or a list of values, none of them twice.

    Parameters
    ----------
    data : object
        What should be a table.
    allowed : sequence of str
        The axes that there are.
    where : str
        File and key.
    """
    if not isinstance(data, Mapping):
        raise GridError(f"{where}: {quote(data)} is not a table of axes")
    axes = {}
    for name, values in data.items():
        key = f"{where}.{name}" if not where.startswith("--") else f"{where} {name}"
        if name not in allowed:
            hint = suggest(name, allowed)
            raise GridError(f"{key}: unknown axis; the axes are {', '.join(allowed)}{hint}")
        axes[name] = read_axis(name, values, key)
    return axes


def read_axis(name: str, values: Any, where: str) -> tuple[Any, ...]:
    """Read the values of one axis: one, or a list of them, none twice.

    Parameters
    ----------
    name : str
        The axis.
    values : object
        What should be its values.
    where : str
        File and key, or the option.
    """
    entries = tuple(values) if isinstance(values, list | tuple) else (values,)
    if not entries:
        raise GridError(f"{where}: an axis needs at least one value")
    seen = set()
    for entry in entries:
        try:
            check_field(name, entry)
        except UsageError as error:
            raise GridError(f"{where}: {str(error).removeprefix(f'{name}: ')}") from error
        # refused here and not by `Case`: what was measured before is read whatever it is
        if isinstance(entry, int) and entry > LARGEST_SIZE:
            raise GridError(f"{where}: {quote(entry)} is too large; at most {LARGEST_SIZE} is allowed")
        if entry in seen:
            raise GridError(f"{where}: {entry!r} is given twice; the values of an axis must differ")
        seen.add(entry)
    return entries


def read_constraints(data: Any, where: str) -> tuple[str, ...]:
    """Read a list of conditions on the fields of a case.

    Parameters
    ----------
    data : object
        What should be a list of texts.
    where : str
        File and key.
    """
    if not isinstance(data, list | tuple) or not all(isinstance(text, str) for text in data):
        raise GridError(
            f"{where}: {quote(data)} is not a list of conditions such as 'kernel_size >= scale_factor'"
        )
    for text in data:
        try:
            compile_constraint(text, CASE_FIELDS)
        except UsageError as error:
            raise GridError(f"{where}: {error}") from error
    return tuple(data)


def read_text(value: Any, where: str) -> str:
    """Read a text.

    Parameters
    ----------
    value : object
        What should be one.
    where : str
        File and key.
    """
    if not isinstance(value, str):
        raise GridError(f"{where}: {quote(value)} is not text")
    return value


def read_whole(value: Any, where: str) -> int:
    """Read how many there are to be of something: a whole number from 1 to `LARGEST_COUNT`.

    Parameters
    ----------
    value : object
        What should be one.
    where : str
        File and key.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise GridError(f"{where}: {quote(value)} is not a whole number of at least 1")
    if value > LARGEST_COUNT:
        raise GridError(f"{where}: {quote(value)} is too large; at most {LARGEST_COUNT} is allowed")
    return value


def read_positive(value: Any, where: str) -> float:
    """Read a number of seconds above 0, at most `LONGEST_S`.

    Parameters
    ----------
    value : object
        What should be one.
    where : str
        File and key.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise GridError(f"{where}: {quote(value)} is not a number of seconds above 0")
    if value > LONGEST_S:
        raise GridError(f"{where}: {quote(value)} is too long; at most {LONGEST_S:.0f} seconds are allowed")
    return float(value)
