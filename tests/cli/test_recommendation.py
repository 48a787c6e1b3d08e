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
        ("--channels 8x8", "--channels: 8x8 was not measured; measured is 4x2"),
        ("--channels 4x8", "--channels: 4x8 was not measured; measured is 4x2"),
        ("--scale 3", "--scale: 3 was not measured; measured is 2"),
        ("--step train", "step: 'train' was not measured; measured is forward"),
        ("--step tran", "step: 'tran' is not one of forward, train (did you mean 'train'?)"),
        ("--batch 0", "batch: 0 is not a whole number of at least 1"),
        ("--dtype float8", "dtype: 'float8' is not one of float32"),
        ("--memory-format nhwc", "--memory-format: 'nhwc' is not one of contiguous, channels_last"),
        ("--threads 64", "threads: 64 was not measured; measured is 1"),
        ("--execution jit", "execution: 'jit' is not one of eager, compile, cudagraph"),
        ("--ripple -1", "--ripple: -1.0 is not a number from 0 to 1 (share of power)"),
        ("--checkerboard nan", "--checkerboard: nan is not a number from 0 to 255 (8-bit levels)"),
        ("--psnr inf", "--psnr: inf is not a finite number (dB)"),
        ("--ripple 2", "--ripple: 2.0 is not a number from 0 to 1 (share of power)"),
        ("--checkerboard 300", "--checkerboard: 300.0 is not a number from 0 to 255"),
        ("--channels 1x1", "--channels: 1x1 was not measured; measured is 4x2"),
        ("--channels 1x1 --scale 2", "--channels: 1x1 was not measured with scale 2; measured is 4x2"),
        ("--scale 0", "--scale: 0 is not a whole number of at least 1"),
        ("--scale 7", "--scale: 7 was not measured; measured is 2"),
        ("--batch 3", "--batch: 3 was not measured"),
        ("--memory-format mine", "--memory-format: 'mine' is not one of"),
        ("--size 4096 --extrapolate", "--size: 4096×4096 has 1.64e+04 times the pixels of 32×32"),
        ("--measure", "--measure: is for --for TARGET"),
        ("--input 1x3x8x8", "--input: is for --for TARGET"),
        ("--for a:b --size 8", "--size: is that of each site with --for; leave it out"),
        ("--for a:b --channels 4x2", "--channels: is that of each site with --for"),
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


@pytest.mark.process
@pytest.mark.slow
def test_it_answers_for_the_sites_of_a_network(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("net.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.ConvTranspose2d(4, 2, 3, 2, 1, 1), nn.Conv2d(2, 3, 3, padding=1))\n"
    )
    words = ["recommend", run, "--for", "net.py:make", "--input", "1x4x16x16"]
    assert main([*words, "--markdown", "sites.md"]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith(
        "1. 0: transposed convolution k3 s2, ×2, 4 ch 16×16 → 2 ch 32×32\n   Take nearest_conv_fast"
    )
    assert Path("sites.md").read_text().startswith("### deconvbench recommend: 1 site (`net.py:make`)")
    assert main([*words, "--json"]) == 0
    answer = check_output(capsys.readouterr().out)
    assert (answer["kind"], answer["target"], answer["limits"]) == ("recommend-for", "net.py:make", {"ripple": 0})
    assert answer["rows"][0]["chosen"] == "nearest_conv_fast k3 s2"
    assert main(["recommend", run, "--for", "net.py:make", "--input", "1x4x99x99"]) == 1
    assert main(["recommend", "--for", "nowhere"]) == 2
    assert "--for: 'nowhere' is not of the form pkg.mod:factory" in capsys.readouterr().err
