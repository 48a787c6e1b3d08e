"""All that is known of a run, each derived frame computed once: what figures and report read."""

from dataclasses import dataclass

import pandas as pd

from deconvbench.analysis.speedups import average_speedups, compare_choices
from deconvbench.tables.files import Tables
from deconvbench.tables.table import summarise_quality


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResults:
    """The frames of one run and what follows from them.

    Parameters
    ----------
    table : DataFrame
        One row per case and replicate.
    summary : DataFrame
        One row per case.
    quality : DataFrame
        One row per layer and seed.
    quality_summary : DataFrame
        One row per layer: means over seeds, with intervals (`summarise_quality`).
    speedups : DataFrame
        One row per setting, layer and whether its weight was kept.
    speedup_means : DataFrame
        Geometric means over shapes (`average_speedups`).
    choices : DataFrame
        What each layer that chooses its implementation chose, beside the best (`compare_choices`).
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    quality: pd.DataFrame
    quality_summary: pd.DataFrame
    speedups: pd.DataFrame
    speedup_means: pd.DataFrame
    choices: pd.DataFrame


def derive_results(tables: Tables) -> RunResults:
    """Compute what follows from the frames of a run.

    Parameters
    ----------
    tables : Tables
        Of a run; any of them may be empty.
    """
    return RunResults(
        table=tables.table,
        summary=tables.summary,
        quality=tables.quality,
        quality_summary=summarise_quality(tables.quality),
        speedups=tables.speedups,
        speedup_means=average_speedups(tables.speedups),
        choices=compare_choices(tables.speedups),
    )
