"""What holds for records of every kind: which statuses there are, and that texts are one line each."""

from dataclasses import fields
from functools import cache
from typing import Any

from deconvbench.system.texts import tidy_line

STATUSES = ("ok", "oom", "crashed", "timeout", "unsupported", "error")


@cache
def _list_texts(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind) if f.type is str)


def finish_record(record: Any) -> None:
    """Check the status of a record that was just made, and make each text of it one line that can be shown.

    Parameters
    ----------
    record : record
        Of any kind; a frozen dataclass with a `status`.

    Raises
    ------
    ValueError
        If the status is not one of `STATUSES`.
    """
    if record.status not in STATUSES:
        raise ValueError(f"status: {record.status!r} is not one of {', '.join(STATUSES)}")
    kind: Any = type(record)
    for name in _list_texts(kind):
        text = getattr(record, name)
        if (line := tidy_line(text)) != text:
            object.__setattr__(record, name, line)
