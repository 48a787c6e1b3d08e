"""What an audit says, in words: why the judgement, what each site is, what a remedy costs.

Plain text, to be escaped by whatever medium shows it. Decides nothing.
"""

import math
from collections.abc import Mapping

from deconvbench.analysis.remedy_costs import RemedyCost
from deconvbench.analysis.scaling import Quantity
from deconvbench.analysis.site_settings import count_channels, find_size
from deconvbench.records import sites as kinds
from deconvbench.records.audit import AT_RISK, CLEAN, Audit
from deconvbench.records.sites import Site, SiteReport
from deconvbench.system.texts import tidy_line

UNKNOWN = "–"
_KINDS = {
    kinds.TRANSPOSED_CONVOLUTION: "transposed convolution",
    kinds.RESIZE_CONVOLUTION: "resize-convolution",
    kinds.RESIZE: "resize",
    kinds.SUBPIXEL_CONVOLUTION: "sub-pixel convolution",
    kinds.DEPTH_TO_SPACE: "depth to space",
    kinds.MAX_UNPOOLING: "max-unpooling",
    kinds.FOLD: "fold",
}
# amplitude below which a network is not judged by it
_LEAST_LEVELS = 0.25
# what is pasted for the layers that are proposed
_CLASSES = {
    "nearest_conv_fast": "ResizeConv2d",
    "nearest_conv_native": "ResizeConv2d, compiled",
    "equal_gain_transposed": "EqualGainConvTranspose2d",
    "subpixel_icnr_blur": "SubpixelConv2d with icnr and blur",
}
_MOST_NAME = 80


def explain_judgement(audit: Audit) -> str:
    """Say in a sentence why a network is judged as it is.

    Parameters
    ----------
    audit : Audit
        Any.
    """
    if not audit.sites:
        return "No upsampling site was found in what was run, so nothing in it can draw this kind of pattern."
    flat = [one for one in audit.attributions if math.isfinite(one.levels)]
    worst = max(flat, key=lambda one: one.levels, default=None)
    if audit.judgement == CLEAN:
        if worst is None:
            unknown = "the ripple of its output was not measured"
            ending = "plain colours stay plain" if audit.flat_field else unknown
        else:
            ending = f"no ripple of more than {format_levels(worst.levels)} was measured in its output"
        return f"{count(len(audit.sites), 'upsampling site')}; {ending}."
    reasons = []
    highest = worst.levels if worst else 0.0
    if worst is not None and highest >= _LEAST_LEVELS:
        where = "plain colours" if worst.is_flat else "images"
        reasons.append(f"{where} come out with {format_levels(highest)} of ripple at period {worst.period}")
    images = max((one for one in audit.sites if _is_number(one.real_levels)), key=_take_real, default=None)
    if images is not None and _take_real(images) >= max(highest, _LEAST_LEVELS):
        name = name_site(images.site)
        reasons.append(f"equal gains at {name} change {format_levels(_take_real(images))} in real images")
    hidden = max(filter(math.isfinite, audit.hidden.values()), default=0.0)
    if hidden >= 1 and hidden > highest:
        reasons.append(f"the last {audit.last_activation} hides {format_levels(hidden)} in saturated colours")
    risks = [finding for finding in audit.findings if finding.is_risk and not finding.is_ignored]
    if risks and (not reasons or audit.judgement == AT_RISK):
        codes = ", ".join(dict.fromkeys(finding.code for finding in risks))
        reasons.append(f"{count(len(risks), 'finding')} ({codes}) may draw checkerboards")
    text = "; ".join(reasons) or "see the findings"
    return f"{text[0].upper()}{text[1:]}."


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _take_real(report: SiteReport) -> float:
    return report.real_levels or 0.0


def list_causes(audit: Audit) -> list[str]:
    """Say of each scale with a ripple where it comes from, a sentence each.

    Parameters
    ----------
    audit : Audit
        Any.
    """
    words = [tidy_line(str(one)) for one in audit.attributions if math.isfinite(one.levels)]
    return [f"{text[:1].upper()}{text[1:]}." for text in words]


def name_site(site: Site) -> str:
    """Name a site: its number and path.

    Parameters
    ----------
    site : Site
        Any.
    """
    return f"{site.number}. {shorten(site.name)}"


def shorten(path: str) -> str:
    """Write a path on one line.

    Parameters
    ----------
    path : str
        Any text.
    """
    return tidy_line(path, _MOST_NAME)


def describe_layer(site: Site) -> str:
    """Say what a site is: kind, kernel and stride.

    Parameters
    ----------
    site : Site
        Any.
    """
    words = [_KINDS.get(site.kind, site.kind.replace("_", " "))]
    if site.kernel_size:
        words.append(f"k{_join(site.kernel_size)}")
    if site.kind == kinds.TRANSPOSED_CONVOLUTION:
        words.append(f"s{_join(site.stride)}")
    if site.groups != 1:
        words.append(f"in {site.groups} groups")
    return " ".join(words)


