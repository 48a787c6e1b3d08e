"""One word about a network: clean, at risk, or checkerboards."""

from collections.abc import Sequence

from deconvbench.measure.artifacts.spectrum import CheckerboardResult
from deconvbench.records.audit import AT_RISK, CHECKERBOARDS, CLEAN, Attribution
from deconvbench.records.findings import Finding
from deconvbench.records.sites import SiteReport

# amplitudes in levels from which a network draws checkerboards, and from which it may
CHECKERBOARD_LEVELS, RISK_LEVELS = 1.0, 0.25


def judge(
    reports: Sequence[SiteReport],
    findings: Sequence[Finding],
    attributions: Sequence[Attribution],
    real: CheckerboardResult | None,
    hidden: Sequence[float] = (),
) -> str:
    """Judge a network.

    Parameters
    ----------
    reports : sequence of SiteReport
        Of all sites.
    findings : sequence of Finding
        At them.
    attributions : sequence of Attribution
        Of its ripple.
    real : CheckerboardResult or None
        Of its outputs for real images.
    hidden : sequence of float
        Levels before a saturating last activation.

    Returns
    -------
    str
        ``checkerboards`` from one level on at some period in plain colours, or in images from one site;
        ``at risk`` from a quarter of a level on, if a last activation hides a level, or with a finding that is a
        risk; ``clean`` otherwise.
    """
    levels = [attribution.levels for attribution in attributions if attribution.is_flat]
    if real is not None:
        # equal gains at one site also uncover what another had cancelled, which is not in the output
        shown = max(real.amplitude, 0.0)
        levels += [min(report.real_levels, shown) for report in reports if report.real_levels is not None]
    worst = max(levels, default=0.0)
    if worst >= CHECKERBOARD_LEVELS:
        return CHECKERBOARDS
    if max(hidden, default=0.0) >= CHECKERBOARD_LEVELS:
        return AT_RISK
    return AT_RISK if worst >= RISK_LEVELS or any(finding.is_risk for finding in findings) else CLEAN
