"""A run on the machines of a Dask cluster from end to end: connect, choose the machines, measure, tabulate.

Equal machines are of one kind and can share a run. Machines of several kinds measure the whole grid each: one run
folder for each kind, as times of different machines are never mixed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deconvbench.errors import RunFolderError, UsageError, quote, suggest
from deconvbench.progress import JobObserver
from deconvbench.records.run_folder import RUN_NAME, list_hardware, read_run_info
from deconvbench.runner.distribution import DistributedRun, Place, list_needed_devices, run_distributed
from deconvbench.runner.engine import PlannedRun, RunOutcome
from deconvbench.runner.folder import open_folder, read_plan, reopen_folder
from deconvbench.runner.machine_kind import name_kind
from deconvbench.runner.plan import Plan
from deconvbench.system.paths import check_path, make_absolute
from deconvbench.upsamplers.sources import identify_sources
from deconvbench.workflows.dask_connection import OPTION, connect
from deconvbench.workflows.dask_pool import DaskPool
from deconvbench.workflows.run import find_changed_sources, finish_folder, make_run_folder, read_environment

PLACEMENTS = ("per-machine", "spread")
# of each kind of machine an environment; gives for each kind its plan and folder
Choose = Callable[[Mapping[str, Mapping[str, Any]]], Mapping[str, tuple[Plan, Path]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Which machines measure.

    Parameters
    ----------
    scheduler : str
        ``local:N``, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.
    placement : str
        ``per-machine``: each kind of machine measures the whole grid. ``spread``: equal machines share it, and
        machines of several kinds are refused.
    insecure : bool
        Accept other machines without TLS.

    Raises
    ------
    UsageError
        If the placement is not one.
    """

    scheduler: str
    placement: str = "per-machine"
    insecure: bool = False

    def __post_init__(self) -> None:
        if self.placement not in PLACEMENTS:
            hint = suggest(self.placement, PLACEMENTS)
            allowed = ", ".join(PLACEMENTS)
            raise UsageError(f"--placement: {quote(self.placement)} is not one of {allowed}{hint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOutcome:
    """How the run of one kind of machine ended.

    Parameters
    ----------
    plan : Plan
        What was measured.
    folder : Path
        The run folder.
    outcome : RunOutcome
        Its records.
    """

    plan: Plan
    folder: Path
    outcome: RunOutcome


def start_on_cluster(
    plan: Plan,
    out: str | Path | None,
    cluster: Cluster,
    *,
    force: bool = False,
    observer: JobObserver = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
    begin: Callable[[Path], None] = lambda _: None,
) -> list[ClusterOutcome]:
    """Measure a plan on the machines of a cluster.

    Parameters
    ----------
    plan : Plan
        What to measure.
    out : str, Path or None
        The run folder; with machines of several kinds the folder of their run folders, each named after its kind.
        None makes a new one below `RESULTS`.
    cluster : Cluster
        Which machines measure.
    force : bool
        Take a folder that holds files of others too.
    observer : callable
        Receives each job done.
    warn : callable
        Receives what the user should know, a line each.
    begin : callable
        Receives what can be resumed, once it is there: the run folder, or that of those of several kinds.

    Returns
    -------
    list of ClusterOutcome
        One for each kind of machine.

    Raises
    ------
    UsageError
        If the cluster does not fit, or the folder is not one to measure into.
    SurroundingsError
        If scheduler or workers are lost, or a folder cannot be written; what was measured is kept.
    """
    target = None if out is None else check_path(out, "--out")
    if target is not None and (target / RUN_NAME).exists():
        raise RunFolderError(
            f"--out: {str(target)!r} holds a run already; continue it with --resume or name another"
        )

    def choose(kinds: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Plan, Path]]:
        parent = make_run_folder(plan) if target is None else target
        folders = {kind: parent if len(kinds) == 1 else parent / kind for kind in kinds}
        for kind, folder in folders.items():
            shared = {"placement": cluster.placement, "kind": kind}
            open_folder(plan, folder, kinds[kind], force=force, cluster=shared)
        begin(parent)
        return {kind: (plan, folder) for kind, folder in folders.items()}

    return _measure(plan, cluster, choose, observer, warn)


