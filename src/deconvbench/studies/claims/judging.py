"""From numbers to verdicts: intervals against limits, parts into a whole, and what to say where nothing is known.

The one place where "straddles the limit" is decided.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps

from deconvbench.records.effects import Effect, Interval, write_number
from deconvbench.records.schema import name_interval
from deconvbench.statistics import mean_interval
from deconvbench.studies.claims.claim import Evidence, Finding, Verdict

Judge = Callable[[Evidence], Finding]
Part = bool | Verdict | None

__all__ = [
    "Interval",
    "answer",
    "combine",
    "conclude",
    "leave_undecided",
    "list_effects",
    "make_effect",
    "needs",
    "negate",
    "put_interval",
    "read_interval",
    "read_number",
    "write_number",
]


def put_interval(name: str, values: Iterable[float | None]) -> dict[str, float | None]:
    """Lay out the mean over seeds of untrained layers, with Student's 95 % interval, as evidence.

    Such a value is a mean over many channels and so near enough to a normal distribution; what rests on trained
    networks has intervals of `networks.Panel`.

    Parameters
    ----------
    name : str
        What the number is, with its unit.
    values : iterable of float or None
        One a seed; what is missing or not finite is left out.

    Returns
    -------
    dict
        Under the name, and under ``<name>_ci_low`` and ``<name>_ci_high``, None for a single seed; empty where
        there is no value.
    """
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    if not known:
        return {}
    low_name, high_name = name_interval(name)
    mean, low, high = mean_interval(known)
    ends = (None if math.isnan(end) else end for end in (low, high))
    return {name: mean, **dict(zip((low_name, high_name), ends, strict=True))}


def read_number(evidence: Evidence, name: str) -> float:
    """Read a number that the rule cannot do without; see `needs`.

    Parameters
    ----------
    evidence : mapping
        Has the name.
    name : str
        What the number is.

    Raises
    ------
    KeyError
        If it is missing.
    """
    value = evidence.get(name)
    if value is None:
        raise KeyError(name)
    return value


def read_interval(evidence: Evidence, name: str) -> Interval:
    """Read back what `put_interval` laid out.

    Parameters
    ----------
    evidence : mapping
        Has the name.
    name : str
        What the number is.

    Raises
    ------
    KeyError
        If it is missing.
    """
    low, high = (evidence.get(end) for end in name_interval(name))
    return Interval(value=read_number(evidence, name), low=low, high=high)


def make_effect(name: str, unit: str, interval: Interval) -> Effect:
    """Name a number for the claims table.

    Parameters
    ----------
    name, unit : str
        What it is.
    interval : Interval
        The number.
    """
    return Effect(name=name, unit=unit, value=interval.value, low=interval.low, high=interval.high)


def list_effects(evidence: Evidence, names: Mapping[str, tuple[str, str]]) -> tuple[Effect, ...]:
    """List numbers for the claims table.

    Parameters
    ----------
    evidence : mapping
        Any.
    names : mapping of str to (str, str)
        By name of the evidence: what the number is called, and its unit. Those that are missing are left out.
    """
    return tuple(
        make_effect(title, unit, read_interval(evidence, name))
        for name, (title, unit) in names.items()
        if evidence.get(name) is not None
    )


def answer(holds: bool | None) -> Verdict:
    """Turn an answer to "does it hold?" into a verdict.

    Parameters
    ----------
    holds : bool or None
        None where it is inconclusive.
    """
    if holds is None:
        return Verdict.UNDECIDED
    return Verdict.SUPPORTED if holds else Verdict.REFUTED


def negate(holds: bool | None) -> bool | None:
    """Negate an answer; an inconclusive one stays so.

    Parameters
    ----------
    holds : bool or None
        An answer.
    """
    return None if holds is None else not holds


def combine(parts: Iterable[Part]) -> Verdict:
    """Judge a claim whose parts, or whose networks, all have to agree.

    Parameters
    ----------
    parts : iterable of bool, Verdict or None
        What was found of each.

    Returns
    -------
    Verdict
        `PARTLY` where some hold and some do not, whatever the undecided ones turn out to be; otherwise `UNDECIDED`
        where one is undecided, or there is none; otherwise what all say.
    """
    verdicts = {part if isinstance(part, Verdict) else answer(part) for part in parts}
    decided = verdicts - {Verdict.UNDECIDED}
    if len(decided) > 1:
        return Verdict.PARTLY
    if verdicts == decided and decided:
        return decided.pop()
    return Verdict.PARTLY if Verdict.PARTLY in decided else Verdict.UNDECIDED


_TITLES = {
    Verdict.SUPPORTED: "holds",
    Verdict.PARTLY: "holds in part",
    Verdict.REFUTED: "does not hold",
    Verdict.UNDECIDED: "undecided",
}


def conclude(
    parts: Sequence[tuple[str, Part]],
    sentence: str,
    *,
    effects: Sequence[Effect] = (),
    size: str = "",
    verdict: Verdict | None = None,
) -> Finding:
    """Judge a claim by its parts, and say which of them hold.

    Parameters
    ----------
    parts : sequence of (str, bool, Verdict or None)
        What each says, and what was found of it.
    sentence : str
        With the numbers.
    effects, size
        As in `Finding`.
    verdict : Verdict, optional
        Where the parts have to be weighed otherwise than by `combine`.
    """
    verdicts = [(name, part if isinstance(part, Verdict) else answer(part)) for name, part in parts]
    groups = [
        f"{title}: {_list_names(names)}"
        for each, title in _TITLES.items()
        if (names := [name for name, found in verdicts if found is each])
    ]
    holds = "; ".join(groups)
    return Finding(
        verdict=combine(found for _, found in verdicts) if verdict is None else verdict,
        sentence=sentence,
        holds=f"{holds[:1].upper()}{holds[1:]}.",
        effects=tuple(effects),
        size=size,
        is_open=any(found is Verdict.UNDECIDED for _, found in verdicts),
    )


def _list_names(names: Sequence[str]) -> str:
    """List parts, each once, and those of several networks together: ``a (one; another), b``."""
    networks: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        what, _, network = name.removesuffix(")").partition(" (")
        networks.setdefault(what, []).extend([network] if network else [])
    return ", ".join(f"{what} ({'; '.join(known)})" if known else what for what, known in networks.items())


def leave_undecided(reason: str) -> Finding:
    """Say that nothing was measured that could decide.

    Parameters
    ----------
    reason : str
        What is missing and what to do about it, for the reader.
    """
    sentence = f"Not measured: {reason}."
    return Finding(verdict=Verdict.UNDECIDED, sentence=sentence, holds=sentence)


def needs(names: Sequence[str], remedy: str) -> Callable[[Judge], Judge]:
    """Leave a claim undecided where evidence that its rule cannot do without is missing.

    Parameters
    ----------
    names : sequence of str
        What the rule reads.
    remedy : str
        What to do about it, for the reader.
    """

    def guard(judge: Judge) -> Judge:
        @wraps(judge)
        def judge_if_known(evidence: Evidence) -> Finding:
            if any(evidence.get(name) is None for name in names):
                return leave_undecided(remedy)
            return judge(evidence)

        return judge_if_known

    return guard
