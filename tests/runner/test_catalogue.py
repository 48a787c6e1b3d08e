"""The catalogue: measured there and then, whatever single upsamplers do; and how it is written."""

import io
import re
import sys
from dataclasses import replace
from types import ModuleType

import pytest
from rich.console import Console
from torch import nn

from deconvbench.measure.job import Measuring
from deconvbench.records.record import AnyRecord, QualityRecord
from deconvbench.runner import catalogue
from deconvbench.runner.catalogue import (
    CatalogueRow,
    format_catalogue,
    format_ripple,
    lay_out_catalogue,
    list_catalogue,
    list_cells,
)
from deconvbench.runner.worker import WorkerOptions
from deconvbench.runner.worker_main import fill
from deconvbench.upsamplers import list_upsamplers, register_upsampler, registry
from tests import faulty_upsamplers
from tests.noop_run import ENVIRONMENT

ROW = CatalogueRow(
    name="mine",
    summary="what it does",
    formula="f_[k](x)",
    macs="k²/s²",
    phase_ripple=0.75,
    kernel_size=3,
    linear=True,
    shift_equivariant=True,
    reference="somebody, arXiv:1234.56789",
)
OURS = list_upsamplers()


class HereWorker:
    """Measures in this process; it dies of a layer named `deadly`."""

    started: list[WorkerOptions]
    jobs: list[QualityRecord]

    def __init__(self, options: WorkerOptions) -> None:
        self.started.append(options)
        self.alive = True

    def measure(self, job: QualityRecord, timeout_s: float) -> QualityRecord:
        self.jobs.append(job)
        if "deadly" in str(job.key):
            self.alive = False
            return replace(job, status="crashed", message="killed by SIGSEGV")
        asked: AnyRecord = job
        record = fill(asked, Measuring(environment=ENVIRONMENT, policy={}).measure)
        assert isinstance(record, QualityRecord)
        return record

    def kill(self) -> None:
        self.alive = False


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> type[HereWorker]:
    """No process is started, and nothing is registered."""
    HereWorker.started, HereWorker.jobs = [], []
    monkeypatch.setattr(catalogue, "Worker", HereWorker)
    monkeypatch.setattr(registry, "_REGISTRY", {})
    monkeypatch.setattr(registry, "_BROKEN", {})
    return HereWorker


def take(name: str) -> None:
    """Put one of ours into the emptied registry."""
    registry._REGISTRY[name] = OURS[name]


def test_what_is_declared_and_what_is_measured(worker: type[HereWorker]) -> None:
    take("nearest_conv")
    take("transposed")
    nearest, transposed = list_catalogue()
    spec = OURS["transposed"]
    assert (transposed.name, transposed.summary, transposed.formula) == (spec.name, spec.summary, spec.formula)
    assert (transposed.macs, transposed.reference) == (spec.macs_formula, spec.reference)
    assert (transposed.kernel_size, transposed.scale_factor) == (3, 2)
    assert transposed.linear
    assert transposed.shift_equivariant
    assert (nearest.message, transposed.message) == ("", "")
    # weights of zero mean: 1 − 1/s²
    assert transposed.phase_ripple == pytest.approx(0.75, abs=0.02)
    assert nearest.phase_ripple == pytest.approx(0, abs=1e-20)
    (options,) = worker.started
    assert options.upsamplers == ()


