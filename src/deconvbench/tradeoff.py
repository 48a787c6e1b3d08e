"""Cost against quality: which upsamplers are worth their price, among cases that can be compared.

Cost is measured once per case, quality once per layer; here they meet. Decides which points nothing beats and
nothing more: it draws none and recommends none. No torch.
"""

import numpy as np
import pandas as pd

from deconvbench.case import CASE_FIELDS, format_layer
from deconvbench.columns import ARTIFACT_COLUMNS, LAYER_COLUMNS, ZERO_BELOW, name_interval
from deconvbench.errors import UsageError
from deconvbench.statistics import pareto_front
from deconvbench.table import summarise, summarise_quality

QUALITY_COLUMNS = (*ARTIFACT_COLUMNS, "numerical_error")
# nearest_conv in exact forms that are faster: what they change of a frontier is worth showing
FAST_UPSAMPLERS = (
    "nearest_conv_fast",
    "nearest_conv_transposed",
    "nearest_conv_subpixel",
    "nearest_conv_minimal",
    "nearest_conv_tiled",
)
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
        The artifact metric, one of `QUALITY_COLUMNS`; low is best for each, decibels of image rejection too. A
        checkerboard below 0 is none at all, so it counts as 0.
    quality_table : DataFrame, optional
        The quality table of the same run (``quality.parquet``): where it is given, the metric's interval over
        seeds is joined on.

    Returns
    -------
    DataFrame
        One row per case that is `ok` and has a latency, in the order of `df`, with the columns of the summary and

        - ``layer``: what a reader calls it, such as ``transposed k3 s2``;
        - ``relative_latency``: over that of the cheapest layer among the comparable cases, 1 and up;
        - ``on_frontier``: whether no comparable case is at least as good in both latency and quality and better
          in one. A case without that metric is never on the frontier, and beats nobody;
        - ``on_frontier_without_fast``: the same among the layers that are not `FAST_UPSAMPLERS`;
        - with `quality_table`, ``<quality>_ci_low`` and ``<quality>_ci_high``: null where the layer has no
          interval (a single seed, or `numerical_error`, which does not depend on seeds).

        Cases are comparable when they differ in nothing but upsampler and kernel.

    Raises
    ------
    UsageError
        If `quality` is none of the metrics, `df` is neither a table nor a summary, or `quality_table` is no
        quality table.
    """
    if quality not in QUALITY_COLUMNS:
        raise UsageError(f"quality: {quality!r} is not one of {', '.join(QUALITY_COLUMNS)}")
    summary = df if "replicates" in df else summarise(df)
    wanted = ("status", "latency_s", *LAYER_COLUMNS, *COMPARABLE_FIELDS, quality)
    missing = [name for name in dict.fromkeys(wanted) if name not in summary]
    if missing:
        raise UsageError(f"df: lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}")
    kept = summary[(summary["status"] == "ok") & summary["latency_s"].notna()].reset_index(drop=True)
    fields = [*COMPARABLE_FIELDS, *(name for name in _ORIGIN_FIELDS if name in kept)]
    group = kept.groupby(fields, dropna=False, sort=False).ngroup().to_numpy()
    latency = kept["latency_s"].to_numpy(dtype=np.float64)
    metric = kept[quality].to_numpy(dtype=np.float64, na_value=np.nan)
    if quality in ARTIFACT_COLUMNS:
        metric = np.where(np.abs(metric) < ZERO_BELOW, 0.0, metric)
    if quality == "checkerboard":
        metric = np.maximum(metric, 0.0)
    relative = np.full(latency.shape, np.nan)
    frontier = np.zeros(latency.shape, dtype=np.bool_)
    without_fast = np.zeros(latency.shape, dtype=np.bool_)
    is_slow = ~kept["upsampler"].isin(FAST_UPSAMPLERS).to_numpy(dtype=np.bool_)
    for number in np.unique(group):
        members = group == number
        relative[members] = latency[members] / latency[members].min()
        frontier[members] = pareto_front(latency[members], metric[members])
        slow = members & is_slow
        without_fast[slow] = pareto_front(latency[slow], metric[slow])
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
    return joined if quality_table is None else _join_interval(joined, quality, quality_table)


def _join_interval(joined: pd.DataFrame, quality: str, quality_table: pd.DataFrame) -> pd.DataFrame:
    ends, keys = list(name_interval(quality)), list(LAYER_COLUMNS)
    # a metric that no seed changes has no such columns
    intervals = summarise_quality(quality_table).reindex(columns=[*keys, *ends])
    return joined.merge(intervals, on=keys, how="left", validate="many_to_one")
