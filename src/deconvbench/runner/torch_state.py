"""The parts of a process's state that are torch's; see `process_state`.

Torch keeps much of it in C, behind functions without types, and some behind names that it calls private; where a
version lacks one of those, that part is not watched.
"""

import functools
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from deconvbench.runner.python_state import Part, watch_names

_AUTOCAST_DEVICES = ("cpu", "cuda")
# modules of settings that are there once something was compiled
_COMPILER_SETTINGS = ("torch._dynamo.config", "torch._inductor.config", "torch._functorch.config")
# torch._dynamo wraps them when it compiles for the first time
_CHANGED_BY_COMPILING = {
    "torch": frozenset({"manual_seed"}),
    "Module": frozenset({"__init__", "__setstate__", "___needs_generation_tag_patch"}),
}


def list_torch_parts() -> list[Part]:
    """List what there is to watch; imports torch."""
    import torch
    from torch.nn import functional

    torch_c: Any = torch._C
    shared = functools.partial(Part, disturbs=True)
    parts = [
        # the modes first: while one is on, reading and setting goes through it
        shared(name="torch function modes", read=torch_c._len_torch_function_stack, write=_pop_function_modes),
        shared(name="torch dispatch modes", read=torch_c._len_torch_dispatch_stack),
        shared(name="grad mode", read=torch.is_grad_enabled, write=torch._C._set_grad_enabled),
        shared(name="inference mode", read=torch.is_inference_mode_enabled),
        shared(name="the default dtype", read=torch.get_default_dtype, write=torch.set_default_dtype),
        shared(name="the default device", read=_read_default_device, write=_set_default_device),
        shared(name="torch's profiler", read=torch_c._autograd._profiler_enabled),
        shared(name="anomaly detection", read=torch.is_anomaly_enabled, write=torch.set_anomaly_enabled),
        shared(name="deterministic algorithms", read=_read_deterministic, write=_set_deterministic),
        shared(name="autocast", read=_read_autocast, write=_set_autocast),
        shared(name="hooks of saved tensors", read=lambda: _read_saved_tensor_hooks(torch_c)),
        shared(name="functorch", read=lambda: torch_c._functorch.peek_interpreter_stack() is None),
        shared(name="forward-mode gradients", read=lambda: torch.autograd.forward_ad._current_level),
        shared(name="global hooks of modules", read=_read_module_hooks, write=_set_module_hooks),
        shared(
            name="float32 matmul precision",
            read=torch.get_float32_matmul_precision,
            write=torch.set_float32_matmul_precision,
        ),
        shared(name="torch.backends", read=_read_backends, write=_set_backends),
        shared(name="denormal numbers", read=_flushes_denormals, write=torch.set_flush_denormal),
        Part(name="threads of torch", read=torch.get_num_threads, write=torch.set_num_threads),
        Part(name="threads of torch between operations", read=torch.get_num_interop_threads),
        Part(name="torch's random state", read=_read_generator, write=_set_generator, is_same=torch.equal),
        Part(name="torch's warnings", read=torch.is_warn_always_enabled, write=torch.set_warn_always),
        shared(name="settings of torch.compile", read=_read_compiler_settings,
               is_same=_has_compiler_settings),
    ]  # fmt: skip
    places: dict[str, Any] = {
        "torch": torch, "torch.nn.functional": functional, "torch.nn": torch.nn, "Tensor": torch.Tensor,
        "Module": torch.nn.Module, "torch.autograd": torch.autograd,
        **{name: getattr(torch.nn, name) for name in ("Conv2d", "ConvTranspose2d", "Upsample", "PixelShuffle")},
    }  # fmt: skip
    names = [
        watch_names(place, name, _CHANGED_BY_COMPILING.get(name, frozenset())) for name, place in places.items()
    ]
    return [*parts, *names]


def _pop_function_modes(before: int) -> None:
    import torch

    torch_c: Any = torch._C
    while torch_c._len_torch_function_stack() > before:
        torch_c._pop_torch_function_stack()


def _read_default_device() -> str:
    import torch

    return str(torch.get_default_device())


def _set_default_device(before: str) -> None:
    import torch

    torch.set_default_device(None)
    if str(torch.get_default_device()) != before:
        torch.set_default_device(before)


def _read_deterministic() -> tuple[bool, bool, bool]:
    import torch

    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        _get_memory_filling().fill_uninitialized_memory,
    )


def _set_deterministic(before: tuple[bool, bool, bool]) -> None:
    import torch

    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    _get_memory_filling().fill_uninitialized_memory = before[2]


