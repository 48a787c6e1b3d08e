"""Hooks that let pytest collect a grid and hand all its cases to the engine at once; no logic of its own."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from deconvbench.errors import DeconvbenchError, SurroundingsError, UnsupportedError
from deconvbench.paths import explain_bad_path
from deconvbench.progress import show_progress
from deconvbench.records.case import Case
from deconvbench.runner.plan import Plan
from deconvbench.workflows.replay import CaseResult, ReplayClock, collect_results, run_once
from deconvbench.workflows.run import measure, resume_plan, start_folder, summarise_outcome
from deconvbench.workflows.selection import Selection, make_plan

STORAGE = "file://results/.benchmarks"  # relative to the repository, as pytest-benchmark wants it
PLAN = pytest.StashKey[Plan]()
FOLDER = pytest.StashKey[Path]()
SUMMARY = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the same options as ``deconvbench run``."""
    group = parser.getgroup("deconvbench")
    group.addoption("--preset", help="One of smoke, quick (default), article, full, fast.")
    group.addoption("--grid", type=_read_path, metavar="FILE", help="A grid of your own, as TOML.")
    group.addoption("--set", action="append", default=[], metavar="AXIS=V,V", help="Replace an axis.")
    group.addoption("--upsampler", action="append", default=[], metavar="MODULE:FACTORY", help="One of your own.")
    group.addoption("--device", default="", metavar="D,D", help="Devices: cpu, cuda, cuda:1, mps.")
    group.addoption("--replicates", type=int, metavar="N", help="Passes over the cases, each in a fresh process.")
    group.addoption(
        "--precision", metavar="SHARE", help="Further replicates of cases whose interval is wider: 2%%."
    )
    group.addoption(
        "--run-dir", type=_read_path, metavar="DIR", help="The run folder; default results/runs/<time>-<preset>."
    )
    group.addoption("--force", action="store_true", help="Write into a folder that holds other things too.")
    group.addoption("--resume", action="store_true", help="Go on with the run in --run-dir, or the newest.")


def _read_path(text: str) -> Path:
    """Take a path as typed; refuse an empty one, which would be the current folder."""
    reason = explain_bad_path(text)
    if reason:
        raise argparse.ArgumentTypeError(reason)
    return Path(text)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Make the plan before anything is collected, so that a wrong word costs one line and no time."""
    if config.getoption("benchmark_storage", "") == "file://./.benchmarks":
        config.option.benchmark_storage = STORAGE
    selection = Selection(
        preset=config.getoption("--preset"),
        grid=config.getoption("--grid"),
        settings=tuple(config.getoption("--set")),
        upsamplers=tuple(config.getoption("--upsampler")),
        device=config.getoption("--device"),
        replicates=config.getoption("--replicates"),
        precision=config.getoption("--precision"),
    )
    folder: Path | None = config.getoption("--run-dir")
    try:
        if config.getoption("--resume"):
            config.stash[PLAN], config.stash[FOLDER] = resume_plan(folder, selection)
        else:
            config.stash[PLAN] = make_plan(selection, ["pytest", *config.invocation_params.args])
    except DeconvbenchError as error:
        pytest.exit(f"deconvbench: {error}", returncode=error.exit_code)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one benchmark of each case; each gets a clock of its own."""
    if "case_id" in metafunc.fixturenames:
        ids = [case.case_id for case in metafunc.config.stash[PLAN].cases]
        metafunc.parametrize(
            "case_id",
            [pytest.param(name, id=name, marks=pytest.mark.benchmark(timer=ReplayClock())) for name in ids],
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """End with where everything is."""
    if SUMMARY in config.stash:
        terminalreporter.write_line(config.stash[SUMMARY])
        terminalreporter.write_line(f"run folder: {config.stash[FOLDER]}")


class MeasuredGrid:
    """All collected cases, measured at once when the first benchmark asks."""

    def __init__(self, measure_all: Callable[[], dict[str, CaseResult]]) -> None:
        self._measure_all = measure_all
        self._results: dict[str, CaseResult] | None = None

    def find(self, case_id: str) -> CaseResult:
        """Return what was measured of one case."""
        if self._results is None:
            self._results = self._measure_all()
        return self._results[case_id]

    @staticmethod
    def run_once(case_id: str) -> None:
        """Run one forward pass, or skip where the upsampler cannot be built."""
        try:
            run_once(Case.from_id(case_id))
        except UnsupportedError as error:
            pytest.skip(f"unsupported: {error}")


@pytest.fixture(scope="session")
def measured_grid(request: pytest.FixtureRequest) -> MeasuredGrid:
    """Hand the cases that were collected, and not deselected, to the engine."""
    chosen = {item.callspec.id for item in request.session.items if hasattr(item, "callspec")}
    return MeasuredGrid(lambda: _measure(request.config, chosen))


@pytest.fixture
def replay_clock(request: pytest.FixtureRequest) -> ReplayClock:
    """Return the clock that pytest-benchmark reads in this benchmark."""
    clock = request.node.get_closest_marker("benchmark").kwargs["timer"]
    assert isinstance(clock, ReplayClock)
    return clock


def _measure(config: pytest.Config, chosen: set[str]) -> dict[str, CaseResult]:
    plan = config.stash[PLAN]
    plan = replace(plan, cases=tuple(case for case in plan.cases if case.case_id in chosen))
    try:
        if FOLDER not in config.stash:
            force = config.getoption("--force")
            config.stash[FOLDER] = start_folder(plan, config.getoption("--run-dir"), force=force)
        with _uncaptured(config), show_progress(sys.stderr) as observer:
            config.stash[SUMMARY] = summarise_outcome(plan, measure(plan, config.stash[FOLDER], observer))
    except SurroundingsError as error:
        pytest.exit(f"deconvbench: {error}. Go on with: {_resume_command(config)}", returncode=error.exit_code)
    except DeconvbenchError as error:
        pytest.exit(f"deconvbench: {error}", returncode=error.exit_code)
    except KeyboardInterrupt:
        pytest.exit(
            f"interrupted; everything measured is kept. Go on with: {_resume_command(config)}", returncode=130
        )
    return collect_results(config.stash[FOLDER])


def _uncaptured(config: pytest.Config) -> AbstractContextManager[None]:
    """Let the engine's progress through while it measures."""
    manager = config.pluginmanager.getplugin("capturemanager")
    assert manager is not None
    sys.stderr.write(os.linesep)
    disabled: AbstractContextManager[None] = manager.global_and_fixture_disabled()
    return disabled


def _resume_command(config: pytest.Config) -> str:
    words: Sequence[str] = ("pytest", "bench", "--run-dir", str(config.stash[FOLDER]), "--resume")
    return " ".join(words)
