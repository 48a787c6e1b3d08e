"""ONNX operators in torch's own functions, by name; what is not here, onnxruntime computes.

An operator is given a node and its inputs, and returns a tensor, or several as a tuple; `NotImplemented` where the
attributes or the inputs are such that torch's functions do not do the same.
"""

from deconvbench.networks.onnx.operators import (  # noqa: F401 -- they register their operators
    arithmetic,
    convolutions,
    layouts,
    norms,
    pooling,
    reductions,
    resizing,
    sequences,
    shapes,
)
from deconvbench.networks.onnx.operators.registry import OPERATORS

__all__ = ["OPERATORS"]
