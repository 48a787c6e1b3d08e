"""Two commits compared: in throw-away repositories, with fake sides or, once each, with real processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from deconvbench.errors import UsageError
from deconvbench.progress import JobDone
from deconvbench.records.pairs import PairRecord
from deconvbench.records.run_folder import read_journal
from deconvbench.runner.engine import PlannedRun, RunOutcome
from deconvbench.runner.pairing import PairSetup
from deconvbench.runner.worker import WorkerOptions
from deconvbench.workflows import commits, paired_measuring
from deconvbench.workflows.commits import CommitComparison, CommitSelection, compare_commits, parse_slowdowns
from tests.repositories import SOURCE, git, list_worktrees, make_own_repository, make_users_repository

pytestmark = pytest.mark.process

NEAREST = "nearest_conv-k3-s2-c8x8-16x16"
OTHER = "conv_nearest-k3-s2-c8x8-16x16"
SETTINGS = ("upsampler=nearest_conv,conv_nearest", "height=16", "in_channels=8", "out_channels=8", "step=forward")
# fewer replicates call nothing slower
SMALL = CommitSelection(settings=SETTINGS, replicates=5, seed=5)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with this package in it, and a second commit that makes one upsampler twenty times slower.

    No noise of a machine does that: what is asserted is whose layer was measured, not how fast it is.
    """
    return make_own_repository(tmp_path / "repository")


class FakeSide:
    """A side whose blocks take as long as it is told to; `nearest_conv` of HEAD is twice as slow."""

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options
        self.environment: dict[str, Any] = {"machine_id": "m", "code_version": options.code_version}
        self.alive = True
        self.case = ""

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        self.case = request.get("case", self.case)
        is_slow = "nearest_conv" in self.case and self.options.log is not None and self.options.log.stem == "head"
        answers: dict[str, dict[str, Any]] = {
            "prepare": {"digest": "d"},
            "settle": {"conditions": {}},
            "warm": {"calls": 1},
            "time": {"seconds": 2e-3 if is_slow else 1e-3, "disturbed": ""},
        }
        return {"status": "ok", **answers.get(request["do"], {})}

    def kill(self) -> None:
        self.alive = False


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> list[PlannedRun]:
    """Leave out what is found once on each side, and keep how that would be measured."""
    found: list[PlannedRun] = []

    def look(tasks: list[PlannedRun], observer: object, finish: Any) -> None:
        found.extend(tasks)
        for task in tasks:
            (task.folder / "journal.jsonl").touch()
            finish(task.folder, RunOutcome(records=(), measuring_share=None))

    monkeypatch.setattr(paired_measuring, "run_tasks", look)
    monkeypatch.setattr(commits, "PairSetup", lambda **words: PairSetup(**words, find_core=lambda: None))
    return found


def compare(repository: Path, selection: CommitSelection = SMALL, **changes: Any) -> CommitComparison:
    words: dict[str, Any] = {"results": repository.parent / "results", "start": FakeSide, **changes}
    return compare_commits(repository, "HEAD~1", "HEAD", selection, **words)


def list_verdicts(done: CommitComparison) -> dict[str, str]:
    table = done.found.table[done.found.table["metric"] == "latency_s"]
    return dict(zip(table["case_id"], table["verdict"], strict=True))


def test_each_side_takes_its_layers_from_its_own_worktree(repository: Path, untimed: list[PlannedRun]) -> None:
    started: list[WorkerOptions] = []

    def start(options: WorkerOptions) -> FakeSide:
        started.append(options)
        return FakeSide(options)

    compare(repository, CommitSelection(settings=SETTINGS, replicates=2, base_python="/other/python"), start=start)
    versions = [git(repository, "rev-parse", name)[:12] for name in ("HEAD~1", "HEAD")]
    assert [task.options.code_version for task in untimed] == versions
    assert [task.options.python for task in untimed] == ["/other/python", None]
    by_log = {options.log.stem: options for options in started if options.log}
    assert set(by_log) == {"base", "head", "control"}
    assert [by_log[name].code_version for name in ("base", "control", "head")] == [versions[0], *versions]
    for options in started:
        assert options.products is not None
        assert options.products.parent.name.startswith("1-" if options.code_version == versions[1] else "0-")
        assert dict(options.environment)["OMP_WAIT_POLICY"] == "passive"
    assert len(list_worktrees(repository)) == 1


