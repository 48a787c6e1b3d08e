"""Which primitives or kernels stand behind a step: the names that explain why it is as fast as it is.

Taken in a pass of its own, never in a timed one: from oneDNN's verbose mode and torch's profiler on a CPU, from
the profiler alone on an accelerator. Names only: which of them is shown is decided by the time spent in each, and
that is measured too roughly to be a result.
"""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch

from deconvbench.measure.onednn import Primitives, capture_output, explain_emulation, take_least, watch_primitives
from deconvbench.measure.step import PreparedStep
from deconvbench.upsamplers.fast.choice import NATIVE

# characters of the names, without a note behind them
MOST_CHARACTERS = 80
_MOST_NAMES = 3
# of the time spent: what takes less explains little
_LARGE_SHARE = 0.25
# where oneDNN has so much of the time, nothing beside it has a large share
_COVERING_SHARE = 1 - _LARGE_SHARE
# one call is enough for a slow step; of a fast one, some, lest a single interruption decides
_WATCHED_S = 0.05
_MOST_CALLS = 5
# a step that spends its time outside of operators is one with code of its own; of a short one it is Python, and
# some of every large one goes into giving memory back
_OUTSIDE_S = 1e-3
_OUTSIDE_SHARE = 0.75
_OUTSIDE = "outside torch's operators"
_COMPILED = "compiled graph"
# operators whose own time holds that of oneDNN's primitives
_CONVOLVING = re.compile("conv|mkldnn")
_MULTIPLYING = re.compile("mkldnn|::(?:mm|addmm|_addmm_activation|bmm|baddbmm|addbmm|mv|addmv|linear|matmul)$")
_PRODUCTS = ("matmul", "inner_product")
# what a graph that was compiled is called in a profile; a digest and numbers follow
_COMPILED_EVENTS = ("## Call CompiledFxGraph", "Torch-Compiled Region")
# torch has no types for it; torch.profiler.profile, which wraps it, imports the compiler's settings first
_profile: Any = torch.autograd.profiler.profile


class DeviceEvent(Protocol):
    """What is read of an event of torch's profiler."""

    def name(self) -> str:
        """Of an operator, a kernel or a range."""

    def device_type(self) -> Any:
        """Where it happened."""

    def duration_ns(self) -> int:
        """Nanoseconds."""

    def is_user_annotation(self) -> bool:
        """Whether it is a range that spans others."""


def name_kernels(step: PreparedStep) -> str:
    """Name what a step spends its time in.

    Parameters
    ----------
    step : PreparedStep
        It was run before, so that what is set up once does not count.

    Returns
    -------
    str
        On the CPU oneDNN's primitives, each with its implementation (``convolution jit:avx2``), and operators of
        torch (``aten::upsample_bicubic2d``); on accelerators kernels. The one with the longest time comes first,
        others that take a large share follow behind a plus sign. A note is added where the type is computed in
        another. Empty where nothing can be found: an explanation is worth less than what it explains, so whatever
        fails here is no failure of the case.
    """
    case = step.case
    try:
        names = _name_on_cpu(step) if case.device == "cpu" else _name_on_accelerator(step)
        note = explain_emulation(case.dtype) if case.device == "cpu" else ""
    except Exception:  # noqa: BLE001 -- whatever it is, the case was measured
        return ""
    return "; ".join(filter(None, (names, note)))


def _name_on_cpu(step: PreparedStep) -> str:
    implementation = step.name_implementation()
    is_native = implementation == NATIVE
    if is_native and step.case.step == "forward":
        return NATIVE
    calls = _choose_calls(step.run)
    primitives = watch_primitives(step.run, calls)
    if primitives.wall_s and sum(primitives.spent_s.values()) >= _COVERING_SHARE * primitives.wall_s:
        return join_names(primitives.spent_s)
    operators = take_least(_profile_operators(step.run) for _ in range(calls))
    names = join_names(merge_times(primitives, operators))
    return names.replace(_OUTSIDE, NATIVE) if is_native else names


def _choose_calls(run: Callable[[], object]) -> int:
    started = time.perf_counter()
    run()
    elapsed_s = time.perf_counter() - started
    return max(1, min(_MOST_CALLS, int(_WATCHED_S / max(elapsed_s, 1e-9))))


def _profile_operators(run: Callable[[], object]) -> Primitives:
    """Collect the time that operators spend in themselves, not in operators that they call."""
    # the profiler reports its start and its end on standard error
    with capture_output(), _profile() as profiler:
        started = time.perf_counter()
        run()
        wall_s = time.perf_counter() - started
    # not its table, whose making takes a time that grows with the square of the number of calls
    spent_s: defaultdict[str, float] = defaultdict(float)
    waiting = list(profiler.kineto_results.experimental_event_tree())
    while waiting:
        event = waiting.pop()
        children = event.children
        waiting += children
        name = name_operator(event.name)
        if name is not None:
            own_ns = event.duration_time_ns - sum(child.duration_time_ns for child in children)
            spent_s[name] += max(own_ns, 0) * 1e-9
    return Primitives(spent_s=dict(spent_s), wall_s=wall_s)


