"""The table's data: every case, what each cell shows and sorts by."""

import pytest

from deconvbench.report import case_table
from deconvbench.report.case_table import describe_cases
from deconvbench.tables.table import summarise_quality
from tests.plots.made_tables import LAYERS, add_trained, make_layer_quality, make_summary


def test_every_case_is_a_row_with_what_is_known_after_training() -> None:
    summary = make_summary()
    table = describe_cases(summary, summarise_quality(add_trained(make_layer_quality(LAYERS))))
    assert table["ids"] == list(summary["case_id"])
    keys = [column["key"] for column in table["columns"]]
    assert len(keys) == len({*keys})
    assert {"layer", "size", "latency_s", "trained_psnr_db", "status"} <= {*keys}
    assert all(len(row) == len(keys) for row in table["rows"])
    text, sort = table["rows"][0][keys.index("latency_s")]
    assert text.endswith("s")
    assert float(sort) == summary["latency_s"][0]
    kinds = {cell[2] for row in table["rows"] for cell in row if isinstance(cell, list) and len(cell) == 3}
    assert kinds == {"failed", "noisy"}


def test_what_is_shown_at_first_is_little() -> None:
    quality = summarise_quality(make_layer_quality(LAYERS))
    shown = [c["key"] for c in describe_cases(make_summary(), quality)["columns"] if c["shown"]]
    assert shown[0] == "layer"
    assert len(shown) < 12
    assert "status" in shown  # something failed
    fine = make_summary((("transposed", 3),), (16,))
    assert not any(c["shown"] for c in describe_cases(fine, quality)["columns"] if c["key"] == "status")


def test_what_is_beyond_a_browser_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_table, "MOST_ROWS", 10)
    table = describe_cases(make_summary(), summarise_quality(make_layer_quality(LAYERS)))
    assert (len(table["rows"]), len(table["ids"]), table["leftOut"]) == (10, 10, 86)


def test_texts_of_strangers_are_cut() -> None:
    summary = make_summary((("transposed", 3),), (16,)).assign(kernel="x" * 10_000)
    table = describe_cases(summary, summarise_quality(make_layer_quality(LAYERS)))
    assert max(len(str(cell)) for row in table["rows"] for cell in row) < 1000
