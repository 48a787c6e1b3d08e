"""The audit of a network that you have: where it upsamples, whether that shows, and what to do.

`audit` measures; `records.audit.Audit` is plain data, in words with ``str`` and for JSON with `to_dict`.
"""

from deconvbench.networks.inspection.audit import audit

__all__ = ["audit"]
