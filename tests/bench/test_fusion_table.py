"""The table of the trial, from rows as they are made and as they are read."""

from typing import Any

from bench.fusion_table import format_table

ROW: dict[str, Any] = {
    "network": "vae",
    "title": "a VAE",
    "threads": 1,
    "fused": 1,
    "left": 1,
    "share": 0.625,
    "speedup": 2.0,
    "speedup_low": 1.9,
    "speedup_high": 2.125,
    "peak_memory_bytes_before": 2**21,
    "peak_memory_bytes_after": 2**20,
    "max_relative_error": 1.5e-6,
    "max_relative_gradient_error": None,
}


def test_one_line_for_each_network_and_a_column_for_each_number_of_threads() -> None:
    rows = [ROW, {**ROW, "threads": 2, "speedup": 1.5}]
    assert format_table(rows).splitlines() == [
        "| network | fused | share | speed-up, 1 thread | speed-up, 2 threads | peak memory | output error |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| a VAE | 1 of 2 | 62 % | 2.00 (1.90 to 2.12) | 1.50 (1.90 to 2.12) | 2 MiB → 1 MiB | 1.5e-06 |",
    ]


def test_rows_may_be_read_from_a_file() -> None:
    read = [{name: "" if value is None else str(value) for name, value in ROW.items()}]
    assert format_table(read) == format_table([ROW])


def test_what_was_not_measured_is_a_dash() -> None:
    new = {
        **ROW,
        "network": "new",
        "threads": 2,
        "peak_memory_bytes_before": None,
        "peak_memory_bytes_after": None,
        "max_relative_gradient_error": 1e-15,
    }
    assert format_table([ROW, new]).splitlines()[-1] == (
        "| a VAE | 1 of 2 | 62 % | – | 2.00 (1.90 to 2.12) | – | 1.5e-06; of gradients, in float64, 1.0e-15 |"
    )
