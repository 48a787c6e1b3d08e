"""Whatever a layer changes in its process is put back, or the process is known to be spent."""

import builtins
import contextlib
import faulthandler
import gc
import io
import locale
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from deconvbench.runner.process_state import Changes, ProcessState, read_process_state
from deconvbench.runner.python_state import Part

if sys.platform == "win32":
    pytest.skip("needs signals and limits", allow_module_level=True)


def replace_stream() -> None:
    sys.stdout = io.StringIO()
    sys.stderr = None  # as in a process without a terminal


def close_stream() -> None:
    assert sys.__stdout__ is not None
    sys.__stdout__.close()


def close_descriptors() -> None:
    os.close(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def set_handlers() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 600)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])


def edit_modules() -> None:
    sys.modules["json"] = ModuleType("json")
    del sys.modules["random"]
    sys.modules["psutil_of_mine"] = None  # type: ignore[assignment] # as imports are blocked
    sys.path.insert(0, "/nowhere")
    sys.meta_path.clear()


def patch_names() -> None:
    torch_functional: Any = functional
    torch_functional.interpolate = functional.relu
    del torch_functional.pad
    for place, name in ((torch.nn.Conv2d, "forward"), (torch.nn.Module, "__getstate__"), (builtins, "print")):
        setattr(place, name, lambda *_: None)  # the second had none
    setattr(time, "perf_counter_ns", lambda: 0)  # noqa: B010 -- to mypy it is final


def hook_globally() -> None:
    torch.nn.modules.module.register_module_forward_hook(lambda module, inputs, output: output * 2)


def set_backends() -> None:
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment] # a property of its module
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cuda.enable_math_sdp(False)


def set_autocast() -> None:
    torch.set_autocast_enabled("cpu", True)
    torch.set_autocast_cache_enabled(False)


def trace() -> None:
    sys.setprofile(lambda *_: None)
    threading.settrace(lambda *_: None)


def change_numpy() -> None:
    np.random.seed(3)  # noqa: NPY002 -- as layers do
    np.seterr(all="raise")


def turn_off_collector() -> None:
    gc.disable()
    gc.set_threshold(1)
    gc.callbacks.append(lambda phase, info: None)


def warn_as_errors() -> None:
    warnings.simplefilter("error")
    warnings.showwarning = lambda *_: None


def log_nothing() -> None:
    logging.disable(logging.CRITICAL)
    logging.root.addHandler(logging.NullHandler())


class Doubling(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))


def enter_mode() -> None:
    mode: Any = Doubling()
    mode.__enter__()


class Watching(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch has no types here
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))


MENDED: dict[str, Callable[[], object]] = {
    "grad mode": lambda: torch.set_grad_enabled(False),
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "default device": lambda: torch.set_default_device("meta"),
    "a function mode left on": enter_mode,
    "autocast": set_autocast,
    "deterministic": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "float32 matmul precision": lambda: torch.set_float32_matmul_precision("medium"),
    "backends": set_backends,
    "denormal numbers": lambda: torch.set_flush_denormal(True),
    "torch's seed": lambda: torch.default_generator.manual_seed(7),
    "torch's threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "global hooks": hook_globally,
    "names in torch and Python": patch_names,
    "random": lambda: random.seed(7),
    "numpy": change_numpy,
    "environment": lambda: os.environ.update(PATH="/nowhere", ANOTHER="1"),
    "working folder": lambda: os.chdir("/"),
    "umask": lambda: os.umask(0o777),
    "streams": replace_stream,
    "a closed stream": close_stream,
    "descriptors": close_descriptors,
    "signals": set_handlers,
    "faulthandler": lambda: faulthandler.disable() if faulthandler.is_enabled() else faulthandler.enable(),
    "warnings": warn_as_errors,
    "collector": turn_off_collector,
    "recursion limit": lambda: sys.setrecursionlimit(5000),
    "digits": lambda: sys.set_int_max_str_digits(0),
    "locale": lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8"),
    "profilers": trace,
    "tracemalloc": tracemalloc.start,
    "logging": log_nothing,
    "hooks": lambda: setattr(sys, "excepthook", print),
    "modules": edit_modules,
    "limits": lambda: resource.setrlimit(resource.RLIMIT_CPU, (10**6, resource.RLIM_INFINITY)),
}  # fmt: skip


