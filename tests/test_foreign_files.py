"""Each field of each file that is read back, replaced by each wrong value: one clear line, or a result.

What is valid JSON of wrong types must never end in a traceback, and what is accepted must be tabulated, compared
and shown to the end.
"""

import contextlib
import copy
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from deconvbench.__main__ import main
from deconvbench.analysis.comparison import compare
from deconvbench.analysis.comparison_input import read_side
from deconvbench.analysis.results import derive_results
from deconvbench.errors import DeconvbenchError
from deconvbench.records.record import AnyRecord, decode_journal, encode_record
from deconvbench.records.run_folder import JOURNAL_NAME, RUN_NAME, read_run_info
from deconvbench.report import page
from deconvbench.report.claims import count_verdicts, parse_claims, view_claims
from deconvbench.report.interactive import describe_charts
from deconvbench.report.output import write_report
from deconvbench.report.page import render_report
from deconvbench.runner.folder import open_folder, reopen_folder
from deconvbench.studies.training.checkpoints import read_json, read_log
from deconvbench.studies.training.output import write_experiment_tables
from deconvbench.tables.files import load, read_tables
from deconvbench.tables.trained import describe_trained, read_trained
from tests.builders import make_case, make_plan, make_record, make_speedup_grid
from tests.cli.conftest import write_saved
from tests.made_results import make_results
from tests.made_speedups import make_speedup_record
from tests.noop_run import ENVIRONMENT
from tests.tables.made_records import make_latency, make_memory, make_numerics, make_quality, make_run, write_run

MISSING = object()
_DEEP: Any = []
for _ in range(200):
    _DEEP = [_DEEP]
WRONG: dict[str, Any] = {
    "missing": MISSING,
    "null": None,
    "true": True,
    "zero": 0,
    "negative": -1,
    "half": 0.5,
    "huge": 2**70,
    "beyond-floats": 10**400,
    "infinite": math.inf,
    "nan": math.nan,
    "empty-text": "",
    "text": "x y",
    "strange-text": "\x1b[31m\0\u2028\u202e\udce9=1+1",
    "list": [],
    "numbers": [1, 2.5],
    "nulls": [None],
    "object": {},
    "objects": [{"a": {}}],
    "another-object": {"name": [1], "devices": {}, "": None},
    "deep": _DEEP,
}


