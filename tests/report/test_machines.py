"""The report of a run of several machines."""

import csv
from pathlib import Path
from typing import Any

import pytest

from deconvbench.analysis.machines import MachineComparison, compare_machines
from deconvbench.records.run_folder import read_run_info
from deconvbench.report import write_report
from deconvbench.report.machines import describe_machines, view_machines
from deconvbench.report.output import MACHINES_NAME
from deconvbench.tables.files import load
from deconvbench.workflows.merge import merge_runs
from tests.made_machines import COSTS, make_machine_records, write_machine, write_machines

DEARER = {**COSTS, "bilinear_conv": 3.0}


def merge(parent: Path, machines: dict[str, Any]) -> Path:
    runs = [write_machine(parent / name, make_machine_records(name, costs)) for name, costs in machines.items()]
    return merge_runs(runs, parent / "merged").folder


def compare(folder: Path) -> MachineComparison:
    found = compare_machines(load(folder), read_run_info(folder))
    assert found is not None
    return found


def test_it_says_first_how_many_ratios_carry_over(tmp_path: Path) -> None:
    sentences = describe_machines(compare(merge(tmp_path, {"a": COSTS, "b": DEARER})))
    assert sentences[0] == (
        "4 of 5 ratios to the baseline carry over between the machines that measured them: their intervals meet;"
        " 1 does not."
    )
    assert sentences[1].startswith(
        "Processor a, 2 cores and Processor b, 2 cores order the layers with a rank corr"
    )
    assert "bilinear_conv-k3-s2-c4x2-8x8 costs 3.0" in sentences[2]


def test_of_many_machines_the_middle_one_and_the_worst_are_named(tmp_path: Path) -> None:
    turned = {**COSTS, "nearest_conv": 3.0, "bilinear_conv": 1.1}
    folder = merge(tmp_path, {name: turned if name == "c" else COSTS for name in "abcdef"})
    view = view_machines(compare(folder))
    assert "is 1.00 on the middle machine; the lowest is" in view.sentences[1]
    assert view.sentences[1].endswith("on Processor c, 2 cores.")
    assert "99.17%" in view.how
    assert len(view.table.rows) == 6
    assert view.table.rows[0][-1].text.endswith("with the median")


def test_machines_without_a_common_case_say_so(tmp_path: Path) -> None:
    folder = merge(tmp_path, {"a": {"transposed": 1.0, "subpixel": 2.0}, "b": {"nearest_conv": 1.0, "sinc": 2.0}})
    assert describe_machines(compare(folder)) == [
        "No two machines have measured the same case, so nothing can be set side by side."
    ]


@pytest.mark.slow
def test_the_report_has_a_section_and_a_file_of_machines(tmp_path: Path) -> None:
    folder = merge(tmp_path, {"a<b>": COSTS, "b": DEARER})
    page = write_report(folder).read_text(encoding="utf-8")
    assert 'id="heading-machines"' in page
    assert '<a href="#machines">Machines</a>' in page
    assert "4 of 5 ratios to the baseline carry over" in page
    assert "Processor a&lt;b&gt;" in page
    assert "a<b>" not in page
    assert "<h1" in page
    assert "2 machines" in page
    assert (folder / "figures" / "machines.png").exists()
    with (folder / MACHINES_NAME).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {row["carries_over"] for row in rows} == {"", "True", "False"}


@pytest.mark.slow
def test_a_report_of_one_machine_has_no_such_section(tmp_path: Path) -> None:
    (run,) = write_machines(tmp_path, "a")
    page = write_report(run).read_text(encoding="utf-8")
    assert "heading-machines" not in page
    assert not (run / MACHINES_NAME).exists()
