"""Several runs as one run folder: of one machine, with more replicates, or of many, side by side.

Reads the runs, which stay as they are, and writes a folder that every command reads like any other; its
``run.json`` keeps of each run where and how it was measured. What may be joined is decided by `tables.joining`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deconvbench.errors import RunFolderError, UsageError, quote
from deconvbench.records.run_folder import (
    JOURNAL_NAME,
    RUN_NAME,
    encode_run_info,
    hold_folder,
    read_journal_bytes,
    read_run_info,
)
from deconvbench.system.paths import check_contents, check_path, make_folder
from deconvbench.system.texts import tidy_line
from deconvbench.system.writing import write_files
from deconvbench.tables.bulk import Journal, pause_collector
from deconvbench.tables.files import digest_journal, encode_tables, lay_out_tables
from deconvbench.tables.joining import Joined, Origin, Part, join_parts
from deconvbench.units import format_now

_OWN_NAMES = (RUN_NAME, JOURNAL_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What a merge has made.

    Parameters
    ----------
    folder : Path
        The run folder.
    runs : int
        How many runs are in it that were measured, not merged.
    machines : tuple of str
        Ids of the machines, in the order of the runs.
    records : int
        Measurements of cases and settings.
    repeated : int
        How many were in several runs, and are counted once.
    notes : tuple of str
        What a reader must know.
    """

    folder: Path
    runs: int
    machines: tuple[str, ...]
    records: int
    repeated: int
    notes: tuple[str, ...]


def merge_runs(
    runs: Sequence[str | Path], out: str | Path, *, machine: str | None = None, force: bool = False
) -> Merged:
    """Merge runs into a new run folder.

    Parameters
    ----------
    runs : sequence of str or Path
        Two run folders at least, of any grids and machines; interrupted and merged ones may be among them.
    out : str or Path
        The new folder.
    machine : str, optional
        Keep what one machine has measured, by its id or the beginning of it; one run is enough then.
    force : bool
        Take a folder that holds files of others too.

    Raises
    ------
    UsageError
        If there are fewer than two runs, one is given twice or is also `out`, nothing was measured on `machine`,
        or they cannot be joined (`deconvbench.tables.joining.join_parts`).
    RunFolderError
        If a folder holds no run that this version reads, or `out` holds one already.
    SurroundingsError
        If the folder cannot be written.
    """
    folders = [check_path(run, "merge") for run in runs]
    target = check_path(out, "--out")
    if machine is not None and not machine.strip():
        raise UsageError("--machine: is empty; give the id of a machine, or the beginning of it")
    _check_folders(folders, target, least=2 if machine is None else 1)
    check_contents(target, _OWN_NAMES, force=force)
    _refuse_run(target)
    names = _name_parts(folders)
    joined = join_parts([_read_part(*pair) for pair in zip(folders, names, strict=True)], machine or "")
    asked = [] if machine is None else ["--machine", machine]
    info = _describe(joined, [*names, *asked, "--out", tidy_line(target.resolve().name)])
    # the journal that is written holds what was just read, so nothing is read twice
    with pause_collector():
        tables = lay_out_tables(Journal(joined.measured, joined.others), digest_journal(joined.content))
    files = {JOURNAL_NAME: joined.content, RUN_NAME: encode_run_info(info), **encode_tables(tables)}
    make_folder(target, "--out")
    with hold_folder(target):
        _refuse_run(target)  # another run may have come first
        write_files(target, files)
    return Merged(
        folder=target,
        runs=len(joined.origins),
        machines=_list_machines(joined.origins),
        records=sum(origin.records for origin in joined.origins),
        repeated=joined.repeated,
        notes=(*joined.notes, *_list_notes(joined.origins), *_note_gaps(tables.table)),
    )


def _check_folders(folders: Sequence[Path], target: Path, least: int) -> None:
    if len(folders) < least:
        raise UsageError(
            f"merge: {len(folders)} run given; at least two are needed, or one with --machine to take that out"
        )
    real = [folder.resolve() for folder in folders]
    for index, folder in enumerate(real):
        if folder in real[:index]:
            raise UsageError(f"merge: {quote(str(folders[index]))} is given twice")
    place = target.resolve()
    if not {place, *place.parents}.isdisjoint(real):
        where = "one" if place in real else "within one"
        raise UsageError(f"--out: {quote(str(target))} is {where} of the runs that are merged; name a new folder")


