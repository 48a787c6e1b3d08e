"""The catalogue of upsamplers: what each one computes, what it costs, how much it ripples, where it comes from.

Everything but the words of a registration is measured when it is asked for, in a worker process like any other
measurement, so an upsampler that raises, crashes or hangs costs its own row and no other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deconvbench.errors import UsageError
from deconvbench.records.metrics import ARTIFACT_ZERO_BELOW
from deconvbench.records.record import QualityRecord
from deconvbench.runner.worker import Worker, WorkerOptions
from deconvbench.system.scratch import make_scratch_folder, sweep_scratch_folders
from deconvbench.upsamplers import UpsamplerSpec, list_broken_upsamplers, list_sources, list_upsamplers

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("name", "formula", "MACs", "ripple", "paper")

# the layer that is measured: scale and channels of the grids' own artifacts, the first kernel that can be built
_SCALE_FACTOR = 2
_KERNEL_SIZES = (3, 4, 5, 6, 7, 8)
_CHANNELS = 16
_SEEDS = range(4)
_TIMEOUT_S = 30.0  # a layer as small as this takes milliseconds
_MACS_WIDTH = 20  # characters, on a terminal; the content-aware ones have many terms


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueRow:
    """One upsampler of the catalogue.

    Parameters
    ----------
    name : str
        Name in the registry, or of an entry point that could not be loaded.
    summary, formula, macs, reference : str
        As registered; empty where its author says nothing.
    phase_ripple : float or None
        Mean over the seeds at initialisation; None where it is not declared linear and shift-equivariant.
    flat_field_ripple : float or None
        The same of the metric that needs no linearity, where it is measured.
    kernel_size : int or None
        Of the layer that was measured; None where it has no kernel.
    scale_factor : int
        Of the layer that was measured.
    linear, shift_equivariant : bool or None
        As declared; None where nothing could be loaded.
    message : str
        Why there is not a number, as a status and a reason; empty where all went well.
    """

    name: str
    summary: str = ""
    formula: str = ""
    macs: str = ""
    phase_ripple: float | None = None
    flat_field_ripple: float | None = None
    kernel_size: int | None = None
    scale_factor: int = _SCALE_FACTOR
    linear: bool | None = None
    shift_equivariant: bool | None = None
    reference: str = ""
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self)


def list_catalogue(sources: Sequence[str] = ()) -> list[CatalogueRow]:
    """Measure every upsampler that is registered, a small layer of each.

    Parameters
    ----------
    sources : sequence of str
        ``pkg.mod:factory`` of what `load_upsampler` loaded, so that the worker process loads it too.

    Returns
    -------
    list of CatalogueRow
        In the order of the registry; entry points that could not be loaded come last.

    Raises
    ------
    WorkerError
        If no worker process can be started.
    """
    specs = list_upsamplers().values()
    found, lost = _find_sources(specs)
    sweep_scratch_folders()
    with make_scratch_folder() as folder:
        options = WorkerOptions(upsamplers=(*sources, *found), log=folder / "worker.log")
        with _Workers(options) as workers:
            rows = [_make_row(spec, lost.get(spec.name) or _measure(spec, workers)) for spec in specs]
    return rows + [
        CatalogueRow(name=name, message=f"error: {reason}") for name, reason in list_broken_upsamplers().items()
    ]


def _find_sources(specs: Iterable[UpsamplerSpec]) -> tuple[list[str], dict[str, "_Measured"]]:
    """List what else the worker must load, and the result of those that it cannot."""
    found: list[str] = []
    lost = {}
    for spec in specs:
        try:
            found += list_sources([spec.name])
        except UsageError as error:
            lost[spec.name] = _Measured(message=f"error: {error}")
    return found, lost


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What was found of one upsampler: with which kernel, what went wrong, the metrics of each seed."""

    kernel_size: int | None = None
    message: str = ""
    metrics: tuple[dict[str, float | None], ...] = ()

    def average(self, name: str) -> float | None:
        """Mean over the seeds; None where the metric does not apply, or does not exist in this version."""
        values = [value for of_seed in self.metrics if (value := of_seed.get(name)) is not None]
        return sum(values) / len(values) if values else None


