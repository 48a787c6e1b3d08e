import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from deconvbench.analysis import comparison_input
from deconvbench.analysis.comparison_input import TOLERANCES, make_side, read_side
from deconvbench.errors import RunFolderError
from deconvbench.records.conditions import Conditions, describe_conditions
from deconvbench.records.journal import Journal
from deconvbench.records.record import Latency, QualityRecord, Record
from deconvbench.records.run_folder import write_run_info
from deconvbench.records.schema import ARTIFACT_COLUMNS
from deconvbench.system.texts import tidy_line
from deconvbench.tables.table import build_table
from tests.builders import make_case, make_record

CASE = make_case().case_id


def measured(replicate: int, latency_s: float = 1e-3, **changes: Any) -> Record:
    latency = Latency(samples_s=(latency_s,) * 3, calls_per_sample=1, first_call_s=1, stop_reason="precision")
    return make_record(**{"replicate": replicate, "latency": latency, "macs": 7, "machine_id": "here", **changes})


def make_document(**info: Any) -> dict[str, Any]:
    known = {"case_id": CASE, "status": "ok", "replicate_latency_s": [1.0, 2.0, 3.0], "macs": 7.0, **info}
    return {
        "machine_info": {"node": "n", "machine": "x86", "system": "Linux"},
        "commit_info": {"id": "abc"},
        "benchmarks": [{"name": "bench_case", "extra_info": known}],
    }


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_one_latency_for_each_replicate_that_is_ok() -> None:
    failed = make_record(replicate=2, status="crashed", message="SIGSEGV", machine_id="here")
    side = make_side(build_table([measured(0, 1.0), measured(1, 3.0), failed]), "x")
    assert side.latencies_s == {CASE: [1.0, 3.0]}
    assert side.failures == {CASE: "crashed: SIGSEGV"}
    assert side.metrics[CASE]["macs"] == 7
    assert side.metrics[CASE]["peak_memory_bytes"] is None
    assert (side.machine_ids, side.torch_versions) == (frozenset(["here"]), frozenset())


def test_each_name_is_made_tidy_once_however_many_rows_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tidied: list[str] = []

    def note(text: str) -> str:
        tidied.append(text)
        return tidy_line(text)

    monkeypatch.setattr(comparison_input, "tidy_line", note)
    conditions = Conditions(policy="settled")
    records = [measured(n, torch_version="2.13", code_version="abc", conditions=conditions) for n in range(40)]
    side = make_side(build_table(records), "x")
    assert sorted(tidied) == sorted(["here", "2.13", "abc", describe_conditions(conditions)])
    assert (*side.machine_ids, *side.torch_versions, *side.code_versions) == ("here", "2.13", "abc")


def test_a_run_without_any_measurement_is_an_empty_side() -> None:
    side = make_side(build_table([]), "x")
    assert (side.latencies_s, side.failures, side.metrics) == ({}, {}, {})


def test_every_artifact_is_compared_from_either_source(tmp_path: Path) -> None:
    assert {*ARTIFACT_COLUMNS} < {*TOLERANCES}
    values = {name: -0.5 + number for number, name in enumerate(ARTIFACT_COLUMNS)}
    case = make_case()
    layer = (case.upsampler, case.kernel_size, case.scale_factor)
    quality = QualityRecord(
        upsampler=layer[0], kernel_size=layer[1], scale_factor=layer[2], seed=0, channels=4, status="ok",
        metrics={**values},
    )  # fmt: skip
    sides = [
        make_side(build_table([measured(0), quality]), "x"),
        read_side(write(tmp_path / "saved.json", make_document(**values))),
    ]
    for side in sides:
        assert {name: side.metrics[CASE][name] for name in ARTIFACT_COLUMNS} == values
    # what was saved before there was such a metric lacks it
    old = read_side(write(tmp_path / "old.json", make_document()))
    assert old.metrics[CASE]["checkerboard"] is None