def _refuse_run(folder: Path) -> None:
    if any(os.path.lexists(folder / name) for name in _OWN_NAMES):
        raise RunFolderError(f"--out: {quote(str(folder))} holds a run already; name a new folder")


def _name_parts(folders: Sequence[Path]) -> list[str]:
    """Name runs by their folders alone, as what is above them may be called after a user; numbered where alike."""
    names: list[str] = []
    for folder in folders:
        name = stem = tidy_line(folder.resolve().name) or "run"
        count = 1
        while name in names:
            count += 1
            name = f"{stem} ({count})"
        names.append(name)
    return names


def _read_part(folder: Path, name: str) -> Part:
    # the description first: a run that is being written has one before it has a journal
    return Part(name=name, info=read_run_info(folder), content=read_journal_bytes(folder))


def _describe(joined: Joined, words: Sequence[str]) -> dict[str, Any]:
    """Describe the merged run, as ``run.json`` holds it."""
    facts = [origin.facts for origin in joined.origins]
    grids = [found.get("grid") for found in facts]
    is_whole = all(found.get("finished_at") is not None for found in facts)
    return {
        "created_at": format_now(),
        "finished_at": format_now() if is_whole else None,
        "measuring_share": None,
        "resumed": [],
        "grid": grids[0] if all(grid == grids[0] for grid in grids) else {"name": _name_grids(grids)},
        **{
            name: _find_common([found.get(name) for found in facts]) for name in ("seed", "baseline", "conditions")
        },
        "command": ["deconvbench", "merge", *words],
        "environment": _join_environments(joined.origins),
        "merged": [_describe_origin(origin) for origin in joined.origins],
    }


def _describe_origin(origin: Origin) -> dict[str, Any]:
    return {
        **origin.facts,
        "id": origin.id,
        "records": origin.records,
        "machine_ids": list(origin.machine_ids),
        "replicates": sorted(origin.numbers.items()),
    }


def _name_grids(grids: Sequence[Any]) -> str:
    names = (grid.get("name") for grid in grids if isinstance(grid, Mapping))
    return ", ".join(dict.fromkeys(str(name) for name in names if name)) or "merged"


def _find_common(values: Sequence[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else None


def _join_environments(origins: Sequence[Origin]) -> dict[str, Any]:
    """Keep what all environments share, and count the machines."""
    found = [origin.facts.get("environment") for origin in origins]
    known = [environment for environment in found if isinstance(environment, Mapping)]
    common = _intersect(known) if known else {}
    machines = _list_machines(origins)
    return {**common, "machine_id": machines[0] if len(machines) == 1 else None, "machines": len(machines)}


def _intersect(mappings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    common: dict[str, Any] = {}
    for name, value in mappings[0].items():
        others = [mapping.get(name) for mapping in mappings[1:]]
        if isinstance(value, Mapping) and all(isinstance(other, Mapping) for other in others):
            common[name] = _intersect([value, *(other for other in others if isinstance(other, Mapping))])
        elif all(other == value for other in others):
            common[name] = value
    return common


def _list_machines(origins: Sequence[Origin]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(machine for origin in origins for machine in origin.machine_ids))


def _note_gaps(table: pd.DataFrame) -> list[str]:
    """Say how many cases lack a machine: latencies over different machines must not be set side by side."""
    machines = table.groupby("case_id", sort=False)["machine_id"].nunique()
    lacking = int((machines < table["machine_id"].nunique()).sum())
    if not lacking:
        return []
    return [
        f"{lacking} of {len(machines)} cases were not measured on every machine: compare them by their ratios, not"
        " by latencies"
    ]


def _list_notes(origins: Sequence[Origin]) -> list[str]:
    """Say in what the runs differ beside their machines."""
    notes = []
    for word, key in (("code", "code_version"), ("torch", "torch_version"), ("Python", "python_version")):
        environments = (origin.facts.get("environment") for origin in origins)
        found = [env.get(key) for env in environments if isinstance(env, Mapping)]
        values = list(dict.fromkeys(str(value) for value in found if value))
        if len(values) > 1:
            notes.append(f"{word} differs: {', '.join(map(tidy_line, values))}")
    open_ones = [tidy_line(str(o.facts.get("name"))) for o in origins if o.facts.get("finished_at") is None]
    if open_ones:
        notes.append(f"not finished: {', '.join(open_ones)}")
    return notes
