"""A recommendation for people: one screen of text, or Markdown.

The screen is a terminal of 24 lines of 80 characters. What has no room there is in the Markdown and in the data.
"""

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deconvbench.analysis.candidates import Candidate
from deconvbench.analysis.recommendation import LIMITS, Recommendation, Relaxed
from deconvbench.analysis.scaling import Quantity
from deconvbench.analysis.settings import format_size, name_field
from deconvbench.records.case import CASE_DEFAULTS
from deconvbench.records.metrics import format_metric
from deconvbench.system.texts import escape_markdown, tidy_line, write_code
from deconvbench.units import format_bytes, format_seconds

WIDTH, HEIGHT = 80, 24
# the prompt comes below
_LINES = HEIGHT - 1
# rows of the table and lines of a paragraph: as a rule, and the less room there is
_LAYOUTS = ((6, 3), (6, 2), (5, 2), (4, 2), (3, 2), (3, 1), (2, 1))
_SHORT = {"memory": "memory", "ripple": "ripple", "checkerboard": "checkerboard", "psnr": "PSNR"}
_METRICS = {
    "ripple": "phase_ripple",
    "checkerboard": "trained_checkerboard_levels",
    "psnr": "trained_psnr_db",
}
_HEADINGS = ("layer", "ratio", "interval", "memory", "ripple", "levels", "dB")
_NAME_WIDTH = 28
# shares closer than that are the same to a reader
_SAME = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Recommendation):
    """A recommendation with the code that builds its layer, and where its numbers come from.

    Parameters
    ----------
    code : str
        Python that ends with a variable ``layer``; empty where there is no recommendation.
    source : str
        The run and its machine.
    trained : str
        Where quality after training comes from; empty where there is none.
    """

    code: str = ""
    source: str = ""
    trained: str = ""

    def __str__(self) -> str:
        return format_text(self)


def format_text(answer: Answer) -> str:
    """Write an answer on one screen: at most 23 lines of 80 characters.

    Parameters
    ----------
    answer : Answer
        Any.
    """
    code = [f"  {line}" for line in answer.code.splitlines() if line.strip()]
    layouts = (_lay_out(answer, code, *layout) for layout in _LAYOUTS)
    fitting = (lines for lines in layouts if len(lines) <= _LINES)
    # a registration of somebody else's may have code of any length
    lines = next(fitting, None) or [line for line in _lay_out(answer, code, *_LAYOUTS[-1]) if line][:_LINES]
    return "\n".join(lines)


def _lay_out(answer: Answer, code: Sequence[str], rows: int, paragraph: int) -> list[str]:
    lines = _wrap(describe_choice(answer), 2)
    lines += _wrap(f"for {_describe_setting(answer)}", 2)
    if answer.limits:
        lines += _wrap(describe_limits(answer), 2)
    if code:
        lines += ["", *code, ""]
    shown = answer.fitting[:rows]
    if shown:
        lines += _write_table(shown, answer)
    for text in _list_notes(answer):
        lines += _wrap(text, paragraph)
    return [*lines, *_wrap(f"run: {answer.source}", min(paragraph, 2))]


def _wrap(text: str, most: int) -> list[str]:
    lines = textwrap.wrap(tidy_line(text), WIDTH, subsequent_indent="  ", max_lines=most, placeholder=" …")
    return lines or [""]


def describe_choice(answer: Answer) -> str:
    """Say which layer to take, and how fast it is; or why there is none.

    Parameters
    ----------
    answer : Answer
        Any.
    """
    chosen = answer.chosen
    if chosen is None:
        words = [f"{_write_bound(name, answer.limits[name])} leaves {count}" for name, count in answer.left]
        start = f"No layer satisfies that: of {len(answer.candidates)} with a cost here"
        text = ", ".join([start, *words]) if answer.candidates else "No layer was measured at that size"
        if answer.nearest is None:
            return text
        name = answer.left[-1][0]
        nearest = _write_bound_value(name, answer.nearest.qualities[name].value)
        return f"{text}; the nearest has {nearest} ({answer.nearest.layer})"
    return f"Take {chosen.layer}: {_describe_cost(chosen, answer.baseline)}"


def _describe_cost(chosen: Candidate, baseline: str | None) -> str:
    latency = None if chosen.latency is None else format_seconds(chosen.latency.value)
    if baseline is None:
        return str(latency)
    if chosen.layer == baseline:
        return ", ".join(filter(None, [latency, "the baseline of the ratios"]))
    faster = _compare_speeds(1 / chosen.cost.value, f"as fast as {baseline}", f"than {baseline}")
    return ", ".join(filter(None, [latency, faster]))


def _compare_speeds(speedup: float | None, same: str = "as fast", than: str = "") -> str:
    """Say how many times as fast something is."""
    if speedup is None:
        return "no comparison"
    if abs(math.log(speedup)) < _SAME:
        return same
    words = f"{speedup - 1:.0%} faster" if 1 < speedup < 2 else f"{1 / speedup - 1:.0%} slower"
    if not 0.5 < speedup < 2:
        words = f"{max(speedup, 1 / speedup):.1f} times as {'fast' if speedup > 1 else 'slow'}"
        than = than.replace("than ", "as ")
    return f"{words} {than}".strip().replace("%", " %")


