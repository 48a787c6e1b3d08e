"""Single nodes computed by onnxruntime, on the CPU.

Each is a model of its own, made when its inputs are known. No library of custom operators is ever loaded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from deconvbench.errors import UsageError
from deconvbench.networks.onnx.libraries import NUMBERS, import_library
from deconvbench.networks.onnx.tensors import to_numpy, to_torch

# the newest version of the format that sessions are written in, and the oldest
_FORMAT = 10
# of onnxruntime's messages: fatal ones
_QUIET = 4
_MOST_CHARACTERS = 300


class OneNode:
    """One node, run by onnxruntime.

    Parameters
    ----------
    name : str
        For messages.
    node : NodeProto
        Of the file.
    opsets : mapping of str to int
        Version of the operators of each domain.
    captured : sequence of str
        Values that its graphs take from around it.
    """

    def __init__(self, name: str, node: Any, opsets: Mapping[str, int], captured: Sequence[str]) -> None:
        self._name = name
        self._node = node
        self._opsets = dict(opsets)
        self._captured = tuple(captured)
        self._sessions: dict[Any, Any] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "OneNode":
        # nothing here depends on who runs it
        return self

    def count_inputs(self) -> int:
        """Count the inputs of the node, those that are left out among them."""
        return len(self._node.input)

    def __call__(self, *values: Any) -> Any:
        """Compute the node: its inputs, then what its graphs take from around it."""
        names = [*self._node.input, *self._captured]
        # the last inputs may be left out
        padded = [*values, *[None] * (len(names) - len(values))]
        given = {name: value for name, value in zip(names, padded, strict=True) if name and value is not None}
        if not all(isinstance(value, Tensor) for value in given.values()):
            raise UsageError(f"{self._name}: {self._node.op_type} of sequences is not supported")
        unknown = {value.dtype for value in given.values()} - set(NUMBERS)
        if unknown:
            raise UsageError(f"{self._name}: {self._node.op_type} of {unknown.pop()} is not supported")
        dtypes = {name: torch.float32 if one.dtype == torch.bfloat16 else one.dtype for name, one in given.items()}
        key = tuple(dtypes.items())
        try:
            if key not in self._sessions:
                self._sessions[key] = self._start(dtypes)
            arrays = self._sessions[key].run(None, {name: to_numpy(value) for name, value in given.items()})
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "onnxruntime" and not isinstance(error, RuntimeError):
                raise
            text = " ".join(str(error).split())[:_MOST_CHARACTERS]
            raise UsageError(f"{self._name}: onnxruntime cannot compute {self._node.op_type}: {text}") from error
        is_narrow = any(value.dtype == torch.bfloat16 for value in given.values())
        found = [
            self._to_torch(array, next(iter(given.values()), None), is_narrow=is_narrow) if name else None
            for name, array in zip(self._node.output, self._spread(arrays), strict=True)
        ]
        return found[0] if len(found) == 1 else tuple(found)

    def _spread(self, arrays: Sequence[Any]) -> list[Any]:
        """Put the results at the places of the outputs that have a name."""
        left = iter(arrays)
        return [next(left) if name else None for name in self._node.output]

    @staticmethod
    def _to_torch(array: Any, like: Tensor | None, *, is_narrow: bool) -> Any:
        if isinstance(array, list):
            return [to_torch(one) for one in array]
        tensor = to_torch(array)
        if is_narrow and tensor.dtype == torch.float32:
            tensor = tensor.bfloat16()
        return tensor if like is None else tensor.to(like.device)

    def _start(self, dtypes: Mapping[str, torch.dtype]) -> Any:
        onnx, helper, runtime = (import_library(name) for name in ("onnx", "onnx.helper", "onnxruntime"))
        inputs = [helper.make_tensor_value_info(name, NUMBERS[dtype], None) for name, dtype in dtypes.items()]
        outputs = [onnx.ValueInfoProto(name=name) for name in self._node.output if name]
        graph = helper.make_graph([self._node], "node", inputs, outputs)
        opsets = [helper.make_opsetid(domain, version) for domain, version in self._opsets.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_FORMAT)
        options = runtime.SessionOptions()
        options.log_severity_level = _QUIET
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def onnx_node(*values: Any, run: OneNode) -> Any:
    """Compute a node with onnxruntime.

    Parameters
    ----------
    *values : Tensor or None
        Its inputs.
    run : OneNode
        Computes it.

    Notes
    -----
    It can be watched as torch's own functions can.
    """
    tensors = tuple(value for value in values if isinstance(value, Tensor))
    if has_torch_function(tensors):
        return handle_torch_function(onnx_node, tensors, *values, run=run)
    return run(*values)
