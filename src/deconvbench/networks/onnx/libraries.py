"""The packages of the extra ``onnx``, imported when they are needed, and the kinds of numbers that ONNX has."""

import importlib
from collections.abc import Mapping
from typing import Any

import torch

from deconvbench.errors import UsageError

# by ONNX's numbers of its types
DTYPES: Mapping[int, torch.dtype] = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    4: torch.uint16,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    12: torch.uint32,
    13: torch.uint64,
    14: torch.complex64,
    15: torch.complex128,
    16: torch.bfloat16,
}
NUMBERS: Mapping[torch.dtype, int] = {dtype: number for number, dtype in DTYPES.items()}


def import_library(name: str) -> Any:
    """Import a package of the extra ``onnx``.

    Parameters
    ----------
    name : str
        ``onnx`` or ``onnxruntime``, or a module of them.

    Raises
    ------
    UsageError
        If it is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        missing = isinstance(error, ModuleNotFoundError) and error.name == package
        reason = "is not installed" if missing else f"cannot be imported ({' '.join(str(error).split())})"
        raise UsageError(
            f"{package}: {reason}; ONNX files need the extra: pip install 'deconvbench[onnx]'"
        ) from error
