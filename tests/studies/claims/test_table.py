import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from deconvbench.errors import RunFolderError
from deconvbench.plots.article.captions import CAPTIONS
from deconvbench.progress import PartDone
from deconvbench.records.schema import CURVE_DTYPES, TRAINED_DTYPES
from deconvbench.report.page import SECTIONS
from deconvbench.studies.claims import (
    CLAIMS,
    Claim,
    ClaimResult,
    Context,
    Finding,
    Verdict,
    evaluate_claims,
    find_run,
    read_context,
    table,
)
from deconvbench.studies.claims.claim import Evidence
from deconvbench.studies.claims.judging import conclude
from deconvbench.studies.claims.table import judge_claims
from deconvbench.tables.frames import encode_parquet
from deconvbench.tables.speedups import build_speedups
from deconvbench.tables.trained import Trained
from tests.made_speedups import make_speedup_records
from tests.plots.made_tables import make_tables
from tests.studies.claims.made_trained import make_curve, make_result, make_trained

# fewer give no interval at the level of nine claims together
SEEDS = 9
LAYERS = (
    ("transposed", 3, 4.0),
    ("transposed", 4, 2.0),
    ("transposed_smoothed", 3, 1.5),
    ("nearest_conv", 3, 0.1),
    ("bilinear_conv", 3, 0.1),
    ("subpixel", 3, 3.0),
    ("subpixel_icnr", 3, 1.0),
)


def write_results(folder: Path) -> Path:
    """Write a folder of training experiments."""
    runs = [
        make_result(upsampler, kernel, seed, checkerboard_levels=levels * (1 + 0.01 * seed))
        for upsampler, kernel, levels in LAYERS
        for seed in range(SEEDS)
    ]
    runs += [
        make_result("transposed", 3, seed, variant="last-3", checkerboard_levels=6.0 + 0.01 * seed)
        for seed in range(SEEDS)
    ]
    trained = make_trained(
        runs, [row for run in runs for row in make_curve(run, {0: 40.0, 1: 30.0 + run["seed"]})]
    )
    folder.mkdir()
    trained.results.to_csv(folder / "results.csv", index=False, columns=list(TRAINED_DTYPES))
    trained.curves.to_csv(folder / "curves.csv", index=False, columns=list(CURVE_DTYPES))
    return folder


def write_run(folder: Path) -> Path:
    """Write a run folder whose journal is gone."""
    folder.mkdir(parents=True)
    tables = make_tables()
    for name in ("table", "quality"):
        (folder / f"{name}.parquet").write_bytes(encode_parquet(getattr(tables, name)))
    return folder


def write_speedups(folder: Path) -> Path:
    """Write what is kept of a run with interleaved timing."""
    folder.mkdir()
    (folder / "speedups.parquet").write_bytes(encode_parquet(build_speedups(make_speedup_records())))
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in that holds no results."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims that only look at what there is, so that nothing is measured."""
    stub = replace(
        CLAIMS[0],
        measure=lambda context: {
            "cases": 0 if context.tables is None else len(context.tables.summary),
            "turns": 0 if context.tables is None else len(context.tables.speedups),
            "trainings": len(context.trained.results),
            "nothing": float("nan"),
        },
        judge=lambda evidence: Finding(verdict=Verdict.PARTLY, sentence=f"There are {evidence['cases']} cases."),
    )
    monkeypatch.setattr(table, "CLAIMS", (stub, replace(stub, id=2)))


def test_the_claims_table_has_eighteen_claims_in_order() -> None:
    assert [claim.id for claim in CLAIMS] == list(range(1, 19))
    assert len({claim.text for claim in CLAIMS}) == 18
    for claim in CLAIMS:
        assert claim.text[0].isupper()
        assert claim.text.endswith(".")
        assert "(A)" in claim.source or "(O)" in claim.source


def test_every_claim_has_an_experiment_and_a_rule_of_its_own() -> None:
    assert len({claim.measure for claim in CLAIMS}) == 18
    assert len({claim.judge for claim in CLAIMS}) == 18


def test_figures_are_those_that_the_report_can_draw() -> None:
    known = {*CAPTIONS, *SECTIONS}
    assert {claim.figure for claim in CLAIMS} - {None} <= known
    assert sum(claim.figure is None for claim in CLAIMS) <= 3


@pytest.mark.slow
def test_every_claim_is_judged_from_a_run_and_training_results(elsewhere: Path) -> None:
    run, results = write_run(elsewhere / "run"), write_results(elsewhere / "trained")
    steps: list[PartDone] = []
    found = evaluate_claims(run, results, steps.append)
    verdicts = {result.claim.id: result.finding.verdict for result in found}
    assert list(verdicts) == list(range(1, 19))
    # what results of this version are not scored for
    assert {number for number, verdict in verdicts.items() if verdict is Verdict.UNDECIDED} == {18}
    assert all(result.confidence == 0.95 for result in found if not result.claim.is_trained)
    # all nine were asked at once, and the last one alone
    assert {result.confidence for result in found if result.claim.is_trained} == {1 - 0.05 / 9, 0.95}
    assert verdicts[1] is verdicts[5] is verdicts[7] is Verdict.SUPPORTED
    assert verdicts[2] is Verdict.PARTLY
    assert verdicts[11] is Verdict.PARTLY
    assert [(step.done, step.total) for step in steps] == [(number, 18) for number in range(1, 19)]
    assert steps[1].title == "claim 2: partly"
    for result in found:
        assert all(value is None or isinstance(value, int | float) for value in result.evidence.values())
        # the rule sees nothing but this evidence
        assert result.claim.judge(result.evidence) == result.finding


