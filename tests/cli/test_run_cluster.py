"""``deconvbench run --scheduler``: what is refused at once, and a run on workers of this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.dask_cluster import start_cluster
from deconvbench.__main__ import main
from deconvbench.errors import SurroundingsError
from deconvbench.workflows import cluster

TINY = ["--preset", "smoke", "-k", "nearest and 8x8", "--seed", "1"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--scheduler", "here"], "--scheduler: 'here' is not local:N, tcp://HOST:PORT or tls://HOST:PORT"),
        (["--scheduler", "local:-3"], "--scheduler: local:N: -3 is not from 1 to "),
        (["--scheduler", "local:99999999"], "--scheduler: local:N: 99999999 is not from 1 to "),
        (
            ["--scheduler", "local:x"],
            "--scheduler: 'local:x': N, the number of workers, is a whole number from 1 to",
        ),
        (
            ["--scheduler", "tcp://10.1.2.3:8786"],
            "--scheduler: tcp://10.1.2.3:8786 is another machine without TLS",
        ),
        (["--scheduler", "local:1", "--placement", "all"], "--placement: 'all' is not one of per-machine, spread"),
        (["--placement", "spread"], "--placement: is for runs on a cluster; give its address with --scheduler"),
        (["--insecure"], "--insecure: is for runs on a cluster; give its address with --scheduler"),
        (["--scheduler", "local:1", "--resume", "--seed", "3"], "--resume: takes grid, seed and settings from"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_wrong_use_is_one_line(
    words: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = [] if "--resume" in words else TINY
    assert main(["run", *tiny, *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"deconvbench: {line}")
    assert err.count("\n") == 1
    # nothing was begun
    assert not [*tmp_path.rglob("run.json")]
    assert not [*tmp_path.rglob("*-smoke")]


def test_what_stops_a_run_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(plan: object, out: Path, choice: object, *, begin: object, **_: object) -> list[object]:
        assert callable(begin)
        begin(out)
        raise SurroundingsError("--scheduler: the scheduler was lost")

    monkeypatch.setattr(cluster, "start_on_cluster", stop)
    out = str(tmp_path / "run")
    words = ["--scheduler", "tcp://10.0.0.1:1", "--insecure", "--placement", "spread"]
    assert main(["run", *TINY, *words, "--out", out]) == 3
    assert capsys.readouterr().err == (
        "deconvbench: --scheduler: the scheduler was lost. What was measured is kept. Continue with: deconvbench"
        f" run --scheduler tcp://10.0.0.1:1 --placement spread --insecure --out {out} --resume\n"
    )


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "hosts").mkdir()
    with start_cluster(tmp_path / "hosts", 1) as found:
        yield found


@pytest.mark.process
@pytest.mark.slow
def test_a_run_on_a_cluster_ends_like_any_other(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["run", *TINY, "--scheduler", address, "--out", str(out)]) == 0
    printed, err = capsys.readouterr()
    assert printed.splitlines()[-1] == str(out)
    assert "2 records: 2 ok" in err
    assert {path.name for path in out.iterdir()} >= {"run.json", "journal.jsonl", "table.parquet", "summary.csv"}
    # what is finished is not measured again, and a local run takes it up as well
    assert main(["run", "--scheduler", address, "--out", str(out), "--resume"]) == 0
    assert main(["report", str(out)]) == 0
