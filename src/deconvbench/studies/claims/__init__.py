"""The claims table: what the article and the paper behind it say, and whether it holds, by numbers.

Each claim has an experiment that gathers evidence and a rule that turns evidence, and nothing else, into a
verdict. Stands above `experiments`, `measure`, `theory` and the tables of a run, and may use them all; only the
command line may use it. What it finds reaches the report as a file, ``claims.json``.
"""

from deconvbench.studies.claims.claim import Claim, ClaimResult, Context, Evidence, Finding, Verdict
from deconvbench.studies.claims.table import CLAIMS, evaluate_claims, find_run, read_context

__all__ = [
    "CLAIMS",
    "Claim",
    "ClaimResult",
    "Context",
    "Evidence",
    "Finding",
    "Verdict",
    "evaluate_claims",
    "find_run",
    "read_context",
]