def _describe_setting(answer: Answer) -> str:
    setting = answer.setting
    values = setting.fields
    words = [
        values["device"],
        values["step"],
        f"scale ×{values['scale_factor']}",
        f"{values['in_channels']} → {values['out_channels']} channels",
        format_size(setting.size),
        values["dtype"],
        f"{values['threads']} thread{'s' * (values['threads'] != 1)}",
    ]
    words += [f"batch {values['batch']}"] if values["batch"] != CASE_DEFAULTS["batch"] else []
    words += [values[name] for name in ("memory_format", "execution") if values[name] != CASE_DEFAULTS[name]]
    others = [
        f"{name_field(name)} {', '.join(format_size(value) if name == 'size' else str(value) for value in found)}"
        for name, found in setting.others.items()
    ]
    return ", ".join(words) + (f" (also measured: {'; '.join(others)})" if others else "")


def describe_limits(answer: Answer) -> str:
    """Say what was asked for, and how many layers keep to it.

    Parameters
    ----------
    answer : Answer
        Any.
    """
    bounds = ", ".join(_write_bound(name, bound) for name, bound in answer.limits.items())
    return f"limits: {bounds}; {len(answer.fitting)} of {len(answer.candidates)} layers satisfy them"


def _write_bound(name: str, bound: float) -> str:
    sign = "≤" if LIMITS[name].best == "low" else "≥"
    return f"{_SHORT[name]} {sign} {_write_value(name, bound)}"


def _write_bound_value(name: str, value: float) -> str:
    return f"{_SHORT[name]} {_write_value(name, value, is_measured=True)}"


def _write_value(name: str, value: float, *, is_measured: bool = False) -> str:
    if name == "memory":
        return format_bytes(value)
    text = format_metric(value, _METRICS[name]) if is_measured else f"{value:g}"
    return text + {"checkerboard": " levels", "psnr": " dB"}.get(name, "")


def _write_table(shown: Sequence[Candidate], answer: Answer) -> list[str]:
    rows = [_write_row(each, answer.baseline, is_short=True) for each in shown]
    heads = (_HEADINGS[0], "ratio" if answer.baseline else "latency", *_HEADINGS[2:])
    # what is known of none is not shown
    kept = {index for index in range(len(heads)) if any(row[index] != "–" for row in rows)}
    widths = [max(map(len, cells)) for cells in zip(heads, *rows, strict=True)]
    # where there is no room, first what nobody asked for
    names = {3 + index: name for index, name in enumerate(LIMITS)}
    for index in sorted(names, key=lambda index: (names[index] in answer.limits, -index)):
        if sum(widths[column] + 2 for column in kept) - 2 > WIDTH:
            kept.discard(index)
    return [
        "  ".join(
            line[index].rjust(widths[index]) if index else line[index].ljust(widths[index])
            for index in sorted(kept)
        ).rstrip()
        for line in (heads, *rows)
    ]


def _write_row(each: Candidate, baseline: str | None, *, is_short: bool = False) -> tuple[str, ...]:
    """Write the cells of one layer; short without its scale, which is that of all."""
    layer = each.layer
    if is_short:
        layer = textwrap.shorten(layer.removesuffix(f" s{each.scale_factor}"), _NAME_WIDTH, placeholder="…")

    def write(name: str) -> str:
        quantity = each.qualities.get(name)
        return "–" if quantity is None else format_metric(quantity.value, _METRICS[name])

    memory = each.qualities.get("memory")
    return (
        layer,
        ("~" if each.is_estimated else "") + _write_cost(each.cost.value, baseline),
        _write_interval(each.cost, baseline),
        "–" if memory is None else format_bytes(memory.value),
        *map(write, _METRICS),
    )


def _write_cost(value: float, baseline: str | None) -> str:
    return format_seconds(value) if baseline is None else f"{value:.2f}"


def _write_interval(cost: Quantity, baseline: str | None) -> str:
    if cost.low is None or cost.high is None or cost.low == cost.high:
        return "–"
    return f"{_write_cost(cost.low, baseline)}–{_write_cost(cost.high, baseline)}"


