"""Each line that the score must meet, judged by what the study measured.

The limits are fixed here, before anything is measured. A line that is not met is reported as such: nothing here
stops the study.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd
from scipy.stats import binomtest

from deconvbench.plots.detection_rates import RateLimits
from deconvbench.studies.validation.calibration import LIMITS, PERIODS, Row, pool_amplitudes, summarise_calibration
from deconvbench.studies.validation.images import CONTENTS
from deconvbench.studies.validation.invariances import CLEAR, FAINT
from deconvbench.studies.validation.rates import LARGE_PERIOD, NOMINAL_RATE, summarise_rates
from deconvbench.studies.validation.study import PHOTOGRAPH_KIND, Study

# numbers that are equal but for rounding
_ROUNDING = 1e-9
# a checkerboard of .1 reads .1000; the plane that is taken out of each patch holds a trace of long patterns
_FOUR_DIGITS = 5e-4
_LEAST_OF_FLIPS = 0.75
# how far off the nominal rate of false alarms may be on photographs, and what must be found
RATE_LIMITS = RateLimits(nominal=NOMINAL_RATE, factor=1.5, least_found=0.95, multiple=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line, and how it came out.

    Parameters
    ----------
    line : str
        What must hold.
    required, measured : str
        With units; `measured` is the worst found.
    is_met : bool
        Whether it holds.
    where : str
        Which content, period and amplitude the worst was found at.
    """

    line: str
    required: str
    measured: str
    is_met: bool
    where: str = ""


def check_study(study: Study) -> list[Check]:
    """Judge every line.

    Parameters
    ----------
    study : Study
        From `run_study`.

    Returns
    -------
    list of Check
        In the order of the definition.
    """
    summary = list_rows(summarise_calibration(study.calibration, "content"))
    drawn = [row for row in summary if row["content"] in CONTENTS]
    shown = [row for row in summary if row["content"] not in CONTENTS]
    faint = study.calibration[(study.calibration["content"] == "1/f") & (study.calibration["period"] == 2)]
    singles = list_rows(faint[faint["planted"] == FAINT])
    return [
        _check_bias(drawn, "P = 2: 0.03 and 0.1 σ on 1/f images and on discs", {(2, FAINT), (2, CLEAR)}, 0.05),
        _check(
            "P = 2: 0 σ on 1/f images and on discs",
            [(row["pooled"], row["content"]) for row in drawn if (row["period"], row["planted"]) == (2, 0)],
            0.004,
            _write_sigmas,
        ),
        _check(
            "P = 2: 0.01 σ on 1/f images and on discs",
            [
                (row["pooled"] - 0.01, row["content"])
                for row in drawn
                if (row["period"], row["planted"]) == (2, 0.01)
            ],
            0.002,
            _write_sigmas,
        ),
        *(
            _check_bias(
                drawn, f"P = {period}: {planted:g} σ on 1/f images and on discs", {(period, planted)}, limit
            )
            for (period, planted), limit in LIMITS.items()
            if period != 2
        ),
        _check(
            f"P = 2: {FAINT:g} σ on a single 1/f image",
            [(row["measured"] / FAINT - 1, f"seed {row['seed']}") for row in singles],
            0.08,
            _write_share,
        ),
        *_check_invariances(study.invariances),
        _check_bias(shown, "P = 2: 0.03 and 0.1 σ on photographs", {(2, FAINT), (2, CLEAR)}, 0.03),
        *check_rates(study.rates),
    ]


def check_rates(rates: pd.DataFrame) -> list[Check]:
    """Judge false alarms on photographs and detections everywhere.

    Parameters
    ----------
    rates : DataFrame
        From `measure_rates`.

    Returns
    -------
    list of Check
        False alarms at each period, at most the nominal rate and a half; over all periods, within that factor of
        it on both sides; detections at twice the level.
    """
    rows = list_rows(summarise_rates(rates))
    alarms = [
        row
        for row in rows
        if (row["kind"], row["multiple"]) == (PHOTOGRAPH_KIND, 0) and row["period"] != LARGE_PERIOD
    ]
    twice: dict[int, list[Row]] = {}
    for row in rows:
        if row["multiple"] == RATE_LIMITS.multiple:
            twice.setdefault(row["period"], []).append(row)
    low, high = RATE_LIMITS.nominal / RATE_LIMITS.factor, RATE_LIMITS.nominal * RATE_LIMITS.factor
    images, found = (sum(row[name] for row in alarms) for name in ("images", "found"))
    together = found / images if images else math.nan
    return [
        *(
            Check(
                line=f"P = {row['period']}: false alarms on photographs",
                required=f"at most {_write_rate(high)}",
                measured=_write_rate(row["found"] / row["images"]),
                is_met=bool(row["found"] / row["images"] <= high),
                where=f"{row['found']} of {row['images']} squares, of {row['contents']} photographs; "
                + _write_interval(row["found"], row["images"]),
            )
            for row in alarms
        ),
        Check(
            line="false alarms on photographs, P = 2 to 16 together",
            required=f"{_write_rate(low)} to {_write_rate(high)}",
            measured=_write_rate(together),
            is_met=bool(low <= together <= high),
            where=f"{found} of {images}; {_write_interval(found, images)}" if images else "",
        ),
        *(_check_detections(period, found) for period, found in twice.items()),
    ]


