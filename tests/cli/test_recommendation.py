"""Asking which layer to take from the command line."""

from pathlib import Path

import pytest

from deconvbench.__main__ import main
from tests.analysis.made_choices import write_run
from tests.json_schemas import check_output


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return str(write_run(tmp_path / "run"))


def test_the_answer_is_one_screen_on_standard_output(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", run, "--ripple", "0", "--memory", "64MiB"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Take nearest_conv_fast k3 s2: ")
    assert "layer = ResizeConv2d(4, 2, 3, 2)" in out
    assert len(out.splitlines()) < 24
    assert err == ""


def test_it_exits_with_1_where_no_layer_is_left(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", run, "--memory", "1KB"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("No layer satisfies that: of 4 with a cost here, memory ≤ 1000 B leaves 0")
    assert err == ""


def test_as_json_it_is_one_strict_object(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", run, "--size", "8", "--checkerboard", "0.5", "--json"]) == 0
    answer = check_output(capsys.readouterr().out)
    assert (answer["schema_version"], answer["kind"]) == (1, "recommend")
    assert [row["verdict"] for row in answer["rows"]].count("chosen") == 1
    assert answer["limits"] == {"checkerboard": 0.5}
    assert set(answer) == {
        "schema_version", "kind", "rows", "setting", "also_measured", "limits", "baseline", "case_id", "code",
        "left", "nearest", "relaxed", "without_ripple", "missing", "source", "trained",
    }  # fmt: skip
    assert main(["recommend", run, "--memory", "1", "--json"]) == 1
    assert check_output(capsys.readouterr().out)["case_id"] is None


@pytest.mark.usefixtures("capsys")
def test_markdown_replaces_its_own_file_and_no_other(run: str) -> None:
    words = ["recommend", run, "--markdown", "mine.md"]
    Path("mine.md").write_text("my own")
    assert main(words) == 2
    assert Path("mine.md").read_text() == "my own"
    assert main([*words, "--force"]) == 0
    assert Path("mine.md").read_text().startswith("### deconvbench recommend: separable\\_transposed k3 s2\n")
    assert main(words) == 0


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--device cuda", "device: 'cuda' was not measured; measured is cpu"),
        ("--device toaster", "device: 'toaster' is not cpu, cuda, mps or xpu"),
        (
            "--size 64",
            "size: 64×64 is beyond the sizes that were measured: 8×8, 16×16, 32×32; measure it: deconvbench",
        ),
        ("--channels 8x8", "in_channels: 8 was not measured; measured is 4"),
        ("--channels 4x8", "out_channels: 8 was not measured with in_channels 4; measured is 2"),
        ("--scale 3", "scale_factor: 3 was not measured; measured is 2"),
        ("--step train", "step: 'train' was not measured; measured is forward"),
        ("--step tran", "step: 'tran' is not one of forward, train (did you mean 'train'?)"),
        ("--batch 0", "batch: 0 is not a whole number of at least 1"),
        ("--dtype float8", "dtype: 'float8' is not one of float32"),
        ("--memory-format nhwc", "memory_format: 'nhwc' is not one of contiguous, channels_last"),
        ("--threads 64", "threads: 64 was not measured; measured is 1"),
        ("--execution jit", "execution: 'jit' is not one of eager, compile, cudagraph"),
        ("--ripple -1", "ripple: -1.0 is not a number of at least 0 (share of power)"),
        ("--checkerboard nan", "checkerboard: nan is not a number of at least 0 (8-bit levels)"),
        ("--psnr inf", "psnr: inf is not a finite number (dB)"),
        ("--results none", "results: 'none' is not a folder"),
    ],
)
def test_what_there_is_not_is_one_line(
    run: str, line: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recommend", run, *line.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert named in err
