"""The two sides of a comparison: what is compared, taken from a run folder, a table or pytest-benchmark's file."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from deconvbench.analysis.environments import list_facts
from deconvbench.errors import RunFolderError, UsageError, explain_os_error
from deconvbench.records.case import Case
from deconvbench.records.conditions import name_policy
from deconvbench.records.decoding import DecodingError, build, parse_json
from deconvbench.records.documents import SavedBenchmarks
from deconvbench.records.metrics import METRICS
from deconvbench.records.run_folder import RUN_NAME, read_run_info
from deconvbench.system.paths import check_path
from deconvbench.system.reading import read_file
from deconvbench.system.texts import tidy_line
from deconvbench.tables.files import load
from deconvbench.tables.frames import require_columns

# relative difference, and absolute difference in the metric's unit, below which two values are the same: memray
# rounds blocks, artifacts come from the same seeds in float64, rounding errors from another order of sums
TOLERANCES: Mapping[str, tuple[float, float]] = {
    "peak_memory_bytes": (0.01, 4096.0),
    "macs": (0.0, 0.0),
    **{name: metric.tolerance for name, metric in METRICS.items() if metric.tolerance is not None},
}

# of a table, beside what is compared
_COMPARED = (
    *("case_id", "replicate", "process_index", "status", "message", "machine_id", "torch_version", "code_version"),
)
_Metric: Any = float | None
_HASH = re.compile(r"[0-9a-f]{7,64}(\+dirty)?")
# as `runner.environment.identify_code` writes it; a comparison of commits writes the hash alone
_VERSIONED_HASH = re.compile(r"(.*\+g)?(?P<hash>[0-9a-f]{7,64})(?P<changed>\.d[0-9a-f]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two sides of a comparison.

    Parameters
    ----------
    name : str
        For messages.
    latencies_s : mapping of str to sequence of float
        By `case_id`, the fastest sample of each replicate that is `ok`: what disturbs a machine only ever adds.
    failures : mapping of str to str
        By `case_id`: status and message of the first replicate that is not `ok`.
    metrics : mapping of str to mapping
        By `case_id`: the metrics that are not timed, None where there is none.
    machine_ids, torch_versions, code_versions : frozenset of str
        Where it was measured, empty where that is not known.
    accelerators : tuple of str
        Names of the machine's accelerators, in their order; empty where there is none, or that is not known.
    ratios : mapping of str to sequence of float
        By `case_id`, for each replicate that is `ok`: latency over that of the baseline in the same rounds. Only
        cases that were timed together with one; not the baseline itself.
    baselines : mapping of str to str
        By `case_id` of `ratios`: the baseline's.
    conditions : frozenset of str
        Policy and allocator that held while it was timed, empty where that is not known.
    environment : mapping of str to str
        What else was recorded, from `environments.list_facts`.
    commits : tuple of str
        Hashes of what was measured, as far as recorded: of the project in whose checkout it was, then of this
        package; with ``+dirty`` behind one whose files were changed.
    measured_at : str
        When the commit was made or, where that is not recorded, measured: ISO 8601, or empty.
    """

    name: str
    latencies_s: Mapping[str, Sequence[float]]
    failures: Mapping[str, str]
    metrics: Mapping[str, Mapping[str, float | None]]
    machine_ids: frozenset[str] = frozenset()
    torch_versions: frozenset[str] = frozenset()
    code_versions: frozenset[str] = frozenset()
    accelerators: tuple[str, ...] = ()
    ratios: Mapping[str, Sequence[float]] = field(default_factory=dict)
    baselines: Mapping[str, str] = field(default_factory=dict)
    conditions: frozenset[str] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict)
    commits: tuple[str, ...] = ()
    measured_at: str = ""


def read_side(path: str | Path) -> Side:
    """Read a run folder, or a JSON file that pytest-benchmark saved.

    Parameters
    ----------
    path : str or Path
        The folder or file.

    Raises
    ------
    RunFolderError
        If it is neither.
    """
    where = check_path(path, "compare")
    if where.is_file():
        return _read_saved(where)
    side = make_side(load(where), str(where))
    side = replace(side, commits=_list_commits("", side.code_versions))
    if not (where / RUN_NAME).is_file():
        return side
    info = read_run_info(where)
    side = replace(side, measured_at=tidy_line(str(info.get("created_at") or "")))
    environment = info.get("environment")
    if not isinstance(environment, dict):
        return side
    return replace(
        side,
        accelerators=_list_accelerators(environment),
        environment=list_facts(environment),
        commits=_list_commits(environment.get("project_commit"), side.code_versions),
    )


def _list_commits(project: Any, code_versions: Iterable[str]) -> tuple[str, ...]:
    """List the hashes of what was measured: the project's, and those in the versions of this package."""
    found = [project] if isinstance(project, str) and _HASH.fullmatch(project) else []
    matches = filter(None, map(_VERSIONED_HASH.fullmatch, sorted(code_versions)))
    found += [f"{match['hash']}+dirty" if match["changed"] else match["hash"] for match in matches]
    return tuple(dict.fromkeys(found))


def _list_accelerators(environment: Mapping[str, Any]) -> tuple[str, ...]:
    match environment:
        case {"accelerator": {"devices": [*devices]}}:
            return tuple(tidy_line(str(device.get("name"))) for device in devices if isinstance(device, dict))
    return ()