def _list_notes(answer: Answer) -> list[str]:
    """List what a reader must know beside the table, what matters most first."""
    notes = []
    chosen = answer.chosen
    if chosen is not None and answer.ties:
        names = ", ".join(each.layer for each in answer.ties)
        notes.append(f"cannot be told from it (intervals overlap): {names}")
    if chosen is not None:
        notes += [
            f"not certain: the interval of {_SHORT[name]} over seeds holds the limit"
            for name, bound in answer.limits.items()
            if _straddles(chosen.qualities[name], bound)
        ]
        if chosen.is_estimated:
            notes.append(f"~ {describe_estimate(chosen)}")
        if chosen.noisy:
            notes.append("noisy: something disturbed the timing of what was chosen")
    if answer.cleaner is not None and chosen is not None:
        speed = _compare_speeds(chosen.cost.value / answer.cleaner.cost.value)
        notes.append(f"it ripples; without ripple (--ripple 0): {answer.cleaner.layer}, {speed}")
    if answer.relaxed:
        notes.append("; ".join(_describe_relaxed(each, answer) for each in answer.relaxed))
    notes += _list_unknown(answer)
    if answer.missing:
        # a message, or how far off a line something is, is in the Markdown
        notes.append(_group((each.reason.partition(":")[0], each.layer) for each in answer.missing))
    if {"checkerboard", "psnr"} & {*answer.limits}:
        notes.append(answer.trained)
    return [note for note in notes if note]


def describe_estimate(chosen: Candidate) -> str:
    """Say that a cost is estimated, and how far from what was measured.

    Parameters
    ----------
    chosen : Candidate
        One that is.
    """
    text = "estimated: read off a line through the measured sizes"
    if not chosen.is_beyond:
        return text
    factor = chosen.beyond_factor
    part = f"{factor:.3g} times the pixels of the largest"
    if factor < 1:
        part = f"1/{1 / factor:.3g} of the pixels of the smallest"
    return f"{text}, BEYOND them: {part}; its interval is that far only true of a straight line"


def _group(pairs: Iterable[tuple[str, str]]) -> str:
    groups: dict[str, list[str]] = {}
    for reason, layer in pairs:
        groups.setdefault(reason, []).append(layer)
    return "; ".join(f"{reason}: {', '.join(layers)}" for reason, layers in groups.items())


def _straddles(quantity: Quantity, bound: float) -> bool:
    return quantity.low is not None and quantity.high is not None and quantity.low <= bound < quantity.high


def _describe_relaxed(relaxed: Relaxed, answer: Answer) -> str:
    is_limit = relaxed.name in LIMITS
    start = f"{'without' if is_limit else 'with'} {_SHORT.get(relaxed.name, name_field(relaxed.name))}"
    start += "" if is_limit else f" {relaxed.value}"
    if relaxed.chosen is None:
        return f"{start}: none either"
    if is_limit and relaxed.chosen == answer.chosen:
        return f"{start}: the same"
    if relaxed.speedup is None:
        return f"{start}: {relaxed.chosen.layer}"
    return f"{start}: {relaxed.chosen.layer}, {_compare_speeds(relaxed.speedup)}"


def _list_unknown(answer: Answer) -> list[str]:
    notes = []
    if answer.unjudged:
        cost = answer.chosen.cost.value if answer.chosen else math.inf
        cheaper = [each for each in answer.unjudged if each.cost.value < cost]
        lacking = [n for n in answer.limits if any(n not in each.qualities for each in answer.unjudged)]
        named = f": {_name_costs(cheaper, answer.baseline)}" if cheaper else ""
        of_them = f", {len(cheaper) or 'none'} of them cheaper{named}" if answer.chosen else named
        words = " or ".join(_SHORT[name] for name in lacking)
        notes.append(f"not judged ({words} unknown): {_count(answer.unjudged)}{of_them}")
    return notes


def _count(candidates: Sequence[Candidate]) -> str:
    return f"{len(candidates)} layer{'s' * (len(candidates) != 1)}"


def _name_costs(candidates: Iterable[Candidate], baseline: str | None) -> str:
    return ", ".join(f"{each.layer} {_write_cost(each.cost.value, baseline)}" for each in candidates)


def format_markdown(answer: Answer) -> str:
    """Write an answer as Markdown, with all layers that satisfy the limits and all that is not known.

    Parameters
    ----------
    answer : Answer
        Any.
    """
    chosen = answer.chosen
    title = "no layer satisfies the limits" if chosen is None else chosen.layer
    lines = [f"### deconvbench recommend: {escape_markdown(title)}", ""]
    lines += [escape_markdown(f"{describe_choice(answer)}."), ""]
    lines += [escape_markdown(f"For {_describe_setting(answer)}."), ""]
    if answer.limits:
        lines += [escape_markdown(f"{describe_limits(answer).capitalize()}."), ""]
    if answer.code:
        lines += ["```python", answer.code, "```", ""]
    if answer.fitting:
        heads = (_HEADINGS[0], "ratio" if answer.baseline else "latency", *_HEADINGS[2:])
        lines += [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        for each in answer.fitting:
            layer, *cells = _write_row(each, answer.baseline)
            lines.append(f"| {' | '.join((write_code(layer), *map(escape_markdown, cells)))} |")
        lines.append("")
    notes = list(dict.fromkeys([*_list_notes(answer), answer.trained, f"run: {answer.source}"]))
    notes += [f"{each.layer}: {each.reason}" for each in answer.missing if ":" in each.reason]
    lines += [f"- {escape_markdown(tidy_line(note))}" for note in notes if note]
    return "\n".join(lines) + "\n"
