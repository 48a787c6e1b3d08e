"""The report's section on machines: whether what one of them says of the layers holds on the others."""

import math
from dataclasses import dataclass

import pandas as pd

from deconvbench.analysis.machines import MachineComparison
from deconvbench.analysis.overlay import MIDDLE, Agreement
from deconvbench.report.overlay import describe_agreement, list_changes
from deconvbench.report.tables import Cell, TableView, write_text

_MOST_ROWS = 60
_HOW = (
    "Ratio to the baseline on each machine, each timed against its own baseline, so machines of different speed"
    " stand on one axis; left is cheaper. Bars are intervals over replicates; hollow marks were disturbed."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinesView:
    """What the section shows.

    Parameters
    ----------
    sentences : list of str
        The most important first.
    how : str
        How the figure is read, and at which level its intervals are.
    table : TableView
        The machines.
    """

    sentences: list[str]
    how: str
    table: TableView


def view_machines(comparison: MachineComparison) -> MachinesView:
    """Write what is said of the machines of a run.

    Parameters
    ----------
    comparison : MachineComparison
        From `deconvbench.analysis.machines.compare_machines`.
    """
    return MachinesView(
        sentences=describe_machines(comparison),
        how=f"{_HOW} Each interval has a level of {comparison.level:.2%}, so that those of a case on all"
        f" {len(comparison.machines)} machines hold at once with 95 %.",
        table=_view_table(comparison),
    )


def describe_machines(comparison: MachineComparison) -> list[str]:
    """Say which ratios carry over between machines, and how far the order of the layers does.

    Parameters
    ----------
    comparison : MachineComparison
        As for `view_machines`.
    """
    if not comparison.shares_cases:
        return ["No two machines have measured the same case, so nothing can be set side by side."]
    sentences = [_count_carried(comparison)] if comparison.spreads else []
    known = [agreement for agreement in comparison.agreements if not math.isnan(agreement.correlation)]
    if any(MIDDLE in agreement.runs for agreement in known):
        worst = min(known, key=lambda agreement: agreement.correlation)
        correlations = [agreement.correlation for agreement in known]
        sentences.append(
            f"The rank correlation of the layers' ratios between a machine and {MIDDLE} of all is"
            f" {pd.Series(correlations).median():.2f} on the middle machine; the lowest is {worst.correlation:.2f}"
            f" (95 % interval {worst.low:.2f} to {worst.high:.2f}), on {worst.runs[0]}."
        )
    else:
        sentences += [describe_agreement(agreement) for agreement in comparison.agreements]
    if not comparison.agreements:
        sentences.append("The machines share too few layers to say whether they order them alike.")
    return [*sentences, *list_changes(comparison.spreads, "machines")]


def _count_carried(comparison: MachineComparison) -> str:
    apart = sum(spread.is_apart for spread in comparison.spreads)
    count = len(comparison.spreads)
    return (
        f"{count - apart} of {count} ratios to the baseline carry over between the machines that measured them:"
        f" their intervals meet; {apart} {'does' if apart == 1 else 'do'} not."
    )


def _view_table(comparison: MachineComparison) -> TableView:
    headings = ("machine", "hardware", "torch", "conditions", "id", "cases", "replicates", "rank correlation")
    rows = []
    for machine in comparison.machines[:_MOST_ROWS]:
        texts = (
            *(machine.name, machine.hardware or None, machine.torch_version or None, machine.policy or None),
            *(machine.machine_id or None, machine.cases, machine.replicates),
        )
        own = [agreement for agreement in comparison.agreements if machine.name in agreement.runs]
        rows.append((*map(write_text, texts), _write_agreements(machine.name, own)))
    return TableView(headings=headings, rows=tuple(rows), left_out=max(len(comparison.machines) - _MOST_ROWS, 0))


def _write_agreements(name: str, agreements: list[Agreement]) -> Cell:
    """Write the rank correlations of a machine with others, or with the median of all."""
    lines = []
    for agreement in agreements:
        other = next((run for run in agreement.runs if run != name), name)
        if math.isnan(agreement.correlation):
            continue
        interval = f"{agreement.low:.2f} to {agreement.high:.2f}"
        lines.append(f"{agreement.correlation:.2f} ({interval}) with {other}")
    lowest = min((agreement.correlation for agreement in agreements), default=math.nan)
    return Cell(text="; ".join(lines) or "–", sort=f"{lowest:.4f}" if lines else "")