@contextlib.contextmanager
def kept_streams() -> Iterator[None]:
    """Give this process's standard streams back to pytest, whatever happens to them."""
    kept = [os.dup(number) for number in range(3)]
    objects = (sys.stdout, sys.stderr, sys.__stdout__)
    try:
        yield
    finally:
        sys.stdout, sys.stderr, sys.__stdout__ = objects  # type: ignore[misc] # final, and changed all the same
        for number, copy in enumerate(kept):
            os.dup2(copy, number)
            os.close(copy)


def read_all(state: ProcessState) -> list[str]:
    return [part.name for part, before in state._kept if not part.is_same(part.read(), before)]


@pytest.mark.parametrize("name", MENDED)
def test_what_a_layer_changes_is_put_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "locale" and locale.setlocale(locale.LC_ALL) == "C.UTF-8":
        monkeypatch.setitem(MENDED, name, lambda: locale.setlocale(locale.LC_ALL, "C"))
    if name == "a closed stream":
        monkeypatch.setattr(sys, "__stdout__", open(os.devnull, "w"))  # noqa: PTH123, SIM115
    with kept_streams():
        state = read_process_state()
        assert read_all(state) == []
        MENDED[name]()
        changed = read_all(state)
        changes = state.restore()
        after = read_all(state)
    assert changed
    assert changes.lasting == ()
    assert after == []


def test_an_innocent_layer_after_it_is_measured_as_ever() -> None:
    conv, x = torch.nn.Conv2d(1, 1, 3), torch.zeros(1, 1, 4, 4)
    state = read_process_state()
    patch_names()
    hook_globally()
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    assert set(state.restore().disturbing) >= {"grad mode", "the default dtype", "global hooks of modules"}
    y = conv(x)
    assert (y.dtype, y.shape, y.requires_grad) == (torch.float32, (1, 1, 2, 2), True)


@pytest.fixture
def running_child() -> Iterator[Callable[[], object]]:
    started: list[subprocess.Popen[bytes]] = []
    yield lambda: started.append(subprocess.Popen(["sleep", "60"]))
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def running_thread() -> Iterator[Callable[[], object]]:
    end = threading.Event()
    yield lambda: threading.Thread(target=end.wait).start()
    end.set()


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
@pytest.mark.parametrize(
    ("fixture", "name"), [("running_child", "processes that run"), ("running_thread", "threads that run")]
)
def test_what_is_left_running_spends_the_process(fixture: str, name: str, request: pytest.FixtureRequest) -> None:
    state = read_process_state()
    request.getfixturevalue(fixture)()
    assert state.restore() == Changes(disturbing=(name,), lasting=(name,))


def change_compiler() -> Any:
    import torch._dynamo.config

    return torch._dynamo.config.patch(suppress_errors=True)


@pytest.mark.parametrize(
    ("enter", "name"),
    [
        (torch.inference_mode, "inference mode"),
        (Watching, "torch dispatch modes"),
        (change_compiler, "settings of torch.compile"),
        (torch.autograd.profiler.profile, "torch's profiler"),
        (lambda: torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x), "hooks of saved tensors"),
    ],
)
def test_what_cannot_be_put_back_spends_the_process(enter: Callable[[], Any], name: str) -> None:

    state = read_process_state()
    with enter():
        changes = state.restore()
    assert name in changes.lasting
    assert name in changes.disturbing


def test_what_a_module_needs_after_its_import_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("OF_A_LAYER", raising=False)
    state = read_process_state()
    sys.path.append(str(tmp_path))
    os.environ["OF_A_LAYER"] = "1"
    torch.set_default_dtype(torch.float64)
    state.settle_imports()
    assert sys.path[-1] == str(tmp_path)
    assert os.environ.pop("OF_A_LAYER") == "1"
    assert torch.get_default_dtype() == torch.float32
    os.environ["OF_A_LAYER"] = "1"
    assert state.restore() == Changes()


def test_what_raises_is_what_cannot_be_put_back() -> None:
    def refuse(*_: object) -> None:
        raise LookupError

    values = iter([1, 2])
    parts = [
        Part(name="unreadable", read=lambda: 0, is_same=refuse),  # type: ignore[arg-type] # raises
        Part(name="fixed", read=lambda: next(values), write=refuse),
        Part(name="sound", read=lambda: 0),
    ]
    assert ProcessState(parts).restore() == Changes(lasting=("unreadable", "fixed"))
