"""Cost against quality: which upsamplers are worth their price, among cases that can be compared.

Cost is measured once per case, quality once per layer; here they meet. Decides which points are not dominated.
It recommends none.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from deconvbench.errors import UsageError, quote, suggest
from deconvbench.records.case import CASE_FIELDS, format_layer
from deconvbench.records.layers import FAST_UPSAMPLERS
from deconvbench.records.metrics import METRICS
from deconvbench.records.schema import (
    LAYER_COLUMNS,
    TRAINED_COLUMNS,
    name_interval,
)
from deconvbench.statistics import Floats, pareto_front
from deconvbench.tables.frames import require_columns
from deconvbench.tables.table import summarise, summarise_quality

QUALITY_COLUMNS = tuple(METRICS)
# what must be equal for two layers to be alternatives to each other: everything but the layer itself
COMPARABLE_FIELDS = tuple(name for name in CASE_FIELDS if name not in {"upsampler", "kernel_size"})
# where and when it was measured must be equal as well, where a frame says so
_ORIGIN_FIELDS = ("machine_id", "run")


def join_tradeoff(
    df: pd.DataFrame, quality: str = "phase_ripple", *, quality_table: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Set what each case costs against how clean its layer is.

    Parameters
    ----------
    df : DataFrame
        A table (`deconvbench.load`), whose replicates are pooled first, or a summary.
    quality : str
        The metric, one of `QUALITY_COLUMNS`; low is best for each, decibels of image rejection too, but for
        those that `records.metrics` declares best when high. A checkerboard below 0 is none at all, so it counts
        as 0.
    quality_table : DataFrame, optional
        The quality table of the same run (``quality.parquet``), whose seeds are pooled first, or its summary:
        where it is given, the metric's interval over seeds is joined on, and before it the metric itself, the
        mean over seeds, where `df` has no such column, as for what is known after training
        (`schema.TRAINED_COLUMNS`).

    Returns
    -------
    DataFrame
        One row per case that is `ok` and has a latency, in the order of `df`, with the columns of the summary and

        - ``layer``: what a reader calls it, such as ``transposed k3 s2``;
        - ``relative_latency``: over that of the cheapest layer among the comparable cases, 1 and up; from the
          ratios to one baseline where all of them have one, taken in the same moments, else from the latencies;
        - ``on_frontier``: whether no comparable case is at least as good in both relative latency and quality and
          better in one. A case without that metric is never on the frontier and dominates no other;
        - ``on_frontier_without_fast``: the same among the layers that are not `FAST_UPSAMPLERS`;
        - with `quality_table`, ``<quality>_ci_low`` and ``<quality>_ci_high``: null where the layer has no
          interval (a single seed, or `numerical_error`, which does not depend on seeds).

        Cases are comparable when they differ in nothing but upsampler and kernel.

    Raises
    ------
    UsageError
        If `quality` is not one of the metrics, `df` is neither a table nor a summary or lacks the metric, or
        `quality_table` is not a quality table.
    """
    if quality not in QUALITY_COLUMNS:
        hint = suggest(quality, QUALITY_COLUMNS)
        raise UsageError(f"quality: {quote(quality)} is not one of {', '.join(QUALITY_COLUMNS)}{hint}")
    require_columns(df, "df", ())
    if quality_table is not None:
        require_columns(quality_table, "quality_table", LAYER_COLUMNS)
    summary = df if "replicates" in df else summarise(df)
    # only the summary counts the seeds
    pooled = (
        quality_table if quality_table is None or "seeds" in quality_table else summarise_quality(quality_table)
    )
    if quality not in summary and pooled is not None and quality in pooled and {*LAYER_COLUMNS} <= {*summary}:
        summary = _join_layers(summary, pooled, quality)
    wanted = ("status", "latency_s", *LAYER_COLUMNS, *COMPARABLE_FIELDS, quality)
    is_trained = quality in TRAINED_COLUMNS and quality not in summary
    hint = "; give the quality_table that has it" if is_trained else ""
    require_columns(summary, "df", wanted, ("latency_s", quality), hint)
    kept = summary[(summary["status"] == "ok") & summary["latency_s"].notna()].reset_index(drop=True)
    fields = [*COMPARABLE_FIELDS, *(name for name in _ORIGIN_FIELDS if name in kept)]
    group = kept.groupby(fields, dropna=False, sort=False).ngroup().to_numpy()
    metric = kept[quality].to_numpy(dtype=np.float64, na_value=np.nan)
    declared = METRICS[quality]
    metric = np.where(np.abs(metric) < declared.zero_below, 0.0, metric)
    if declared.is_checkerboard:
        metric = np.maximum(metric, 0.0)
    if declared.best == "high":
        metric = -metric
    relative = np.full(metric.shape, np.nan)
    frontier = np.zeros(metric.shape, dtype=np.bool_)
    without_fast = np.zeros(metric.shape, dtype=np.bool_)
    is_slow = ~kept["upsampler"].isin(FAST_UPSAMPLERS).to_numpy(dtype=np.bool_)
    costs = _find_costs(kept, group)
    order = np.argsort(group, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if len(order) else ():
        relative[members] = costs[members] / costs[members].min()
        frontier[members] = pareto_front(relative[members], metric[members])
        slow = members[is_slow[members]]
        without_fast[slow] = pareto_front(relative[slow], metric[slow])
    layers = [
        format_layer(upsampler, None if pd.isna(kernel) else int(kernel), int(scale))
        for upsampler, kernel, scale in zip(*(kept[name] for name in LAYER_COLUMNS), strict=True)
    ]
    joined = kept.assign(
        layer=pd.Series(layers, dtype="str"),
        relative_latency=relative,
        on_frontier=frontier,
        on_frontier_without_fast=without_fast,
    )
    # a metric that no seed changes has no interval there
    return joined if pooled is None else _join_layers(joined, pooled, *name_interval(quality))


def _find_costs(kept: pd.DataFrame, group: npt.NDArray[np.integer[Any]]) -> Floats:
    """Find what comparable cases cost beside each other: their ratios to one baseline, or their latencies."""
    latencies = kept["latency_s"].to_numpy(dtype=np.float64)
    if not {"ratio", "baseline_id"} <= {*kept}:
        return latencies
    ratios = kept["ratio"].to_numpy(dtype=np.float64, na_value=np.nan)
    comparable = kept["ratio"].notna().groupby(group).transform("all")
    baselines = kept["baseline_id"].groupby(group).transform("nunique") + kept["baseline_id"].isna()
    return np.where((comparable & (baselines == 1)).to_numpy(dtype=np.bool_), ratios, latencies)


def _join_layers(frame: pd.DataFrame, pooled: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Join on columns of the summary of quality; null where it has no such column, or no such layer."""
    keys = list(LAYER_COLUMNS)
    known = pooled.reindex(columns=[*keys, *columns])
    # sizes that no whole number of 64 bits can hold make the column of one side floats
    floats = dict.fromkeys(
        (name for name in keys if any(map(pd.api.types.is_float_dtype, (frame[name], known[name])))), "float64"
    )
    joined = frame.astype(floats).merge(known.astype(floats), on=keys, how="left", validate="many_to_one")
    # a left join keeps the rows in order
    return joined.assign(**{name: frame[name].array for name in floats})