def test_a_run_folder_is_read_with_its_accelerators(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for replicate in range(3):
            journal.append(measured(replicate))
    assert read_side(tmp_path).accelerators == ()
    assert len(read_side(str(tmp_path)).latencies_s[CASE]) == 3
    devices = [{"name": "NVIDIA H100"}, {"name": "NVIDIA A100"}]
    write_run_info(tmp_path, {"environment": {"accelerator": {"type": "cuda", "devices": devices}}})
    assert read_side(tmp_path).accelerators == ("NVIDIA H100", "NVIDIA A100")
    write_run_info(tmp_path, {"environment": {"accelerator": None}})
    assert read_side(tmp_path).accelerators == ()


def test_what_pytest_benchmark_saved_is_read(tmp_path: Path) -> None:
    info = {"machine_id": "here", "torch_version": "2.13.0", "phase_ripple": None, "overlap_cv": math.inf}
    side = read_side(write(tmp_path / "a.json", make_document(**info)))
    assert side.latencies_s == {CASE: [1.0, 2.0, 3.0]}
    assert side.metrics[CASE]["macs"] == 7
    assert side.metrics[CASE]["phase_ripple"] is side.metrics[CASE]["overlap_cv"] is None
    assert side.failures == {}
    assert side.machine_ids == {"here"}
    assert side.torch_versions == {"2.13.0"}
    assert side.code_versions == {"abc"}


def test_without_machine_id_pytest_benchmarks_own_words_name_the_machine(tmp_path: Path) -> None:
    assert read_side(write(tmp_path / "a.json", make_document())).machine_ids == {"n|x86|Linux"}


def test_a_saved_case_without_latency_failed(tmp_path: Path) -> None:
    side = read_side(write(tmp_path / "a.json", make_document(status="oom", replicate_latency_s=[])))
    assert (side.latencies_s, side.failures) == ({}, {CASE: "oom"})


def test_no_commit_is_no_problem(tmp_path: Path) -> None:
    document = make_document()
    del document["commit_info"]
    assert read_side(write(tmp_path / "a.json", document)).code_versions == frozenset()


def test_ratios_are_taken_where_all_replicates_have_one_baseline() -> None:
    other = make_case(upsampler="subpixel")
    table = build_table([measured(r, case=case) for r in range(3) for case in (make_case(), other)])
    is_case = table["case_id"] == CASE
    table["baseline_id"] = other.case_id
    table["ratio"] = [2.0 if flag else 1.0 for flag in is_case]
    side = make_side(table, "x")
    # the baseline's own ratio, 1, says nothing
    assert (side.ratios, side.baselines) == ({CASE: [2.0, 2.0, 2.0]}, {CASE: other.case_id})
    table.loc[is_case & (table["replicate"] == 1), "ratio"] = math.nan
    assert make_side(table, "x").ratios == {CASE: [2.0, 2.0]}
    table.loc[is_case & (table["replicate"] == 2), "baseline_id"] = "something else"
    assert make_side(table, "x").ratios == {}


def test_a_run_timed_together_is_read_with_its_ratios() -> None:
    other = make_case(upsampler="subpixel").case_id
    records = [measured(r, baseline_id=other, ratios=(2.0, 2.0, 2.0)) for r in range(3)]
    side = make_side(build_table(records), "x")
    assert (side.ratios, side.baselines) == ({CASE: [2.0, 2.0, 2.0]}, {CASE: other})


def test_conditions_that_must_agree_are_policy_and_allocator(tmp_path: Path) -> None:
    table = build_table([measured(replicate) for replicate in range(3)])
    assert make_side(table, "x").conditions == frozenset()
    table["conditions"] = ["settled; huge pages malloc; pinned", "settled; huge pages malloc", None]
    assert make_side(table, "x").conditions == {"settled"}
    table["conditions"] = "system; allocator libjemalloc.so.2; nice 5"
    assert make_side(table, "x").conditions == {"system; allocator libjemalloc.so.2"}
    saved = write(tmp_path / "a.json", make_document(conditions="settled; pinned"))
    assert read_side(saved).conditions == {"settled"}


def test_what_was_saved_with_ratios_is_read(tmp_path: Path) -> None:
    info = {"baseline_id": "base", "replicate_ratio": [1.5, 1.6, 1.4]}
    side = read_side(write(tmp_path / "a.json", make_document(**info)))
    assert (side.ratios, side.baselines) == ({CASE: [1.5, 1.6, 1.4]}, {CASE: "base"})
    own = read_side(write(tmp_path / "b.json", make_document(baseline_id=CASE, replicate_ratio=[1.0] * 3)))
    assert own.ratios == {}


def test_the_environment_of_either_source_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with Journal(folder) as journal:
        journal.append(measured(0))
    write_run_info(folder, {"environment": {"python_version": "3.11.2", "variables": {"OMP_NUM_THREADS": "1"}}})
    facts = read_side(folder).environment
    assert facts == {"python_version": "3.11.2", "variables": "", "variables: OMP_NUM_THREADS": "1"}
    assert read_side(write(tmp_path / "a.json", make_document())).environment["system"] == "Linux"


WRONG: dict[str, Any] = {
    "no ratio": make_document(baseline_id="base", replicate_ratio=[0.0]),
    "a list": [],
    "no benchmarks": {},
    "another project's": {"benchmarks": [{"extra_info": {}}]},
    "no extra_info": {"benchmarks": [{"stats": {}}]},
    "no case": make_document(case_id="something"),
    "a number for a case": make_document(case_id=5),
    "a word for a latency": make_document(replicate_latency_s=["fast"]),
    "a number for latencies": make_document(replicate_latency_s=1.0),
    "a latency of zero": make_document(replicate_latency_s=[1.0, 0.0]),
    "a word for a metric": make_document(macs="many"),
    "no machine": {**make_document(), "machine_info": []},
    "a word for the document": "run",
}


@pytest.mark.parametrize("document", WRONG.values(), ids=WRONG.keys())
def test_another_json_is_refused(tmp_path: Path, document: Any) -> None:
    with pytest.raises(RunFolderError, match="neither a run folder nor what pytest-benchmark saves") as caught:
        read_side(write(tmp_path / "a.json", document))
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize(
    "content", [b"{", b"", b"\xff\xfe" * 5000, b"NaN"], ids=["torn", "empty", "binary", "nan"]
)
def test_what_is_no_json_is_refused_briefly(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(RunFolderError, match="neither a run folder nor") as caught:
        read_side(tmp_path / "a.json")
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.json", {})

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RunFolderError, match=r"cannot read '.*a\.json': permission denied"):
        read_side(path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="does not exist"):
        read_side(tmp_path / "none")


@pytest.mark.parametrize(
    ("code", "project", "commits"),
    [
        ("0.1.0", None, ()),
        ("0.1.0+g1a2b3c4", None, ("1a2b3c4",)),
        ("0.1.0+g1a2b3c4.d5e6f70", None, ("1a2b3c4+dirty",)),
        # as a comparison of commits names its sides
        ("1a2b3c4d5e6f", None, ("1a2b3c4d5e6f",)),
        ("0.1.0+g1a2b3c4", "0123456789ab+dirty", ("0123456789ab+dirty", "1a2b3c4")),
        ("0.1.0", "--help", ()),
        ("0.1.0", 7, ()),
    ],
)
def test_a_run_is_of_the_projects_commit_and_of_this_packages(
    code: str, project: Any, commits: tuple[str, ...], tmp_path: Path
) -> None:
    with Journal(tmp_path) as journal:
        journal.append(measured(0, code_version=code))
    created = "2026-01-01T00:00:00+00:00"
    write_run_info(tmp_path, {"created_at": created, "environment": {"project_commit": project}})
    side = read_side(tmp_path)
    assert (side.commits, side.measured_at) == (commits, created)
    # which is not a difference of the environments
    assert not [name for name in side.environment if "project" in name]


def test_what_pytest_benchmark_saved_is_of_the_commit_that_it_found(tmp_path: Path) -> None:
    document = {**make_document(), "datetime": "2026-02-02T00:00:00"}
    side = read_side(write(tmp_path / "a.json", {**document, "commit_info": {"id": "abcdef0123", "dirty": True}}))
    assert (side.commits, side.measured_at) == (("abcdef0123+dirty",), "2026-02-02T00:00:00")
    info = {"id": "abcdef0123", "dirty": False, "time": "2026-01-01T00:00:00"}
    side = read_side(write(tmp_path / "a.json", {**document, "commit_info": info}))
    assert (side.commits, side.measured_at) == (("abcdef0123",), "2026-01-01T00:00:00")
    assert read_side(write(tmp_path / "a.json", {**document, "commit_info": None})).commits == ()
