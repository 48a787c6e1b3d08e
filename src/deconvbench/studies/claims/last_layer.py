"""Claim 9: a large filter of stride 1 as the network's last layer, against a small one.

The same network is trained with last layers of 1×1, 3×3 and 9×9 behind deconvolutions, and for control behind
resize-convolutions, which leave it nothing to smooth. In the article's network 9×9 is the usual last layer; the
network for super-resolution ends in its upsampler and gets one.
"""

from collections.abc import Mapping

from deconvbench.records.effects import Effect
from deconvbench.records.layers import NamedLayer
from deconvbench.records.variants import STANDARD
from deconvbench.studies.claims import initial
from deconvbench.studies.claims.claim import Context, Evidence, Finding
from deconvbench.studies.claims.judging import Part, conclude, leave_undecided, read_interval, write_number
from deconvbench.studies.claims.networks import (
    NEAREST,
    TRANSPOSED,
    View,
    count_votes,
    describe_presence,
    gather_networks,
    tell_few_steps,
    view_networks,
)
from deconvbench.studies.claims.panel import Panel, divide, subtract

# "quite effective" (Odena et al.): at least half of the amplitude gone
EFFECTIVE = 0.5
# by task: which variants end in 3×3 and 9×9, and which others are told beside them
SMALL = "last-3"
LARGE: Mapping[str, str] = {"reconstruction": STANDARD, "super-resolution": "last-9"}
BESIDE: Mapping[str, Mapping[str, str]] = {
    "reconstruction": {"last_1": "last-1"},
    "super-resolution": {"last_1": "last-1", "bare": STANDARD},
}
_BESIDE_TITLES = {"last_1": "1×1", "bare": "none behind the upsampler"}


def measure_smoothing(context: Context) -> Evidence:
    """Measure what a large last layer leaves of a deconvolution's checkerboard, fresh and trained.

    Parameters
    ----------
    context : Context
        Its training results are read.

    Returns
    -------
    dict
        At initialisation, a 9×9 layer behind `transposed` k3 over the latter alone: phase ripple and noise gain
        CV. Per network, `transposed` k3: checkerboard with a last layer of 9×9 (excess and floor too) and of
        3×3, in 8-bit levels, the reduction and the ratio. Beside them the same behind `nearest_conv` k3, and the
        checkerboard with other last layers.
    """
    evidence: dict[str, float | None] = dict(initial.measure_smoothing())
    for task, large in LARGE.items():
        variants = (large, SMALL)
        evidence |= gather_networks(context, [TRANSPOSED] * 2, _describe_pair, variants=variants, task=task)
        evidence |= gather_networks(
            context, [NEAREST] * 2, _describe_pair, variants=variants, task=task, prefix="nearest_"
        )
        for name, variant in BESIDE[task].items():
            evidence |= _gather_single(context, TRANSPOSED, task, variant, f"{name}_")
    return evidence


def _gather_single(context: Context, layer: NamedLayer, task: str, variant: str, prefix: str) -> Evidence:
    def describe(panel: Panel) -> Evidence:
        return panel.put("checkerboard_levels", panel.find_levels())

    return gather_networks(context, [layer], describe, variants=[variant], task=task, prefix=prefix)


def _describe_pair(panel: Panel) -> Evidence:
    large, small = panel.find_levels(0), panel.find_levels(1)
    return {
        **panel.put_presence("large"),
        **panel.put("small_checkerboard_levels", small),
        **panel.put("small_less_large_levels", subtract(small, large)),
        **panel.put("large_over_small_ratio", divide(large, small)),
    }


@tell_few_steps
def judge_smoothing(evidence: Evidence) -> Finding:
    """Ask whether the article is right that it does not help sufficiently: a checkerboard can still be detected.

    Odena's "quite effective" is told beside it: at least half of the amplitude gone.

    Parameters
    ----------
    evidence : mapping
        From `measure_smoothing`.
    """
    votes: list[tuple[View, str, Part]] = []
    told = []
    effects: list[Effect] = []
    for view in view_networks(evidence):
        names = ("large_checkerboard_levels", "large_excess_levels", "small_less_large_levels")
        if any(view.evidence.get(name) is None for name in names):
            continue
        is_left = read_interval(view.evidence, "large_excess_levels").is_above(0)
        votes.append((view, "a checkerboard is left behind 9×9", is_left))
        effects += [
            view.name_effect("small_less_large_levels", "3×3 less 9×9", "levels"),
            view.name_effect("large_checkerboard_levels", "left with 9×9", "levels"),
        ]
        told.append(_tell_network(view))
    if not told:
        return leave_undecided(
            "no networks with transposed k3 s2 were trained alike with last layers of 3×3 and 9×9; run: "
            "deconvbench train --upsampler transposed-k3 --variant standard,last-3 (super-resolution: last-9)"
        )
    ripple = ""
    if evidence.get("init_phase_ripple_ratio") is not None:
        share = read_interval(evidence, "init_phase_ripple_ratio")
        ripple = f"At random weights it leaves {share} of the ripple of a constant input; trained"
    sentence = f"{ripple or 'Trained'}, a last layer of 9×9 behind transposed k3 leaves: {'; '.join(told)}."
    return conclude(count_votes(votes), sentence, effects=effects)


def _tell_network(view: View) -> str:
    large, small, reduction = (
        read_interval(view.evidence, name)
        for name in ("large_checkerboard_levels", "small_checkerboard_levels", "small_less_large_levels")
    )
    others = [
        f"{write_number(value)} with {title}"
        for name, title in _BESIDE_TITLES.items()
        if (value := view.evidence.get(f"{name}_checkerboard_levels")) is not None
    ]
    text = (
        f"{view.title} {large} levels instead of {small} with 3×3{''.join(f', {other}' for other in others)}, a "
        f"reduction of {reduction}; what is left: {describe_presence(view, 'large')}"
    )
    if view.evidence.get("large_over_small_ratio") is not None:
        is_weak = read_interval(view.evidence, "large_over_small_ratio").is_above(EFFECTIVE)
        text += f" (Odena's “quite effective” {_ODENA[is_weak]})"
    if view.evidence.get("nearest_small_less_large_levels") is not None:
        nothing = read_interval(view.evidence, "nearest_small_less_large_levels")
        text += f"; behind nearest_conv k3 it takes away {nothing}"
    return text


_ODENA = {True: "does not hold", False: "holds", None: "stays open"}