@pytest.mark.usefixtures("stubs")
def test_without_anything_there_is_still_a_claims_table(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deconvbench.studies.claims.table.find_trained", lambda _: Trained())
    first, second = evaluate_claims()
    assert first.evidence == {"cases": 0, "turns": 0, "trainings": 0, "nothing": None}
    assert (first.claim.id, second.claim.id) == (1, 2)


@pytest.mark.usefixtures("stubs")
def test_a_run_and_results_are_read(elsewhere: Path) -> None:
    run, results = write_run(elsewhere / "run"), write_results(elsewhere / "trained")
    evidence = evaluate_claims(run, results)[0].evidence
    assert evidence["cases"] == len(make_tables().summary)
    assert evidence["trainings"] == SEEDS * (len(LAYERS) + 1)


@pytest.mark.usefixtures("stubs")
def test_a_run_of_which_only_the_turns_were_kept_is_read(elsewhere: Path) -> None:
    result: ClaimResult = evaluate_claims(write_speedups(elsewhere / "fast"))[0]
    assert result.evidence["cases"] == 0
    assert (result.evidence["turns"] or 0) > 0


def make_family(*errors: float) -> tuple[Claim, ...]:
    """Claims on trained networks that intervals decide from these levels of error on, and one that needs none."""

    def make_claim(number: int, error: float) -> Claim:
        return replace(
            CLAIMS[0],
            id=number,
            is_trained=number > 1,
            measure=lambda context: {"error": 1 - context.confidence},
            judge=lambda evidence: Finding(
                verdict=Verdict.SUPPORTED if (evidence["error"] or 0) >= error else Verdict.UNDECIDED,
                sentence="So.",
            ),
        )

    return tuple(make_claim(number, error) for number, error in enumerate((0.04, *errors), 1))


def test_claims_on_trained_networks_are_decided_as_a_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CLAIMS", make_family(0.01, 0.02, 0.045))
    found = judge_claims(Context(tables=None, trained=Trained()))
    assert [result.finding.verdict for result in found] == [Verdict.SUPPORTED] * 4
    # Holm: the first at a third of 5 %, the next at a half, the last at 5 %; the one beside them at 5 %
    assert [result.confidence for result in found] == pytest.approx([0.95, 1 - 0.05 / 3, 0.975, 0.95])
    monkeypatch.setattr(table, "CLAIMS", make_family(0.02, 0.02, 0.02))
    found = judge_claims(Context(tables=None, trained=Trained()))
    # each by itself would be decided at 5 %
    assert [result.finding.verdict for result in found] == [Verdict.SUPPORTED] + [Verdict.UNDECIDED] * 3


def test_a_claim_of_which_a_part_is_open_stays_in_the_family(monkeypatch: pytest.MonkeyPatch) -> None:
    half, whole = make_family(0.001, 0.001)[1:]

    def judge_half(evidence: Evidence) -> Finding:
        parts = [("a", True), ("b", False), ("c", True if (evidence["error"] or 0) >= 0.045 else None)]
        return conclude(parts, "So.")

    monkeypatch.setattr(table, "CLAIMS", (replace(half, judge=judge_half), whole))
    found = judge_claims(Context(tables=None, trained=Trained()))
    # partly from the first, but asked again at 5 % once the other has left
    assert [result.finding.verdict for result in found] == [Verdict.PARTLY, Verdict.SUPPORTED]
    assert [result.confidence for result in found] == pytest.approx([0.95, 0.975])
    assert not found[0].finding.is_open


def test_a_file_that_is_no_table_is_told(elsewhere: Path) -> None:
    run = write_speedups(elsewhere / "fast")
    tables = make_tables()
    (run / "speedups.parquet").write_bytes(encode_parquet(tables.quality))
    with pytest.raises(RunFolderError, match="speedups.parquet' was written by another version: it lacks case_id"):
        read_context(run, None)
    (run / "speedups.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(RunFolderError, match="cannot read .*speedups.parquet"):
        read_context(run, None)
    shutil.rmtree(run)
    with pytest.raises(RunFolderError, match="fast' does not exist"):
        read_context(run, None)


def test_a_missing_folder_of_results_is_told(elsewhere: Path) -> None:
    with pytest.raises(RunFolderError, match="results: 'none' is not a folder"):
        read_context(None, Path("none"))


def test_the_newest_run_is_found_if_there_is_one(elsewhere: Path) -> None:
    assert find_run() is None
    run = write_run(elsewhere / "results" / "runs" / "first")
    (run / "journal.jsonl").write_text("")
    assert find_run() == Path("results/runs/first")


@pytest.mark.usefixtures("stubs")
def test_results_of_other_tasks_alone_are_named(elsewhere: Path) -> None:
    folder = elsewhere / "trained"

    def list_notes() -> list[str]:
        steps: list[PartDone] = []
        evaluate_claims(None, folder, steps.append)
        return [step.note for step in steps if step.note]

    write_results(folder)
    assert list_notes() == []
    table = folder / "results.csv"
    text = table.read_text()
    table.write_text(text.replace("reconstruction", "segmentation").replace("super-resolution", "style-transfer"))
    (line,) = list_notes()
    assert line.startswith(f"results: '{folder}' holds networks of segmentation")
    assert line.endswith("stay undecided; train with: deconvbench train --task reconstruction")
    table.write_text(text.splitlines()[0])
    (line,) = list_notes()
    assert "holds no training run that has ended, and claims" in line
