"""What a model is at one time, and putting it back: attributes, tensors, containers, generators and random states.

Modules, and what they refer to, are followed: dicts, lists, sets and deques, objects with attributes, what
functions close over, and the attributes of the model's own classes. Not followed are global variables, objects of
the standard library, files, and what lies behind more than a few objects. Lazy modules stay initialised.
"""

import collections
import itertools
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from deconvbench.networks.fusion.tensors import count_changes

Restore = Callable[[], None]

_PLAIN_TENSORS = (Tensor, nn.Parameter)
# a model may refer to a trainer, and that to all data
_MOST_OBJECTS = 2
# of these an object cannot be put back, or has nothing to put back
_FIXED = (str, bytes, int, float, complex, bool, type(None), ModuleType, torch.dtype, torch.device, torch.Size)


@contextmanager
def keep_everything(*roots: Any) -> Iterator[None]:
    """Put everything that models and other objects refer to back at the end, also after an error.

    Tensors are copied meanwhile, the parameters among them.

    Parameters
    ----------
    *roots : nn.Module or any other object
        What may be changed.
    """
    snapshot = _Snapshot()
    for root in roots:
        snapshot.visit(root)
    modules = snapshot.modules
    devices = sorted(
        {
            parameter.device.index or 0
            for module in modules
            for parameter in _list_tensors(module)
            if parameter.is_cuda
        }
    )
    is_cached = torch.is_autocast_cache_enabled()
    states = [*_keep_global_randomness()]
    try:
        # what it casts without gradients would be used where there are some
        torch.set_autocast_cache_enabled(False)
        with torch.random.fork_rng(devices):
            yield
    finally:
        torch.set_autocast_cache_enabled(is_cached)
        for restore in (*states, *snapshot.restores):
            restore()


def _list_tensors(module: nn.Module) -> Iterator[Tensor]:
    for tensors in (module._parameters, module._buffers):
        yield from (tensor for tensor in tensors.values() if tensor is not None)


def _keep_global_randomness() -> Iterator[Restore]:
    state = random.getstate()
    yield lambda: random.setstate(state)
    # only if anybody has imported it
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        legacy = numpy.random.get_state()
        yield lambda: numpy.random.set_state(legacy)


class _Snapshot:
    """How to put back each object that was visited, once."""

    def __init__(self) -> None:
        self.restores: list[Restore] = []
        self.modules: list[nn.Module] = []
        # alive, so that no other object gets their id
        self._seen: dict[int, Any] = {}

    def visit(self, root: Any) -> None:
        """Keep what an object is, and everything that it refers to."""
        # what is near comes first
        waiting = collections.deque([(root, 0)])
        while waiting:
            value, depth = waiting.popleft()
            is_known = id(value) in self._seen or isinstance(value, _FIXED)
            if is_known or (_is_object(value) and (depth >= _MOST_OBJECTS or _is_of_others(type(value)))):
                continue
            self._seen[id(value)] = value
            depth = 0 if isinstance(value, nn.Module) else depth + _is_object(value)
            waiting.extend((item, depth) for item in self._keep(value))

    def _keep(self, value: Any) -> list[Any]:  # noqa: PLR0911 -- one return for each kind of object
        """Keep one object; what it refers to."""
        if isinstance(value, Tensor):
            return self._keep_tensor(value)
        if isinstance(value, torch.Generator):
            self._add(value.get_state(), value.set_state)
            return []
        if isinstance(value, random.Random):
            self._add(value.getstate(), value.setstate)
            return []
        if isinstance(value, dict):
            return self._keep_dict(value)
        if isinstance(value, list):
            self._add(list(value), lambda saved: value.__setitem__(slice(None), saved), lambda: list(value))
            return list(value)
        if isinstance(value, (set, collections.deque)):
            self._add(value.copy(), lambda saved: _refill(value, saved), value.copy)
            return list(value)
        if isinstance(value, (tuple, frozenset)):
            return list(value)
        if isinstance(value, bytearray):
            self._add(bytes(value), lambda saved: value.__setitem__(slice(None), saved), lambda: bytes(value))
            return []
        if isinstance(value, MethodType):
            return [value.__self__, value.__func__]
        if isinstance(value, FunctionType):
            return [*self._keep_cells(value), value.__dict__]
        return self._keep_object(value)

    def _add(self, saved: Any, write: Callable[[Any], Any], read: Callable[[], Any] | None = None) -> None:
        def restore() -> None:
            if read is None or not _is_same(read(), saved):
                write(saved)

        self.restores.append(restore)

    def _keep_dict(self, value: dict[Any, Any]) -> list[Any]:
        saved = _read_dict(value)
        self.restores.append(partial(_restore_dict, value, saved))
        return saved[1::2]

    def _keep_cells(self, function: FunctionType) -> list[Any]:
        held = []
        for cell in function.__closure__ or ():
            content = _read_cell(cell)
            if content is not _EMPTY:
                self._add(content, partial(setattr, cell, "cell_contents"))
                held.append(content)
        return held

    def _keep_object(self, value: Any) -> list[Any]:
        """Keep the attributes of an object, and of the classes of modules."""
        held: list[Any] = []
        if isinstance(value, LazyModuleMixin):
            return held
        if isinstance(value, nn.Module):
            self.modules.append(value)
            for cls in type(value).__mro__:
                if not _is_of_others(cls):
                    held.extend(self._keep_class(cls))
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.ndarray):
            if value.flags.writeable and not value.dtype.hasobject:
                self._add(value.copy(), lambda saved: value.__setitem__(..., saved))
            return held
        if numpy is not None and isinstance(value, numpy.random.Generator):
            generator = value.bit_generator
            self._add(generator.state, lambda saved: setattr(generator, "state", saved))
            return held
        if numpy is not None and isinstance(value, numpy.random.RandomState):
            self._add(value.get_state(), value.set_state)
            return held
        for cls in type(value).__mro__:
            for name in _list_slots(cls):
                held.extend(self._keep_slot(value, cls.__dict__.get(name)))
        own = getattr(value, "__dict__", None)
        return [*held, own] if isinstance(own, dict) else held

    def _keep_slot(self, value: Any, slot: Any) -> list[Any]:
        if slot is None:
            return []
        try:
            content = slot.__get__(value, type(value))
        except AttributeError:
            content = _EMPTY

        def write(saved: Any) -> None:
            if saved is not _EMPTY:
                slot.__set__(value, saved)

        self._add(content, write)
        return [content]

    def _keep_class(self, cls: type) -> list[Any]:
        """Keep the attributes of a class that are data."""
        if id(cls) in self._seen:
            return []
        self._seen[id(cls)] = cls
        saved = {name: item for name, item in vars(cls).items() if not _is_of_class(name, item)}

        def restore() -> None:
            for name, item in list(vars(cls).items()):
                if name not in saved and not _is_of_class(name, item):
                    type.__delattr__(cls, name)
            for name, item in saved.items():
                if vars(cls).get(name, _EMPTY) is not item:
                    type.__setattr__(cls, name, item)

        self.restores.append(restore)
        return list(saved.values())

    def _keep_tensor(self, value: Tensor) -> list[Any]:
        grad = value.grad if value.is_leaf else None
        needs_gradient = value.requires_grad
        is_plain = type(value) in _PLAIN_TENSORS and value.layout == torch.strided and value.device.type != "meta"
        if not is_plain or value.is_nested or value.is_quantized:
            # what another class is made of is its own business
            return [] if type(value) in _PLAIN_TENSORS else [value.__dict__]
        version, size = count_changes(value), value.shape
        with torch.no_grad():
            copied, memory = value.detach().clone(), value.detach()

        def restore() -> None:
            if value.is_leaf and value.requires_grad != needs_gradient:
                value.requires_grad_(needs_gradient)
            if value.is_leaf and value.grad is not grad:
                value.grad = grad
            if value.shape != size or value.data_ptr() != memory.data_ptr():
                value.data = memory
            if count_changes(value) != version or not _is_equal(memory, copied):
                with torch.no_grad(), torch.inference_mode(value.is_inference()):
                    memory.copy_(copied)

        self.restores.append(restore)
        return [grad, value.__dict__]