def test_what_was_measured_is_kept_and_told(repository: Path, untimed: list[PlannedRun]) -> None:
    seen: list[JobDone] = []
    announced: list[str] = []
    done = compare(repository, observer=seen.append, announce=lambda lines, _: announced.extend(lines))
    assert list_verdicts(done) == {NEAREST: "slower", OTHER: "same"}
    records = [record for record in read_journal(done.folder) if isinstance(record, PairRecord)]
    assert {(r.pair, r.case.case_id, r.replicate) for r in records} == {
        (pair, case, replicate)
        for pair in ("head", "control")
        for case in (NEAREST, OTHER)
        for replicate in range(5)
    }
    assert [job.done for job in seen] == list(range(1, 21))
    assert seen[-1].total == 20
    info = json.loads((done.folder / "comparison.json").read_text())
    assert info["head_sha"] == git(repository, "rev-parse", "HEAD")[:12]
    assert info["case_ids"] == [NEAREST, OTHER]
    assert info["seed"] == 5
    assert "measured at the sizes of quick: nearest_conv" in done.lines
    assert "measured at the sizes of smoke: conv_nearest" in done.lines
    assert any("by deconvbench.upsamplers.resize_conv" in line for line in done.lines)
    assert announced == list(done.lines)
    assert done.folder.parent == (repository.parent / "results" / "comparisons").resolve()


def test_an_interrupted_comparison_goes_on_where_it_was(
    repository: Path, tmp_path: Path, untimed: list[PlannedRun]
) -> None:
    def stop(job: JobDone) -> None:
        if job.done == 3:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        compare(repository, out=out, observer=stop)
    assert len(list_worktrees(repository)) == 1
    before = read_journal(out)
    assert len(before) == 3
    done = compare(repository, CommitSelection(settings=SETTINGS, replicates=5), out=out)
    after = read_journal(out)
    assert after[:3] == before
    assert len({record.key for record in after}) == len(after) == 20
    assert {record.seed for record in after if isinstance(record, PairRecord)} == {5}
    assert list_verdicts(done) == {NEAREST: "slower", OTHER: "same"}


def test_another_comparison_in_that_folder_is_refused(
    repository: Path, tmp_path: Path, untimed: list[PlannedRun]
) -> None:
    compare(repository, out=tmp_path / "out")
    with pytest.raises(UsageError, match=r"--out: .* holds another comparison \(margin differ\)"):
        compare(repository, CommitSelection(settings=SETTINGS, replicates=5, margin=0.05), out=tmp_path / "out")
    (tmp_path / "out" / "comparison.json").write_text("[]")
    with pytest.raises(UsageError, match="does not describe a comparison"):
        compare(repository, out=tmp_path / "out")


def test_cases_that_are_not_decided_get_further_replicates(
    repository: Path, untimed: list[PlannedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paired_measuring, "list_open", lambda records, *_: [OTHER] if len(records) < 60 else [])
    done = compare(repository, CommitSelection(settings=SETTINGS))
    counts: dict[tuple[str, str], int] = {}
    for record in read_journal(done.folder):
        assert isinstance(record, PairRecord)
        counts[record.pair, record.case.case_id] = counts.get((record.pair, record.case.case_id), 0) + 1
    # the control goes on as long as anything does
    assert counts == {("head", NEAREST): 10, ("head", OTHER): 20, ("control", NEAREST): 20, ("control", OTHER): 20}


def test_what_fails_twice_is_not_tried_again(repository: Path, untimed: list[PlannedRun]) -> None:
    class Failing(FakeSide):
        def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
            found = super().ask(request, timeout_s)
            is_meant = request["do"] == "warm" and self.case == NEAREST and self.options.log.stem == "head"  # type: ignore[union-attr]
            return {"status": "timeout", "message": "no answer"} if is_meant else found

    done = compare(repository, CommitSelection(settings=SETTINGS, replicates=4), start=Failing)
    tried = [r for r in read_journal(done.folder) if isinstance(r, PairRecord) and r.case.case_id == NEAREST]
    assert [r.replicate for r in tried if r.pair == "head"] == [0, 1]
    assert [r.replicate for r in tried if r.pair == "control"] == [0, 1, 2, 3]
    assert list_verdicts(done) == {NEAREST: "slower", OTHER: "same"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["transposed=5%", "carafe=0.1"], (("transposed", 0.05), ("carafe", 0.1))),
        ([], ()),
        (["transposed"], "--slow-down: 'transposed' is not of the form LAYER=SHARE"),
        (["transposed=x"], "--slow-down: 'x' is not a share"),
    ],
    ids=["two", "none", "form", "share"],
)
def test_planted_slowdowns_are_read(words: list[str], expected: object) -> None:
    if isinstance(expected, str):
        with pytest.raises(UsageError, match=expected):
            parse_slowdowns(words)
    else:
        assert parse_slowdowns(words) == expected


@pytest.mark.parametrize("replicates", [0, 1, 1001])
def test_too_few_and_too_many_replicates_are_refused(replicates: int) -> None:
    with pytest.raises(UsageError, match="--replicates"):
        CommitSelection(replicates=replicates)


def test_a_layer_of_another_module_is_not_compared_in_this_repository(
    repository: Path, untimed: list[PlannedRun]
) -> None:
    selection = CommitSelection(upsamplers=("tests.faulty_upsamplers:Sound",))
    with pytest.raises(UsageError, match="is not part of deconvbench"):
        compare(repository, selection)


