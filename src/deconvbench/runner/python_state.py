"""What a part of a process's state is, and the parts that are Python's and the system's; see `process_state`."""

import builtins
import concurrent.futures.thread
import faulthandler
import gc
import importlib
import locale
import logging
import math
import operator
import os
import random
import resource
import signal
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from deconvbench.runner.keeper import list_children

_STREAMS = ("stdin", "stdout", "stderr")
_HOOKS = ("excepthook", "unraisablehook", "displayhook")
# processes that wait for work between compilations, and whose code is torch's or Python's own
_IDLE_CHILDREN = (b"torch/_inductor", b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")
# where a thread of an executor waits for work
_EXECUTOR = concurrent.futures.thread.__file__
_LIMITS = tuple(sorted({number for name, number in vars(resource).items() if name.startswith("RLIMIT_")}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a process's state.

    Parameters
    ----------
    name : str
        For a reader, as in "left … changed".
    read : callable
        Returns it, such that later changes do not change what was returned.
    write : callable or None
        Puts back what `read` returned; None where that is not possible.
    is_same : callable
        Compares what is with what was.
    disturbs : bool
        Whether a layer that runs beside the one that changes it is measured under other conditions.
    serves_imports : bool
        Whether a module may change it when it is imported, for what it does later.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object] | None = None
    is_same: Callable[[Any, Any], bool] = operator.eq
    disturbs: bool = False
    serves_imports: bool = False


def list_python_parts() -> list[Part]:
    """List what there is to watch; descriptors of the standard streams are kept open meanwhile."""
    return [
        Part(
            name="environment variables",
            read=lambda: dict(os.environ),
            write=_set_environment,
            serves_imports=True,
        ),
        Part(name="the working folder", read=os.getcwd, write=os.chdir),
        Part(name="umask", read=_read_umask, write=os.umask),
        *_list_stream_parts(),
        Part(name="signal handlers", read=_read_handlers, write=_set_handlers),
        Part(name="blocked signals", read=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()), write=_set_mask),
        Part(name="timers", read=_read_timers, write=_set_timers),
        Part(name="faulthandler", read=faulthandler.is_enabled, write=_set_faulthandler),
        Part(name="warnings filters", read=_read_warnings, write=_set_warnings),
        Part(name="random state", read=random.getstate, write=random.setstate),
        Part(
            name="numpy's random state",
            read=_read_numpy_random,
            write=np.random.set_state,
            is_same=_is_same_random,
        ),
        Part(name="numpy's errors", read=np.geterr, write=lambda before: np.seterr(**before)),
        Part(name="the garbage collector", read=_read_collector, write=_set_collector, disturbs=True),
        Part(name="recursion limit", read=sys.getrecursionlimit, write=sys.setrecursionlimit),
        Part(name="switch interval", read=sys.getswitchinterval, write=sys.setswitchinterval),
        Part(name="integer digits", read=sys.get_int_max_str_digits, write=sys.set_int_max_str_digits),
        Part(name="locale", read=lambda: locale.setlocale(locale.LC_ALL), write=_set_locale),
        Part(name="the profiler", read=_read_tracers, write=_set_tracers, disturbs=True),
        Part(name="tracemalloc", read=tracemalloc.is_tracing, write=_set_tracemalloc, disturbs=True),
        Part(name="logging", read=_read_logging, write=_set_logging),
        Part(name="hooks of sys", read=lambda: [getattr(sys, name) for name in _HOOKS], write=_set_hooks),
        Part(name="sys.path", read=_copy_paths, write=_set_paths, serves_imports=True),
        Part(name="imported modules", read=sys.modules.copy, write=_set_modules, is_same=_has_modules),
        Part(name="priority", read=lambda: os.getpriority(os.PRIO_PROCESS, 0), disturbs=True),
        Part(name="limits", read=lambda: [resource.getrlimit(limit) for limit in _LIMITS], write=_set_limits),
        *_list_affinity_parts(),
        Part(name="threads that run", read=_list_threads, is_same=_has_no_more, disturbs=True),
        Part(name="processes that run", read=_list_children, is_same=_has_no_more, disturbs=True),
        *(watch_names(place, name) for name, place in _WATCHED.items()),
    ]


_WATCHED: dict[str, Any] = {
    "builtins": builtins, "sys": sys, "os": os, "time": time, "math": math, "gc": gc, "random": random,
    "signal": signal,
}  # fmt: skip


def watch_names(place: Any, name: str, unwatched: frozenset[str] = frozenset()) -> Part:
    """Watch which objects a module or class holds; new names in a module, as lazy imports make them, are left.

    Parameters
    ----------
    place : module or class
        What is watched.
    name : str
        For a reader.
    unwatched : frozenset of str
        Names in it that others than layers change.
    """
    is_class = isinstance(place, type)

    def read() -> dict[str, object]:
        changing = _CHANGES_BY_ITSELF | unwatched
        return {key: value for key, value in vars(place).items() if key not in changing}

    def write(before: Mapping[str, object]) -> None:
        for key, value in before.items():
            if vars(place).get(key, before) is not value:
                setattr(place, key, value)
        for key in read().keys() - before.keys() if is_class else ():
            delattr(place, key)

    def is_same(now: Mapping[str, object], before: Mapping[str, object]) -> bool:
        return all(now.get(key, before) is value for key, value in before.items()) and not (
            is_class and now.keys() - before.keys()
        )

    return Part(name=f"names in {name}", read=read, write=write, is_same=is_same, disturbs=True)


# what has parts of its own, and what Python sets
_CHANGES_BY_ITSELF = frozenset(
    {*_STREAMS, *_HOOKS, "__stdin__", "__stdout__", "__stderr__", "path", "meta_path", "path_hooks", "argv", "_",
     "last_exc", "last_type", "last_value", "last_traceback", "__warningregistry__", "__slotnames__",
     "__annotations__", "__annotations_cache__"}
)  # fmt: skip


def _set_environment(before: Mapping[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def _read_umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _list_stream_parts() -> list[Part]:
    """Watch the three standard descriptors and the objects on them."""
    kept = [os.dup(number) for number in range(3)]

    def read_files() -> list[tuple[int, int] | None]:
        return [_identify(number) for number in range(3)]

    def set_files(before: list[tuple[int, int] | None]) -> None:
        for number, (copy, file) in enumerate(zip(kept, before, strict=True)):
            if _identify(copy) == file:
                os.dup2(copy, number)

    def read_objects() -> list[tuple[Any, bool]]:
        found = [getattr(sys, name, None) for name in (*_STREAMS, *(f"__{name}__" for name in _STREAMS))]
        return [(stream, getattr(stream, "closed", False)) for stream in found]

    def set_objects(before: list[tuple[Any, bool]]) -> None:
        names = (*_STREAMS, *(f"__{name}__" for name in _STREAMS))
        for index, name in enumerate(names):
            stream, was_closed = before[index]
            if stream is not None and stream.closed and not was_closed:
                number = index % len(_STREAMS)
                stream = open(number, "w" if number else "r", closefd=False, errors="backslashreplace")  # noqa: SIM115 -- a descriptor, for good
                before[index] = (stream, False)
            setattr(sys, name, stream)

    return [
        Part(name="standard descriptors", read=read_files, write=set_files),
        Part(name="standard streams", read=read_objects, write=set_objects),
    ]


def _identify(descriptor: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _list_catchable() -> list[int]:
    return sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def _read_handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in _list_catchable()}


def _set_handlers(before: Mapping[int, Any]) -> None:
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _set_mask(before: Iterable[signal.Signals]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


def _read_timers() -> list[bool]:
    # whether one runs: the time that it has left is another at each look
    return [signal.getitimer(timer) != (0.0, 0.0) for timer in _TIMERS]


def _set_timers(before: list[bool]) -> None:
    for timer, was_running in zip(_TIMERS, before, strict=True):
        if not was_running:
            signal.setitimer(timer, 0)


def _set_faulthandler(before: bool) -> None:
    if before:
        faulthandler.enable()
    else:
        faulthandler.disable()


def _read_warnings() -> tuple[list[Any], Callable[..., None]]:
    return list(warnings.filters), warnings.showwarning


def _set_warnings(before: tuple[list[Any], Callable[..., None]]) -> None:
    filters, warnings.showwarning = before
    warnings.resetwarnings()  # forgets what was shown already, too
    warnings.filters[:] = filters  # type: ignore[index] # a list, whatever its stub says


def _read_numpy_random() -> Any:
    return np.random.get_state(legacy=False)  # noqa: NPY002 -- what others may use


def _is_same_random(now: Any, before: Any) -> bool:
    same: bool = np.array_equal(now["state"]["key"], before["state"]["key"])
    return same and now["state"]["pos"] == before["state"]["pos"] and now["has_gauss"] == before["has_gauss"]


def _read_collector() -> tuple[bool, tuple[int, int, int], int, list[Any]]:
    return gc.isenabled(), gc.get_threshold(), gc.get_debug(), list(gc.callbacks)


def _set_collector(before: tuple[bool, tuple[int, int, int], int, list[Any]]) -> None:
    is_enabled, threshold, debug, callbacks = before
    (gc.enable if is_enabled else gc.disable)()
    gc.set_threshold(*threshold)
    gc.set_debug(debug)
    gc.callbacks[:] = callbacks


def _set_locale(before: str) -> None:
    locale.setlocale(locale.LC_ALL, before)


def _read_tracers() -> tuple[Any, ...]:
    monitoring = getattr(sys, "monitoring", None)  # Python 3.12
    tools = [monitoring.get_tool(number) for number in range(6)] if monitoring else []
    return sys.getprofile(), sys.gettrace(), threading.getprofile(), threading.gettrace(), tools


def _set_tracers(before: tuple[Any, ...]) -> None:
    profile, trace, of_threads, trace_of_threads, _ = before
    sys.setprofile(profile)
    sys.settrace(trace)
    threading.setprofile(of_threads)
    threading.settrace(trace_of_threads)


def _set_tracemalloc(before: bool) -> None:
    if not before:
        tracemalloc.stop()


def _read_logging() -> tuple[int, int, list[logging.Handler]]:
    return logging.root.manager.disable, logging.root.level, list(logging.root.handlers)


def _set_logging(before: tuple[int, int, list[logging.Handler]]) -> None:
    logging.root.manager.disable, level, handlers = before
    logging.root.setLevel(level)
    logging.root.handlers[:] = handlers


def _set_hooks(before: list[Any]) -> None:
    for name, hook in zip(_HOOKS, before, strict=True):
        setattr(sys, name, hook)


def _copy_paths() -> tuple[list[Any], list[Any], list[Any]]:
    return list(sys.path), list(sys.meta_path), list(sys.path_hooks)


def _set_paths(before: tuple[list[Any], list[Any], list[Any]]) -> None:
    for name, entries in zip(("path", "meta_path", "path_hooks"), before, strict=True):
        current = getattr(sys, name)
        if isinstance(current, list):
            current[:] = entries
        else:
            setattr(sys, name, list(entries))
    importlib.invalidate_caches()


def _has_modules(now: Mapping[str, object], before: Mapping[str, object]) -> bool:
    """Whether what was imported is still there; what came new may stay where it was imported."""
    new = (now[name] for name in now.keys() - before.keys())
    return all(now.get(name, before) is value for name, value in before.items()) and all(map(_is_module, new))


def _is_module(value: object) -> bool:
    return isinstance(value, ModuleType) and getattr(value, "__spec__", None) is not None


def _set_modules(before: Mapping[str, ModuleType]) -> None:
    for name in [name for name in sys.modules if name not in before and not _is_module(sys.modules[name])]:
        del sys.modules[name]
    sys.modules.update(before)


def _set_limits(before: list[tuple[int, int]]) -> None:
    for limit, values in zip(_LIMITS, before, strict=True):
        if resource.getrlimit(limit) != values:
            resource.setrlimit(limit, values)


def _list_affinity_parts() -> list[Part]:
    # not put back: threads that were started meanwhile keep what they were given
    read = getattr(os, "sched_getaffinity", None)
    return [] if read is None else [Part(name="allowed processors", read=lambda: read(0), disturbs=True)]


def _has_no_more(now: frozenset[int], before: frozenset[int]) -> bool:
    return now <= before


def _list_threads() -> frozenset[int]:
    """List Python's threads, but for dummies, which torch makes for callbacks, and executors that have no work."""
    frames = sys._current_frames()
    return frozenset(
        thread.ident
        for thread in threading.enumerate()
        if thread.ident in frames
        and not isinstance(thread, threading._DummyThread)
        and frames[thread.ident].f_code.co_filename != _EXECUTOR
    )


def _list_children() -> frozenset[int]:
    """List the processes that this one started, and those that it was given because they lost their parent."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return frozenset()  # none, which is usual, and quicker to ask
    return frozenset(pid for pid in list_children() if not _is_idle(pid))


def _is_idle(pid: int) -> bool:
    """Say whether a process waits for work of torch's or Python's, or has ended."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return True
    # one that is just being replaced by its program has no words yet, and yet it runs
    return state in {b"Z", b"X"} or any(word in command for word in _IDLE_CHILDREN)
