"""The machines of a merged run side by side: what each layer costs on each, and which ratios hold on all.

A machine is the hardware with what decides on its times: the version of torch, and the policy of memory and cores.
The work grows with the number of machines, not with that of their pairs; few machines are compared pair by pair.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deconvbench.analysis.overlay import (
    OVERLAY_COLUMNS,
    Agreement,
    Spread,
    list_spreads,
    measure_agreement,
    measure_agreement_with_middle,
    overlay_runs,
)
from deconvbench.records.case import CASE_FIELDS
from deconvbench.records.conditions import name_policy
from deconvbench.records.run_folder import list_hardware
from deconvbench.system.texts import tidy_line
from deconvbench.tables.table import summarise

# with more of them, each is compared with the median of all
MOST_IN_PAIRS = 4
_LEVEL = 0.95
_ID_CHARACTERS = 6
_STACK = ("machine_id", "torch_version", "policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine of a run.

    Parameters
    ----------
    name : str
        As short as it can be and different from those of the others.
    machine_id, torch_version, policy : str
        What tells it from the others; empty where not recorded.
    hardware : str
        Processor, cores, memory and accelerators; empty where not recorded.
    cases, replicates : int
        Cases that have a latency, and the most replicates that one of them has.
    """

    name: str
    machine_id: str
    torch_version: str
    policy: str
    hardware: str
    cases: int
    replicates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineComparison:
    """Machines side by side.

    Parameters
    ----------
    machines : tuple of Machine
        In the order of the table's first replicate of each.
    overlaid : DataFrame
        A row for each case and machine on which it has a latency (`overlay_runs`); `run` is the machine's name.
    agreements : tuple of Agreement
        Of each pair, or of each machine with the median of all (`MOST_IN_PAIRS`).
    spreads : tuple of Spread
        Of each case with an interval on two machines, the farthest apart first.
    level : float
        Of each interval, so that those of one case on all machines hold at once with 95 % (Bonferroni).
    """

    machines: tuple[Machine, ...]
    overlaid: pd.DataFrame
    agreements: tuple[Agreement, ...]
    spreads: tuple[Spread, ...]
    level: float

    @property
    def names(self) -> list[str]:
        """Names of the machines, in order."""
        return [machine.name for machine in self.machines]

    @property
    def shares_cases(self) -> bool:
        """Whether two machines have a case in common."""
        return bool(self.overlaid["case_id"].duplicated().any())


def compare_machines(table: pd.DataFrame, run_info: Mapping[str, Any]) -> MachineComparison | None:
    """Set the machines of a run side by side.

    Parameters
    ----------
    table : DataFrame
        One row per case and replicate (`deconvbench.load`).
    run_info : mapping
        Contents of ``run.json``; every key may be missing.

    Returns
    -------
    MachineComparison or None
        None where fewer than two machines have measured a latency.
    """
    stacks = _split_table(table)
    if len(stacks) < 2:
        return None
    level = 1 - (1 - _LEVEL) / len(stacks)
    environments = _find_environments(run_info)
    names = _name_stacks([*stacks], environments)
    summaries = {name: summarise(own, level) for name, own in zip(names, stacks.values(), strict=True)}
    overlaid = overlay_runs(summaries, needs_common=False)
    measure = measure_agreement if len(names) <= MOST_IN_PAIRS else measure_agreement_with_middle
    return MachineComparison(
        machines=tuple(
            Machine(
                name=name,
                machine_id=stack[0],
                torch_version=stack[1],
                policy=stack[2],
                hardware=_describe_hardware(environments.get(stack[0], {})),
                cases=int(own["case_id"].nunique()),
                replicates=int(own.groupby("case_id").size().max()),
            )
            for name, (stack, own) in zip(names, stacks.items(), strict=True)
        ),
        overlaid=overlaid,
        agreements=tuple(measure(overlaid, names)),
        spreads=tuple(list_spreads(overlaid)),
        level=level,
    )


