"""The answer of a run in three sentences and a small table: `deconvbench.analysis.answer`, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deconvbench.analysis.answer import Answer, Choice, Role
from deconvbench.analysis.scaling import Quantity
from deconvbench.analysis.settings import format_size
from deconvbench.records.layers import FAST_ORIGINAL, NATIVE_UPSAMPLER
from deconvbench.units import format_bytes, format_seconds

ROLES: Mapping[Role, str] = {
    "clean": "cheapest clean",
    "smooth": "cheapest clean and smooth",
    "quality": "best quality",
    "drop-in": f"exact drop-in for {FAST_ORIGINAL}",
    "today": "what many use today",
    "own": "yours",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """One row of the small table, written.

    Parameters
    ----------
    role, layer, latency, ratio, checkerboard, quality, memory, change : str
        For a reader; a dash where something is not known.
    is_recommended, is_own : bool
        What stands out.
    """

    role: str
    layer: str
    latency: str
    ratio: str
    checkerboard: str
    quality: str
    memory: str
    change: str
    is_recommended: bool
    is_own: bool


def describe_answer(answer: Answer | None) -> list[str]:
    """Say which layer to take, which is smooth, and what today's costs: at most three sentences.

    Parameters
    ----------
    answer : Answer or None
        From `find_answer`.
    """
    if answer is None:
        return ["Nothing was timed, so no layer can be recommended."]
    clean, smooth, today = (answer.find(role) for role in ("clean", "smooth", "today"))
    if clean is None:
        cheapest = min(answer.choices, key=lambda choice: choice.candidate.cost.value, default=None)
        text = f"None of the {answer.candidates} layers measured here is known to be free of a checkerboard"
        if answer.candidates == 1:
            text = "The one layer measured here is not known to be free of a checkerboard"
        return [text + (f"; {_name(cheapest, answer)} is the cheapest of those that matter." if cheapest else ".")]
    sentences = [f"Take {_name(clean, answer)}: the cheapest layer without a checkerboard{_add_note(clean)}."]
    if smooth is not None and smooth is not clean and clean.rejection and smooth.rejection:
        sentences.append(
            f"Where edges must be smooth, take {_name(smooth, answer)}: blocks and copies of edges are at"
            f" {smooth.rejection.value:.0f} dB in place of {clean.rejection.value:.0f} dB."
        )
    elif smooth is clean:
        sentences.append("It is smooth as well, so nothing has to be paid for that.")
    if today is not None and today is not clean:
        sentences.append(
            f"What many use today, {today.candidate.layer}, takes {_write_cost(today.candidate.latency)} and"
            f" {_describe_checkerboard(today)}; changing to {clean.candidate.layer}"
            f" {_describe_change(today, clean)}."
        )
    return sentences


def _name(choice: Choice, answer: Answer) -> str:
    candidate = choice.candidate
    latency = _write_cost(candidate.latency)
    if answer.baseline is None or candidate.layer == answer.baseline:
        return f"{candidate.layer} ({latency})"
    return f"{candidate.layer} ({latency}, {_write_ratio(candidate.cost)} times {answer.baseline})"


def _add_note(choice: Choice) -> str:
    if choice.candidate.upsampler == NATIVE_UPSAMPLER:
        return f"; it computes what {FAST_ORIGINAL} does, and is compiled with: deconvbench native"
    return ""


def _write_cost(quantity: Quantity | None) -> str:
    return "–" if quantity is None else format_seconds(quantity.value)


def _write_ratio(quantity: Quantity, *, with_interval: bool = False) -> str:
    text = f"{quantity.value:.2f}"
    if with_interval and quantity.low is not None and quantity.high is not None and quantity.low != quantity.high:
        text += f" ({quantity.low:.2f} to {quantity.high:.2f})"
    return text


def _describe_checkerboard(choice: Choice) -> str:
    levels, ripple = (choice.candidate.qualities.get(name) for name in ("checkerboard", "ripple"))
    if levels is not None and levels.value > 0:
        return f"leaves a checkerboard of {levels.value:.1f} 8-bit levels after training"
    if ripple is not None and ripple.value > 0:
        return f"turns {ripple.value:.0%} of a constant input's power into a checkerboard before training"
    return "shows no checkerboard"


def _describe_change(today: Choice, clean: Choice) -> str:
    share = clean.candidate.cost.value / today.candidate.cost.value
    if abs(share - 1) < 0.005:
        return "costs nothing"
    return f"makes it {1 / share:.2g} times as fast" if share < 1 else f"takes {share:.2g} times as long"


def describe_setting(answer: Answer) -> str:
    """Name the setting that the answer is about.

    Parameters
    ----------
    answer : Answer
        Any.
    """
    values = answer.setting.fields
    words = [
        f"input {format_size(answer.setting.size)}",
        f"{values['in_channels']} → {values['out_channels']} channels",
        f"scale ×{values['scale_factor']}",
        str(values["step"]),
        str(values["dtype"]),
        f"{values['device']}, {values['threads']} thread{'s' * (values['threads'] != 1)}",
    ]
    return ", ".join(words)


def view_answer(answer: Answer | None) -> list[AnswerRow]:
    """Lay out the small table.

    Parameters
    ----------
    answer : Answer or None
        From `find_answer`.
    """
    if answer is None:
        return []
    clean = answer.find("clean")
    return [_write_row(choice, clean) for choice in answer.choices]


def _write_row(choice: Choice, clean: Choice | None) -> AnswerRow:
    candidate = choice.candidate
    own, drop_in = "own" in choice.roles, choice.roles == ("drop-in",)
    change = "–"
    if clean is not None and clean is not choice and ("today" in choice.roles or own):
        share = clean.candidate.cost.value / candidate.cost.value
        change = f"{share - 1:+.0%} time".replace("-", "−")
    memory = candidate.qualities.get("memory")
    return AnswerRow(
        role=_name_roles(choice.roles),
        layer=candidate.layer,
        latency=_write_cost(candidate.latency) + (" (noisy)" if candidate.noisy else ""),
        ratio=_write_ratio(candidate.cost, with_interval=True) if candidate.latency != candidate.cost else "–",
        checkerboard=_write_checkerboard(choice),
        quality="–" if choice.quality is None else f"{choice.quality.value:.1f} ({_count_seeds(choice.seeds)})",
        memory="–" if memory is None else format_bytes(memory.value),
        change=change if not drop_in else "–",
        is_recommended=choice is clean,
        is_own=own,
    )


def _name_roles(roles: Sequence[Role]) -> str:
    return ", ".join(ROLES[role] for role in roles)


def _count_seeds(seeds: int) -> str:
    return f"{seeds} seed{'s' * (seeds != 1)}"


def _write_checkerboard(choice: Choice) -> str:
    levels, ripple = (choice.candidate.qualities.get(name) for name in ("checkerboard", "ripple"))
    if levels is None:
        if ripple is None:
            return "–"
        return f"{ripple.value:.0%} of power, untrained" if ripple.value else "none, untrained"
    # below 0 there is none
    value, low, high = (
        None if each is None else max(each, 0.0) for each in (levels.value, levels.low, levels.high)
    )
    text = f"{value:.1f} levels" if value else "none"
    if low is None or high is None:
        return f"{text} (1 seed)"
    return f"{text} ({low:.1f} to {high:.1f})" if high else text
