"""The eighteen claims in order, and the way from a run and training results to a verdict on each.

Claims that rest on trained networks are a family: their intervals are as wide as Holm's procedure asks for, so
that all their verdicts hold together with the family's level. One that is decided in part stays in the family
until nothing of it is open.

The one registry of claims: a tuple, so nothing can be added behind its back.
"""

from dataclasses import replace
from pathlib import Path

from deconvbench.errors import UsageError, quote
from deconvbench.progress import PartDone, PartObserver
from deconvbench.records.run_folder import JOURNAL_NAME, find_newest_run
from deconvbench.records.schema import QUALITY_DTYPES, SPEEDUP_DTYPES, SUMMARY_DTYPES, TABLE_DTYPES
from deconvbench.records.training_tasks import SMALLER_TASKS
from deconvbench.resampling import step_down
from deconvbench.studies.claims import comparisons, costs, last_layer, matrices, overlap, remedies, training
from deconvbench.studies.claims.claim import Claim, ClaimResult, Context, tidy_evidence
from deconvbench.system.paths import check_path
from deconvbench.tables.files import SPEEDUPS_NAME, TABLE_NAME, Tables, read_frame, read_tables
from deconvbench.tables.frames import make_frame
from deconvbench.tables.trained import Trained, find_trained
from deconvbench.tables.trained_networks import MAIN_TASK, list_networks

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id=1,
        text="A convolution is a matrix C; its backward pass and the transposed convolution are Cᵀ.",
        source="article (A), Figure 2",
        figure="figure_2",
        measure=matrices.measure_transpose,
        judge=matrices.judge_transpose,
    ),
    Claim(
        id=2,
        text="Transposing the matrix is fully reversible, and undoes the convolution.",
        source="article (A), text and caption of Figure 2",
        figure="figure_2",
        measure=matrices.measure_reversal,
        judge=matrices.judge_reversal,
    ),
    Claim(
        id=3,
        text="Every deconvolution can be implemented by upsampling in some way, followed by a convolution.",
        source="article (A), Figure 3",
        figure="figure_3",
        measure=matrices.measure_equivalence,
        judge=matrices.judge_equivalence,
    ),
    Claim(
        id=4,
        text="Upsampling first is inefficient for small feature maps: only 4 of 36 cells hold information.",
        source="article (A), Figure 3",
        figure="figure_3",
        measure=costs.measure_waste,
        judge=costs.judge_waste,
    ),
    Claim(
        id=5,
        text="A 3×3 kernel with stride 2 visits some cells up to four times, others just once.",
        source="article (A), Figure 4",
        figure="figure_4",
        measure=overlap.measure_visits,
        judge=overlap.judge_visits,
    ),
    Claim(
        id=6,
        text="Uneven overlap is the reason for the checkerboard artifacts.",
        source="article (A), Figure 4",
        figure="artifact_maps",
        measure=overlap.measure_ripple,
        judge=overlap.judge_ripple,
    ),
    Claim(
        id=7,
        text="The artifacts are inherent in the network and there from the first iteration.",
        source="article (A), Figure 5",
        figure="figure_5",
        measure=training.measure_first_steps,
        judge=training.judge_first_steps,
        is_trained=True,
    ),
    Claim(
        id=8,
        text="Training leaves the artifacts largely unaffected.",
        source="article (A), Figure 5",
        figure="figure_5",
        measure=training.measure_change,
        judge=training.judge_change,
        is_trained=True,
    ),
    Claim(
        id=9,
        text="A large filter of stride 1 as the last layer does not help sufficiently.",
        source="article (A), section How to avoid; Odena et al. 2016 (O) call it quite effective",
        figure="trained_tradeoff",
        measure=last_layer.measure_smoothing,
        judge=last_layer.judge_smoothing,
        is_trained=True,
    ),
    Claim(
        id=10,
        text="A kernel size that the stride divides reduces the artifacts.",
        source="article (A), Figure 6",
        figure="figure_6",
        measure=remedies.measure_divisibility,
        judge=remedies.judge_divisibility,
        is_trained=True,
    ),
    Claim(
        id=11,
        text="Upsampling followed by a convolution avoids the artifacts fully.",
        source="article (A), Figure 7",
        figure="figure_7",
        measure=remedies.measure_resizing,
        judge=remedies.judge_resizing,
        is_trained=True,
    ),
    Claim(
        id=12,
        text="Convolutions on upsampled inputs are only slightly less efficient than deconvolutions.",
        source="article (A), last paragraph",
        figure="tradeoff_phase_ripple",
        measure=costs.measure_efficiency,
        judge=costs.judge_efficiency,
    ),
    Claim(
        id=13,
        text="In two dimensions the unevenness of one is squared.",
        source="Odena et al. 2016 (O), Deconvolution & overlap",
        figure="figure_4",
        measure=overlap.measure_dimensions,
        judge=overlap.judge_dimensions,
    ),
    Claim(
        id=14,
        text="The artifacts of stacked layers compound, on several scales.",
        source="Odena et al. 2016 (O), Deconvolution & overlap",
        figure=None,
        measure=training.measure_stacks,
        judge=training.judge_stacks,
        is_trained=True,
    ),
    Claim(
        id=15,
        text="Nearest-neighbour interpolation works better than bilinear before the convolution.",
        source="Odena et al. 2016 (O), Better upsampling",
        figure="trained_tradeoff",
        measure=comparisons.measure_interpolations,
        judge=comparisons.judge_interpolations,
        is_trained=True,
    ),
    Claim(
        id=16,
        text="Sub-pixel convolution has the same problem, and ICNR initialisation cures it.",
        source="Odena et al. 2016 (O), Better upsampling; Aitken et al. 2017",
        figure="trained_tradeoff",
        measure=remedies.measure_subpixel,
        judge=remedies.judge_subpixel,
        is_trained=True,
    ),
    Claim(
        id=17,
        text="Strided convolutions and pooling put checkerboards into gradients.",
        source="Odena et al. 2016 (O), Artifacts in gradients",
        figure=None,
        measure=overlap.measure_gradients,
        judge=overlap.judge_gradients,
    ),
    Claim(
        id=18,
        text="The artifacts are worst where colours are far from the average.",
        source="Odena et al. 2016 (O), Deconvolution & overlap",
        figure="figure_1",
        measure=comparisons.measure_colours,
        judge=comparisons.judge_colours,
        is_trained=True,
    ),
)