def describe_scale(site: Site) -> str:
    """Write the scale: ×2, or ×2×1.

    Parameters
    ----------
    site : Site
        Any.
    """
    return "×" + _join(site.scale)


def describe_shapes(site: Site) -> str:
    """Write what goes in and comes out: 64 × 16×16 → 32 × 32×32.

    Parameters
    ----------
    site : Site
        Any.
    """
    before, after = count_channels(site)
    sizes = [_write_size(site, shape) for shape in (site.in_shape, site.out_shape)]
    return f"{before} ch {sizes[0]} → {after} ch {sizes[1]}"


def _write_size(site: Site, shape: tuple[int, ...]) -> str:
    return "×".join(map(str, find_size(site, shape)))


def _join(values: tuple[float, ...]) -> str:
    words = ["?" if math.isnan(value) else f"{value:.4g}" for value in values]
    return "×".join(words if len({*words}) > 1 else words[:1])


def format_levels(value: float | None, unit: bool = True) -> str:
    """Write an amplitude: ``1.25 levels``.

    Parameters
    ----------
    value : float or None
        In 8-bit levels.
    unit : bool
        Whether the unit follows.
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    digits = f"{value:.1f}" if abs(value) >= 99.5 else f"{value:.2f}"
    digits = "0.00" if digits == "-0.00" else digits.replace("-", "−")
    return f"{digits} levels" if unit else digits


def format_share(value: float | None, digits: int = 0) -> str:
    """Write a share as per cent.

    Parameters
    ----------
    value : float or None
        0 to 1.
    digits : int
        After the point.
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:.{digits}%}".replace("%", " %")


def count(number: int, word: str) -> str:
    """Write a number with its word.

    Parameters
    ----------
    number : int
        How many.
    word : str
        Of one.
    """
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def list_cost_cells(cost: RemedyCost) -> tuple[str, ...]:
    """Write what a remedy costs, for a table: layer, instead of, time, memory, checkerboard, PSNR, where.

    Parameters
    ----------
    cost : RemedyCost
        One with a layer that is proposed.
    """
    where = "as here" if cost.is_same_setting else "nearest measured"
    name = _CLASSES.get(cost.proposed.partition(" ")[0])
    return (
        cost.proposed + (f" ({name})" if name else ""),
        cost.present,
        UNKNOWN if cost.time is None else f"{cost.time.value:.2f}{_write_interval(cost.time)}",
        UNKNOWN if cost.memory is None else f"{cost.memory:.2f}",
        _write_signed(cost.checkerboard),
        _write_signed(cost.psnr),
        f"{cost.setting} ({where})",
    )


def describe_cost(cost: RemedyCost) -> str:
    """Say what a remedy costs in a sentence.

    Parameters
    ----------
    cost : RemedyCost
        One of them.
    """
    if not cost.proposed:
        return cost.reason
    proposed, present, time, memory, checkerboard, psnr, where = list_cost_cells(cost)
    parts = [f"{time} times the time", f"{memory} times the memory"]
    if cost.checkerboard is not None:
        parts.append(f"{checkerboard} levels of checkerboard after training")
    if cost.psnr is not None:
        parts.append(f"{psnr} dB")
    return f"{proposed} instead of {present}: {', '.join(parts)}; {where}"


def _write_interval(quantity: Quantity) -> str:
    if quantity.low is None or quantity.high is None or quantity.low == quantity.high:
        return ""
    return f" ({quantity.low:.2f}–{quantity.high:.2f})"


def _write_signed(quantity: Quantity | None) -> str:
    def write(value: float) -> str:
        return f"{value:+.2f}".replace("-", "−")

    if quantity is None:
        return UNKNOWN
    if quantity.value == quantity.low == quantity.high == 0:
        return "0"
    if quantity.low is None or quantity.high is None or quantity.low == quantity.high:
        return write(quantity.value)
    return f"{write(quantity.value)} ({write(quantity.low)} to {write(quantity.high)})"


def describe_range(audit: Audit) -> str:
    """Say what a level is.

    Parameters
    ----------
    audit : Audit
        Any.
    """
    black, white = audit.output_range
    if not (math.isfinite(black) and math.isfinite(white)):
        return "What a level is in the output is not known."
    guessed = ", guessed from its outputs" if audit.is_range_guessed else ""
    return f"A level is 1/255 of the output's range of {black:.4g} to {white:.4g}{guessed}."


def list_periods(values: Mapping[int, float]) -> str:
    """Write amplitudes by period.

    Parameters
    ----------
    values : mapping of int to float
        In levels.
    """
    return ", ".join(f"{format_levels(level)} at period {period}" for period, level in values.items())
