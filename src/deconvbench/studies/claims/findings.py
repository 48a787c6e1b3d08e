"""Ten findings, for and against the article, as sentences that follow from the claims' evidence.

Each is a question that is put to every network that stands for its task, and a beginning for each answer; what is
not decided is said to be open and what was not detected is not called absent. Measures equal gains, of which no
claim speaks; everything else is read from the claims table.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deconvbench.records.effects import describe_experiment
from deconvbench.records.layers import NamedLayer
from deconvbench.records.metrics import ARTIFACT_ZERO_BELOW
from deconvbench.studies.claims import costs
from deconvbench.studies.claims.claim import Context, Evidence, Verdict
from deconvbench.studies.claims.judging import Part, combine, negate, read_interval, read_number, write_number
from deconvbench.studies.claims.networks import (
    TRANSPOSED,
    View,
    describe_presence,
    describe_size,
    gather_networks,
    view_networks,
)
from deconvbench.studies.claims.panel import HALF_LEVEL, Panel
from deconvbench.studies.claims.remedies import REDUCED, is_reduced
from deconvbench.studies.claims.training import KEPT, describe_exponent

Row = Mapping[str, Any]
S, P, R, U = Verdict.SUPPORTED, Verdict.PARTLY, Verdict.REFUTED, Verdict.UNDECIDED

EQUAL_GAIN: NamedLayer = ("equal_gain_transposed", 3)
# of the intervals that `measure_findings` gathers: a single question, which is of no family
OWN_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """What a finding on trained networks is about.

    Parameters
    ----------
    claim : int
        Whose evidence it reads; 0 for what `measure_findings` gathers.
    needed : tuple of str
        Names that a network's evidence must have.
    ask : callable
        Of a network, whether it is so; None where that is undecided.
    leads : mapping of Verdict to str
        How the sentence begins, by what all networks say together.
    tell : callable
        The numbers of a network.
    begin : callable
        What is said before it, of what does not depend on training.
    """

    claim: int
    needed: tuple[str, ...]
    ask: Callable[[View], Part]
    leads: Mapping[Verdict, str]
    tell: Callable[[View], str]
    begin: Callable[[Evidence], str] = lambda _: ""


def measure_findings(context: Context) -> Evidence:
    """Measure deconvolutions of equal gains, which are this project's own, and what they cost.

    Parameters
    ----------
    context : Context
        Its training results are read, and its run.

    Returns
    -------
    dict
        Per network: checkerboard, excess and floor of `equal_gain_transposed` k3, the checkerboard of `transposed`
        k3, and the ripple of plain colours of the former. From a run: the least and the largest latency over
        `transposed` k3.
    """
    return {
        **gather_networks(context, [EQUAL_GAIN, TRANSPOSED], _describe_equal_gain),
        **costs.measure_range(context, EQUAL_GAIN, "equal_gain_latency_ratio"),
    }


def _describe_equal_gain(panel: Panel) -> Evidence:
    return {
        **panel.put_presence("equal"),
        **panel.put("transposed_checkerboard_levels", panel.find_levels(1)),
        **panel.put("equal_flat_field_ripple_levels", panel.find_column(0, "flat_field_ripple_levels")),
    }


def write_findings(rows: Sequence[Row], evidence: Evidence) -> list[str]:
    """Write the ten findings.

    Parameters
    ----------
    rows : sequence of mapping
        Of ``claims.json``: ``id``, ``verdict``, ``evidence`` and ``confidence`` are read.
    evidence : mapping
        From `measure_findings`.

    Returns
    -------
    list of str
        In the order of the article, each a sentence or two.
    """
    found = {row["id"]: row for row in rows}
    sources: dict[int, Evidence] = {number: row["evidence"] for number, row in found.items()} | {0: evidence}
    levels: dict[int, float] = {number: row.get("confidence", OWN_LEVEL) for number, row in found.items()}
    trained = [
        _write_topic(topic, sources.get(topic.claim, {}), levels.get(topic.claim, OWN_LEVEL)) for topic in TOPICS
    ]
    # costs come beside the checkerboard that they buy
    trained[_EQUAL_GAIN_PLACE] += _tell_cost(evidence)
    return [*trained, _write_equivalence(found.get(3)), _write_efficiency(found.get(12))]


def _write_topic(topic: Topic, evidence: Evidence, confidence: float) -> str:
    """Say what a topic's networks answer: those that decide first, then those that do not."""
    views = [
        view
        for view in view_networks(evidence)
        if view.is_main and all(view.evidence.get(name) is not None for name in topic.needed)
    ]
    if not views:
        return f"{topic.begin(evidence)}{topic.leads[U]}: it was not measured."
    answers = [(view, combine([topic.ask(view)])) for view in views]
    decided = [view for view, verdict in answers if verdict is not U]
    still_open = [view for view, verdict in answers if verdict is U]
    lead = topic.leads[combine(verdict for _, verdict in answers if verdict is not U or not decided)]
    told = _tell_networks(topic, decided or still_open)
    if decided and still_open:
        told += f"; open: {_tell_networks(topic, still_open)}"
    effects = [view.name_effect(name, name) for view in views for name in topic.needed]
    size = describe_experiment(describe_size(evidence), effects, confidence)
    return f"{topic.begin(evidence)}{lead}: {told} ({size})."


