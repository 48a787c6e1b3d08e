"""What a run and its workers say to each other, line by line; both ends use these words.

A line to the worker holds the jobs that are measured together. The worker answers with lines that begin with a
word that only it knows: some that say that it is still at work, and a last one that holds the records. Sends
nothing.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Self

# the second word of an answer: still at work; done, and another job can follow; done, and none should
PROGRESS, READY, SPENT = "at", "ready", "spent"
# JSON has no tabs but between its parts, where none is written
_SEPARATOR = "\t"
_BROKEN = "broken "


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """Why cases that were to be measured together have no records.

    Parameters
    ----------
    status, message : str
        What would be that of a case by itself.
    suspect : str
        Id of the case that it happened in, as far as is known; empty if not.
    is_fatal : bool
        Whether the process should measure nothing more.
    total_s : float
        Wall time that it took.
    process_index, started_at, ended_at
        As in a record of a case that was measured there.
    """

    status: str
    message: str
    suspect: str = ""
    is_fatal: bool = False
    total_s: float = 0.0
    process_index: int = 0
    started_at: str = ""
    ended_at: str = ""

    def encode(self) -> str:
        """Write it as a part of a line."""
        return _BROKEN + json.dumps(asdict(self))

    @classmethod
    def decode(cls, content: str) -> Self | None:
        """Read what `encode` wrote, or return None where the text is something else.

        Raises
        ------
        ValueError, TypeError
            If it only begins like that.
        """
        if not content.startswith(_BROKEN):
            return None
        return cls(**json.loads(content.removeprefix(_BROKEN)))


def join_lines(lines: Iterable[str]) -> str:
    """Put several records, a line each, into one line."""
    return _SEPARATOR.join(lines)


def split_lines(line: str) -> list[str]:
    """Take apart what `join_lines` put together."""
    return line.rstrip("\n").split(_SEPARATOR)
