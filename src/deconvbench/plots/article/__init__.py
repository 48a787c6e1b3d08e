"""The article's figures, from our own numbers: theory evaluated, and results of training experiments.

Every function returns a figure of its own and leaves pyplot, its style and its backend alone. Imports no torch.
"""

from deconvbench.plots.article.captions import CAPTIONS, Caption, draw_article_figures
from deconvbench.plots.article.checkerboard_example import draw_figure_1
from deconvbench.plots.article.conv_matrices import draw_figure_2
from deconvbench.plots.article.fractional_strides import draw_figure_3
from deconvbench.plots.article.overlap_counts import draw_figure_4, draw_figure_6, draw_overlap_counts
from deconvbench.plots.article.reconstructions import draw_figure_7
from deconvbench.plots.article.task_examples import draw_task
from deconvbench.plots.article.trained_gallery import draw_gallery
from deconvbench.plots.article.training_course import draw_figure_5

__all__ = [
    "CAPTIONS",
    "Caption",
    "draw_article_figures",
    "draw_figure_1",
    "draw_figure_2",
    "draw_figure_3",
    "draw_figure_4",
    "draw_figure_5",
    "draw_figure_6",
    "draw_figure_7",
    "draw_gallery",
    "draw_overlap_counts",
    "draw_task",
]