def make_side(table: pd.DataFrame, name: str) -> Side:
    """Take from a table what is compared.

    Parameters
    ----------
    table : DataFrame
        From `deconvbench.load`.
    name : str
        For messages.

    Raises
    ------
    UsageError
        If it is not such a table.
    """
    require_columns(table, name, _COMPARED, ("latency_s", "latency_floor_s", *TOLERANCES))
    is_ok = (table["status"] == "ok") & table["latency_s"].notna()
    ok, failed = table[is_ok], table[~is_ok].drop_duplicates("case_id")
    latencies = _take_replicates(ok, "latency_floor_s")
    ratios, baselines = _take_ratios(ok)
    values = ok.groupby("case_id", sort=False)[list(TOLERANCES)].median().astype("float64")
    metrics = {
        str(case): dict(zip(TOLERANCES, map(_to_float, row), strict=True))
        for case, row in zip(values.index, values.to_numpy().tolist(), strict=True)
    }
    return Side(
        name=name,
        latencies_s=latencies,
        failures={str(row.case_id): f"{row.status}: {row.message}" for row in failed.itertuples()},
        metrics=metrics,
        machine_ids=_tidy_names(table["machine_id"].dropna().unique()),
        torch_versions=_tidy_names(table["torch_version"].dropna().unique()),
        code_versions=_tidy_names(table["code_version"].dropna().unique()),
        ratios=ratios,
        baselines=baselines,
        conditions=_name_conditions(ok["conditions"].dropna().unique()) if "conditions" in ok else frozenset(),
    )


def _take_replicates(ok: pd.DataFrame, column: str) -> dict[str, list[float]]:
    """Take one number for each process, by case."""
    processes = ok.groupby(["case_id", "replicate", "process_index"], sort=False)[column].min()
    taken: dict[str, list[float]] = {}
    for case, value in zip(processes.index.get_level_values(0), processes.tolist(), strict=True):
        taken.setdefault(str(case), []).append(float(value))
    return taken


def _take_ratios(ok: pd.DataFrame) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Take the ratios to a baseline that every replicate of a case shares; earlier tables have none."""
    if not {"ratio", "baseline_id"} <= {*ok}:
        return {}, {}
    timed = ok[ok["ratio"].notna() & ok["baseline_id"].notna() & (ok["baseline_id"] != "")]
    timed = timed[timed["baseline_id"] != timed["case_id"]]
    found: dict[str, set[str]] = {}
    pairs = timed[["case_id", "baseline_id"]].drop_duplicates()
    for case, baseline in zip(pairs["case_id"], pairs["baseline_id"], strict=True):
        found.setdefault(str(case), set()).add(str(baseline))
    baselines = {case: names.pop() for case, names in found.items() if len(names) == 1}
    return _take_replicates(timed[timed["case_id"].isin([*baselines])], "ratio"), baselines


def _name_conditions(texts: Iterable[str | None]) -> frozenset[str]:
    return frozenset(name_policy(tidy_line(text)) for text in texts if text)


def _tidy_names(names: Iterable[str | None]) -> frozenset[str]:
    return frozenset(tidy_line(name) for name in names if name)


def _to_float(value: Any) -> float | None:
    return None if pd.isna(value) or not math.isfinite(value) else float(value)


def _read_saved(path: Path) -> Side:
    """Read what pytest-benchmark saved of ``pytest bench``: `extra_info` holds everything."""
    try:
        return _read_document(build(SavedBenchmarks, parse_json(read_file(path))), str(path))
    except OSError as error:
        raise RunFolderError(f"cannot read {str(path)!r}: {explain_os_error(error)}") from error
    # ids of cases that are none, and times that are none
    except (DecodingError, ValueError, UsageError) as error:
        raise RunFolderError(
            f"{str(path)!r} is neither a run folder nor what pytest-benchmark saves of our bench: {error}"
        ) from error


def _read_document(document: SavedBenchmarks, name: str) -> Side:
    infos = [entry["extra_info"] for entry in document["benchmarks"]]
    cases = {Case.from_id(info["case_id"]).case_id: info for info in infos}
    latencies = {case: info.get("replicate_floor_s", info["replicate_latency_s"]) for case, info in cases.items()}
    metrics = {case: {m: build(_Metric, info.get(m)) for m in TOLERANCES} for case, info in cases.items()}
    for case, values in latencies.items():
        if not all(0 < value < math.inf for value in values):
            raise ValueError(f"replicate_latency_s of {case} holds what is not a latency")
    ratios = {case: info.get("replicate_ratio", []) for case, info in cases.items() if info.get("baseline_id")}
    if not all(0 < value < math.inf for values in ratios.values() for value in values):
        raise ValueError("replicate_ratio holds what is not a ratio")
    machine = document["machine_info"]
    origin = "|".join(str(machine.get(key)) for key in ("node", "machine", "system"))
    commit = document.get("commit_info") or {}
    return Side(
        name=name,
        latencies_s={case: values for case, values in latencies.items() if values},
        failures={case: tidy_line(info["status"]) for case, info in cases.items() if not latencies[case]},
        metrics={case: {m: _to_float(value) for m, value in found.items()} for case, found in metrics.items()},
        machine_ids=_tidy_names(info.get("machine_id") for info in infos) or frozenset([tidy_line(origin)]),
        torch_versions=_tidy_names(info.get("torch_version") for info in infos),
        code_versions=_tidy_names([commit.get("id")]),
        ratios={case: values for case, values in ratios.items() if values and cases[case]["baseline_id"] != case},
        baselines={case: str(cases[case].get("baseline_id")) for case in ratios},
        conditions=_name_conditions(info.get("conditions") for info in infos),
        environment=list_facts(machine),
        commits=_list_commits(f"{commit.get('id')}{'+dirty' if commit.get('dirty') else ''}", ()),
        measured_at=tidy_line(str(commit.get("time") or document.get("datetime") or "")),
    )
