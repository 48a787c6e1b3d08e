"""matplotlib is imported whatever is set for it, and what is set for a person's own figures stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

CODE = "import os, sys; import deconvbench.plots; import matplotlib as m; "


def run(code: str, **variables: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", CODE + code],
        env={**os.environ, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize("backend", ["module://not_installed.backend", "nonsense", "", "svg"])
def test_any_backend_may_be_named(backend: str) -> None:
    assert run("print(os.environ['MPLBACKEND'])", MPLBACKEND=backend) == backend


def test_a_backend_that_there_is_stays_that_of_own_figures() -> None:
    assert run("print(m.rcParams['backend'])", MPLBACKEND="svg") == "svg"


@pytest.mark.parametrize("content", [b"\xff\xfe broken", b"no colon\nfigure.dpi: many\n"], ids=["bytes", "values"])
def test_a_broken_settings_file_stops_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "matplotlibrc").write_bytes(content)
    assert run("print(m.rcParams['figure.dpi'])", MATPLOTLIBRC=str(tmp_path)) == "100.0"


def test_own_settings_stay_those_of_own_figures(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("figure.dpi: 33\n")
    assert run("print(m.rcParams['figure.dpi'])", MATPLOTLIBRC=str(tmp_path)) == "33.0"