def _tell_networks(topic: Topic, views: Sequence[View]) -> str:
    return "; ".join(f"{view.network.title} {topic.tell(view)}" for view in views)


def _show(name: str, unit: str = " levels") -> Callable[[View], str]:
    return lambda view: f"{read_interval(view.evidence, name)}{unit}"


def _is_above(name: str, limit: float = 0.0) -> Callable[[View], bool | None]:
    return lambda view: read_interval(view.evidence, name).is_above(limit)


def _tell_first_steps(view: View) -> str:
    untrained, first = (_show(f"step{step}_checkerboard_levels", "")(view) for step in (0, 1))
    return f"{untrained} levels untrained, {first} after one step"


def _tell_change(view: View) -> str:
    first, last, share = (
        _show(name, "")(view)
        for name in ("first_checkerboard_levels", "last_checkerboard_levels", "last_over_first_ratio")
    )
    text = f"from {first} to {last} levels ({share} of it), {describe_presence(view, 'last')}"
    if view.evidence.get("gains_exponent") is not None:
        text += f"; {describe_exponent(view)}"
    return text


def _tell_divisible(view: View) -> str:
    even, uneven, less = (
        _show(name, "")(view)
        for name in ("remedied_checkerboard_levels", "plain_checkerboard_levels", "remedied_less_plain_levels")
    )
    return f"{even} levels with k4, {uneven} with k3, a difference of {less}"


def _tell_subpixel(view: View) -> str:
    plain, icnr, less = (
        _show(name, "")(view)
        for name in ("subpixel_checkerboard_levels", "icnr_checkerboard_levels", "icnr_less_subpixel_levels")
    )
    return f"{plain} levels without it, {icnr} with it, {describe_presence(view, 'icnr')}, a difference of {less}"


def _tell_last_layer(view: View) -> str:
    large, small, less = (
        _show(name, "")(view)
        for name in ("large_checkerboard_levels", "small_checkerboard_levels", "small_less_large_levels")
    )
    return f"{large} levels with 9×9, {describe_presence(view, 'large')}, {small} with 3×3, a reduction of {less}"


def _tell_stacks(view: View) -> str:
    both, last, earlier, more = (
        _show(name, "")(view)
        for name in (
            "both_layers_checkerboard_levels",
            "last_layer_checkerboard_levels",
            "earlier_layer_checkerboard_levels",
            "both_less_larger_part_levels",
        )
    )
    return (
        f"{both} levels behind two layers: {last} of period 2, all that the last one alone can make, and "
        f"{earlier} of period 4, which only the earlier one can; both together {more} more than the stronger"
    )


