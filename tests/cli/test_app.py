import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deconvbench.__main__ import main

TINY = ["--preset", "smoke", "-k", "nearest and 8x8", "--seed", "1"]


BAD_INPUTS = [
    ("run --preset quik", "--preset: 'quik' is not one of smoke, quick, article, full"),
    ("run --grid none.toml", "--grid: cannot read 'none.toml': No such file"),
    ("grid --grid torn.toml", "torn.toml: not TOML"),
    ("grid --grid axis.toml", "axis.toml: axes.hight: unknown axis; the axes are upsampler, kernel_size"),
    ("grid --grid zero.toml", "zero.toml: axes.height: 0 is not a whole number of at least 1"),
    ("run --grid twice.toml", "twice.toml: axes.height: 8 is given twice"),
    ("run --grid name.toml", "name.toml: axes.upsampler: 'deconv' is unknown; known are"),
    ("run --grid empty.toml", "empty.toml: no case is left"),
    ("run --preset smoke --grid zero.toml", "--preset: 'smoke' and --grid 'zero.toml' are mutually exclusive"),
    ("run --set height=0", "--set height: 0 is not a whole number of at least 1"),
    ("run --set hight=8", "--set hight: unknown axis; the axes are"),
    ("run --set height", "--set: 'height' is not of the form AXIS=VALUE,VALUE"),
    ("run --set dtype=int8", "--set dtype: 'int8' is not one of float32, float64, bfloat16, float16"),
    ("run --set upsampler=deconv", "axes.upsampler: 'deconv' is unknown; known are"),
    ("run --set kernel_size=0", "--set kernel_size: 0 is not a whole number of at least 1"),
    ("run -k nothing_like_it", "-k: 'nothing_like_it' matches none of the"),
    ("grid -k (", "-k: '(' is not an expression of words"),
    ("run --device gpu", "device: 'gpu' is not cpu, cuda, mps or xpu"),
    ("run --device xpu", "xpu"),
    ("run --upsampler numpy", "--upsampler: 'numpy' is not of the form pkg.mod:factory"),
    ("run --upsampler no.such:thing", "--upsampler: cannot import 'no.such'"),
    ("run --upsampler numpy:thing", "--upsampler: 'numpy' has no 'thing'"),
    ("run --upsampler tests.faulty_upsamplers:not_callable", "'not_callable' is int, not a function or class"),
    ("run --upsampler tests.faulty_upsamplers:built_already", "is a ConvTranspose2d that is built already, not a"),
    ("grid --upsampler torn:factory", "--upsampler: cannot import 'torn': SyntaxError: "),
    (
        "grid --upsamplers --upsampler raises:factory",
        "cannot import 'raises': ZeroDivisionError: division by zero (",
    ),
    ("run --replicates 0", "--replicates: 0 is not a whole number of at least 1"),
    ("run --replicates many", "'--replicates'"),
    ("run --timeout -1", "--timeout: -1.0 is not a number of seconds above 0"),
    ("run --preset smoke --out file", "--out: 'file' is a file, not a folder"),
    ("run --preset smoke --out file/below", "--out: cannot make 'file/below': Not a directory"),
    ("run --resume --out none", "run folder: 'none' does not exist"),
    ("run --resume --out folder", "run folder: 'folder' has no run.json"),
    ("run --resume --preset smoke --out folder", "--resume: takes grid, seed and settings from the run folder"),
    ("report none", "none"),
    ("report folder", "folder"),
    ("report", "results/runs"),
    ("report a b --out x.html", "--out: 'x.html' is one file, for 2 runs"),
    ("report folder --quality blur", "--quality: 'blur' is not one of"),
    ("report folder --results nowhere", "results: 'nowhere' is not a folder"),
    ("validate --seeds 0", "0"),
    ("compare base.json", "Missing argument 'NEW'"),
    ("compare base.json none", "run folder: 'none' does not exist"),
    ("compare folder base.json", "run folder: 'folder' has no journal.jsonl"),
    ("compare base.json file", "'file' is neither a run folder nor what pytest-benchmark saves of our bench"),
    ("compare base.json other.json", "'other.json' is neither a run folder nor what pytest-benchmark saves"),
    ("compare base.json two.json", "two.json: nearest_conv-k3-s2-c4x2-8x8 has 2 replicates; a comparison needs"),
    ("compare base.json elsewhere.json", "machines differ: base.json is from here, elsewhere.json from there"),
    ("compare base.json no_case.json", "base.json and no_case.json have no measured case in common"),
    ("compare base.json slow.json --margin 120%", "--margin: '120%' is not a share between 0 and 1"),
    ("selftest --replicates 2", "--replicates: 2 is too few to compare; at least 3"),
    ("selftest --slowdown 0", "--slowdown: '0' is not a share between 0 and 1"),
    ("selftest --preset quik", "--preset: 'quik' is not one of"),
    ("selftest -k nothing_like_it", "-k: 'nothing_like_it' matches none of the"),
    ("selftest --set device=cuda", "--set device: 'cuda' cannot be made slower by a busy loop"),
    ("selftest --out file", "--out: 'file' is a file, not a folder"),
    ("bench", "No such command 'bench'"),
    ("run --presett smoke", "No such option"),
    ("grid --set", "--set"),
]


@pytest.mark.parametrize(("line", "message"), BAD_INPUTS, ids=[line for line, _ in BAD_INPUTS])
@pytest.mark.usefixtures("here")
def test_bad_input_is_one_clear_line_and_exit_code_2(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.startswith("deconvbench: ")
    assert err.count("\n") == 1


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
