"""Under which conditions a process was timed, as plain data.

Latencies of one layer differ by more than most layers do, by what allocates the memory and by where the process
runs; so each record says under which conditions it was taken, and like is compared with like. Says what was, not
how it is brought about: that is `runner.conditions` (a child's start) and `measure.conditions` (the child itself).
"""

from dataclasses import dataclass
from functools import lru_cache

from deconvbench.system.texts import tidy_line

# what can be asked for: memory that a process keeps and a core of its own, or whatever the system does
POLICIES = ("settled", "system")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What held while a step was timed.

    Parameters
    ----------
    policy : str
        What was asked for, one of `POLICIES`.
    allocator : str
        What served the memory: ``settled`` (malloc keeps large buffers instead of mapping them anew), ``system``
        (malloc as it is), or the file name of an allocator that took malloc's place.
    huge_pages : str
        When the kernel gives huge pages: ``never``, ``madvise`` (to who asks), ``malloc`` (to who asks, and malloc
        does), ``always``; empty where that is not known.
    pinned_cores : tuple of int
        The cores that the timed thread was bound to; empty where it could use all.
    priority : int or None
        Nice value, from -20 to 19; None where it is not known.

    Raises
    ------
    ValueError
        If the policy is not one.
    """

    policy: str = "system"
    allocator: str = "system"
    huge_pages: str = ""
    pinned_cores: tuple[int, ...] = ()
    priority: int | None = None

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"policy: {self.policy!r} is not one of {', '.join(POLICIES)}")
        for name in ("allocator", "huge_pages"):
            object.__setattr__(self, name, tidy_line(getattr(self, name)))


def describe_conditions(conditions: Conditions | None) -> str:
    """Write conditions as one short text, for a table's column.

    Which core it was is left out: it is another one each time, and as good.

    Parameters
    ----------
    conditions : Conditions or None
        None where they were not recorded.

    Returns
    -------
    str
        ``settled; huge pages malloc; pinned``; empty where nothing is known.
    """
    if conditions is None:
        return ""
    parts = [conditions.policy]
    if conditions.allocator != conditions.policy:
        parts.append(f"allocator {conditions.allocator}")
    if conditions.huge_pages:
        parts.append(f"huge pages {conditions.huge_pages}")
    if cores := len(conditions.pinned_cores):
        parts.append("pinned" if cores == 1 else f"on {cores} cores")
    if conditions.priority:
        parts.append(f"nice {conditions.priority}")
    return "; ".join(parts)


@lru_cache(maxsize=256)  # of the rows of a table few differ
def name_policy(text: str) -> str:
    """Take from the text of `describe_conditions` what must agree for times to be comparable.

    Parameters
    ----------
    text : str
        As a table's column has it; may be empty.

    Returns
    -------
    str
        Policy, and the allocator where it is another: ``settled`` of ``settled; huge pages malloc; pinned``.
    """
    policy, *others = text.split("; ")
    return "; ".join([policy, *(part for part in others if part.startswith("allocator "))])
