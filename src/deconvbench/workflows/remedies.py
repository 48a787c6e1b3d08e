"""What the remedies of an audit cost, from the newest run, or else from the reference results.

Finds the tables; what they say is looked up in `analysis.remedy_costs`.
"""

from deconvbench.analysis.remedy_costs import RemedyCost, list_remedy_costs
from deconvbench.errors import UsageError
from deconvbench.records.audit import Audit
from deconvbench.tables.table import summarise_quality
from deconvbench.workflows.recommendation import Question, read_source


def find_remedy_costs(audit: Audit, *, device: str = "cpu") -> tuple[RemedyCost, ...]:
    """Look up what the remedies of the findings cost.

    Parameters
    ----------
    audit : Audit
        Any.
    device : str
        On which the network runs.

    Returns
    -------
    tuple of RemedyCost
        In the order of the findings; empty where there are none, or no tables that can be read.
    """
    if not audit.findings:
        return ()
    try:
        source = read_source(Question())
        return list_remedy_costs(
            audit, source.tables.summary, summarise_quality(source.tables.quality), device=device
        )
    except UsageError:  # an audit needs no run, and is not to fail for what another one left
        return ()
