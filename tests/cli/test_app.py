import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deconvbench.__main__ import main
from deconvbench.records.case import Case
from deconvbench.runner import catalogue
from deconvbench.runner.catalogue import CatalogueRow
from deconvbench.upsamplers import registry

FAULTY = "tests.faulty_upsamplers"
TINY = ["--preset", "smoke", "-k", "nearest and 8x8", "--seed", "1"]
GRID = "[axes]\nupsampler = ['subpixel']\nkernel_size = [3]\nscale_factor = [2]\nin_channels = [4]\n"


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command line registers is forgotten after the test."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a few wrong files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torn.toml").write_text("[axes")
    (tmp_path / "axis.toml").write_text(GRID + "hight = [8]\n")
    (tmp_path / "zero.toml").write_text(GRID + "height = [0]\n")
    (tmp_path / "twice.toml").write_text(GRID + "height = [8, 8]\n")
    (tmp_path / "name.toml").write_text(GRID.replace("subpixel", "deconv") + "height = [8]\n")
    (tmp_path / "empty.toml").write_text("constraints = ['height > 9']\n" + GRID + "height = [8]\n")
    (tmp_path / "file").write_text("")
    (tmp_path / "torn.py").write_text("def factory(:")
    (tmp_path / "raises.py").write_text("factory = 1 / 0")
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.json").write_text('{"benchmarks": [{"extra_info": {}}]}')
    write_saved("base.json")
    write_saved("slow.json", factor=1.5)
    write_saved("two.json", replicates=2)
    write_saved("elsewhere.json", machine_id="there")
    write_saved("no_case.json", case="subpixel-k3-s2-c4x2-8x8")
    return tmp_path


def write_saved(
    name: str,
    *,
    case: str = "nearest_conv-k3-s2-c4x2-8x8",
    factor: float = 1.0,
    replicates: int = 3,
    machine_id: str = "here",
) -> None:
    """Write what pytest-benchmark saves of one case."""
    info = {
        "case_id": case,
        "status": "ok",
        "replicate_latency_s": [factor * 1e-3 * (1 + 0.001 * i) for i in range(replicates)],
        "machine_id": machine_id,
        "torch_version": "2.13.0",
        "phase_ripple": 0.0,
    }
    document = {"machine_info": {}, "commit_info": {"id": "a"}, "benchmarks": [{"extra_info": info}]}
    Path(name).write_text(json.dumps(document))


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
    ("selftest --out file", "--out: cannot make 'file/a': Not a directory"),
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


def test_grid_lists_cases_and_counts_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grid", "--preset", "smoke"]) == 0
    out, err = capsys.readouterr()
    assert "nearest_conv-k3-s2-c16x8-8x8\n" in out
    assert [Case.from_id(line).case_id for line in out.splitlines()] == out.splitlines()
    assert f"{len(out.splitlines())} cases × 1 replicates, about" in err


def test_grid_as_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grid", "--set", "height=8", "-k", "subpixel_icnr and train and not blur", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["schema_version"], answer["kind"], len(answer["rows"])) == (1, "grid", 1)
    row = answer["rows"][0]
    assert row.pop("case_id") == Case(**row).case_id == "subpixel_icnr-k3-s2-c64x32-8x8-train"