class _Workers:
    """A worker process, and another one each time that one ends."""

    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        self._worker: Worker | None = None

    def measure(self, job: QualityRecord) -> QualityRecord:
        if self._worker is None or not self._worker.alive:
            self.close()
            self._worker = Worker(self._options)
        return self._worker.measure(job, _TIMEOUT_S)

    def close(self) -> None:
        if self._worker is not None:
            self._worker.kill()

    def __enter__(self) -> "_Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _make_row(spec: UpsamplerSpec, measured: _Measured) -> CatalogueRow:
    return CatalogueRow(
        name=spec.name,
        summary=spec.summary,
        formula=spec.formula,
        macs=spec.macs_formula,
        phase_ripple=measured.average("phase_ripple"),
        flat_field_ripple=measured.average("flat_field_ripple"),
        kernel_size=measured.kernel_size,
        linear=spec.linear,
        shift_equivariant=spec.shift_equivariant,
        reference=spec.reference,
        message=measured.message,
    )


def _measure(spec: UpsamplerSpec, workers: _Workers) -> _Measured:
    """Measure the layer with the smallest kernel that can be built, seed after seed until something goes wrong."""
    for kernel_size in _KERNEL_SIZES if spec.has_kernel else (None,):
        records = []
        for seed in _SEEDS:
            records.append(workers.measure(_make_job(spec.name, kernel_size, seed)))
            if records[-1].status != "ok":
                break
        if records[-1].status != "unsupported":
            break
    last = records[-1]
    if last.status != "ok":
        return _Measured(kernel_size=kernel_size, message=f"{last.status}: {last.message}")
    return _Measured(kernel_size=kernel_size, metrics=tuple(record.metrics for record in records))


def _make_job(name: str, kernel_size: int | None, seed: int) -> QualityRecord:
    return QualityRecord(
        upsampler=name,
        kernel_size=kernel_size,
        scale_factor=_SCALE_FACTOR,
        seed=seed,
        channels=_CHANNELS,
        status="error",
        message="not measured",
    )


def format_ripple(row: CatalogueRow) -> str:
    """Write how much a layer ripples.

    Parameters
    ----------
    row : CatalogueRow
        From `list_catalogue`.

    Returns
    -------
    str
        The phase ripple, ``0`` where it is zero but for rounding. For a layer that has none, because it is not
        linear, ``flat`` and its flat-field ripple; a dash where there is neither.
    """
    if row.phase_ripple is not None:
        return _format_share(row.phase_ripple)
    return "–" if row.flat_field_ripple is None else f"flat {_format_share(row.flat_field_ripple)}"


def _format_share(value: float) -> str:
    if value < ARTIFACT_ZERO_BELOW:
        return "0"
    return f"{value:.3f}" if value >= 1e-3 else f"{value:.0e}"


def list_cells(row: CatalogueRow) -> tuple[str, str, str, str, str]:
    """Write a row for a reader, cell by cell, in the order of `COLUMNS`.

    Parameters
    ----------
    row : CatalogueRow
        From `list_catalogue`.

    Returns
    -------
    tuple of str
        The last one says what went wrong where something did, instead of the paper.
    """
    formula, macs, last = (
        " ".join(text.split()) for text in (row.formula, row.macs, row.message or row.reference)
    )
    return row.name, formula, macs, format_ripple(row), last


def format_catalogue(rows: Sequence[CatalogueRow]) -> str:
    """Write the catalogue as aligned columns, one line a row, for a pipe or a file.

    Parameters
    ----------
    rows : sequence of CatalogueRow
        From `list_catalogue`.
    """
    lines = [COLUMNS, *(list_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def lay_out_catalogue(rows: Sequence[CatalogueRow]) -> "Table":
    """Make a table that rich fits into a terminal's width.

    Parameters
    ----------
    rows : sequence of CatalogueRow
        From `list_catalogue`.

    Returns
    -------
    Table
        What the last of `COLUMNS` holds stands below the formula: side by side they would not fit.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    name, formula, macs, ripple, paper = COLUMNS
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, collapse_padding=True)
    table.add_column(name, no_wrap=True)
    table.add_column(ripple, no_wrap=True)
    table.add_column(macs, overflow="fold", max_width=_MACS_WIDTH)
    table.add_column(f"{formula}; {paper}", overflow="fold")
    for row in rows:
        *cells, last = list_cells(row)
        style = "red" if row.message else "dim"
        below = Text("\n".join(filter(None, (cells[1], last))))
        below.stylize(style, len(below) - len(last))
        # a Text is taken as it is: brackets in formulas are not markup
        table.add_row(Text(cells[0]), Text(cells[3]), Text(cells[2]), below)
    return table
