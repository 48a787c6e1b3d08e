"""Putting exact fast forms into networks that exist: `fuse`, and a backend of ``torch.compile``.

Nearest-neighbour upsampling and convolution, wherever a network does one after the other, become one operation
with fewer multiplications; parameters and results stay what they are.
"""

from deconvbench.errors import FusionError
from deconvbench.networks.fusion.backend import compile_graph
from deconvbench.networks.fusion.report import Change, FuseReport, Left
from deconvbench.networks.fusion.rewriting import fuse

__all__ = ["Change", "FuseReport", "FusionError", "Left", "compile_graph", "fuse"]