def resume_on_cluster(
    out: Path,
    cluster: Cluster,
    *,
    anyway: bool = False,
    observer: JobObserver = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
    begin: Callable[[Path], None] = lambda _: None,
) -> list[ClusterOutcome]:
    """Take up a run on a cluster that was interrupted.

    Parameters
    ----------
    out : Path
        The run folder, or the folder of those of several kinds of machines.
    cluster : Cluster
        Which machines measure; there must be one of each kind.
    anyway : bool
        Go on although machine or software changed; the change is recorded.
    observer, warn, begin : callable
        As for `start_on_cluster`.

    Returns
    -------
    list of ClusterOutcome
        One for each kind of machine.

    Raises
    ------
    UsageError, SurroundingsError
        As `start_on_cluster`.
    """
    folders = [out] if (out / RUN_NAME).exists() else sorted(path.parent for path in out.glob(f"*/{RUN_NAME}"))
    if not folders:
        raise RunFolderError(f"--resume: {quote(str(out))} holds no run")

    def choose(kinds: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Plan, Path]]:
        chosen = {}
        for folder in folders:
            kind, environment = _match_kind(folder, kinds, is_only=len(folders) == 1, anyway=anyway)
            plan = reopen_folder(
                folder, environment, find_changes=find_changed_sources, anyway=anyway, is_child=True
            )
            begin(out)
            chosen[kind] = (replace(plan, upsampler_digests=identify_sources(plan.upsamplers)), folder)
        return chosen

    plan = read_plan(folders[0])
    return _measure(
        replace(plan, upsampler_digests=identify_sources(plan.upsamplers)), cluster, choose, observer, warn
    )


def _match_kind(
    folder: Path, kinds: Mapping[str, Mapping[str, Any]], *, is_only: bool, anyway: bool
) -> tuple[str, Mapping[str, Any]]:
    """Find the machines that can go on with a run; any of the same kind is as good as that which began."""
    before = read_run_info(folder).get("environment") or {}
    kind = name_kind(before)
    if kind in kinds:
        return kind, {**kinds[kind], "machine_id": before.get("machine_id")}
    if is_only and anyway and len(kinds) == 1:
        return next(iter(kinds.items()))
    described = ", ".join(list_hardware(before)) or "machines that it does not name"
    raise UsageError(f"--resume: {folder} was measured on {described}, and no such machine is in the cluster")


def _measure(
    plan: Plan, cluster: Cluster, choose: Choose, observer: JobObserver, warn: Callable[[str], None]
) -> list[ClusterOutcome]:
    """Connect, see which machines there are, make or reopen the folders, and measure."""
    options = replace(PlannedRun(plan=plan, folder=Path()).complete_options(), log=None)
    with connect(cluster.scheduler, insecure=cluster.insecure, warn=warn, announce=warn) as client:
        # each of them imports torch first, and there may be none for a while
        warn(f"{OPTION}: connected; asking the workers what they measure on")
        pool = DaskPool(client, options, read_environment(), warn=warn, insecure=cluster.insecure)
        try:
            places = pool.wait_for_places()
            _check_devices(plan, places)
            kinds = pool.find_environments()
            _check_placement(cluster, kinds)
            chosen = choose(kinds)
            tasks = [
                DistributedRun(run=PlannedRun(plan=own, folder=make_absolute(folder)), kind=kind)
                for kind, (own, folder) in chosen.items()
            ]
            outcomes = run_distributed(tasks, pool, observer=observer, finish=finish_folder)
        finally:
            pool.release()
    return [
        ClusterOutcome(plan=own, folder=folder, outcome=outcome)
        for (own, folder), outcome in zip(chosen.values(), outcomes, strict=True)
    ]


def _check_devices(plan: Plan, places: Sequence[Place]) -> None:
    """Refuse a plan for a device of which some kind of machine offers no slot."""
    for kind in {place.kind for place in places}:
        offered = {device for place in places if place.kind == kind for device in place.devices}
        for device in list_needed_devices(plan):
            if device not in offered:
                raise UsageError(
                    f"{OPTION}: no worker offers a slot of {device} on machines of kind {kind}; start one with"
                    f" --resources deconvbench-{device}=1"
                )


def _check_placement(cluster: Cluster, kinds: Mapping[str, Mapping[str, Any]]) -> None:
    if cluster.placement == "spread" and len(kinds) > 1:
        described = "; ".join(", ".join(list_hardware(environment)) for environment in kinds.values())
        raise UsageError(
            f"--placement: spread needs equal machines, and there are {len(kinds)} kinds ({described}); use"
            " per-machine"
        )
