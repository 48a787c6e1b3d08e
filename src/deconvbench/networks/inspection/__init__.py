"""The audit of a network that you have: where it upsamples, whether that shows, and what to do.

`audit` measures; `Audit` is plain data, in words with ``str`` and for JSON with `to_dict`.
"""

from deconvbench.networks.inspection.audit import audit
from deconvbench.networks.inspection.findings import RULES, Finding, Rule
from deconvbench.networks.inspection.report import Attribution, Audit, SiteReport
from deconvbench.networks.inspection.sites import ConvolutionInfo, Site

__all__ = ["RULES", "Attribution", "Audit", "ConvolutionInfo", "Finding", "Rule", "Site", "SiteReport", "audit"]