@pytest.mark.slow
def test_the_slower_upsampler_is_caught_and_named(repository: Path, tmp_path: Path) -> None:
    selection = CommitSelection(settings=SETTINGS, replicates=2, margin=0.5)
    done = compare_commits(repository, "HEAD~1", "HEAD", selection, results=tmp_path / "results")
    table = done.found.table
    timed = table[table["metric"] == "latency_s"]
    ratios = {str(case): float(ratio) for case, ratio in zip(timed["case_id"], timed["ratio"], strict=True)}
    assert ratios[NEAREST] > 10
    assert ratios[OTHER] < 5
    values = table[table["metric"] != "latency_s"]
    changed = values[values["verdict"] != "same"]
    assert changed.empty, changed.to_dict("records")
    assert {"macs", "peak_memory_bytes", "phase_ripple"} <= set(values["metric"])
    # outputs were compared before anything was timed, and are those of before
    records = [record for record in read_journal(done.folder) if isinstance(record, PairRecord)]
    assert {record.output_difference for record in records} == {0.0}
    assert len(list_worktrees(repository)) == 1


@pytest.mark.slow
def test_an_interface_that_does_not_fit_is_named(repository: Path, tmp_path: Path) -> None:
    package = repository / "src" / "deconvbench" / "upsamplers" / "__init__.py"
    package.write_text("from deconvbench.theory import a_name_of_another_time\n")
    git(repository, "commit", "-qam", "another interface")
    with pytest.raises(UsageError, match="cannot be driven by this engine: ImportError: .*a_name_of_another_time"):
        compare_commits(repository, "HEAD", "HEAD~1", SMALL, results=tmp_path / "results")
    assert len(list_worktrees(repository)) == 1


@pytest.mark.slow
def test_a_terminated_comparison_leaves_no_worktree_and_says_how_to_go_on(repository: Path) -> None:
    command = [sys.executable, "-m", "deconvbench", "compare-commits", "HEAD~1", "HEAD", "--preset", "smoke"]
    with subprocess.Popen(command, cwd=repository, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith("["):
            assert process.poll() is None
        assert len(list_worktrees(repository)) == 3
        children = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGTERM)
        rest = process.stderr.read()
        process.wait(60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Continue with: deconvbench compare-commits 'HEAD~1' HEAD --preset smoke --out " in rest
    assert len(list_worktrees(repository)) == 1
    assert psutil.wait_procs(children, 10)[1] == []


def run(repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a repository that knows nothing of this package but that it is installed."""
    command = [sys.executable, "-m", "deconvbench", "compare-commits", *words]
    variables = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False, env=variables)


def test_the_command_line_names_what_is_wrong(repository: Path) -> None:
    ended = run(repository, "no-such")
    assert (ended.returncode, ended.stderr) == (2, "deconvbench: 'no-such' is not a commit of this repository\n")


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "replicates"), [("src", 5), (".", 2)])
def test_layers_of_anybodys_repository_are_compared(tmp_path: Path, layout: str, replicates: int) -> None:
    folder = make_users_repository(tmp_path / "users", layout=layout)
    # what is not committed is neither BASE nor HEAD
    for name in ("layers", "resizing"):
        (folder / layout / "mypkg" / f"{name}.py").write_text("raise RuntimeError('not committed')\n")
    sizes = ("--set", "height=16", "--set", "step=forward", "--set", "in_channels=8", "--set", "out_channels=8")
    ended = run(
        folder, "HEAD~1", "--upsampler", "mypkg.layers:Mine", *sizes, "--replicates", str(replicates),
        "--margin", "50%", "--out", "out",
    )  # fmt: skip
    assert "measured at the sizes of quick: mine" in ended.stderr
    assert "changed: mine, by mypkg.resizing" in ended.stderr
    records = [record for record in read_journal(folder / "out") if isinstance(record, PairRecord)]
    assert {(r.case.upsampler, r.status, r.output_difference) for r in records} == {("mine", "ok", 0.0)}
    heads = [record for record in records if record.pair == "head"]
    assert all(min(r.head_samples_s) > max(r.base_samples_s) for r in heads)
    assert len(heads) == replicates
    # five pairs are the fewest that call anything slower; 4 where those of the control happened to differ
    assert ended.returncode in ((1, 4) if replicates == 5 else (0, 4))
    assert f"1 case: {int(replicates == 5)} slower" in ended.stdout
    assert len(list_worktrees(folder)) == 1


def test_a_module_that_no_commit_has_is_named(tmp_path: Path) -> None:
    folder = make_users_repository(tmp_path / "users")
    ended = run(folder, "HEAD~1", "--upsampler", "mypkg.nothing:Mine")
    assert ended.returncode == 2
    assert "neither commit has a module 'mypkg.nothing'" in ended.stderr


def test_a_repository_without_layers_says_how_to_name_them(tmp_path: Path) -> None:
    folder = make_users_repository(tmp_path / "users")
    ended = run(folder, "HEAD~1")
    assert ended.returncode == 2
    assert "name them with --upsampler pkg.mod:factory" in ended.stderr