def _tell_equal_gain(view: View) -> str:
    other, ripple = (
        read_number(view.evidence, name)
        for name in (
            "transposed_checkerboard_levels",
            "equal_flat_field_ripple_levels",
        )
    )
    plain = 0.0 if ripple <= ARTIFACT_ZERO_BELOW else ripple
    return (
        f"{_show('equal_checkerboard_levels', '')(view)} levels, {describe_presence(view, 'equal')}, "
        f"instead of {write_number(other)}; ripple of plain colours {write_number(plain)}"
    )


def _begin_divisible(evidence: Evidence) -> str:
    names = ("init_noise_gain_cv_ratio", "init_phase_ripple_ratio")
    if any(evidence.get(name) is None for name in names):
        return ""
    noise, ripple = (read_interval(evidence, name) for name in names)
    words = {True: "does not even out", False: "evens out", None: "may even out"}
    return (
        f"At random weights a kernel size divisible by the stride {words[noise.is_above(REDUCED)]} the variance "
        f"({write_number(noise.value)} of the unevenness) and {words[ripple.is_above(REDUCED)]} the ripple "
        f"({write_number(ripple.value)}). "
    )


def _begin_subpixel(evidence: Evidence) -> str:
    ripple = evidence.get("init_icnr_largest_phase_ripple")
    if ripple is None:
        return ""
    return "ICNR starts exactly clean. " if ripple <= ARTIFACT_ZERO_BELOW else "ICNR does not start clean. "


TOPICS: tuple[Topic, ...] = (
    Topic(
        claim=7,
        needed=("step0_excess_levels", "step1_excess_levels"),
        ask=lambda view: combine(_is_above(f"step{step}_excess_levels")(view) for step in (0, 1)),
        leads={
            S: "The checkerboard exists before any training, as the article's Figure 5 has it",
            P: "The checkerboard exists before training, but not in every network or not after the first step",
            R: "No checkerboard was detected at the beginning of training",
            U: "Whether the checkerboard exists before training is not decided",
        },
        tell=_tell_first_steps,
    ),
    Topic(
        claim=8,
        needed=("last_over_first_ratio", "last_excess_levels"),
        ask=_is_above("last_over_first_ratio", KEPT),
        leads={
            S: "Training leaves at least half of it",
            P: "Training leaves most of it in some networks and takes most of it away in others",
            R: "Training takes most of it away, unlike what the article says",
            U: "How much of it training leaves is not decided",
        },
        tell=_tell_change,
    ),
    Topic(
        claim=11,
        needed=("nearest_excess_levels",),
        ask=lambda view: negate(_is_above("nearest_excess_levels")(view)),
        leads={
            S: "Behind nearest-neighbour resize-convolution no checkerboard was detected",
            P: "Behind nearest-neighbour resize-convolution a checkerboard was detected in some networks only",
            R: "Behind nearest-neighbour resize-convolution a checkerboard was detected, against the article",
            U: "Whether nearest-neighbour resize-convolution leaves a checkerboard is not decided",
        },
        tell=lambda view: f"{_show('nearest_checkerboard_levels')(view)}, {describe_presence(view, 'nearest')}",
    ),
    Topic(
        claim=10,
        needed=("remedied_less_plain_levels",),
        ask=lambda view: is_reduced(read_interval(view.evidence, "remedied_less_plain_levels")),
        leads={
            S: "A kernel size divisible by the stride (k4) reduces it",
            P: "A kernel size divisible by the stride (k4) reduces it in some networks only",
            R: f"A kernel size divisible by the stride (k4) takes away less than {HALF_LEVEL:g} levels, if any",
            U: "Whether a kernel size divisible by the stride (k4) helps trained networks is not decided",
        },
        begin=_begin_divisible,
        tell=_tell_divisible,
    ),
    Topic(
        claim=16,
        needed=("subpixel_excess_levels", "icnr_excess_levels", "icnr_less_subpixel_levels"),
        ask=lambda view: negate(_is_above("icnr_excess_levels")(view)),
        leads={
            S: "After training no checkerboard was detected behind ICNR",
            P: "After training a checkerboard was detected behind ICNR in some networks only",
            R: "After training a checkerboard was detected behind ICNR all the same",
            U: "Whether ICNR stays clean in training is not decided",
        },
        begin=_begin_subpixel,
        tell=_tell_subpixel,
    ),
    Topic(
        claim=9,
        needed=("large_excess_levels", "small_less_large_levels"),
        ask=_is_above("large_excess_levels"),
        leads={
            S: "A large stride-1 layer at the end does not suffice, as the article says",
            P: "A large stride-1 layer at the end suffices in some networks only",
            R: "A large stride-1 layer at the end leaves no checkerboard that was detected, against the article",
            U: "Whether a large stride-1 layer at the end suffices is not decided",
        },
        tell=_tell_last_layer,
    ),
    Topic(
        claim=0,
        needed=("equal_excess_levels", "equal_flat_field_ripple_levels", "transposed_checkerboard_levels"),
        ask=lambda view: negate(_is_above("equal_excess_levels")(view)),
        leads={
            S: "Behind a deconvolution with equal phase gains no checkerboard was detected",
            P: "Behind a deconvolution with equal phase gains a checkerboard was detected in some networks only",
            R: "Behind a deconvolution with equal phase gains a checkerboard was detected",
            U: "Whether a deconvolution with equal phase gains leaves a checkerboard is not decided",
        },
        tell=_tell_equal_gain,
    ),
    Topic(
        claim=14,
        needed=("both_less_larger_part_levels",),
        ask=_is_above("both_less_larger_part_levels", HALF_LEVEL),
        leads={
            S: "Artifacts of stacked layers compound",
            P: "Artifacts of stacked layers compound in some networks only",
            R: f"Two trained layers leave less than {HALF_LEVEL:g} levels more than the stronger of their grids",
            U: "Whether the artifacts of stacked layers compound in trained networks is not decided",
        },
        tell=_tell_stacks,
    ),
)
_EQUAL_GAIN_PLACE = [topic.claim for topic in TOPICS].index(0)


