"""`load_onnx`: a file becomes a module of torch, or one line says why not.

Sizes are looked at before anything is parsed, and everything that was parsed before anything is used. Nothing in
the file is executed while it is loaded. Memory and time of parsing itself are limited by the process.
"""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from deconvbench.arguments import check_whole
from deconvbench.errors import DeconvbenchError, UsageError, describe_failure, explain_os_error
from deconvbench.networks.onnx.checking import (
    check_model,
    check_whole_graph,
    check_with_onnx,
    list_tensors,
    make_one_line,
    walk_graphs,
)
from deconvbench.networks.onnx.external import is_external, read_external
from deconvbench.networks.onnx.libraries import DTYPES, import_library
from deconvbench.networks.onnx.module import InputInfo, OnnxModule
from deconvbench.networks.onnx.reading import make_printable
from deconvbench.networks.onnx.tensors import check_tensor, read_tensor

# file and weights together
MAX_BYTES = 4 * 2**30
# protobuf reads no more
_MOST_PARSED = 2**31 - 1
_LARGEST_SIDE = 2**31
# bytes of an initializer
_LARGE = 2**20


def load_onnx(path: str | Path, *, max_bytes: int = MAX_BYTES) -> OnnxModule:
    """Load an ONNX file as a module that executes its graph node by node.

    Parameters
    ----------
    path : str or Path
        The file. Weights may be in other files of the same folder, or of folders in it.
    max_bytes : int
        Most bytes of the file, and of all tensors that it declares.

    Returns
    -------
    OnnxModule
        On the CPU; its submodules have the names of the nodes. Float tensors are parameters that take no
        gradients.

    Raises
    ------
    UsageError
        In one line: if the extra ``onnx`` is not installed, the file cannot be read or is not valid, is too large,
        is written in an opset older than 7 or newer than the installed ``onnx``, has custom operators, or takes
        what is not a tensor of numbers.
    """
    limit = check_whole("max_bytes", max_bytes, 1)
    file = Path(path)
    try:
        return _load(file, limit)
    except UsageError as error:
        message = str(error)
        needs_extra = message.startswith(("onnx:", "onnxruntime:"))
        raise UsageError(message if needs_extra else f"{file}: {make_one_line(message)}") from error
    except DeconvbenchError:
        raise
    except RecursionError as error:
        raise UsageError(f"{file}: is nested too deep") from error
    except Exception as error:
        raise UsageError(f"{file}: cannot be read: {make_one_line(describe_failure(error))}") from error


def _load(file: Path, limit: int) -> OnnxModule:
    onnx = import_library("onnx")
    import_library("onnxruntime")
    model = _parse(onnx, _read_file(file, limit))
    # before version 4 every initializer had to be an input, which exporters did not always heed
    if 0 < model.ir_version < 4:
        model.ir_version = 4
    check_model(model, limit)
    if model.functions:
        model = import_library("onnx.inliner").inline_local_functions(model, convert_version=True)
        # one that is still called is refused as an operator that is not ONNX's
        del model.functions[:]
        check_model(model, limit)
    check_whole_graph(model)
    described = [one for one in (_describe_input(value, model.graph) for value in model.graph.input) if one]
    _read_external_data(model, file.parent, limit)
    with _take_weights(onnx, model.graph) as weights:
        check_with_onnx(model)
    opsets = {("" if one.domain == "ai.onnx" else one.domain): one.version for one in model.opset_import}

    def convert(tensor: Any, name: str) -> Tensor:
        check_tensor(tensor, name, limit)
        return read_tensor(tensor)

    return OnnxModule(model.graph, opsets, convert, weights=weights, described=described)


def _read_file(file: Path, limit: int) -> bytes:
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UsageError("is not a file")
        most = min(limit, _MOST_PARSED)
        if found.st_size > most:
            raise UsageError(f"has {found.st_size} bytes; at most {most} are read")
        with file.open("rb") as opened:
            data = opened.read(most + 1)
    except (OSError, ValueError) as error:
        reason = explain_os_error(error) if isinstance(error, OSError) else str(error)
        raise UsageError(reason) from error
    if not data:
        raise UsageError("is empty")
    return data


def _parse(onnx: Any, data: bytes) -> Any:
    try:
        return onnx.load_model_from_string(data)
    except Exception as error:
        raise UsageError("is not an ONNX file, or is cut off") from error


def _read_external_data(model: Any, folder: Path, limit: int) -> None:
    """Put external data into the model itself."""
    for graph, _ in walk_graphs(model.graph):
        for tensor, name in list_tensors(graph):
            if is_external(tensor) and tensor.external_data:
                size = check_tensor(tensor, name, limit)
                tensor.raw_data = read_external(tensor, name, folder, size)
                tensor.data_location = 0
                del tensor.external_data[:]


@contextmanager
def _take_weights(onnx: Any, graph: Any) -> Iterator[dict[str, Tensor]]:
    """Take large initializers out of a graph, whose inputs they are meanwhile: the checker copies all it gets."""
    weights: dict[str, Tensor] = {}
    inputs = {value.name for value in graph.input}
    count = len(graph.input)
    for number in reversed(range(len(graph.initializer))):
        tensor = graph.initializer[number]
        if len(tensor.raw_data) < _LARGE:
            continue
        weights[tensor.name] = read_tensor(tensor)
        if tensor.name not in inputs:
            graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
        del graph.initializer[number]
    yield weights
    del graph.input[count:]


def _describe_input(value: Any, graph: Any) -> InputInfo | None:
    """Describe an input; None for one that has an initializer."""
    if any(tensor.name == value.name for tensor in graph.initializer):
        return None
    name = f"input {make_printable(value.name)!r}"
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise UsageError(
            f"{name}: is not a tensor but {'nothing' if kind is None else kind.removesuffix('_type')}"
        )
    tensor = value.type.tensor_type
    if tensor.elem_type not in DTYPES:
        raise UsageError(f"{name}: is of type {tensor.elem_type} of ONNX, which is not supported")
    if not tensor.HasField("shape"):
        raise UsageError(f"{name}: has no shape, not even one with open sides")
    sides: list[int | None] = []
    for one in tensor.shape.dim:
        # exporters write 0 and -1 for a side that is open
        is_open = one.WhichOneof("value") != "dim_value" or one.dim_value in {0, -1}
        if not is_open and not 0 < one.dim_value < _LARGEST_SIDE:
            raise UsageError(f"{name}: has a side of {one.dim_value}")
        sides.append(None if is_open else one.dim_value)
    return value.name, tuple(sides), DTYPES[tensor.elem_type]
