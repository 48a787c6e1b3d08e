"""From a run folder to a file."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from deconvbench.cli.output import OWN_PAGE
from deconvbench.errors import RunFolderError, SurroundingsError, UsageError
from deconvbench.plots.style import make_figure
from deconvbench.records.record import AnyRecord, Latency, Memory, QualityRecord, encode_record
from deconvbench.records.run_folder import CLAIMS_NAME, JOURNAL_NAME, write_run_info
from deconvbench.records.schema import LATER_COLUMNS
from deconvbench.report import output, write_report
from deconvbench.report.output import name_article
from deconvbench.tables.files import QUALITY_NAME, TABLE_NAME, write_tables
from deconvbench.tables.trained import Trained
from deconvbench.tables.trained_networks import MAIN_NETWORK
from tests.builders import make_case, make_record
from tests.made_results import make_trained


@pytest.fixture(autouse=True)
def _few_article_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the article's figures one is enough: all of them take seconds."""
    monkeypatch.setattr(output, "draw_article_figures", lambda trained: {"figure_4": make_figure(1.0)})


def make_run(folder: Path, records: list[AnyRecord], **info: Any) -> Path:
    folder.mkdir()
    write_run_info(folder, {"created_at": "2026-03-01T12:00:00+00:00", **info})
    (folder / JOURNAL_NAME).write_text("".join(encode_record(record) + "\n" for record in records))
    return folder


def make_records() -> list[AnyRecord]:
    latency = Latency(
        samples_s=(2e-3, 3e-3, 2.5e-3), calls_per_sample=1, first_call_s=0.1, stop_reason="precision"
    )
    memory = Memory(
        peak_memory_bytes=9000, peak_reserved_bytes=None, input_bytes=1024, output_bytes=2048, parameter_bytes=300,
        gradient_bytes=0,
    )  # fmt: skip
    records: list[AnyRecord] = [
        make_record(
            case=make_case(height=size, width=size), replicate=replicate, latency=latency, memory=memory, macs=4000
        )
        for size in (8, 16)
        for replicate in (0, 1)
    ]
    records.append(make_record(case=make_case(height=32, width=32), status="oom", message="no <room> & no way"))
    metrics: dict[str, float | None] = {"phase_ripple": 0.0, "noise_gain_cv": 0.02, "overlap_cv": None}
    records.append(
        QualityRecord(
            upsampler="nearest_conv",
            kernel_size=3,
            scale_factor=2,
            seed=0,
            channels=4,
            status="ok",
            metrics=metrics,
        )
    )
    return records