def list_places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document, itself first; of a list its first entry."""
    yield place
    entries = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from list_places(entry, (*place, key))


def replace_at(document: Any, place: tuple[Any, ...], wrong: Any) -> Any:
    if not place:
        return None if wrong is MISSING else wrong
    changed = copy.deepcopy(document)
    within = changed
    for key in place[:-1]:
        within = within[key]
    if wrong is MISSING:
        del within[place[-1]]
    else:
        within[place[-1]] = wrong
    return changed


def list_changes(document: Any) -> list[tuple[str, Any]]:
    return [
        (f"{'.'.join(map(str, place))}: {name}", replace_at(document, place, wrong))
        for place in list_places(document)
        for name, wrong in WRONG.items()
    ]


def try_all(changes: list[tuple[str, Any]], read: Callable[[Any], object]) -> int:
    """Read every changed document; return how many were refused, each with a line that says where."""
    refused = 0
    for name, document in changes:
        caught: Exception | None = None
        try:
            read(document)
        except Exception as error:  # noqa: BLE001 -- whatever it raises is what is asked
            caught = error
        refused += caught is not None
        if not isinstance(caught, DeconvbenchError | None) or len(str(caught)) > 1000:
            raise AssertionError(f"{name}: {type(caught).__name__}: {caught}") from caught
        assert caught is None or caught.exit_code == 2, name
    return refused


RECORDS: dict[str, AnyRecord] = {
    "record": next(r for r in make_run(1) if r.KIND == "record"),
    "quality": make_quality(),
    "numerics": make_numerics(),
    "speedup": make_speedup_record(make_case()),
}


def write_any(document: Any) -> bytes:
    """Write JSON as a program would that knows no limits."""
    return json.dumps(document).encode() + b"\n"


def parse(record: AnyRecord) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encode_record(record))
    return found


@pytest.mark.parametrize("kind", RECORDS)
def test_lines_of_a_journal_are_records_or_named_by_file_line_and_field(kind: str) -> None:
    accepted = []

    def read(document: Any) -> None:
        accepted.append((document, decode_journal(write_any(document), "journal.jsonl")[0]))

    changes = list_changes(parse(RECORDS[kind]))
    refused = try_all(changes, read)
    assert refused > len(changes) / 2
    assert accepted
    place = ("case", "scale_factor") if kind in ("record", "speedup") else ("scale_factor",)
    content = write_any(parse(RECORDS[kind])) + write_any(replace_at(parse(RECORDS[kind]), place, "x y"))
    with pytest.raises(DeconvbenchError, match=r"^journal.jsonl:2: .*scale_factor: 'x y' is not a whole number"):
        decode_journal(content, "journal.jsonl")


@pytest.mark.parametrize("kind", RECORDS)
def test_lines_that_are_records_are_tabulated_summed_up_and_compared(kind: str, tmp_path: Path) -> None:
    write_run(tmp_path / "good", make_run())
    lines = []
    for number, (_, document) in enumerate(list_changes(parse(RECORDS[kind]))):
        if isinstance(document, dict) and type(document.get("replicate")) is int:
            document["replicate"] += 10 * number
        try:
            decode_journal(write_any(document), "")
        except DeconvbenchError:
            continue
        lines.append(write_any(document))
    write_run(tmp_path / "odd", [])
    (tmp_path / "odd" / JOURNAL_NAME).write_bytes(
        (tmp_path / "good" / JOURNAL_NAME).read_bytes() + b"".join(lines)
    )
    results = derive_results(read_tables(tmp_path / "odd"))
    assert "\x1b" not in render_report(results, {}, {})
    assert len(load(tmp_path / "odd")) >= len(load(tmp_path / "good"))
    # machines of strange names are refused in a line
    with contextlib.suppress(DeconvbenchError):
        compare(tmp_path / "good", tmp_path / "odd")


@pytest.mark.slow
@pytest.mark.slow
def test_a_description_of_a_run_is_read_shown_and_taken_up_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    folder = tmp_path / "run"
    write_run(folder, [RECORDS["record"]])
    plan = make_plan(make_speedup_grid(), command=("deconvbench", "run"), upsamplers=())
    (folder / JOURNAL_NAME).rename(tmp_path / "journal")
    open_folder(plan, folder, {**ENVIRONMENT, "accelerator": {"devices": [{"name": "fast"}]}, "gpus": ["a"]})
    (tmp_path / "journal").rename(folder / JOURNAL_NAME)
    results = derive_results(read_tables(folder))
    # what the charts show does not depend on the description
    charts = describe_charts(results.summary, results.quality_summary)
    monkeypatch.setattr(page, "describe_charts", lambda *_: copy.deepcopy(charts))
    good = json.loads((folder / RUN_NAME).read_text())

    def read(document: Any) -> None:
        (folder / RUN_NAME).write_bytes(write_any(document))
        info = read_run_info(folder)
        assert "\x1b" not in render_report(results, info, {})
        read_side(folder)
        reopen_folder(folder, ENVIRONMENT, anyway=True)

    assert try_all(list_changes(good), read) > 300
    with pytest.raises(DeconvbenchError, match=r"run.json' .*: seed: 'x' is not a whole number or null$"):
        read({**good, "seed": "x"})


def test_files_of_pytest_benchmark_are_compared_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_saved("base.json")
    good = json.loads(Path("base.json").read_text())

    def read(document: Any) -> None:
        Path("odd.json").write_bytes(write_any(document))
        compare("base.json", "odd.json")

    assert try_all(list_changes(good), read) > 100
    with pytest.raises(
        DeconvbenchError, match=r"benchmarks\[0\].extra_info.replicate_latency_s\[0\]: 'x' is not a"
    ):
        read(replace_at(good, ("benchmarks", 0, "extra_info", "replicate_latency_s", 0), "x"))


def test_claims_are_shown_or_named() -> None:
    row = {"id": 1, "claim": "a", "source": "b", "verdict": "partly", "sentence": "c", "figure": "figure_1"}
    good = {"schema_version": 1, "kind": "claims", "rows": [{**row, "evidence": {"a": 1.0}}]}

    def read(document: Any) -> None:
        rows = parse_claims(write_any(document), "claims.json")
        view_claims(rows, {}, {})
        count_verdicts(rows)

    assert try_all(list_changes(good), read) > 100


@pytest.mark.slow
def test_training_results_are_described_or_named(tmp_path: Path) -> None:
    whole = read_trained(make_results(tmp_path / "experiments", (("nearest_conv", 3),), seeds=1))
    good = json.loads((tmp_path / "experiments" / "experiment.json").read_text())
    folder = tmp_path / "alone"
    folder.mkdir()

    def read(document: Any) -> None:
        (folder / "experiment.json").write_bytes(write_any(document))
        describe_trained(replace(whole, info=read_trained(folder).info))

    assert try_all(list_changes(good), read) > 50


@pytest.mark.slow
def test_files_of_a_training_run_are_tabulated_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    keys = {"task": "reconstruction", "upsampler": "transposed", "kernel_size": 3, "scale_factor": 2}
    result = {**keys, "norm": "none", "seed": 0, "status": "ok", "message": "", "steps": 2, "loss": 0.5}
    row = {"step": 1, "loss": 0.5, "images": [{"image": "a", "psnr_db": 1.0}], "seconds": 1.0}

    def write(result: Any, row: Any) -> None:
        (run / "result.json").write_bytes(write_any(result))
        (run / "log.jsonl").write_bytes(write_any(row))
        write_experiment_tables(tmp_path)

    assert try_all(list_changes(result), lambda document: write(document, row)) > 50
    assert try_all(list_changes(row), lambda document: write(result, document)) > 20
    with pytest.raises(
        DeconvbenchError, match=r"log.jsonl:1: not a row of a log: step: 'x' is not a whole number"
    ):
        write(result, {**row, "step": "x"})


def run_all(*steps: Callable[[], object]) -> None:
    for step in steps:
        step()


SPOILT: dict[str, Callable[[Path], object]] = {
    "no-text": lambda path: path.write_bytes(b"\xff\xfe\x00\x80\n"),
    "utf-16": lambda path: path.write_bytes('{"schema_version": 1}\n'.encode("utf-16")),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:20] + b"\n"),
    "a-key-twice": lambda path: path.write_bytes(b'{"schema_version": 1, "schema_version": 1}\n'),
    "deep": lambda path: path.write_bytes(b"[" * 10**5 + b"]" * 10**5 + b"\n"),
    "many-digits": lambda path: path.write_bytes(b'{"schema_version": ' + b"1" * 5000 + b"}\n"),
    "large": lambda path: os.truncate(path, 2**40),
    "folder": lambda path: run_all(path.unlink, path.mkdir),
    "pipe": lambda path: run_all(path.unlink, lambda: os.mkfifo(path)),
    "device": lambda path: run_all(path.unlink, lambda: path.symlink_to("/dev/zero")),
}


@pytest.fixture
def spoilt_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder, with a file of claims, and a file of pytest-benchmark beside it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    open_folder(make_plan(), folder, ENVIRONMENT)
    write_run(folder)
    (folder / "claims.json").write_text('{"schema_version": 1, "rows": []}')
    make_results(tmp_path / "experiments", (("nearest_conv", 3),), seeds=1)
    write_saved("saved.json")
    (tmp_path / "grid.toml").write_text("name = 'x'\n")
    return folder


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"run/{RUN_NAME}", ["report", "run"]),
        (f"run/{JOURNAL_NAME}", ["compare", "run", "run"]),
        ("run/claims.json", ["report", "run"]),
        ("saved.json", ["compare", "saved.json", "run"]),
        ("experiments/experiment.json", ["claims", "run", "--results", "experiments"]),
        ("experiments/results.csv", ["claims", "run", "--results", "experiments"]),
        ("grid.toml", ["grid", "--grid", "grid.toml"]),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_spoilt_file_is_named_in_one_line_by_the_command_that_reads_it(
    spoilt_run: Path, name: str, words: list[str], how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = spoilt_run.parent / name
    SPOILT[how](path)
    code = main(words)
    out, err = capsys.readouterr()
    assert code == 2, err
    assert out == ""
    line = [line for line in err.splitlines() if line.startswith("deconvbench: ")]
    assert len(line) == 1
    assert path.name in line[0]
    assert len(line[0]) < 600


@pytest.mark.slow
def test_a_report_of_hostile_records_is_written(tmp_path: Path) -> None:
    """Numbers and texts of every strange kind, to the last figure."""
    text = "\x1b[31m<script>alert(1)</script>\0\u2028\udce9|`$x$ =1"
    records = [
        make_record(
            case=make_case(height=size), replicate=replicate, seed=2**64, torch_version=text, machine_id=text,
            latency=make_latency(1.0 + replicate, math.inf, math.nan, 2.0), memory=make_memory(), macs=10**25,
        )
        for size in (4, 2**33)
        for replicate in range(3)
    ]  # fmt: skip
    records += [make_record(case=make_case(height=2**63), status="error", message=text, noise_reason=text)]
    folder = tmp_path / "run"
    open_folder(make_plan(), folder, {**ENVIRONMENT, "cpu": text, "memory_bytes": 10**400})
    lines = [json.dumps({"schema_version": 1, "kind": r.KIND, **asdict(r)}) + "\n" for r in records]
    (folder / JOURNAL_NAME).write_text("".join(lines))
    page = write_report(folder).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert not {"\x1b", "\0", "\u2028"} & set(page)
    assert r"\x1b[31m" in page
    assert compare(folder, folder)["verdict"].eq("same").any()


def test_reading_of_json_objects_of_training_refuses_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(DeconvbenchError, match=r"a.json cannot be read: \[\] is not an object"):
        read_json(tmp_path / "a.json")
    assert read_log(tmp_path) == []
