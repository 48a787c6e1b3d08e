"""What follows from the frames of a run is computed once, whatever reads it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from deconvbench.analysis import results, tradeoff
from deconvbench.analysis.results import derive_results
from deconvbench.analysis.speedups import average_speedups, compare_choices
from deconvbench.plots import draw_all
from deconvbench.report.page import render_report
from deconvbench.tables.files import Tables
from deconvbench.tables.speedups import build_speedups
from deconvbench.tables.table import summarise_quality
from tests.made_speedups import make_speedup_records
from tests.plots.made_tables import make_quality, make_summary, make_table


@pytest.fixture(scope="module")
def tables() -> Tables:
    summary = make_summary()
    speedups = build_speedups(make_speedup_records())
    return Tables(table=make_table(summary), summary=summary, quality=make_quality(), speedups=speedups)


def test_each_frame_is_what_its_function_makes_of_the_tables(tables: Tables) -> None:
    found = derive_results(tables)
    for name in ("table", "summary", "quality", "speedups"):
        assert getattr(found, name) is getattr(tables, name)
    pd.testing.assert_frame_equal(found.quality_summary, summarise_quality(tables.quality))
    pd.testing.assert_frame_equal(found.speedup_means, average_speedups(tables.speedups))
    pd.testing.assert_frame_equal(found.choices, compare_choices(tables.speedups))


def test_figures_and_report_compute_nothing_again(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()

    def count(module: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(module, name)

        def counted(*values: Any, **named: Any) -> Any:
            calls[name] += 1
            return function(*values, **named)

        monkeypatch.setattr(module, name, counted)

    for module in (results, tradeoff):
        count(module, "summarise_quality")
    count(results, "average_speedups")
    count(results, "compare_choices")
    found = derive_results(tables)
    draw_all(found, metrics=("phase_ripple", "checkerboard"))
    render_report(found, {}, {})
    assert calls == {"summarise_quality": 1, "average_speedups": 1, "compare_choices": 1}


def test_no_other_module_derives_them() -> None:
    package = Path(results.__file__).parents[1]
    readers = [*(package / "plots").rglob("*.py"), *(package / "report").rglob("*.py")]
    for name in ("summarise_quality", "average_speedups", "compare_choices"):
        assert not [path.name for path in readers if f"{name}(" in path.read_text(encoding="utf-8")]
