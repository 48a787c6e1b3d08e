"""Commands that measure, and those that say what would be measured and where."""

import contextlib
import json
import re
import sys
from pathlib import Path

import pytest
import torch

from deconvbench.__main__ import main
from deconvbench.records.case import Case
from deconvbench.runner import catalogue
from deconvbench.runner.catalogue import CatalogueRow
from deconvbench.upsamplers import registry
from tests.json_schemas import check_output

FAULTY = "tests.faulty_upsamplers"
TINY = ["--preset", "smoke", "-k", "nearest and 8x8", "--seed", "1"]


def test_grid_lists_cases_and_counts_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grid", "--preset", "smoke"]) == 0
    out, err = capsys.readouterr()
    assert "nearest_conv-k3-s2-c16x8-8x8\n" in out
    assert [Case.from_id(line).case_id for line in out.splitlines()] == out.splitlines()
    assert f"{len(out.splitlines())} cases × 1 replicates, about" in err


def test_grid_as_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grid", "--set", "height=8", "-k", "subpixel_icnr and train and not blur", "--json"]) == 0
    answer = check_output(capsys.readouterr().out)
    assert (answer["schema_version"], answer["kind"], len(answer["rows"])) == (1, "grid", 1)
    row = answer["rows"][0]
    assert row.pop("case_id") == Case(**row).case_id == "subpixel_icnr-k3-s2-c64x32-8x8-train"


@pytest.fixture
def _few_upsamplers(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = registry.list_upsamplers()
    few = ("transposed", "nearest_conv")
    monkeypatch.setattr(registry, "_REGISTRY", {name: ours[name] for name in few})


@pytest.mark.slow
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
    answer = check_output(capsys.readouterr().out)
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


@pytest.mark.slow
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


@pytest.mark.usefixtures("here")
def test_one_that_is_stopped_as_soon_as_a_bar_is_seen_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_: object) -> contextlib.AbstractContextManager[None]:
        raise KeyboardInterrupt

    monkeypatch.setattr("deconvbench.progress.show_progress", stop)
    assert main(["run", *TINY, "--out", "a folder"]) == 130
    assert "Continue with: deconvbench run --out 'a folder' --resume" in capsys.readouterr().err
