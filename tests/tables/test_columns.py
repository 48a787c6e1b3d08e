from pathlib import Path

import pandas as pd
import pytest

import deconvbench
from deconvbench.errors import UsageError
from deconvbench.records.metrics import METRICS
from deconvbench.records.schema import COLUMNS
from deconvbench.tables.columns import describe_columns
from deconvbench.tables.files import Tables, build_tables
from deconvbench.tables.table import summarise_quality
from tests.tables.made_records import write_run


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return build_tables(write_run(tmp_path_factory.mktemp("run")))


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_of_a_real_frame_is_described_in_its_order(tables: Tables, name: str) -> None:
    frame = summarise_quality(tables.quality) if name == "quality_summary" else getattr(tables, name)
    described = describe_columns(name).set_index("name")
    assert [column for column in described.index if column != "run"] == list(frame.columns)
    for (column, dtype), declared in zip(
        frame.dtypes.items(), described["dtype"].drop("run", errors="ignore"), strict=True
    ):
        assert pd.Series([], dtype=declared).dtype == dtype, column
    assert (described[["title", "meaning"]] != "").all(axis=None)


def test_the_columns_of_several_runs_are_described(tmp_path: Path) -> None:
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        write_run(tmp_path / run)
    table = deconvbench.load([tmp_path / "a", tmp_path / "b"])
    assert deconvbench.describe_columns()["name"].tolist() == list(table.columns)


def test_a_metric_is_described_as_it_is_declared() -> None:
    described = describe_columns("quality").set_index("name")
    for name in set(described.index) & set(METRICS):
        metric = METRICS[name]
        assert described.loc[name, ["title", "unit", "meaning"]].tolist() == [
            metric.title,
            metric.unit,
            metric.meaning,
        ]


def test_a_number_of_seconds_or_bytes_has_its_unit() -> None:
    for name in COLUMNS:
        described = describe_columns(name).set_index("name")
        for suffix, unit in (("_s", "s"), ("_bytes", "bytes"), ("_db", "dB")):
            units = described["unit"][described.index.str.endswith(suffix)]
            assert (units == unit).all()


@pytest.mark.parametrize("table", ["tabel", 3, None])
def test_an_unknown_frame_is_named(table: object) -> None:
    with pytest.raises(UsageError, match="is not one of table, summary, quality, quality_summary, speedups"):
        describe_columns(table)
