"""What an audit is asked for, from the command line and from the user's ``pyproject.toml``.

The table is ``[tool.deconvbench.audit]``; its keys are the options. Standard library only, but for checks.
"""

import dataclasses
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deconvbench.errors import UsageError, explain_os_error, quote, suggest
from deconvbench.records.audit import AT_RISK, CHECKERBOARDS
from deconvbench.records.findings import check_codes
from deconvbench.records.inputs import DTYPES, InputDescription, parse_inputs
from deconvbench.runner.limits import check_count
from deconvbench.system.reading import decode_text, read_file
from deconvbench.units import parse_bytes

FILE_NAME = "pyproject.toml"
_TABLE = "tool.deconvbench.audit"
# what --fail-on takes, and the judgements that each one means
FAIL_ON: Mapping[str, tuple[str, ...]] = {"at-risk": (AT_RISK, CHECKERBOARDS), "checkerboards": (CHECKERBOARDS,)}
LONGEST_S = 1_000_000.0
_FLOATS = tuple(dtype for dtype in DTYPES if "float" in dtype)
# settings that belong to one target
_OF_TARGET = ("target", "state_dict", "input", "image", "range")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """Options of an audit; None: not given.

    Parameters
    ----------
    target, state_dict, device, dtype : str or None
        As of `AuditRequest`.
    input : tuple of InputDescription, or None
        All named or none.
    image : tuple of str, or None
        Picture files.
    range : tuple of float, or None
        Black and white in the output.
    threads : int or None
        Of torch.
    measure_fuse : bool or None
        Whether what `deconvbench.fuse` would gain is timed.
    ignore : tuple of str, or None
        Codes of findings.
    fail_on : str or None
        One of `FAIL_ON`.
    timeout : float or None
        Seconds.
    max_memory : int or None
        Bytes.
    """

    target: str | None = None
    state_dict: str | None = None
    input: tuple[InputDescription, ...] | None = None
    image: tuple[str, ...] | None = None
    range: tuple[float, float] | None = None
    device: str | None = None
    dtype: str | None = None
    threads: int | None = None
    measure_fuse: bool | None = None
    ignore: tuple[str, ...] | None = None
    fail_on: str | None = None
    timeout: float | None = None
    max_memory: int | None = None


def _write_key(name: str) -> str:
    return name.replace("_", "-")


_NAMES = {_write_key(field.name): field.name for field in dataclasses.fields(AuditSettings)}


def read_settings(values: Mapping[str, Any], where: Callable[[str], str]) -> AuditSettings:
    """Check settings.

    Parameters
    ----------
    values : mapping
        By key, as the options are named without dashes before them; None: not given.
    where : callable
        Writes a key for a message.

    Returns
    -------
    AuditSettings

    Raises
    ------
    UsageError
        Naming the key, what it was given and what is allowed.
    """
    found = {}
    for key, value in values.items():
        if key not in _NAMES:
            raise UsageError(f"{where(key)}: unknown key; the keys are {', '.join(_NAMES)}{suggest(key, _NAMES)}")
        if value is not None:
            found[_NAMES[key]] = _READERS[key](value, where(key))
    return AuditSettings(**found)


def find_configuration(folder: Path) -> tuple[AuditSettings, Path]:
    """Find the settings of a project: in the nearest ``pyproject.toml`` that has them, upwards.

    Parameters
    ----------
    folder : Path
        Where to begin.

    Returns
    -------
    settings : AuditSettings
        Empty where there are none.
    folder : Path
        That of the file; the one given where there is none.

    Raises
    ------
    UsageError
        If a file that may have them cannot be read, or has something else; the message names file and key.
    """
    start = folder.absolute()
    for place in (start, *start.parents):
        path = place / FILE_NAME
        table = _read_table(path) if path.is_file() else None
        if table is not None:
            return read_settings(table, f"{path}: {_TABLE}.".__add__), place
    return AuditSettings(), start


def merge(given: AuditSettings, configured: AuditSettings) -> AuditSettings:
    """Put together what the command line and the file say: the command line wins, key by key.

    Parameters
    ----------
    given : AuditSettings
        On the command line.
    configured : AuditSettings
        In the file; what is of its target is left out where the command line names another one.
    """
    if given.target is not None and configured.target not in {None, given.target}:
        configured = dataclasses.replace(configured, **dict.fromkeys(_OF_TARGET))
    kept = {name: value for name in _NAMES.values() if (value := getattr(given, name)) is not None}
    return dataclasses.replace(configured, **kept)


def _read_table(path: Path) -> Mapping[str, Any] | None:
    """Read the table of a file; None where it has none."""
    try:
        data = tomllib.loads(decode_text(read_file(path)))
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {explain_os_error(error)}") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is one
        raise UsageError(f"{path}: not TOML: {error}") from error
    found: Any = data
    for part in _TABLE.split("."):
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    if not isinstance(found, dict):
        raise UsageError(f"{path}: {_TABLE}: {quote(found)} is not a table")
    return found


def _read_text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise UsageError(f"{where}: {quote(value)} is not a text with something in it")
    return value


def _read_texts(value: object, where: str) -> tuple[str, ...]:
    """One text, or a list of them."""
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list | tuple) or not entries:
        raise UsageError(f"{where}: {quote(value)} is not a text or a list of texts")
    return tuple(_read_text(entry, where) for entry in entries)


def _read_inputs(value: object, where: str) -> tuple[InputDescription, ...]:
    return parse_inputs(_read_texts(value, where), where)


def _read_codes(value: object, where: str) -> tuple[str, ...]:
    entries = [] if value == [] else _read_texts(value, where)
    return check_codes([code.strip() for entry in entries for code in entry.split(",")], where)


def _read_number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{where}: {quote(value)} is not a number")
    return float(value)


def _read_range(value: object, where: str) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise UsageError(f"{where}: {quote(value)} is not two numbers, black and white in the output")
    low, high = (_read_number(entry, where) for entry in value)
    if low >= high:
        raise UsageError(f"{where}: {low:g} (black) is not below {high:g} (white)")
    return low, high


def _read_seconds(value: object, where: str) -> float:
    seconds = _read_number(value, where)
    if not 0 < seconds <= LONGEST_S:
        raise UsageError(f"{where}: {seconds:g} is not a number of seconds above 0 and at most {LONGEST_S:g}")
    return seconds


def _read_threads(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{where}: {quote(value)} is not a whole number")
    check_count(where, value)
    return value


def _read_truth(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{where}: {quote(value)} is not true or false")
    return value


def _make_choice_reader(allowed: tuple[str, ...]) -> Callable[[object, str], str]:
    def read(value: object, where: str) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise UsageError(
                f"{where}: {quote(value)} is not one of {', '.join(allowed)}{suggest(value, allowed)}"
            )
        return value

    return read


_READERS: Mapping[str, Callable[[object, str], Any]] = {
    "target": _read_text,
    "state-dict": _read_text,
    "input": _read_inputs,
    "image": _read_texts,
    "range": _read_range,
    "device": _read_text,
    "dtype": _make_choice_reader(_FLOATS),
    "threads": _read_threads,
    "measure-fuse": _read_truth,
    "ignore": _read_codes,
    "fail-on": _make_choice_reader(tuple(FAIL_ON)),
    "timeout": _read_seconds,
    "max-memory": parse_bytes,
}
