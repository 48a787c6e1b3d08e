"""Putting other upsamplers into networks that exist, for retraining: `replace`.

Unlike `fuse`, it changes what a network computes, and says by how much.
"""

from deconvbench.networks.replacement.report import KeyChange, Replacement, ReplaceReport
from deconvbench.networks.replacement.rewriting import replace

__all__ = ["KeyChange", "ReplaceReport", "Replacement", "replace"]