def _split_table(table: pd.DataFrame) -> dict[tuple[str, str, str], pd.DataFrame]:
    """Split a table by machine; those without any latency are left out."""
    measured = table[(table["status"] == "ok") & table["latency_s"].notna()]
    policies = {text: name_policy(text) for text in measured["conditions"].dropna().unique()}
    marked = measured.assign(policy=measured["conditions"].map(policies))
    keys = [marked[name].astype("object").where(marked[name].notna(), "") for name in _STACK]
    groups = [
        (tuple(map(str, stack)), group.drop(columns="policy"))
        for stack, group in marked.groupby(keys, sort=False, dropna=False)
    ]
    groups.sort(key=lambda pair: int(pair[1]["replicate"].min()))
    return {(stack[0], stack[1], stack[2]): group for stack, group in groups}


def _find_environments(run_info: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Find the environment that was recorded of each machine, by its id."""
    found: dict[str, Mapping[str, Any]] = {}
    for entry in (run_info, *(run_info.get("merged") or ())):
        environment = entry.get("environment")
        if isinstance(environment, Mapping) and environment.get("machine_id"):
            found.setdefault(str(environment["machine_id"]), environment)
    return found


def _describe_hardware(environment: Mapping[str, Any]) -> str:
    return tidy_line(", ".join(list_hardware(environment)))


def _name_stacks(
    stacks: Sequence[tuple[str, str, str]], environments: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Name machines by their processors, with as much more as it takes to tell them apart."""
    names = [""] * len(stacks)
    for words in zip(*(_list_words(stack, environments.get(stack[0], {})) for stack in stacks), strict=True):
        alike: dict[str, set[str]] = {}
        for name, word in zip(names, words, strict=True):
            alike.setdefault(name, set()).add(word)
        names = [
            ", ".join(filter(None, (name, word))) if len(alike[name]) > 1 or not name else name
            for name, word in zip(names, words, strict=True)
        ]
    twice: dict[str, int] = {}
    for index, name in enumerate(names):
        twice[name] = twice.get(name, 0) + 1
        if twice[name] > 1 or not name:
            names[index] = f"{name or 'machine'} ({index + 1})"
    return names


def _list_words(stack: tuple[str, str, str], environment: Mapping[str, Any]) -> Iterator[str]:
    """List what names a machine, the most telling first."""
    machine, torch_version, policy = stack
    hardware = list_hardware({**environment, "machine_id": None, "memory_bytes": None})
    yield tidy_line(", ".join(hardware)) or f"machine {machine[:_ID_CHARACTERS]}" * bool(machine)
    yield f"torch {torch_version}" * bool(torch_version)
    yield policy
    yield machine[:_ID_CHARACTERS]


def lay_out_machines(comparison: MachineComparison) -> pd.DataFrame:
    """Lay out what every case costs on every machine.

    Parameters
    ----------
    comparison : MachineComparison
        From `compare_machines`.

    Returns
    -------
    DataFrame
        A row for each case and machine: `machine`, `machine_id`, `torch_version`, the case, latency, ratio to the
        baseline with its interval, and `carries_over`: whether the intervals of the case meet on all machines,
        null where fewer than two have one.
    """
    facts = {machine.name: machine for machine in comparison.machines}
    verdicts = {(spread.case_id, spread.baseline_id): not spread.is_apart for spread in comparison.spreads}
    overlaid = comparison.overlaid
    keys = zip(overlaid["case_id"], overlaid["baseline_id"], strict=True)
    shown = [name for name in OVERLAY_COLUMNS if name not in ("case_id", "run")]
    return pd.DataFrame(
        {
            "machine": overlaid["run"],
            "machine_id": [facts[name].machine_id for name in overlaid["run"]],
            "torch_version": [facts[name].torch_version for name in overlaid["run"]],
            **{name: overlaid[name] for name in ("case_id", *CASE_FIELDS, *shown)},
            "carries_over": pd.Series([verdicts.get(key) for key in keys], dtype="boolean", index=overlaid.index),
            "replicates": overlaid["replicates"],
        }
    )
