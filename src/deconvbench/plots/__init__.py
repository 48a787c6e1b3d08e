"""Figures of a run: tables in, matplotlib figures out.

Every function returns a figure of its own and leaves pyplot, its style and its backend alone. Imports no torch.
"""

from deconvbench.plots import isolation as isolation  # isort: skip -- before anything that imports matplotlib
from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.artifact_maps import draw_artifact_maps, list_mapped_upsamplers
from deconvbench.plots.gallery import draw_all, encode_figures, save_figures
from deconvbench.plots.latency import draw_latency
from deconvbench.plots.memory import draw_memory
from deconvbench.plots.overlap_maps import draw_overlap_maps
from deconvbench.plots.speedups import draw_speedups
from deconvbench.plots.style import style_layer
from deconvbench.plots.tradeoff_map import draw_tradeoff
from deconvbench.plots.trained_tradeoff import draw_trained_tradeoff
from deconvbench.records.metrics import METRICS, format_metric, get_metric

__all__ = [
    "METRICS",
    "EmptyFigureError",
    "draw_all",
    "draw_artifact_maps",
    "draw_latency",
    "draw_memory",
    "draw_overlap_maps",
    "draw_speedups",
    "draw_tradeoff",
    "draw_trained_tradeoff",
    "encode_figures",
    "format_metric",
    "get_metric",
    "list_mapped_upsamplers",
    "save_figures",
    "style_layer",
]
