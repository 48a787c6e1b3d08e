"""Weights from a file into a network: tensors by name, of torch.save or safetensors. Nothing is unpickled.

Files of trainers hold the weights among other things, and with the names of a wrapper before those of the
network's own; both are seen through where that leaves no doubt.
"""

import importlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deconvbench.errors import UsageError, describe_failure, explain_os_error, quote

_LABEL = "--state-dict"
# under which trainers keep the weights, the better ones first
_HOLDERS = (
    "params_ema",
    "ema_state_dict",
    "state_dict",
    "model_state_dict",
    "params",
    "model",
    "generator",
    "network",
    "net",
    "weights",
)
_SHOWN = 3
# what torch says of a pickle that would call something
_FOREIGN = re.compile(r"Unsupported (?:global|class)|GLOBAL |Trying to (?:call|instantiate)", re.IGNORECASE)
# counters that older files do not have
_UNNEEDED = "num_batches_tracked"


def load_weights(model: nn.Module, path: str) -> list[str]:
    """Load the weights of a network.

    Parameters
    ----------
    model : nn.Module
        Gets them.
    path : str
        Of a file of safetensors, by its name, or of one that torch.save has written and that holds tensors.

    Returns
    -------
    list of str
        What was seen through: where in the file the weights were, and what was before their names.

    Raises
    ------
    UsageError
        If it cannot be read, holds something else than tensors and plain data, or does not fit; names the first
        keys that do not.
    """
    found = _read_file(Path(path))
    weights, notes = _find_weights(found, path)
    expected = model.state_dict()
    prefix = _find_prefix(weights, expected)
    if prefix:
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
        notes.append(f"{path}: {prefix!r} was taken off its keys")
    if problems := _list_problems(weights, expected):
        raise UsageError(f"{_LABEL}: {quote(path)} does not fit the network: {'; '.join(problems)}")
    own = {name: value for name, value in expected.items() if name.endswith(_UNNEEDED)}
    try:
        model.load_state_dict({**own, **weights})
    except Exception as error:
        raise UsageError(f"{_LABEL}: {quote(path)} does not fit the network: {describe_failure(error)}") from error
    return notes


def _read_file(path: Path) -> Any:
    try:
        path.stat()
    except OSError as error:
        raise UsageError(f"{_LABEL}: cannot read {str(path)!r}: {explain_os_error(error)}") from error
    if not path.is_file():
        raise UsageError(f"{_LABEL}: cannot read {str(path)!r}: not a regular file")
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if _FOREIGN.search(str(error)):
            raise UsageError(
                f"{_LABEL}: {str(path)!r} holds objects besides tensors, which would run code when it is read;"
                " save model.state_dict() alone"
            ) from error
        raise UsageError(
            f"{_LABEL}: {str(path)!r} is not a file that torch.save wrote, or it is damaged"
        ) from error
    except MemoryError:
        raise
    except Exception as error:
        reason = describe_failure(error)
        raise UsageError(f"{_LABEL}: {str(path)!r} cannot be read as a file of torch.save: {reason}") from error


def _read_safetensors(path: Path) -> Any:
    try:
        load_file = importlib.import_module("safetensors.torch").load_file
    except ImportError as error:
        raise UsageError(f"{_LABEL}: {str(path)!r} needs `pip install safetensors` ({error})") from error
    try:
        return load_file(path)
    except Exception as error:
        reason = describe_failure(error)
        raise UsageError(f"{_LABEL}: {str(path)!r} cannot be read as safetensors: {reason}") from error


def _find_weights(found: Any, path: str) -> tuple[dict[str, Tensor], list[str]]:
    """Find the tensors by name in what a file holds."""
    if not isinstance(found, Mapping):
        raise UsageError(f"{_LABEL}: {quote(path)} holds {type(found).__name__}, not tensors by name")
    if tensors := _pick_tensors(found):
        return tensors, []
    inner = {str(key): _pick_tensors(value) for key, value in found.items() if isinstance(value, Mapping)}
    inner = {key: value for key, value in inner.items() if value}
    name = next((holder for holder in _HOLDERS if holder in inner), None)
    if name is None and len(inner) == 1:
        name = next(iter(inner))
    if name is None:
        names = ", ".join(quote(str(key)) for key in list(found)[:_SHOWN]) or "none"
        raise UsageError(f"{_LABEL}: {quote(path)} holds no tensors by name; its keys begin with {names}")
    return inner[name], [f"{path}: the weights under {name!r}"]


def _pick_tensors(found: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {key: value for key, value in found.items() if isinstance(key, str) and isinstance(value, Tensor)}


def _find_prefix(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Find what all keys begin with and the network's own do not, such as ``module.`` of DataParallel."""
    if not weights or weights.keys() & expected.keys():
        return ""
    first = next(iter(weights))
    parts = first.split(".")
    for length in range(1, len(parts)):
        prefix = ".".join(parts[:length]) + "."
        if not all(name.startswith(prefix) for name in weights):
            break
        if first.removeprefix(prefix) in expected:
            return prefix
    return ""


def _list_problems(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    missing = [name for name in expected if name not in weights and not name.endswith(_UNNEEDED)]
    unexpected = [name for name in weights if name not in expected]
    shapes = [
        f"{name} ({_write_shape(value)} there, {_write_shape(expected[name])} in the network)"
        for name, value in weights.items()
        if name in expected and not nn.parameter.is_lazy(expected[name]) and value.shape != expected[name].shape
    ]
    return [
        f"{len(names)} of {total} {words}: {_list_first(names)}"
        for names, total, words in (
            (missing, len(expected), "keys are missing"),
            (unexpected, len(weights), "keys in the file are unknown"),
            (shapes, len(expected), "have another shape"),
        )
        if names
    ]


def _list_first(names: list[str]) -> str:
    return ", ".join([*map(_shorten, names[:_SHOWN]), *["…"] * (len(names) > _SHOWN)])


def _shorten(name: str) -> str:
    return name if len(name) <= 120 else f"{name[:80]}…{name[-30:]}"


def _write_shape(value: Tensor) -> str:
    return "×".join(map(str, value.shape)) or "a number"