def test_a_run_becomes_a_page_and_figures(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", make_records(), finished_at="2026-03-01T12:01:00+00:00")
    path = write_report(folder)
    assert path == folder / "report.html"
    html = path.read_text(encoding="utf-8")
    assert "2 of 3 cases ok (1 oom)" in html
    assert "no &lt;room&gt; &amp; no way" in html
    assert "the cheapest layer without ripple at initialisation is nearest_conv k3 s2 (2.5 ms)" in html
    drawn = {figure.name for figure in (folder / "figures").iterdir()}
    assert {"latency.png", "tradeoff_phase_ripple.png", "memory.png", "overlap_maps.png"} <= drawn


def test_metrics_can_be_chosen(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", make_records())
    chosen = ("noise_gain_cv", "overlap_cv", "noise_gain_cv")
    html = write_report(folder, metrics=chosen).read_text(encoding="utf-8")
    assert '"metric":"noise_gain_cv"}' in html
    drawn = {figure.name for figure in (folder / "figures").iterdir() if figure.name.startswith("tradeoff")}
    assert drawn == {"tradeoff_noise_gain_cv.png"}


def test_figures_for_papers_are_the_same_each_time(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", make_records()[:2])
    write_report(folder, figures=("svg", "pdf"))
    files = {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}
    assert {"latency.svg", "latency.pdf"} <= {*files}
    assert not any(name.endswith("png") for name in files)
    assert files["latency.pdf"].startswith(b"%PDF")
    write_report(folder, figures=("svg", "pdf"))
    assert {path.name: path.read_bytes() for path in (folder / "figures").iterdir()} == files


@pytest.mark.parametrize("kinds", [("png", "gif"), ()], ids=["unknown", "none"])
def test_formats_that_are_none_are_wrong_use(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    folder = make_run(tmp_path / "run", make_records())
    before = sorted(folder.iterdir())
    with pytest.raises(UsageError, match="^--figures: .* is not one of png, pdf, svg"):
        write_report(folder, figures=kinds)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("metrics", [("phase_ripple", "beauty"), ()], ids=["unknown", "none"])
def test_metrics_that_are_none_are_wrong_use(tmp_path: Path, metrics: tuple[str, ...]) -> None:
    folder = make_run(tmp_path / "run", make_records())
    before = sorted(folder.iterdir())
    with pytest.raises(UsageError, match=r"^--quality: .* is not one of overlap_cv, .*checkerboard"):
        write_report(folder, metrics=metrics)
    assert sorted(folder.iterdir()) == before


def test_tables_of_an_older_version_without_a_journal_are_reported(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", make_records())
    write_tables(folder)
    (folder / JOURNAL_NAME).unlink()
    for name in (TABLE_NAME, QUALITY_NAME):
        frame = pd.read_parquet(folder / name).drop(columns=list(LATER_COLUMNS), errors="ignore")
        frame.to_parquet(folder / name, index=False)
    html = write_report(folder).read_text(encoding="utf-8")
    assert '<option value="phase_ripple">' in html
    assert '<option value="checkerboard">' not in html
    assert "the cheapest layer without ripple at initialisation is nearest_conv k3 s2 (2.5 ms)" in html


def test_a_run_that_was_killed_before_its_first_record(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", [])
    html = write_report(folder, tmp_path / "new" / "mine.html").read_text(encoding="utf-8")
    assert "Nothing was measured: the run has no finished case." in html
    assert not (folder / "report.html").exists()
    assert (tmp_path / "new" / "mine-article.html").exists()
    assert 'href="mine-article.html"' in html
    assert 'href="table.csv"' not in html


def test_a_run_where_everything_failed(tmp_path: Path) -> None:
    records: list[AnyRecord] = [make_record(status="crashed", message="SIGSEGV")]
    html = write_report(make_run(tmp_path / "run", records)).read_text(encoding="utf-8")
    assert "Every case failed" in html
    assert "SIGSEGV" in html


@pytest.mark.slow
def test_writing_again_replaces_the_page(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", [])
    first = write_report(folder).read_text(encoding="utf-8")
    assert write_report(folder).read_text(encoding="utf-8") == first
    assert not list(folder.glob("*.tmp"))


def test_a_folder_without_a_run_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"has no run\.json"):
        write_report(tmp_path)
    with pytest.raises(RunFolderError, match="does not exist"):
        write_report(tmp_path / "absent")


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", [])
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    with pytest.raises(SurroundingsError, match=r"cannot write to .*report\.html"):
        write_report(folder, blocker / "report.html")


@pytest.mark.slow
def test_what_was_trained_is_in_the_page_the_tables_and_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    trained = make_trained(tmp_path / "experiments", (("transposed", 3), ("nearest_conv", 3)), images=("chelsea",))
    folder = make_run(tmp_path / "run", make_records())
    html = write_report(folder, trained=trained).read_text(encoding="utf-8")
    assert html.count(f"read from {tmp_path / 'experiments'} (deconvbench train --seeds 3).") == 2
    assert "No layer of this run was trained" not in html
    assert "Parts of chelsea" in html
    assert (
        pd.read_parquet(folder / QUALITY_NAME)["trained_psnr_db"].tolist()
        == trained.results["psnr_db"].tolist()[3:]
    )
    drawn = {figure.name for figure in (folder / "figures").iterdir()}
    assert {"trained_tradeoff.png", *(f"figure_{number}.png" for number in range(1, 8)), "gallery.png"} <= drawn
    assert not any("super_resolution" in name for name in drawn)
    assert len(html) < 4e6


@pytest.mark.slow
def test_the_headline_figure_is_drawn_for_each_task_from_its_own_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, float | None, list[float]]] = []

    def draw(summary: pd.DataFrame, quality: pd.DataFrame, **settings: Any) -> Figure:
        assert len(summary)
        levels = quality["trained_psnr_db"].dropna()
        seen.append((settings["network"], settings["target_level"], levels.tolist()))
        return make_figure(1.0)

    monkeypatch.setattr(output, "draw_trained_tradeoff", draw)
    other = replace(MAIN_NETWORK, task="super-resolution")
    made = make_trained(tmp_path / "made", (("nearest_conv", 3),), seeds=2, networks=(MAIN_NETWORK, other))
    second = made.results["task"] == other.task
    rows = made.results.assign(
        psnr_db=made.results["psnr_db"] + 4 * second,
        target_checkerboard_levels=made.results["target_checkerboard_levels"] + 1.0 * second,
    )
    folder = make_run(tmp_path / "run", make_records())
    write_report(folder, trained=replace(made, results=rows))
    ((network, level, values),) = seen
    assert network == "super-resolution"
    assert level == pytest.approx(0.9)
    assert values == rows.loc[second, "psnr_db"].tolist()
    drawn = {figure.name for figure in (folder / "figures").iterdir()}
    assert {"trained_tradeoff.png", "trained_tradeoff_super_resolution.png"} <= drawn


def test_the_claims_table_of_the_run_is_shown(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", [])
    assert "Evaluate them with: <code>deconvbench claims</code>" in write_report(folder).read_text(
        encoding="utf-8"
    )
    row = {
        "id": 5,
        "claim": "c",
        "source": "s",
        "verdict": "refuted",
        "sentence": "It <is> not.",
        "figure": "figure_4",
    }
    table = {"schema_version": 1, "kind": "claims", "rows": [row]}
    (folder / CLAIMS_NAME).write_text(json.dumps(table))
    html = write_report(folder).read_text(encoding="utf-8")
    assert "1 claim: 1 refuted" in html
    assert "It &lt;is&gt; not." in html
    assert '<a href="report-article.html#figure-figure_4">Figure 4</a>' in html
    article = (folder / "report-article.html").read_text(encoding="utf-8")
    assert 'id="figure-figure_4"' in article
    assert 'href="report.html"' in article


@pytest.mark.parametrize("is_folder", [True, False], ids=["folder", "torn"])
def test_a_claims_table_that_cannot_be_read_is_named(tmp_path: Path, is_folder: bool) -> None:
    folder = make_run(tmp_path / "run", [])
    path = folder / CLAIMS_NAME
    path.mkdir() if is_folder else path.write_text("{")
    with pytest.raises(RunFolderError, match=f"^claims: .*{CLAIMS_NAME}'"):
        write_report(folder)


def test_nothing_is_written_where_the_report_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise SurroundingsError("the disk is full")

    folder = make_run(tmp_path / "run", make_records())
    before = sorted(folder.rglob("*"))
    monkeypatch.setattr(output, "render_report", refuse)
    with pytest.raises(SurroundingsError, match="the disk is full"):
        write_report(folder)
    assert sorted(folder.rglob("*")) == before


def test_tables_figures_and_page_are_published_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[dict[str, bytes]] = []
    monkeypatch.setattr(output, "write_files", lambda folder, files: published.append(files))
    write_report(make_run(tmp_path / "run", make_records()))
    (files,) = published
    assert {
        "summary.csv",
        "table.csv",
        TABLE_NAME,
        "figures/latency.png",
        "report.html",
        "report-article.html",
    } <= set(files)


def test_a_page_of_ours_is_known_again(tmp_path: Path) -> None:
    page = write_report(make_run(tmp_path / "run", [], grid={"name": "mine"}), tmp_path / "page.html")
    for path in (page, tmp_path / "page-article.html"):
        assert OWN_PAGE.match(path.read_bytes()[:4096])


def test_a_report_that_goes_to_standard_output_has_no_second_page(tmp_path: Path) -> None:
    assert name_article(Path("/dev/stdout")) is None
    assert name_article(tmp_path / "report.html") == tmp_path / "report-article.html"
    assert name_article(tmp_path / "report") == tmp_path / "report-article.html"


def test_what_ships_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Trained] = []

    def load() -> Trained:
        asked.append(make_trained(tmp_path / f"shipped{len(asked)}", (("transposed", 3),)))
        return replace(asked[-1], folder=None)

    monkeypatch.setattr(output, "load_shipped", load)
    run = make_run(tmp_path / "run", make_records())
    write_report(run, trained=load())
    assert len(asked) == 1
    # beside results of one's own, and where there are none
    for trained in (asked[0], None):
        write_report(run, trained=trained)
    assert len(asked) == 3