def _get_memory_filling() -> Any:
    import torch.utils.deterministic

    return torch.utils.deterministic  # its one setting is a property that its stubs lack


def _read_autocast() -> tuple[Any, ...]:
    import torch

    devices = [(torch.is_autocast_enabled(name), torch.get_autocast_dtype(name)) for name in _AUTOCAST_DEVICES]
    return devices, torch.is_autocast_cache_enabled()


def _set_autocast(before: tuple[Any, ...]) -> None:
    import torch

    devices, uses_cache = before
    for name, (is_enabled, dtype) in zip(_AUTOCAST_DEVICES, devices, strict=True):
        torch.set_autocast_enabled(name, is_enabled)
        torch.set_autocast_dtype(name, dtype)
    torch.set_autocast_cache_enabled(uses_cache)
    torch.clear_autocast_cache()


def _read_saved_tensor_hooks(torch_c: Any) -> tuple[bool, bool]:
    """Whether any are set, and whether they may be."""
    autograd = torch_c._autograd
    return autograd._top_saved_tensors_default_hooks(True) is None, autograd._saved_tensors_hooks_is_enabled()


def _list_module_hooks() -> dict[str, Any]:
    import torch

    return {name: value for name, value in vars(torch.nn.modules.module).items() if name.startswith("_global_")}


def _read_module_hooks() -> dict[str, Any]:
    return {
        name: dict(value) if isinstance(value, dict) else value for name, value in _list_module_hooks().items()
    }


def _set_module_hooks(before: Mapping[str, Any]) -> None:
    import torch

    for name, value in _list_module_hooks().items():
        if isinstance(value, dict):
            value.clear()
            value.update(before[name])
        else:
            setattr(torch.nn.modules.module, name, before[name])


def _list_backends() -> dict[str, tuple[Any, list[str]]]:
    """List the modules below torch.backends whose settings are properties, and the names of these."""
    import torch

    found = {}
    for name, module in vars(torch.backends).items():
        kinds = type(module).__mro__ if isinstance(module, ModuleType) else ()
        names = [
            key for kind in kinds for key, value in vars(kind).items() if type(value).__name__ == "ContextProp"
        ]
        if names:
            found[name] = (module, names)
    return found


# asked by functions of the module torch.backends.cuda, and set by one that is named likewise
_CUDA_SWITCHES = ("flash_sdp", "mem_efficient_sdp", "math_sdp", "cudnn_sdp")


def _read_backends() -> dict[str, Any]:
    import torch

    found = {
        f"{name}.{key}": getattr(module, key)
        for name, (module, names) in _list_backends().items()
        for key in names
    }
    cuda: Any = torch.backends.cuda
    found |= {name: getattr(cuda, f"{name}_enabled")() for name in _CUDA_SWITCHES}
    return found | {name: getattr(module, key) for name, (module, key) in _list_attributes().items()}


def _list_attributes() -> dict[str, tuple[Any, str]]:
    """List settings that are plain attributes."""
    import torch

    einsum: Any = torch.backends.opt_einsum
    return {
        "cuda.matmul.allow_tf32": (torch.backends.cuda.matmul, "allow_tf32"),
        "opt_einsum.enabled": (einsum, "enabled"),
        "opt_einsum.strategy": (einsum, "strategy"),
    }


def _set_backends(before: Mapping[str, Any]) -> None:
    import torch

    for name, (module, names) in _list_backends().items():
        for key in names:
            if getattr(module, key) != before[f"{name}.{key}"]:
                setattr(module, key, before[f"{name}.{key}"])
    cuda: Any = torch.backends.cuda
    for name in _CUDA_SWITCHES:
        getattr(cuda, f"enable_{name}")(before[name])
    for name, (module, key) in _list_attributes().items():
        setattr(module, key, before[name])


def _flushes_denormals() -> bool:
    import torch

    # the processor's own setting, which cannot be asked for
    return float(torch.tensor(1e-310, dtype=torch.float64, device="cpu") * 1.0) == 0.0


def _read_generator() -> Any:
    import torch

    return torch.default_generator.get_state()


def _set_generator(before: Any) -> None:
    import torch

    torch.default_generator.set_state(before)


def _read_compiler_settings() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name in _COMPILER_SETTINGS:
        copy: Callable[[], dict[str, Any]] | None = getattr(sys.modules.get(name), "get_config_copy", None)
        if copy is not None:
            found[name] = copy()
    return found


def _has_compiler_settings(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return all(now.get(name) == values for name, values in before.items())