_EMPTY = object()


def _get_dict_class(value: dict[Any, Any]) -> Any:
    # a class may have methods of its own, and the order of an ordered one is its own
    return collections.OrderedDict if isinstance(value, collections.OrderedDict) else dict


def _read_dict(value: dict[Any, Any]) -> list[Any]:
    """List the keys and values of a dict in turns."""
    return list(itertools.chain.from_iterable(_get_dict_class(value).items(value)))


def _restore_dict(value: dict[Any, Any], saved: list[Any]) -> None:
    if _is_same(_read_dict(value), saved):
        return
    cls = _get_dict_class(value)
    cls.clear(value)
    for key, item in zip(saved[::2], saved[1::2], strict=True):
        cls.__setitem__(value, key, item)


def _is_equal(tensor: Tensor, other: Tensor) -> bool:
    # what is not a number equals itself here
    return torch.equal(tensor, other) or bool(
        ((tensor == other) | (torch.isnan(tensor) & torch.isnan(other))).all()
    )


def _is_same(found: Any, saved: Any) -> bool:
    """Whether containers hold the very same objects; no object is asked whether it equals another."""
    if isinstance(found, (bytes, bytearray)):
        return bool(found == saved)
    return len(found) == len(saved) and all(new is old for new, old in zip(found, saved, strict=True))


def _refill(value: Any, saved: Any) -> None:
    value.clear()
    (value.update if isinstance(value, set) else value.extend)(saved)


def _read_cell(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def _is_object(value: Any) -> bool:
    """Whether something is an object with attributes, and neither a module nor a container, tensor or function."""
    known = (
        *(nn.Module, Tensor, torch.Generator, random.Random, dict, list, set, collections.deque, tuple),
        *(frozenset, bytearray, MethodType, FunctionType),
    )
    return not isinstance(value, known)


def _is_of_others(cls: type) -> bool:
    package = cls.__module__.partition(".")[0]
    return package in {"torch", "deconvbench"} or package in sys.stdlib_module_names


def _is_of_class(name: str, item: Any) -> bool:
    """Whether an attribute of a class is part of its definition, and not data that may change."""
    is_code = isinstance(item, (FunctionType, classmethod, staticmethod, property, type)) or hasattr(
        item, "__get__"
    )
    return is_code or (name.startswith("__") and name.endswith("__")) or name.startswith("_abc_")


def _list_slots(cls: type) -> tuple[str, ...]:
    slots = cls.__dict__.get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    # private names are stored under another
    prefix = f"_{cls.__name__.lstrip('_')}"
    mangled = [prefix + name if name.startswith("__") and not name.endswith("__") else name for name in names]
    return tuple(name for name in mangled if name not in {"__dict__", "__weakref__"})