def test_the_ripple_is_the_mean_over_several_seeds(
    worker: type[HereWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    take("transposed")

    def measure(self: HereWorker, job: QualityRecord, timeout_s: float) -> QualityRecord:
        metrics = {"phase_ripple": float(job.seed), "flat_field_ripple": None, "overlap_cv": 7.0}
        return replace(job, status="ok", metrics=metrics)

    monkeypatch.setattr(worker, "measure", measure)
    (row,) = list_catalogue()
    assert row.phase_ripple == (0 + 1 + 2 + 3) / 4
    assert row.flat_field_ripple is None


def test_the_smallest_kernel_that_can_be_built_is_measured(worker: type[HereWorker]) -> None:
    register_upsampler("even", objection=lambda k, s: None if k % 2 == 0 else "only even kernels")(
        lambda c_in, c_out, k, s: nn.ConvTranspose2d(c_in, c_out, k, s, padding=(k - s) // 2)
    )
    register_upsampler("never", objection=lambda k, s: f"no kernel {k}")(faulty_upsamplers.Sound)
    register_upsampler("without", has_kernel=False)(lambda c_in, c_out, k, s: nn.Upsample(scale_factor=s))
    # as an entry point's they may be written anywhere
    for name, spec in registry._REGISTRY.items():
        registry._REGISTRY[name] = replace(spec, package="theirs 1.0")
    even, never, without = list_catalogue()
    assert (even.kernel_size, even.message) == (4, "")
    assert (never.phase_ripple, never.message) == (None, "unsupported: no kernel 8")
    assert (without.kernel_size, without.message) == (None, "")


def test_what_is_broken_costs_its_own_row(worker: type[HereWorker]) -> None:
    register_upsampler("deadly")(faulty_upsamplers.Segfaults)
    take("nearest_conv")
    register_upsampler("wrong_size", formula="f(x)")(faulty_upsamplers.WrongSize)
    register_upsampler("claims", linear=True, shift_equivariant=True)(faulty_upsamplers.Squares)
    register_upsampler("local")(lambda c_in, c_out, k, s: nn.Identity())
    registry._BROKEN["gone"] = "entry point 'gone' of theirs 1.0 cannot be loaded: it is gone"
    for name in ("deadly", "wrong_size", "claims"):
        registry._REGISTRY[name] = replace(registry._REGISTRY[name], package="theirs 1.0")
    rows = {row.name: row for row in list_catalogue()}
    assert list(rows) == ["deadly", "nearest_conv", "wrong_size", "claims", "local", "gone"]
    assert rows["deadly"].message == "crashed: killed by SIGSEGV"
    assert re.fullmatch(
        r"error: .*output of shape \(1, 16, (\d+), (\d+)\) for an input .* asks for .*", rows["wrong_size"].message
    )
    assert rows["wrong_size"].formula == "f(x)"
    assert "not linear and shift-equivariant" in rows["claims"].message
    assert "write it at the top level of a module" in rows["local"].message
    assert rows["gone"].message == "error: entry point 'gone' of theirs 1.0 cannot be loaded: it is gone"
    assert (rows["gone"].linear, rows["gone"].kernel_size) == (None, None)
    assert rows["nearest_conv"].message == ""
    assert {name for name, row in rows.items() if row.phase_ripple is not None} == {"nearest_conv"}
    # it went on in another process, which was asked no more than it needed
    assert len(worker.started) == 2
    assert [job.key for job in worker.jobs if "deadly" in str(job.key)] == [worker.jobs[0].key]
    assert not any("local" in str(job.key) for job in worker.jobs)


def test_the_worker_is_told_where_to_find_what_it_does_not_know(
    worker: type[HereWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = ModuleType("their_script")
    monkeypatch.setitem(sys.modules, "their_script", script)
    vars(script).update(register_upsampler=register_upsampler, Sound=faulty_upsamplers.Sound)
    exec("register_upsampler('decorated')(Sound)", vars(script))
    list_catalogue(["their.module:factory"])
    assert worker.started[0].upsamplers == ("their.module:factory", "their_script:Sound")


def test_an_empty_catalogue_needs_no_worker(worker: type[HereWorker]) -> None:
    assert list_catalogue() == []
    assert worker.started == []


@pytest.mark.parametrize(
    ("phase", "flat", "written"),
    [
        (0.7512, None, "0.751"),
        (1e-33, None, "0"),
        (0.0, 0.5, "0"),
        (2e-5, None, "2e-05"),
        (None, 0.0123, "flat 0.012"),
        (None, 1e-17, "flat 0"),
        (None, None, "–"),
    ],
)
def test_a_ripple_is_written(phase: float | None, flat: float | None, written: str) -> None:
    assert format_ripple(replace(ROW, phase_ripple=phase, flat_field_ripple=flat)) == written


def test_a_row_says_why_it_has_no_number() -> None:
    assert list_cells(ROW) == ("mine", "f_[k](x)", "k²/s²", "0.750", "somebody, arXiv:1234.56789")
    failed = replace(ROW, phase_ripple=None, message="error: it broke")
    assert list_cells(failed) == ("mine", "f_[k](x)", "k²/s²", "–", "error: it broke")
    assert list_cells(CatalogueRow(name="bare")) == ("bare", "", "", "–", "")
    assert list_cells(CatalogueRow(name="wordy", formula="two\n  lines"))[1] == "two lines"


def test_a_pipe_gets_one_line_a_row_and_aligned_columns() -> None:
    head, mine, longer = format_catalogue([ROW, replace(ROW, name="a_longer_name", formula="")]).splitlines()
    assert head == "name           formula   MACs   ripple  paper"
    assert mine == "mine           f_[k](x)  k²/s²  0.750   somebody, arXiv:1234.56789"
    assert longer == "a_longer_name            k²/s²  0.750   somebody, arXiv:1234.56789"


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_terminal_gets_a_table_of_its_width_that_loses_nothing(width: int) -> None:
    rows = [
        replace(ROW, name="a_name_of_24_characters_", macs="1/s² + 64/(s²·C_out) + 14400/(C_in·C_out) + 25/C_in"),
        replace(
            ROW, formula="Σ_t softmax_t(enc(x))[m]·conv_1(x)[⌊m/s⌋ + t], t in 5×5", message="error: it [bold]broke"
        ),
    ]
    stream = io.StringIO()
    Console(file=stream, width=width).print(lay_out_catalogue(rows))
    lines = stream.getvalue().splitlines()
    assert max(len(line) for line in lines) <= width
    assert "…" not in stream.getvalue()
    assert lines[1].split() == ["name", "ripple", "MACs", "formula;", "paper"]
    assert [line.split()[:2] for line in lines if "0.750" in line] == [[row.name, "0.750"] for row in rows]
    # the last column, put together again
    start = lines[1].index("formula")
    last = "".join(line[start:].replace(" ", "") for line in lines)
    for row in rows:
        assert (row.formula + (row.message or row.reference)).replace(" ", "") in last
