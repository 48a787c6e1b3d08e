"""A declared metric is everywhere: measured, stored, pooled, compared, drawn and reported, by one entry."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
# what it does must not be seen by other tests: columns follow from the declarations when modules are imported
PROGRAM = """
import json, sys
from pathlib import Path
import deconvbench
from deconvbench.__main__ import main
from deconvbench.plots.artifact_maps import FACES, draw_artifact_maps
from deconvbench.tables.files import read_tables
from deconvbench.workflows.replay import _SHOWN_COLUMNS

run = Path(sys.argv[1])
words = ["--preset", "smoke", "-k", "nearest or transposed", "--set", "height=8", "--set", "step=forward"]
words += ["--replicates", "3", "--seed", "1"]
assert main(["run", *words, "--out", str(run)]) == 0
assert main(["report", str(run), "--quality", "tap_peak"]) == 0
tables = read_tables(run)
comparison = deconvbench.compare(run, run)
print(json.dumps({
    "table": tables.table["tap_peak"].dropna().tolist(),
    "summary": tables.summary["tap_peak"].dropna().tolist(),
    "quality": tables.quality["tap_peak"].dropna().tolist(),
    "comparison": comparison.loc[comparison["metric"] == "tap_peak", "verdict"].tolist(),
    "maps": [text.get_text() for axes in draw_artifact_maps(tables.quality).axes for text in axes.texts],
    "faces": FACES,
    "replayed": "tap_peak" in _SHOWN_COLUMNS,
    "old": deconvbench.load(sys.argv[2])["tap_peak"].isna().all().item(),
}))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    home = tmp_path_factory.mktemp("added")
    run = home / "run"
    # so that every process of the run starts with it, as if it stood among the others
    (home / "sitecustomize.py").write_text("import tests.added_metric\n")
    places = [str(home), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    old = ROOT / "tests" / "samples" / "before_packages" / "run"
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(run), str(old)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return run, json.loads(answer.stdout.splitlines()[-1])


@pytest.mark.parametrize("frame", ["table", "summary", "quality"])
def test_it_is_a_column_with_values(found: tuple[Path, dict[str, Any]], frame: str) -> None:
    values = found[1][frame]
    assert values
    assert min(values) > 1  # the largest of several taps is above their RMS


def test_csv_files_have_it_with_its_interval(found: tuple[Path, dict[str, Any]]) -> None:
    heading = (found[0] / "quality.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert {"tap_peak", "tap_peak_ci_low", "tap_peak_ci_high"} <= {*heading}


def test_it_is_compared_by_its_tolerance(found: tuple[Path, dict[str, Any]]) -> None:
    assert set(found[1]["comparison"]) == {"same"}


def test_it_has_a_panel_among_the_heat_maps(found: tuple[Path, dict[str, Any]]) -> None:
    assert found[1]["faces"][-1] == "tap_peak"
    assert any(text.startswith("tap peak") for text in found[1]["maps"])


def test_the_report_draws_lists_and_explains_it(found: tuple[Path, dict[str, Any]]) -> None:
    page = (found[0] / "report.html").read_text(encoding="utf-8")
    assert "Cost against the largest tap" in page
    assert '<option value="tap_peak">' in page
    assert "tap peak (ratio)" in page
    assert "how much one weight stands out of all; 1 is best" in page
    assert (found[0] / "figures" / "tradeoff_tap_peak.png").exists()


def test_pytest_benchmark_is_told(found: tuple[Path, dict[str, Any]]) -> None:
    assert found[1]["replayed"]


def test_runs_that_are_older_than_it_have_nulls(found: tuple[Path, dict[str, Any]]) -> None:
    assert found[1]["old"]
