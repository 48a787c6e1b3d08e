"""The layers that a reader asks about first: cheapest clean, smooth, best, exact drop-in, today's, one's own.

One setting at one size, that of the report's first sentence. What each choice is, and what the change to it costs;
the words are the report's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from deconvbench.analysis.candidates import Candidate, list_candidates
from deconvbench.analysis.scaling import Quantity
from deconvbench.analysis.settings import Setting, resolve_setting, select_rows
from deconvbench.errors import UsageError
from deconvbench.records.layers import FAST_ORIGINAL, FAST_UPSAMPLERS, READING_ORDER
from deconvbench.tables.frames import list_rows

Role = Literal["clean", "smooth", "quality", "drop-in", "today", "own"]
# 8-bit levels: a checkerboard of less is gone when the picture is rounded to 8 bits
VISIBLE_LEVELS = 0.5
# dB: below it the copies of the spectrum that upsampling leaves are under 1/1000 of a smooth wave's power, and no
# blocks show; repeating pixels leaves some -16 dB
SMOOTH_DB = -30.0
# what people use today, the usual one first
TODAY = (("transposed", 4), ("transposed", 3), ("transposed", 2))
_MOST_OWN = 3
_Layer = tuple[str, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One layer of the answer.

    Parameters
    ----------
    roles : tuple of Role
        Why it is listed.
    candidate : Candidate
        Its cost and quality.
    rejection : Quantity or None
        Image rejection in dB.
    quality : Quantity or None
        PSNR in dB after training, by which the best quality is chosen.
    seeds : int
        Trainings behind `quality`.
    """

    roles: tuple[Role, ...]
    candidate: Candidate
    rejection: Quantity | None = None
    quality: Quantity | None = None
    seeds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a run says to somebody who wants one layer.

    Parameters
    ----------
    setting : Setting
        That was looked at.
    baseline : str or None
        The layer whose cost is 1; None where costs are seconds.
    choices : tuple of Choice
        In the order of the roles; each layer once.
    task : str
        Training task that qualities come from; empty where there are none.
    candidates : int
        Layers with a cost here.
    """

    setting: Setting
    baseline: str | None
    choices: tuple[Choice, ...]
    task: str = ""
    candidates: int = 0

    def find(self, role: Role) -> Choice | None:
        """Find the first choice with a role.

        Parameters
        ----------
        role : Role
            Any.
        """
        return next((choice for choice in self.choices if role in choice.roles), None)


def find_answer(
    summary: pd.DataFrame,
    quality: pd.DataFrame,
    trained: Mapping[_Layer, Sequence[float]],
    task: str,
) -> Answer | None:
    """Choose the layers that matter.

    Parameters
    ----------
    summary : DataFrame
        One row per case; may be empty.
    quality : DataFrame
        One row per layer (`summarise_quality`).
    trained : mapping of (upsampler, kernel size) to sequence of float
        PSNR in dB of each training at the scale of the setting, of one task.
    task : str
        Its name.

    Returns
    -------
    Answer or None
        None where no layer has a cost.

    Notes
    -----
    A layer is clean where it has no ripple at initialisation, and after training no checkerboard that could be
    `VISIBLE_LEVELS` or more: the upper end of its interval counts, where several trainings give one. A layer that
    was not trained is judged by its initialisation, one of unknown ripple is not clean.
    """
    timed = summary[(summary["status"] == "ok") & summary["latency_s"].notna()] if len(summary) else summary
    if timed.empty:
        return None
    setting = resolve_setting(timed, {})
    try:
        field = list_candidates(summary, quality, setting)
    except UsageError:  # the numbers of a strange journal
        return None
    # the other layers of a size that was measured are not estimated here
    candidates = [each for each in field.candidates if not each.is_estimated]
    if not candidates:
        return None
    scale = {"scale_factor": setting.fields["scale_factor"]}
    rejections = _find_rejections(select_rows(timed, scale), select_rows(quality, scale))
    by_layer = {(each.upsampler, each.kernel_size): each for each in candidates}
    clean = [each for each in candidates if is_clean(each)]
    smooth = [each for each in clean if _is_smooth(rejections.get(_key(each)))]
    known = {layer: sum(values) / len(values) for layer, values in trained.items() if values}
    best = max((each for each in clean if _key(each) in known), key=lambda each: known[_key(each)], default=None)
    found: dict[tuple[str, int | None], list[Role]] = {}

    def add(candidate: Candidate | None, role: Role) -> None:
        if candidate is not None:
            found.setdefault(_key(candidate), []).append(role)

    add(next(iter(clean), None), "clean")
    add(next(iter(smooth), None), "smooth")
    add(best, "quality")
    add(_find_drop_in(candidates), "drop-in")
    for layer in TODAY[:2] if any(layer in by_layer for layer in TODAY[:2]) else TODAY:
        add(by_layer.get(layer), "today")
    for each in [each for each in candidates if each.upsampler not in READING_ORDER][:_MOST_OWN]:
        add(each, "own")
    choices = tuple(
        Choice(
            roles=tuple(roles),
            candidate=by_layer[layer],
            rejection=rejections.get(layer),
            quality=Quantity(value=known[layer]) if layer in known else None,
            seeds=len(trained.get(layer, ())),
        )
        for layer, roles in found.items()
    )
    return Answer(
        setting=setting,
        baseline=field.baseline,
        choices=choices,
        task=task if known else "",
        candidates=len(candidates),
    )


def _key(candidate: Candidate) -> tuple[str, int | None]:
    return candidate.upsampler, candidate.kernel_size


def is_clean(candidate: Candidate) -> bool:
    """Say whether a layer has no checkerboard that could be seen, by what is known of it.

    Parameters
    ----------
    candidate : Candidate
        Any.
    """
    ripple, levels = candidate.qualities.get("ripple"), candidate.qualities.get("checkerboard")
    if ripple is None or ripple.value > 0:
        return False
    return levels is None or (levels.value if levels.high is None else levels.high) < VISIBLE_LEVELS


def _is_smooth(rejection: Quantity | None) -> bool:
    return rejection is not None and rejection.value <= SMOOTH_DB


def _find_drop_in(candidates: Sequence[Candidate]) -> Candidate | None:
    """Find the fastest exact form of `FAST_ORIGINAL`, where the run has both and the form is faster."""
    original = next((each for each in candidates if each.upsampler == FAST_ORIGINAL), None)
    if original is None:
        return None
    forms = (e for e in candidates if e.upsampler in FAST_UPSAMPLERS and e.kernel_size == original.kernel_size)
    fastest = next(forms, None)
    return fastest if fastest is not None and fastest.cost.value < original.cost.value else None


def _find_rejections(summary: pd.DataFrame, quality: pd.DataFrame) -> dict[tuple[str, int | None], Quantity]:
    found: dict[tuple[str, int | None], Quantity] = {}
    for frame, name in ((summary, "summary"), (quality, "quality")):
        if "image_rejection_db" in frame:
            columns = ["upsampler", "kernel_size", "image_rejection_db"]
            for row in list_rows(frame[columns], name, columns[:2]):
                if row["image_rejection_db"] is not None:
                    found[row["upsampler"], row["kernel_size"]] = Quantity(value=row["image_rejection_db"])
    return found
