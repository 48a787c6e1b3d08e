"""What does it cost to upsample without checkerboard artifacts, on your device, at your map sizes.

A benchmark and test-matrix harness for learned upsampling layers in PyTorch. The names below are imported
when they are first used, so that ``import deconvbench`` needs neither torch nor pandas.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deconvbench import nn as nn
    from deconvbench.analysis.comparison import compare
    from deconvbench.analysis.tradeoff import join_tradeoff
    from deconvbench.grid.grid import Grid
    from deconvbench.networks.fusion import fuse
    from deconvbench.networks.replacement import replace
    from deconvbench.records.case import Case
    from deconvbench.tables.files import load
    from deconvbench.upsamplers import build_upsampler, list_upsamplers, register_upsampler
    from deconvbench.workflows.run import run

__version__ = "0.1.0"

_HOMES = {
    "Case": "records.case",
    "Grid": "grid.grid",
    "build_upsampler": "upsamplers",
    "compare": "analysis.comparison",
    "fuse": "networks.fusion",
    "join_tradeoff": "analysis.tradeoff",
    "list_upsamplers": "upsamplers",
    "load": "tables.files",
    "register_upsampler": "upsamplers",
    "replace": "networks.replacement",
    "run": "workflows.run",
}

__all__ = [
    "Case",
    "Grid",
    "__version__",
    "build_upsampler",
    "compare",
    "fuse",
    "join_tradeoff",
    "list_upsamplers",
    "load",
    "register_upsampler",
    "replace",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "nn":
        # a module, not a name in one; to import it makes it an attribute
        return importlib.import_module(f"{__name__}.nn")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "nn"})
