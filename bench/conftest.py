"""Hooks that let pytest collect a grid and hand all its cases to the engine at once; no logic of its own."""

import contextlib
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_benchmark.logger import PytestBenchmarkWarning

from deconvbench.errors import DeconvbenchError, SurroundingsError, UnsupportedError, UsageError
from deconvbench.measure.accelerator import check_device
from deconvbench.progress import show_progress
from deconvbench.records.case import Case
from deconvbench.runner.plan import Plan
from deconvbench.system.paths import check_contents, check_path, make_folder
from deconvbench.system.texts import tidy_line
from deconvbench.workflows.replay import CaseResult, ReplayClock, collect_results, run_once
from deconvbench.workflows.run import measure, resume_plan, start_folder, summarise_outcome
from deconvbench.workflows.selection import Selection, make_plan
from deconvbench.workflows.standings import describe_standings

STORAGE = "file://results/.benchmarks"  # relative to the repository, as pytest-benchmark wants it
INTERRUPTED = 130
PLAN = pytest.StashKey[Plan]()
FOLDER = pytest.StashKey[Path]()
SUMMARY = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the same options as ``deconvbench run``."""
    group = parser.getgroup("deconvbench")
    group.addoption("--preset", help="One of smoke, quick (default), article, full, fast, selftest.")
    group.addoption("--grid", metavar="FILE", help="A grid of your own, as TOML.")
    group.addoption("--set", action="append", default=[], metavar="AXIS=V,V", help="Replace an axis.")
    group.addoption("--upsampler", action="append", default=[], metavar="MODULE:FACTORY", help="One of your own.")
    group.addoption("--device", default="", metavar="D,D", help="Devices: cpu, cuda, cuda:1, mps.")
    group.addoption("--replicates", metavar="N", help="Passes over the cases, each in a fresh process.")
    group.addoption(
        "--precision", metavar="SHARE", help="Further replicates of cases whose interval is wider: 2%%."
    )
    group.addoption("--baseline", metavar="NAME[-kK]", help="The layer that all are compared with.")
    group.addoption(
        "--conditions", metavar="POLICY", help="settled (memory is kept, an idle core each) or system."
    )
    group.addoption("--run-dir", metavar="DIR", help="The run folder; default results/runs/<time>-<preset>.")
    group.addoption("--force", action="store_true", help="Write into a --run-dir that holds other things too.")
    group.addoption("--resume", action="store_true", help="Go on with the run in --run-dir, or the newest.")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Make the plan before anything is collected, so that a wrong word costs one line and no time."""
    if config.getoption("benchmark_storage", "") == "file://./.benchmarks":
        config.option.benchmark_storage = STORAGE
    # what others warn of, such as a checkout that cannot be written, is no reason to end in a traceback; here, and
    # where tests run
    for category in (PytestBenchmarkWarning, pytest.PytestCacheWarning):
        warnings.filterwarnings("default", category=category)
        config.addinivalue_line("filterwarnings", f"default::{category.__module__}.{category.__name__}")
    config.pluginmanager.register(_Interruption())
    with _one_line():
        if not config.pluginmanager.hasplugin("benchmark"):
            raise UsageError("pytest-benchmark is switched off, which the benches need; leave out -p no:benchmark")
        selection = Selection(
            preset=config.getoption("--preset"),
            grid=_read_path(config, "--grid"),
            settings=tuple(config.getoption("--set")),
            upsamplers=tuple(config.getoption("--upsampler")),
            device=config.getoption("--device"),
            replicates=_read_whole(config, "--replicates"),
            precision=config.getoption("--precision"),
            baseline=config.getoption("--baseline"),
            conditions=config.getoption("--conditions"),
        )
        folder = _read_path(config, "--run-dir")
        if config.getoption("--resume"):
            config.stash[PLAN], config.stash[FOLDER] = resume_plan(folder, selection)
        else:
            config.stash[PLAN] = make_plan(selection, ["pytest", *config.invocation_params.args])
        if folder is not None and FOLDER not in config.stash and _is_measuring(config):
            make_folder(folder, "--run-dir")
            check_contents(folder, (), "--run-dir", force=config.getoption("--force"))
        for device in dict.fromkeys(case.device for case in config.stash[PLAN].cases):
            check_device(device)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse to compare with nothing, before anything is measured."""
    compared = session.config.getoption("benchmark_compare", None)
    benchmarks = session.config.pluginmanager.getplugin("pytest-benchmark")
    if compared and not benchmarks.compared_mapping:
        which = "" if compared is True else f" that {compared!r} names"
        with _one_line():
            raise UsageError(
                f"--benchmark-compare: nothing{which} is saved in {benchmarks.storage}; save a run with"
                " --benchmark-autosave"
            )


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """End pytest with one line and the error's exit code."""
    try:
        yield
    except DeconvbenchError as error:
        pytest.exit(f"deconvbench: {tidy_line(str(error))}", returncode=error.exit_code)


class _Interruption:
    """Gives Ctrl-C the exit code that it has everywhere; pytest's own is that of wrong use here."""

    def __init__(self) -> None:
        self._is_interrupted = False

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Notice Ctrl-C; `pytest.exit` comes here too, and has a code of its own."""
        self._is_interrupted = excinfo.type is KeyboardInterrupt

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Replace the exit code."""
        if self._is_interrupted:
            session.exitstatus = INTERRUPTED


def _is_measuring(config: pytest.Config) -> bool:
    is_disabled = config.getoption("benchmark_disable") and not config.getoption("benchmark_enable")
    return not (is_disabled or config.getoption("collectonly") or hasattr(config, "workerinput"))


def _read_path(config: pytest.Config, option: str) -> Path | None:
    text = config.getoption(option)
    return None if text is None else check_path(text, option)


def _read_whole(config: pytest.Config, option: str) -> int | None:
    text = config.getoption(option)
    if text is not None and not re.fullmatch("-?[0-9]{1,9}", text):
        raise UsageError(f"{option}: {text!r} is not a whole number")
    return None if text is None else int(text)


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
        if standings := describe_standings(config.stash[FOLDER]):
            terminalreporter.write_line(standings)
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
            config.stash[FOLDER] = start_folder(
                plan, _read_path(config, "--run-dir"), force=config.getoption("--force")
            )
        with _uncaptured(config), show_progress(sys.stderr) as observer:
            config.stash[SUMMARY] = summarise_outcome(plan, measure(plan, config.stash[FOLDER], observer))
    except SurroundingsError as error:
        hint = f". Go on with: {_resume_command(config)}" if FOLDER in config.stash else ""
        pytest.exit(f"deconvbench: {tidy_line(str(error))}{hint}", returncode=error.exit_code)
    except DeconvbenchError as error:
        pytest.exit(f"deconvbench: {tidy_line(str(error))}", returncode=error.exit_code)
    except KeyboardInterrupt:
        pytest.exit(
            f"interrupted; everything measured is kept. Go on with: {_resume_command(config)}",
            returncode=INTERRUPTED,
        )
    return collect_results(config.stash[FOLDER])


def _uncaptured(config: pytest.Config) -> AbstractContextManager[None]:
    """Let the engine's progress through while it measures."""
    manager = config.pluginmanager.getplugin("capturemanager")
    sys.stderr.write(os.linesep)
    if manager is None:  # -p no:capture
        return contextlib.nullcontext()
    disabled: AbstractContextManager[None] = manager.global_and_fixture_disabled()
    return disabled


def _resume_command(config: pytest.Config) -> str:
    words: Sequence[str] = ("pytest", "bench", "--run-dir", str(config.stash[FOLDER]), "--resume")
    return shlex.join(words)