@pytest.fixture
def _few_upsamplers(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = registry.list_upsamplers()
    few = ("transposed", "nearest_conv")
    monkeypatch.setattr(registry, "_REGISTRY", {name: ours[name] for name in few})


@pytest.mark.usefixtures("_few_upsamplers")
def test_upsamplers_are_measured_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    own = [word for kind in ("Sound", "WrongSize", "Segfaults") for word in ("--upsampler", f"{FAULTY}:{kind}")]
    assert main(["grid", "--upsamplers", *own]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    head, transposed, nearest, sound, wrong, crashed = out.splitlines()
    assert head.split() == ["name", "formula", "MACs", "ripple", "paper"]
    assert re.fullmatch(r"transposed +convT_k\(x\), stride s +k²/s² +0\.7\d\d +Zeiler et al\. 2010.*", transposed)
    assert re.fullmatch(r"nearest_conv +conv_k\(nearest_s\(x\)\) +k² +0 +Odena et al\. 2016.*", nearest)
    # nothing is declared of it, and nothing is made up
    assert re.fullmatch(r"sound +flat 0", sound)
    assert re.match(r"wrongsize +– +error: .*output of shape .* for an input of shape .* asks for", wrong)
    assert re.match(r"segfaults +– +crashed: killed by SIGSEGV", crashed)


@pytest.fixture
def made_row(monkeypatch: pytest.MonkeyPatch) -> CatalogueRow:
    """What the catalogue holds instead of anything measured."""
    row = CatalogueRow(
        name="mine",
        formula="f(x) " * 40,
        macs="k² + 4/C_in " * 3,
        phase_ripple=0.25,
        linear=True,
        reference="p" * 90,
    )
    monkeypatch.setattr(catalogue, "list_catalogue", lambda sources: [row])
    return row


def test_upsamplers_as_json_are_one_strict_object(
    capsys: pytest.CaptureFixture[str], made_row: CatalogueRow
) -> None:
    assert main(["grid", "--upsamplers", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (answer["schema_version"], answer["kind"]) == (1, "upsamplers")
    (row,) = answer["rows"]
    assert list(row) == [
        "name", "summary", "formula", "macs", "phase_ripple", "flat_field_ripple", "kernel_size", "scale_factor",
        "linear", "shift_equivariant", "reference", "message",
    ]  # fmt: skip
    assert CatalogueRow(**row) == made_row


@pytest.mark.usefixtures("made_row")
def test_a_terminal_gets_upsamplers_in_its_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["grid", "--upsamplers"]) == 0
    lines = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert len(lines) > 5
    assert {len(line) for line in lines} == {80}


def test_env_prints_the_record(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env"]) == 0
    assert json.loads(capsys.readouterr().out)["torch_version"] == torch.__version__


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


def test_a_run_ends_with_its_folder_and_a_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *TINY, "--out", "mine"]) == 0
    out, err = capsys.readouterr()
    assert out == "mine\n"
    assert "records: 2 ok" in err
    assert "of the time after start-up went into latency and memory passes" in err
    assert {path.name for path in Path("mine").iterdir()} >= {
        "run.json", "journal.jsonl", "table.parquet", "table.csv", "summary.csv", "quality.parquet",
    }  # fmt: skip

    assert main(["run", *TINY, "--out", "mine"]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main(["run", "--resume", "--out", "mine"]) == 0
    assert capsys.readouterr().out == "mine\n"

    assert main(["report", "mine"]) == 0
    assert capsys.readouterr().out == "mine/report.html\n"
    assert (here / "mine" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("line", "code", "verdict"),
    [
        ("base.json slow.json", 1, "slower"),
        ("slow.json base.json", 0, "faster"),
        ("base.json base.json", 0, "same"),
        ("base.json slow.json --margin 60%", 0, "same"),
    ],
)
@pytest.mark.usefixtures("here")
def test_compare_exits_1_where_something_is_slower(
    line: str, code: int, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *line.split()]) == code
    out, err = capsys.readouterr()
    assert f"1 case: {'1' if verdict == 'slower' else '0'} slower" in out
    assert f"1 {verdict}" in out
    assert err == ""


@pytest.mark.usefixtures("here")
def test_compare_as_json_is_one_strict_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "base.json", "slow.json", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (answer["schema_version"], answer["kind"]) == (1, "compare")
    latency, ripple = answer["rows"]
    assert list(latency) == ["case_id", "metric", "ratio", "low", "high", "verdict", "reason"]
    assert (latency["metric"], latency["verdict"], latency["ratio"]) == ("latency_s", "slower", pytest.approx(1.5))
    assert (ripple["verdict"], ripple["ratio"], ripple["low"], ripple["high"]) == ("same", None, None, None)


@pytest.mark.usefixtures("here")
def test_compare_writes_a_page_and_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "base.json", "slow.json", "--html", "c.html", "--markdown", "c.md"]) == 1
    assert Path("c.html").read_text().startswith("<!DOCTYPE html>")
    assert Path("c.md").read_text().startswith("### slow.json against base.json\n")
    assert "1 slower" in capsys.readouterr().out
    assert main(["compare", "base.json", "slow.json", "--html", "none/c.html"]) == 3
    assert "deconvbench: cannot write to none/c.html" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_selftest_prints_what_each_rule_did(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deconvbench.analysis.selftest import judge_selftest
    from deconvbench.workflows import run as workflow

    run = {"case": [[1.0, 1.01], [1.02, 1.0], [0.99, 1.0]]}

    def measure_nothing(selection: object, slowdown: float, out: object, observer: object) -> tuple[object, Path]:
        return judge_selftest((run, run), (run, run), run, slowdown), Path("there")

    monkeypatch.setattr(workflow, "run_selftest", measure_nothing)
    assert main(["selftest"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("| runs     | rule ")
    assert "Really slowed by 10%" in out
    assert "runs and result: there" in err
    assert main(["selftest", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert answer["kind"] == "selftest"
    assert {row["false_alarms"] for row in answer["rows"]} == {0}
