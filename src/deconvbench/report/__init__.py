"""The report of a run: one self-contained HTML file made from its tables.

Renders where torch is not installed; measures nothing.
"""

from deconvbench.report.output import write_report
from deconvbench.report.page import render_report

__all__ = ["render_report", "write_report"]