def _check_detections(period: int, rows: Iterable[Row]) -> Check:
    """Judge the kind of image with the fewest detections."""
    worst = min(rows, key=lambda row: float(row["found"] / row["images"]))
    rate = worst["found"] / worst["images"]
    return Check(
        line=f"P = {period}: {RATE_LIMITS.multiple} detection levels are found",
        required=f"at least {_write_rate(RATE_LIMITS.least_found)}",
        measured=_write_rate(rate),
        is_met=bool(rate >= RATE_LIMITS.least_found),
        where=f"{worst['kind']}: {worst['found']} of {worst['images']}",
    )


def _write_interval(found: int, images: int) -> str:
    """Wilson's interval of a rate, as if the images were independent."""
    interval = binomtest(found, images).proportion_ci(method="wilson")
    return f"95 % interval {100 * interval.low:.1f} to {100 * interval.high:.1f} %"


def _write_rate(rate: float) -> str:
    return f"{100 * rate:.3g} %"


def list_rows(frame: pd.DataFrame) -> list[Row]:
    """List the rows of a frame as plain dictionaries.

    Parameters
    ----------
    frame : DataFrame
        Any.

    Returns
    -------
    list of dict
    """
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _write_share(share: float) -> str:
    return f"{100 * share:.2g} %"


def _write_sigmas(amplitude: float) -> str:
    return f"{amplitude:.2g} σ"


def _check(line: str, errors: Iterable[tuple[float, str]], limit: float, write: Callable[[float], str]) -> Check:
    """Judge a line by the worst of its errors, each with where it was found."""
    worst, where = max(errors, key=lambda error: abs(error[0]))
    return Check(
        line=line,
        required=f"within {write(limit)}",
        measured=write(worst),
        is_met=bool(abs(worst) <= limit),
        where=where,
    )


def _check_bias(rows: Iterable[Row], line: str, keys: set[tuple[int, float]], limit: float) -> Check:
    """Judge the pooled error, as a share of what was planted, of some (period, amplitude)."""
    errors = []
    for row in rows:
        planted = row["planted"]
        if (row["period"], planted) in keys:
            scatter = row["deviation"] / planted / math.sqrt(row["images"])
            where = f"{row['content']}, {planted:g} σ; standard error {_write_share(scatter)}"
            errors.append((row["pooled"] / planted - 1, where))
    return _check(line, errors, limit, _write_share)


def _check_invariances(invariances: pd.DataFrame) -> list[Check]:
    """Judge the pooled readings of each property, over the seeds."""
    keys = ["property", "case", "content", "period", "planted"]
    pooled = invariances.groupby(keys, sort=False)["measured"].agg(pool_amplitudes).reset_index()
    by_property: dict[str, list[Row]] = {}
    for row in list_rows(pooled):
        by_property.setdefault(row["property"], []).append(row)

    def read(name: str, periods: tuple[int, ...] = PERIODS) -> list[tuple[float, str]]:
        """List readings of what holds no checkerboard."""
        rows = (row for row in by_property[name] if row["planted"] == 0 and row["period"] in periods)
        return [(row["measured"], _name(row)) for row in rows]

    def compare(name: str) -> list[tuple[float, str]]:
        """List errors of what holds one, as shares of it."""
        rows = (row for row in by_property[name] if row["planted"] > 0)
        return [(row["measured"] / row["planted"] - 1, _name(row)) for row in rows]

    def vary(name: str) -> list[tuple[float, str]]:
        """List differences from the first case of the same content and amplitude, as shares of it."""
        first: dict[tuple[str, float], float] = {}
        errors = []
        for row in by_property[name]:
            base = first.setdefault((row["content"], row["planted"]), row["measured"])
            errors.append((row["measured"] / base - 1, _name(row)))
        return errors

    lost, where = min(compare("sign flips"))
    return [
        _check("a checkerboard of 0.1 σ alone, P = 2, 3, 4, 8", compare("pure"), _FOUR_DIGITS, _write_share),
        _check("linear in gain", vary("gain"), _ROUNDING, _write_share),
        _check("crops by odd and even numbers of pixels", vary("crop"), 0.03, _write_share),
        _check("a plain ramp, P = 2, 3, 4, 8", read("ramp"), 1e-12, _write_sigmas),
        _check("axis-aligned bars and rectangles, P = 2 and 4", read("bars", (2, 4)), 0.02, _write_sigmas),
        Check(
            line="a checkerboard whose sign flips from region to region",
            required="at least 75 %",
            measured=_write_share(1 + lost),
            is_met=bool(1 + lost >= _LEAST_OF_FLIPS),
            where=where,
        ),
        _check("blur of a clean image", read("blur"), 0.004, _write_sigmas),
        _check("white noise of 0.1 σ on a clean image", read("noise"), 0.004, _write_sigmas),
        _check(f"{FAINT:g} σ under white noise of 0.1 σ", compare("noise"), 0.05, _write_share),
    ]


def _name(row: Row) -> str:
    parts = [row["case"], row["content"], f"P = {row['period']}", f"{row['planted']:g} σ"]
    return ", ".join(part for part in parts if part != "none")
