"""The pytest front, driven as a user drives it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
SMALL = ("--preset", "smoke", "--replicates", "2", "-k", "8x8 and not train")


def bench(folder: Path, *words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", str(ROOT / "bench"), *words],
        cwd=folder,
        # pytest-benchmark switches itself off in a worker of pytest-xdist, which these tests may run in
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")},
            "PYTHONPATH": os.pathsep.join(
                filter(None, [os.environ.get("PYTHONPATH"), str(path) if path else None])
            ),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder in which the front ran twice, saving both times."""
    folder = tmp_path_factory.mktemp("bench")
    saving = ("--benchmark-autosave", "--benchmark-save-data")
    first = bench(folder, *SMALL, *saving, "--run-dir", "run-1", "--benchmark-group-by", "group")
    assert first.returncode == 0, first.stdout + first.stderr
    second = bench(folder, *SMALL, *saving, "--run-dir", "run-2", "--benchmark-histogram", "picture/h")
    assert second.returncode == 0, second.stdout + second.stderr
    return folder, first


def read_saved(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "results" / ".benchmarks").rglob("*.json"))
    return [json.loads(path.read_text()) for path in files]


def test_ids_are_case_ids_and_cases_compete_in_groups(
    saved: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, ended = saved
    assert "bench_case[nearest_conv-k3-s2-c16x8-8x8]" in ended.stdout
    assert "benchmark 's2-c16x8-8x8': 4 tests" in ended.stdout


def test_progress_and_the_run_folder_are_seen(saved: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, ended = saved
    assert " left  quality of " in ended.stderr
    assert "run folder: run-1" in ended.stdout
    assert "8 ok" in ended.stdout


def test_what_is_saved_is_what_the_engine_measured(saved: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = saved
    documents = read_saved(folder)
    assert len(documents) == 2
    for number, document in enumerate(documents, 1):
        assert len(document["benchmarks"]) == 4
        lines = (folder / f"run-{number}" / "journal.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        for found in document["benchmarks"]:
            info = found["extra_info"]
            assert found["name"] == f"bench_case[{info['case_id']}]"
            mine = [r for r in records if r["kind"] == "record" and name_of(r) == info["case_id"]]
            samples = [sample for record in mine for sample in record["latency"]["samples_s"]]
            assert found["stats"]["data"] == pytest.approx(samples, rel=1e-9)
            assert info["status"] == "ok"
            assert len(info["replicate_latency_s"]) == 2
            assert info["peak_memory_bytes"] > 0
            assert info["overlap_cv"] is not None


def name_of(record: dict[str, Any]) -> str:
    from deconvbench.records.case import Case

    return Case(**record["case"]).case_id


def test_saved_runs_compare_and_a_histogram_is_drawn(
    saved: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = saved
    storage = f"--storage={folder / 'results' / '.benchmarks'}"
    answer = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", storage, "compare"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("nearest_conv-k3-s2-c16x8-8x8") == 2
    assert list((folder / "picture").glob("*.svg"))


def test_disabled_runs_each_case_once_and_measures_nothing(tmp_path: Path) -> None:
    ended = bench(tmp_path, "--preset", "smoke", "--benchmark-disable")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "16 passed" in ended.stdout
    # pytest-benchmark makes its storage folder; the engine made nothing
    assert not list(tmp_path.rglob("journal.jsonl"))


def test_what_is_not_ok_is_skipped_with_its_reason(tmp_path: Path) -> None:
    words = ("--preset", "smoke", "--set", "kernel_size=1,3", "-k", "transposed and 8x8 and not train")
    ended = bench(tmp_path, *words, "--run-dir", "run", "-rs")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 passed, 1 skipped" in ended.stdout
    assert "unsupported: transposed convolution needs kernel_size >= scale_factor" in ended.stdout
    assert "1 unsupported" in ended.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "quik"], "--preset: 'quik' is not one of smoke, quick"),
        (["--conditions", "quiet"], "--conditions: 'quiet' is not one of settled, system"),
        (["--set", "height=0"], "--set height: 0 is not a whole number"),
        (["--resume", "--run-dir", "none"], "run folder: 'none' does not exist"),
    ],
    ids=["preset", "conditions", "axis", "resume"],
)
def test_wrong_words_cost_one_line_and_exit_code_2(tmp_path: Path, words: list[str], message: str) -> None:
    ended = bench(tmp_path, *words)
    assert ended.returncode == 2
    assert message in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_finished_run_is_replayed_by_resume(saved: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = saved
    before = (folder / "run-1" / "journal.jsonl").read_bytes()
    ended = bench(folder, "--resume", "--run-dir", "run-1")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "4 passed" in ended.stdout
    assert (folder / "run-1" / "journal.jsonl").read_bytes() == before


def test_the_plain_route_compares_with_a_saved_run(saved: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """The README's recipe: autosave, then --benchmark-compare and --benchmark-compare-fail."""
    folder, _ = saved
    first = sorted((folder / "results" / ".benchmarks").rglob("*.json"))[0]
    replay = ("--resume", "--run-dir", "run-1", "--benchmark-compare=0001", "--benchmark-compare-fail=min:5%")
    same = bench(folder, *replay)
    assert same.returncode == 0, same.stdout + same.stderr
    before = first.read_text()
    document = json.loads(before)
    for found in document["benchmarks"]:
        found["stats"]["min"] /= 2
    first.write_text(json.dumps(document))
    try:
        slower = bench(folder, *replay)
    finally:
        first.write_text(before)
    assert slower.returncode != 0
    assert "Performance has regressed" in slower.stdout + slower.stderr


ONE = ("--preset", "smoke", "--replicates", "1", "-k", "nearest_conv-k3-s2-c16x8-8x8 and not train")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-p", "no:benchmark"], "pytest-benchmark is switched off, which the benches need"),
        (["--benchmark-compare"], "--benchmark-compare: nothing is saved in "),
        (["--benchmark-compare=0007"], "--benchmark-compare: nothing that '0007' names is saved in "),
        (["--run-dir", "/dev/null"], "--run-dir: '/dev/null' is a file, not a folder"),
        (["--run-dir", "/proc/nothing"], "--run-dir: cannot make '/proc/nothing': "),
        (["--run-dir="], "--run-dir: '' is empty"),
        (["--grid="], "--grid: '' is empty"),
        (["--replicates", "many"], "--replicates: 'many' is not a whole number"),
        (["--device", "xpu:77"], "device: 'xpu:77' is not on this machine"),
        (["--preset", "\x1b[31m"], r"--preset: '\x1b[31m' is not one of"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_use_is_said_before_anything_is_measured(tmp_path: Path, words: list[str], message: str) -> None:
    ended = bench(tmp_path, *ONE, *words)
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert message in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "collected" not in ended.stdout
    assert not list(tmp_path.rglob("journal.jsonl"))


def test_a_folder_of_others_asks_for_force(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    assert bench(tmp_path, *ONE, "--run-dir", "mine").returncode == 2
    assert bench(tmp_path, *ONE, "--run-dir", "mine", "--force").returncode == 0


@pytest.mark.parametrize(
    "words",
    [["-p", "no:capture"], ["-s"], ["--collect-only"], ["-x"], ["-n", "2"], ["-p", "no:terminal"]],
    ids=" ".join,
)
def test_other_words_of_pytest_will_do(tmp_path: Path, words: list[str]) -> None:
    ended = bench(tmp_path, *ONE, *words)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_ctrl_c_is_130_wherever_it_comes(tmp_path: Path) -> None:
    (tmp_path / "interrupting.py").write_text(
        "import pytest\n\n\n@pytest.hookimpl(tryfirst=True)\ndef pytest_runtest_setup(item):\n"
        "    raise KeyboardInterrupt\n"
    )
    ended = bench(tmp_path, *ONE, "-p", "interrupting", path=tmp_path)
    assert ended.returncode == 130, ended.stdout + ended.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs bind mounts")
def test_a_checkout_that_cannot_be_written_is_enough(tmp_path: Path) -> None:
    inner = f"mount --bind {ROOT} {ROOT} && mount -o remount,bind,ro {ROOT} && exec "
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    words = [*command, str(ROOT / "bench"), *ONE, "--run-dir", str(tmp_path / "run")]
    ended = subprocess.run(
        ["unshare", "--mount", "sh", "-c", inner + '"$@"', "sh", *words],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")},
        capture_output=True,
        text=True,
        check=False,
    )
    if "mount:" in ended.stderr or "unshare:" in ended.stderr:
        pytest.skip(f"mounting is not permitted here: {ended.stderr.strip()}")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 passed" in ended.stdout