def _tell_cost(evidence: Evidence) -> str:
    ends = [evidence.get(f"equal_gain_latency_ratio_{end}") for end in ("least", "most")]
    if None in ends:
        return ""
    least, most = (write_number(end) for end in ends if end is not None)
    return f" It takes {least} to {most} times the latency of a deconvolution at the sizes measured."


def _write_equivalence(row: Row | None) -> str:
    statement = "“Every deconvolution is an upsampling and a convolution”"
    if row is None or row["verdict"] == U:
        return f"Whether {statement} holds is not decided: it was not measured."
    zero, nearest = (
        row["evidence"].get(name)
        for name in ("zero_insertion_largest_relative_error", "nearest_random_kernels_least_residual")
    )
    how = {S: "is exact", P: "is exact in part", R: "is not exact"}[Verdict(row["verdict"])]
    text = f"{statement} {how} with zeros between the inputs (to {write_number(zero or 0.0)})"
    return (
        f"{text}. With nearest-neighbour upsampling it is exact only for kernels that a box divides; of a random "
        f"one at least {nearest:.0%} is left."
    )


def _write_efficiency(row: Row | None) -> str:
    evidence: Evidence = {} if row is None else row["evidence"]
    if row is None or row["verdict"] == U or evidence.get("latency_ratio_k3") is None:
        return "Whether resize-convolution costs only slightly more is not decided: it was not measured."
    lead = {
        S: "The cost is slight",
        P: "The cost is slight in some respects only",
        R: "The cost of the plain form is not slight",
    }
    plain, fast = (
        " and ".join(
            f"{write_number(value)} times as long as transposed k{k}"
            for k in (3, 4)
            if (value := evidence.get(f"{form}latency_ratio_k{k}")) is not None
        )
        for form in ("", "fast_")
    )
    text = f"{lead[Verdict(row['verdict'])]}: it takes {plain}"
    return f"{text}; the exact fast form takes {fast}." if fast else f"{text}."
