"""What is asked of a long table costs in proportion to its rows: counted, not timed."""

from collections.abc import Callable
from functools import partial

import pytest

from bench.made_journal import write_run
from deconvbench.analysis.comparison_input import make_side
from deconvbench.analysis.results import derive_results
from deconvbench.analysis.standings import list_standings
from deconvbench.analysis.tradeoff import join_tradeoff
from deconvbench.report.findings import describe_findings
from deconvbench.tables.files import Tables, build_tables
from tests.counting import count_calls

# settings of 60 layers each, in 5 replicates
FEW, MANY = 600, 2400


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Tables]:
    folder = tmp_path_factory.mktemp("runs")
    return {size: build_tables(write_run(folder / str(size), size)) for size in (FEW, MANY)}


ACTIONS: dict[str, Callable[[Tables], object]] = {
    "compared": lambda tables: make_side(tables.table, "table"),
    "tradeoff": lambda tables: join_tradeoff(tables.summary),
    "standings": lambda tables: list_standings(tables.summary),
    "findings": lambda tables: describe_findings(derive_results(tables)),
}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_the_work_does_not_grow_faster_than_the_table(
    tables: dict[int, Tables], action: Callable[[Tables], object]
) -> None:
    action(tables[FEW])  # what is imported or cached once
    few, many = (count_calls(partial(action, found)) for found in tables.values())
    assert many.total() <= few.total() * MANY / FEW


def test_a_comparison_asks_pandas_nothing_for_each_case(tables: dict[int, Tables]) -> None:
    many = count_calls(lambda: make_side(tables[MANY].table, "table"))
    cases = len(tables[MANY].summary)
    assert cases == MANY / 5
    assert not [
        name for name in ("pandas.core.indexing.__getitem__", "pandas.core.frame._ixs") if many[name] >= cases
    ]


def test_a_table_has_a_row_for_each_record(tables: dict[int, Tables]) -> None:
    assert [len(found.table) for found in tables.values()] == [FEW, MANY]