def name_operator(event: str) -> str | None:
    """Name the operator behind an event of torch's profiler.

    Parameters
    ----------
    event : str
        The event's name.

    Returns
    -------
    str or None
        None for what is not an operator, such as a frame of autograd around one.
    """
    if event.startswith(_COMPILED_EVENTS):
        return _COMPILED
    return None if "::" not in event or event.startswith(("autograd::", "torch::autograd::")) else event


def merge_times(primitives: Primitives, operators: Primitives) -> dict[str, float]:
    """Put oneDNN's primitives in the place of the operators that call them.

    Parameters
    ----------
    primitives : Primitives
        From oneDNN.
    operators : Primitives
        From torch's profiler.

    Returns
    -------
    dict of str to float
        Seconds by name; what was spent outside of all operators is among them where it is nearly all of the time.
    """
    kinds = {name.partition(" ")[0] for name in primitives.spent_s}
    carriers = []
    if any("convolution" in kind for kind in kinds):
        carriers.append(_CONVOLVING)
    if kinds & {*_PRODUCTS}:
        carriers.append(_MULTIPLYING)
    spent_s = dict(primitives.spent_s)
    spent_s |= {
        name: seconds
        for name, seconds in operators.spent_s.items()
        if not any(carrier.search(name) for carrier in carriers)
    }
    outside_s = operators.wall_s - sum(operators.spent_s.values())
    if outside_s >= max(_OUTSIDE_S, _OUTSIDE_SHARE * operators.wall_s):
        spent_s[_OUTSIDE] = outside_s
    return spent_s


def _name_on_accelerator(step: PreparedStep) -> str:
    device = torch.device(step.case.device)
    # of others it sees no kernels (torch 2.9 to 2.13)
    tools: Any = torch.profiler
    activity = getattr(tools.ProfilerActivity, device.type.upper(), None)
    if activity is None or activity not in tools.supported_activities():
        return ""
    with capture_output(), _profile(use_cpu=False, use_device=device.type, use_kineto=True) as profiler:
        step.run()
        torch.accelerator.synchronize(device)
    return join_names(sum_kernels(profiler.kineto_results.events()))


def sum_kernels(events: Iterable[DeviceEvent]) -> dict[str, float]:
    """Sum the time that a device spends in each kernel.

    Parameters
    ----------
    events : iterable of DeviceEvent
        Of one or more calls; those of the host are skipped, and so are ranges that span others.

    Returns
    -------
    dict of str to float
        Seconds by the kernel's name as `shorten_kernel` writes it.
    """
    spent_s: defaultdict[str, float] = defaultdict(float)
    for event in events:
        if event.device_type().name != "CPU" and not event.is_user_annotation():
            spent_s[shorten_kernel(event.name())] += event.duration_ns() * 1e-9
    return dict(spent_s)


def shorten_kernel(name: str) -> str:
    """Write a kernel's name without what its template and its parameters add to it.

    Parameters
    ----------
    name : str
        Such as ``void at::native::vectorized_elementwise_kernel<4, ...>(int, ...)``.

    Returns
    -------
    str
        Such as ``at::native::vectorized_elementwise_kernel``.
    """
    depth, kept = 0, []
    # an arrow closes no bracket
    for character in name.replace("(anonymous namespace)::", "").replace("<unnamed>::", "").replace("->", ""):
        if character in "<(":
            depth += 1
        elif character in ">)":
            depth = max(depth - 1, 0)
        elif not depth:
            kept.append(character)
    words = "".join(kept).split()
    # a result's type comes first where there is a template; copies are "Memcpy DtoD"
    return " ".join(words[1:] if len(words) > 1 and words[0] == "void" else words) or name


def join_names(spent_s: Mapping[str, float]) -> str:
    """Write the names that most of the time was spent in.

    Parameters
    ----------
    spent_s : mapping of str to float
        Seconds by name.

    Returns
    -------
    str
        The first by time, and those that take a large share, as far as they fit into `MOST_CHARACTERS`; empty for
        none.
    """
    ordered = sorted(spent_s, key=lambda name: (-spent_s[name], name))
    total_s = sum(spent_s.values())
    text = ""
    for name in ordered[:_MOST_NAMES]:
        if not text:
            text = name if len(name) <= MOST_CHARACTERS else f"{name[: MOST_CHARACTERS - 1]}…"
        elif spent_s[name] >= _LARGE_SHARE * total_s and len(text) + len(name) + 3 <= MOST_CHARACTERS:
            text += f" + {name}"
    return text
