"""Which layer to take: the cheapest that satisfies limits on memory and artifacts, and what each limit costs.

Frames in, an answer out. A layer of which a limited quantity is not known does not satisfy the limit; it is listed
as not judged. No torch, no files.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from deconvbench.analysis.candidates import Candidate, Field, Missing, list_candidates
from deconvbench.analysis.settings import FREE_FIELDS, Setting, Size, resolve_setting, select_rows
from deconvbench.arguments import is_number
from deconvbench.errors import UsageError, quote, suggest
from deconvbench.records.case import CASE_FIELDS, Case
from deconvbench.records.schema import LAYER_COLUMNS
from deconvbench.tables.frames import require_columns
from deconvbench.units import to_float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Something that a layer may be asked to keep to.

    Parameters
    ----------
    title : str
        What is limited, for a reader.
    unit : str
        Of the bound.
    best : {"low", "high"}
        ``low``: at most the bound; ``high``: at least.
    is_quality : bool
        Whether it speaks of artifacts.
    most : float
        Largest bound that says anything.
    """

    title: str
    unit: str
    best: Literal["low", "high"] = "low"
    is_quality: bool = True
    most: float = math.inf


# in the order in which they are applied where none is left
LIMITS: Mapping[str, Limit] = {
    "memory": Limit(title="peak memory", unit="bytes", is_quality=False),
    "ripple": Limit(title="ripple at initialisation", unit="share of power", most=1),
    "checkerboard": Limit(title="checkerboard after training", unit="8-bit levels", most=255),
    "psnr": Limit(title="PSNR after training", unit="dB", best="high"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxed:
    """What would be chosen without one of the limits, or with another way to run the layer.

    Parameters
    ----------
    name : str
        The limit, or a field of `settings.FREE_FIELDS`.
    value : object
        The bound that was dropped, or the field's other value.
    chosen : Candidate or None
        None where there is still none.
    speedup : float or None
        How many times as fast it is as what was chosen: 1 where it is the same; None where one of them is missing.
    """

    name: str
    value: Any
    chosen: Candidate | None
    speedup: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The answer.

    Parameters
    ----------
    setting : Setting
        What the question was about, completed by what the run has.
    limits : mapping of str to float
        Bounds by name in `LIMITS`.
    baseline : str or None
        The layer whose cost is 1; None where costs are latencies in seconds.
    fitting : tuple of Candidate
        Those that satisfy every limit, the cheapest first.
    unjudged : tuple of Candidate
        Those that satisfy what is known of them, while something limited is not, the cheapest first.
    candidates : tuple of Candidate
        All, the cheapest first.
    missing : tuple of Missing
        Layers of which the cost is not known here.
    left : tuple of (str, int)
        How many candidates are left after each limit, applied one after another.
    nearest : Candidate or None
        Where none is left: of those that the last limit ruled out, the one that comes nearest to it.
    relaxed : tuple of Relaxed
        One for each limit, and one for each other value of a free field that was measured.
    cleaner : Candidate or None
        Where no artifact is limited and what was chosen has a ripple: the cheapest without.
    """

    setting: Setting
    limits: Mapping[str, float]
    baseline: str | None
    fitting: tuple[Candidate, ...]
    unjudged: tuple[Candidate, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    missing: tuple[Missing, ...] = ()
    left: tuple[tuple[str, int], ...] = ()
    nearest: Candidate | None = None
    relaxed: tuple[Relaxed, ...] = ()
    cleaner: Candidate | None = field(default=None)

    @property
    def chosen(self) -> Candidate | None:
        """The cheapest that satisfies every limit; None where none does."""
        return self.fitting[0] if self.fitting else None

    @property
    def ties(self) -> tuple[Candidate, ...]:
        """Those whose cost cannot be told from that of the chosen one: their intervals overlap."""
        return tuple(each for each in self.fitting[1:] if _overlap(self.fitting[0], each))

    @property
    def case(self) -> Case | None:
        """The chosen layer in its setting; None where there is none."""
        return None if self.chosen is None else self.make_case(self.chosen)

    def make_case(self, candidate: Candidate) -> Case:
        """Make the case of a candidate.

        Parameters
        ----------
        candidate : Candidate
            Any of these.
        """
        layer = {name: getattr(candidate, name) for name in LAYER_COLUMNS}
        height, width = self.setting.size
        return Case(**{**self.setting.fields, **layer, "height": height, "width": width})


def recommend_layer(
    summary: pd.DataFrame,
    quality: pd.DataFrame,
    setting: Mapping[str, Any] | None = None,
    *,
    size: Size | None = None,
    limits: Mapping[str, float] | None = None,
    extrapolate: bool = False,
) -> Recommendation:
    """Choose the cheapest layer that satisfies all limits.

    Parameters
    ----------
    summary : DataFrame
        One row per case, of one run (`tables.table.summarise`).
    quality : DataFrame
        One row per layer, with what is known after training (`tables.table.summarise_quality`).
    setting : mapping, optional
        Fields of a case (`settings.FIELDS`) with the value that each must have; the rest is as a case's defaults,
        or else as most of the run.
    size : (int, int), optional
        Height and width of the input; by default the largest of the run. Between measured sizes a cost is read
        off a line through at least three of them (`scaling.estimate_at`).
    limits : mapping of str to float, optional
        Bounds by name in `LIMITS`, in its units. A measured value must keep to it as it is, an estimate of memory
        with the upper end of its interval.
    extrapolate : bool
        Estimate beyond the sizes that were measured, too, up to `candidates.MOST_BEYOND` times their pixels.

    Raises
    ------
    UsageError
        If a frame lacks a column, a limit is not one of `LIMITS` or its bound not a number of its kind, or
        something was not measured; the message lists what was.
    """
    require_columns(summary, "summary", (*CASE_FIELDS, "status", "message", "noisy"), ("latency_s",))
    require_columns(quality, "quality", LAYER_COLUMNS)
    if summary.empty:
        raise UsageError("run: nothing was measured in it")
    bounds = check_limits(limits or {})
    resolved = resolve_setting(summary, setting or {}, size)
    found = list_candidates(summary, quality, resolved, extrapolate=extrapolate)
    fitting = _select(found, bounds)
    chosen = fitting[0] if fitting else None
    left, nearest = _narrow_down(found, bounds)
    cleaner = None
    if chosen is not None and not any(LIMITS[name].is_quality for name in bounds):
        ripple = chosen.qualities.get("ripple")
        clean = _select(found, {**bounds, "ripple": 0.0})
        cleaner = clean[0] if clean and ripple is not None and ripple.value > 0 else None
    relaxed = [_compare(name, bounds[name], _select(found, _without(bounds, name)), chosen) for name in bounds]
    return Recommendation(
        setting=resolved,
        limits=bounds,
        baseline=found.baseline,
        fitting=fitting,
        unjudged=tuple(
            each
            for each in found.candidates
            if {satisfies(each, name, bound) for name, bound in bounds.items()} in ({None}, {None, True})
        ),
        candidates=found.candidates,
        missing=found.missing,
        left=left,
        nearest=nearest,
        relaxed=(*relaxed, *_run_otherwise(summary, quality, resolved, bounds, chosen, extrapolate=extrapolate)),
        cleaner=cleaner,
    )


def check_limits(limits: Mapping[str, float]) -> dict[str, float]:
    """Check limits, and put them in the order in which they are applied.

    Parameters
    ----------
    limits : mapping of str to float
        Bounds by name in `LIMITS`.

    Raises
    ------
    UsageError
        If one is not among them, or its bound not a number of its kind.
    """
    bounds = {name: _check_bound(name, bound) for name, bound in limits.items()}
    return {name: bounds[name] for name in LIMITS if name in bounds}


def _check_bound(name: str, bound: object) -> float:
    if name not in LIMITS:
        raise UsageError(f"limit: {quote(name)} is not one of {', '.join(LIMITS)}{suggest(name, LIMITS)}")
    limit = LIMITS[name]
    number = to_float(bound) if is_number(bound) else math.nan  # type: ignore[arg-type] # which is_number says
    if not math.isfinite(number) or (limit.best == "low" and not 0 <= number <= limit.most):
        bounded = f"a number from 0 to {limit.most:g}" if math.isfinite(limit.most) else "a number of at least 0"
        kind = bounded if limit.best == "low" else "a finite number"
        raise UsageError(f"{name}: {quote(bound)} is not {kind} ({limit.unit})")
    return number


def satisfies(candidate: Candidate, name: str, bound: float) -> bool | None:
    """Say whether a candidate keeps to a limit; None where that is not known.

    Parameters
    ----------
    candidate : Candidate
        Any.
    name : str
        In `LIMITS`.
    bound : float
        In its unit.
    """
    quantity = candidate.qualities.get(name)
    if quantity is None:
        return None
    if LIMITS[name].best == "high":
        return quantity.value >= bound
    # an estimate of memory that is too low ends a program
    is_guess = name == "memory" and candidate.is_estimated and quantity.high is not None
    value = quantity.high if is_guess else quantity.value
    assert value is not None
    return value <= bound


def _select(found: Field, bounds: Mapping[str, float]) -> tuple[Candidate, ...]:
    return tuple(
        each for each in found.candidates if all(satisfies(each, name, bound) for name, bound in bounds.items())
    )


def _without(bounds: Mapping[str, float], name: str) -> dict[str, float]:
    return {other: bound for other, bound in bounds.items() if other != name}


def _overlap(first: Candidate, second: Candidate) -> bool:
    high, low = first.cost.high, second.cost.low
    return (first.cost.value if high is None else high) >= (second.cost.value if low is None else low)


def _narrow_down(
    found: Field, bounds: Mapping[str, float]
) -> tuple[tuple[tuple[str, int], ...], Candidate | None]:
    """Apply one limit after another; where that leaves nothing, find what comes nearest to the last one."""
    rest, left = list(found.candidates), []
    for name, bound in bounds.items():
        before, rest = rest, [each for each in rest if satisfies(each, name, bound)]
        left.append((name, len(rest)))
        if not rest:
            sign = 1 if LIMITS[name].best == "low" else -1
            known = [each for each in before if name in each.qualities]
            nearest = min(known, key=lambda each: sign * each.qualities[name].value, default=None)
            return tuple(left), nearest
    return tuple(left), None


def _compare(name: str, value: Any, fitting: tuple[Candidate, ...], chosen: Candidate | None) -> Relaxed:
    other = fitting[0] if fitting else None
    speedup = None if other is None or chosen is None else chosen.cost.value / other.cost.value
    return Relaxed(name=name, value=value, chosen=other, speedup=speedup)


def _run_otherwise(
    summary: pd.DataFrame,
    quality: pd.DataFrame,
    setting: Setting,
    bounds: Mapping[str, float],
    chosen: Candidate | None,
    *,
    extrapolate: bool,
) -> list[Relaxed]:
    """Choose again on every other device, dtype and so on that the run has for the same work; by latency."""
    answers = []
    for name in FREE_FIELDS:
        others = select_rows(summary, {field: v for field, v in setting.fields.items() if field != name})
        for value in sorted({*others[name]} - {setting.fields[name]}):
            plain = value.item() if hasattr(value, "item") else value
            changed = Setting(fields={**setting.fields, name: plain}, size=setting.size, others={})
            try:
                fitting = _select(list_candidates(summary, quality, changed, extrapolate=extrapolate), bounds)
            except UsageError:  # it was not measured at a size that tells of this one
                continue
            fastest = min(
                (each for each in fitting if each.latency is not None),
                key=lambda each: each.latency.value if each.latency else math.inf,
                default=next(iter(fitting), None),
            )
            speedup = None
            if fastest is not None and chosen is not None and fastest.latency and chosen.latency:
                speedup = chosen.latency.value / fastest.latency.value
            answers.append(Relaxed(name=name, value=plain, chosen=fastest, speedup=speedup))
    return answers
