import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deconvbench.__main__ import main

TINY = ["--preset", "smoke", "-k", "nearest and 8x8", "--seed", "1"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the test needs to be absent")
def test_an_absent_device_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *TINY, "--device", "cuda"]) == 2
    assert "cuda" in capsys.readouterr().err
    assert not (here / "results").exists()


@pytest.mark.usefixtures("here")
def test_verbose_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-v", "run", "--preset", "quik"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "deconvbench 0.1.0\n"


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"]], ids=" ".join)
def test_help_imports_neither_torch_nor_pandas(words: list[str]) -> None:
    code = (
        "import sys\nfrom deconvbench.__main__ import main\nmain(sys.argv[1:])\n"
        "heavy = {'torch', 'pandas', 'numpy', 'scipy', 'matplotlib', 'seaborn', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    answer = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_what_is_too_long_to_be_read_loses_its_middle(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "a" * 9000 + " " + "b " * 9000]) == 2
    err = capsys.readouterr().err
    assert len(err) < 2100
    assert "…" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words", [["run", "--out", "a\0b"], ["report", "\0"], ["compare", "a", "b", "--html", "\0"]], ids=repr
)
def test_no_word_may_hold_a_nul(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "holds a NUL character" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("report", "[default: the newest]"),
        ("recommend", "[default: the newest, else results/reference]"),
        ("compare-commits", "[default: 10, and up to 30 for cases not decided]"),
    ],
)
def test_help_shows_what_the_default_is(command: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert shown in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("words", [["run", "--preset", "smoke"], ["report"], ["env"]], ids=" ".join)
@pytest.mark.usefixtures("here")
def test_a_command_that_is_interrupted_before_it_has_more_to_say_says_so(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for name in ("deconvbench.workflows.run.read_environment", "deconvbench.workflows.selection.make_plan"):
        monkeypatch.setattr(name, stop)
    monkeypatch.setattr("deconvbench.records.run_folder.find_newest_run", stop)
    assert main(words) == 130
    assert capsys.readouterr() == ("", "deconvbench: interrupted\n")
