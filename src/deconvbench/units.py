"""Turning numbers with units into text and back.

Everything inside the package is in seconds, bytes and plain ratios; only what a person reads or types
passes through here. Standard library only.
"""

import math
import re
from datetime import UTC, datetime

from deconvbench.errors import UsageError, quote

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_THOUSANDS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BYTES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def format_moment() -> str:
    """Write the present moment in UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def to_float(value: float) -> float:
    """Make a float of a whole number of any size; beyond the largest float it is infinite.

    Parameters
    ----------
    value : int or float
        Any.
    """
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _choose_digits(number: float) -> str:
    # from 999.5 on, three digits would be written as 1e+03
    return ".3g" if abs(number) < 999.5 else ".0f"


def format_seconds(value: float | None) -> str:
    """Write a duration in the largest unit that keeps at least one digit before the point.

    Parameters
    ----------
    value : float or None
        Seconds; None and NaN are written as a dash.
    """
    if value is None or math.isnan(value):
        return "–"
    for size, unit in _SECONDS:
        if abs(value) >= size:
            return f"{value / size:{_choose_digits(value / size)}} {unit}"
    return "0 s" if value == 0 else f"{value / 1e-9:.3g} ns"


def format_bytes(value: float | None) -> str:
    """Write a number of bytes with a binary prefix.

    Parameters
    ----------
    value : float or None
        Bytes; None and NaN are written as a dash.
    """
    if value is None or value != value:  # noqa: PLR0124 -- isnan fails of what no float holds
        return "–"
    value = to_float(value)
    for size, unit in _BYTES:
        if abs(value) >= size:
            return f"{value / size:{_choose_digits(value / size)}} {unit}"
    return f"{value:.0f} B"


def format_count(value: float) -> str:
    """Write a large number, such as of multiplications, with a prefix: ``950``, ``1.25 k``, ``12.4 G``.

    Parameters
    ----------
    value : float
        At least 0.
    """
    for size, prefix in _THOUSANDS:
        if value >= size:
            return f"{value / size:{_choose_digits(value / size)}} {prefix}"
    return f"{value:.0f}"


def format_duration(seconds: float) -> str:
    """Write a waiting time as a person says it: ``45 s``, ``3 min 20 s``, ``2 h 05 min``.

    Parameters
    ----------
    seconds : float
        Non-negative seconds.
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def parse_margin(text: str) -> float:
    """Read ``5%``, ``0.05`` or ``0`` as a share from 0 up to, not including, 1.

    Parameters
    ----------
    text : str
        What the user typed after ``--margin``.

    Raises
    ------
    UsageError
        If it is not a such share.
    """
    return 0.0 if text.strip() in ("0", "0%") else parse_fraction(text, "--margin")


def parse_fraction(text: str, name: str) -> float:
    """Read ``2%`` or ``0.02`` as the fraction 0.02.

    Parameters
    ----------
    text : str
        What the user typed.
    name : str
        The argument's name, for the message.

    Raises
    ------
    UsageError
        If it is not a number, or not above 0 and below 1.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)\s*(%?)\s*", text)
    value = float(match[1]) / (100 if match[2] else 1) if match else math.nan
    if not 0 < value < 1:
        raise UsageError(f"{name}: {text!r} is not a share between 0 and 1; write for example 2% or 0.02")
    return value


def parse_bytes(text: object, name: str) -> int:
    """Read ``64MiB``, ``1.5 GB`` or a plain number as bytes.

    Parameters
    ----------
    text : object
        What the user gave; units of 1024 have an i, those of 1000 do not.
    name : str
        The argument's name, for the message.

    Raises
    ------
    UsageError
        If it is not a number above 0 with one of these units.
    """
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*(?:([kmgt]?)(i?)b)?\s*", str(text).lower(), re.ASCII)
    if match is not None and not (match[3] and not match[2]):
        size = round(float(match[1]) * (1024.0 if match[3] else 1000.0) ** " kmgt".index(match[2] or " "))
        if size > 0:
            return size
    raise UsageError(f"{name}: {quote(text)} is not a number of bytes above 0; write for example 64MiB or 1.5GB")


def format_now() -> str:
    """Write the present moment in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