# of the claims on trained networks together
FAMILY_LEVEL = 0.95


def find_run(results_dir: Path = Path("results")) -> Path | None:
    """Find the newest run, if there is one.

    Parameters
    ----------
    results_dir : Path
        The folder that holds ``runs``.
    """
    try:
        return find_newest_run(results_dir)
    except UsageError:
        return None


def read_context(run: Path | None, results: Path | None) -> Context:
    """Read what claims rest on beside their own measurements.

    Parameters
    ----------
    run : Path or None
        A run folder; None where there is none.
    results : Path or None
        A folder of training experiments; None for one's own or those that ship with the package.

    Raises
    ------
    RunFolderError
        If a folder that was named is missing or cannot be read.
    """
    trained = find_trained(results)
    return Context(tables=None if run is None else _read_run(run), trained=trained)


def _read_run(run: Path) -> Tables:
    path = check_path(run, "run") / SPEEDUPS_NAME
    if not run.is_dir() or not path.is_file() or any((run / name).exists() for name in (TABLE_NAME, JOURNAL_NAME)):
        return read_tables(run)
    # of a run that was made for interleaved timing, nothing else may have been kept
    speedups = read_frame(run, SPEEDUPS_NAME, SPEEDUP_DTYPES)
    assert speedups is not None
    table, summary, quality = (make_frame([], dtypes) for dtypes in (TABLE_DTYPES, SUMMARY_DTYPES, QUALITY_DTYPES))
    return Tables(table=table, summary=summary, quality=quality, speedups=speedups)


def evaluate_claims(
    run: Path | None = None, results: Path | None = None, observer: PartObserver = lambda _: None
) -> list[ClaimResult]:
    """Measure what each claim rests on, and judge it.

    Parameters
    ----------
    run : Path, optional
        A run folder, for what layers cost; nothing is written into it. Without one, those claims are undecided.
    results : Path, optional
        A folder of training experiments; by default ``results/experiments``, then those that ship with the
        package.
    observer : callable
        Receives each claim that was judged; before, a note where no claim is about what was trained.

    Returns
    -------
    list of ClaimResult
        In the order of the claims table.

    Raises
    ------
    RunFolderError
        If a folder that was named is missing or cannot be read.
    """
    context = read_context(run, results)
    if note := _note_other_tasks(context.trained):
        observer(PartDone(done=0, total=len(CLAIMS), title="", note=note))
    return judge_claims(context, observer)


def _note_other_tasks(trained: Trained) -> str:
    """Say that no claim is about what was trained in a folder, where that is so."""
    tasks = list(dict.fromkeys(network.task for network in list_networks(trained.results)))
    if trained.folder is None or not {*tasks} <= {*SMALLER_TASKS}:
        return ""
    what = f"networks of {' and '.join(tasks)} alone" if tasks else "no training run that has ended"
    return (
        f"results: {quote(str(trained.folder))} holds {what}, and claims on trained networks are about"
        f" {MAIN_TASK}: they stay undecided; train with: deconvbench train --task {MAIN_TASK}"
    )


def judge_claims(context: Context, observer: PartObserver = lambda _: None) -> list[ClaimResult]:
    """Measure what each claim rests on, and judge it; those on trained networks as a family.

    Parameters
    ----------
    context : Context
        What there is to read.
    observer : callable
        Receives each claim that was judged.

    Returns
    -------
    list of ClaimResult
        In the order of the claims table.
    """
    found: dict[int, ClaimResult] = {}

    def is_decided(claim: Claim, level: float) -> bool:
        evidence = tidy_evidence(claim.measure(replace(context, confidence=level)))
        found[claim.id] = ClaimResult(
            claim=claim, evidence=evidence, finding=claim.judge(evidence), confidence=level
        )
        return not found[claim.id].finding.is_open

    step_down([claim for claim in CLAIMS if claim.is_trained], is_decided, FAMILY_LEVEL)
    for done, claim in enumerate(CLAIMS, 1):
        if not claim.is_trained:
            is_decided(claim, FAMILY_LEVEL)
        observer(
            PartDone(done=done, total=len(CLAIMS), title=f"claim {claim.id}: {found[claim.id].finding.verdict}")
        )
    return [found[claim.id] for claim in CLAIMS]
