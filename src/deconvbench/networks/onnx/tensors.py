"""Tensors of an ONNX file as torch's, and between torch and numpy."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deconvbench.errors import UsageError
from deconvbench.networks.onnx.libraries import DTYPES, import_library

_EXTERNAL = 1


def check_tensor(tensor: Any, name: str, most_bytes: int) -> int:
    """Check what a tensor declares against the data that are there.

    Parameters
    ----------
    tensor : TensorProto
        Any.
    name : str
        How it is called in messages.
    most_bytes : int
        Largest size.

    Returns
    -------
    int
        Its bytes.

    Raises
    ------
    UsageError
        If it is of an unknown type, has negative sides, is too large, or has other data than it declares.
    """
    if any(side < 0 for side in tensor.dims):
        raise UsageError(f"{name}: has a negative side in its shape {list(tensor.dims)[:8]}")
    if tensor.data_type not in DTYPES:
        raise UsageError(f"{name}: is of type {_name_type(tensor.data_type)}, which is not supported")
    size: int = math.prod(tensor.dims) * DTYPES[tensor.data_type].itemsize
    if size > most_bytes:
        raise UsageError(f"{name}: declares {size} bytes; at most {most_bytes} are read")
    if tensor.data_location == _EXTERNAL:
        return size
    if tensor.HasField("raw_data"):
        present, wanted = len(tensor.raw_data), size
    else:
        fields = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
        present = sum(len(getattr(tensor, field)) for field in fields)
        wanted = math.prod(tensor.dims) * (2 if DTYPES[tensor.data_type].is_complex else 1)
    if present != wanted:
        raise UsageError(f"{name}: declares the shape {list(tensor.dims)[:8]}, whose data are not in the file")
    return size


def read_tensor(tensor: Any, data: bytes | None = None) -> Tensor:
    """Convert a tensor of a file.

    Parameters
    ----------
    tensor : TensorProto
        Checked.
    data : bytes or None
        Of an external tensor.
    """
    dtype = DTYPES[tensor.data_type]
    raw = data if data is not None else tensor.raw_data if tensor.HasField("raw_data") else None
    if raw is None:
        return to_torch(import_library("onnx.numpy_helper").to_array(tensor)).to(dtype)
    if not raw:
        return torch.empty(tuple(tensor.dims), dtype=dtype)
    # little-endian in the file; a writable copy
    flat = torch.frombuffer(bytearray(raw), dtype=dtype)
    return flat.reshape(tuple(tensor.dims))


def to_torch(array: Any) -> Tensor:
    """Convert an array, also of half precision as ``ml_dtypes`` has it."""
    array = np.array(array)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    if array.dtype.kind in "iu":
        # C has several names for one kind of number, and torch knows one
        array = array.view(np.dtype(f"{array.dtype.kind}{array.dtype.itemsize}"))
    return torch.from_numpy(array)


def to_numpy(tensor: Tensor) -> Any:
    """Convert a tensor; bfloat16 becomes float32, which numpy has."""
    plain = tensor.detach().cpu()
    return (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()


def _name_type(number: int) -> str:
    names = import_library("onnx").TensorProto.DataType
    try:
        return str(names.Name(number))
    except ValueError:
        return str(number)
