"""`fuse`: one call that makes a network with nearest-neighbour upsampling faster, and says what it did.

Reads top to bottom: look, plan, copy, change, check.
"""

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor, nn

from deconvbench.arguments import check_kind, is_number
from deconvbench.errors import DeconvbenchError, FusionError, UsageError, describe_failure, quote
from deconvbench.networks.fusion.checking import TOLERANCES, compare_gradients, compare_outputs, compute_gradients
from deconvbench.networks.fusion.modules import attach, detach
from deconvbench.networks.fusion.observation import Observation, observe, run_once
from deconvbench.networks.fusion.peaks import measure_model_peak
from deconvbench.networks.fusion.planning import (
    FusionPlan,
    explain_module,
    plan_observed,
    plan_strips,
    plan_unseen,
)
from deconvbench.networks.fusion.reading import explain_code
from deconvbench.networks.fusion.report import FuseReport, Left
from deconvbench.networks.fusion.weight_cache import WeightCache
from deconvbench.units import format_bytes, parse_bytes

# a gradient passes through the network twice, and through sums over all pixels
_GRADIENT_ALLOWANCE = 10


def fuse(
    model: nn.Module,
    example_input: Any = None,
    *,
    inplace: bool = False,
    verify_gradients: bool = False,
    tolerance: float | None = None,
    cache_weights: bool = False,
    max_memory: int | str | None = None,
    measure_memory: bool = False,
    freeze: bool | None = None,
) -> FuseReport:
    """Replace nearest-neighbour upsampling and convolution in a model by an exact faster form.

    Found are ``nn.Upsample``, ``F.interpolate``, ``torch.ops.aten.upsample_nearest2d``, ``repeat_interleave``
    along rows and along columns, and ``expand`` with ``reshape``; then padding; then ``nn.Conv2d`` or
    ``nn.Conv3d`` (upsampled in rows and columns, or in time too), or their functions. They are found in containers
    and in classes with control flow of their own, with casts, activations, also in place, and products of the
    upsampled tensor with functions of itself in between, with channels concatenated in between (the decoder of a
    U-Net), and with frames of a video that become images and back. Any padding of zeros, edges or the other side
    will do, and kernels may be even. Also transposed convolutions with few output channels, where they are faster
    as sub-pixel convolutions (see `conversion`). Everything that would not be exact is left alone, and the report
    says why.

    Parameters
    ----------
    model : nn.Module
        Any model. In training it is fused as well as in evaluation mode.
    example_input : Tensor, tuple, list or dict, optional
        Arguments of the model, in a dict by name. With it the model runs, in evaluation mode and without leaving
        a trace: every upsampling is found wherever it happens, and the outputs of both models are compared. What
        the model refers to is put back after each run (states, counters, caches, generators, random numbers),
        for which its tensors are copied meanwhile; lazy modules stay initialised. Not put back are global
        variables and what lies outside of the process. Without it containers and the code of forward passes tell
        where to look, and the report names modules that are watched; what they find is exact all the same.
    inplace : bool
        Change the model itself. Otherwise its modules are copied, and **the copy shares the parameters and
        buffers**: training one trains the other. ``.to()`` of one converts the parameters of both but only its
        own buffers, so convert the model before it is fused, or both.
    verify_gradients : bool
        With an example, compare the gradients to inputs and parameters too; in double precision and a little
        beside the parameters, because rounding changes a gradient altogether where a unit is on a kink.
    tolerance : float, optional
        Relative error that is allowed, of the largest output. The default depends on the dtype: 1e-10 in
        float64, 1e-5 in float32, 1e-2 in float16, 5e-2 in bfloat16; ten times that for gradients.
    cache_weights : bool
        Keep the transformed weights between calls, for inference: faster on small images. Weights are compared
        bit by bit with a copy in every call, so no change is missed; ``train()`` and ``.to()`` drop what is kept.
        Of weights in the memory of the CPU only.
    max_memory : int or str, optional
        Bytes, or text such as ``512 MiB``: what is computed fast is to hold no more than that, its output
        included. What would hold more is computed in row strips, in calls that record no gradient
        (``torch.no_grad()``): in an ``nn.Sequential`` everything from a nearest-neighbour upsampling on, as far as
        there are convolutions of stride 1 that keep the size (any padding but circular), activations, batch
        normalisation and dropout in evaluation mode, PixelShuffle and further upsamplings; in a forward pass of
        its own, each upsampling with the convolution after it. Strips overlap by what convolutions reach, so there
        are no seams: the result is that of the whole but for rounding, also in half precision. Other parts of the
        model hold what they hold; given an example, the peak of the whole is measured, and the report says whether
        the limit is met.
    measure_memory : bool
        With an example, measure the peak memory of both models (three more calls of each; on a CPU by memray).
        With `max_memory` it is measured anyway.
    freeze : bool, optional
        The deprecated name of `cache_weights`.

    Returns
    -------
    FuseReport
        Its `model` is the fused one: of the very same classes, with the same state_dict, hooks and pickling. If
        there is nothing to fuse, it is the very model that was given.

    Raises
    ------
    UsageError
        If an argument is not allowed, the model cannot be copied or does not run with the example, or `max_memory`
        is less than the output for the example alone.
    FusionError
        If the outputs or gradients differ by more than the tolerance; the message names the place. Nothing is
        changed then. A model that differs from itself as much, run twice, is left alone, and the report says so.

    Notes
    -----
    A fused module either is a container that runs its children as one, or has its forward pass watched while it
    runs: an upsampling returns a tensor that is computed only if anything but a convolution reads it,
    with all functions of torch, hooks, gradients and in-place operations as before. In every call it is decided
    anew whether anything is gained; for images too small for that, the module's own forward pass runs, unwatched
    from the second time on. It stands aside under ``torch.compile`` (there ``backend="deconvbench"`` fuses)
    and for whoever else records or transforms torch's operations: tracers, exporters, ``torch.func``, modes.

    Convolutions in half precision, also under autocast, run as they would where the compiled form
    (`deconvbench.nn.build_native`) does not compute them, for no other is as precise there: all but a 1×1
    convolution without gradients, whose products are the same before the upsampling. On a CPU an
    infinite or NaN pixel spoils what it spoils in the original; `ResizeConv2d` says what it does on accelerators.

    In every call it is looked at whether all that the fast way does not call is still torch's own: methods that
    were replaced on an instance or a class, functions of torch that were, hooks of one module or of all, weights
    of other classes than torch's, and modes of others run as they would, at the speed that they have. The type of
    a module stays what it was, but that of an upsampled tensor that is not computed yet is another than
    ``torch.Tensor``; a module whose code, hooks or helpers use ``type(...)`` or ``__class__`` of anything but
    ``self`` is left alone. Only calls of a module are fast, ``module(x)``, not ``module.forward(x)``, and slices
    of a container are new containers, which are not fused.

    Writes into a tensor between its upsampling and the convolution are seen, also through ``.data``, ``numpy()``
    and other handles to its memory. Not detected: in inference mode, writes by code beneath torch's Python
    functions. What raises, instead of being wrong: such writes elsewhere, where no gradient is recorded, and
    extensions that read the memory of an upsampled tensor. Leave the module out then: fuse the others one by one.
    (A module whose code, hooks or helpers name ``to_dlpack`` is left alone; ``torch.from_dlpack`` may be used.)

    Examples
    --------
    >>> decoder = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(8, 4, 3, padding=1))
    >>> print(fuse(decoder))
    1 changed, 0 left alone
      changed  1: nearest-neighbour upsampling by 2 (in 0), then Conv2d 3×3 -> one fast resize-convolution, in
      the model
    """
    if freeze is not None:
        check_kind("freeze", freeze, bool, "True or False")
        warnings.warn("freeze is deprecated: say cache_weights", DeprecationWarning, stacklevel=2)
        cache_weights = cache_weights or freeze
    _check_arguments(model, example_input, verify_gradients, tolerance, cache_weights)
    _check_flags(example_input, inplace=inplace, measure_memory=measure_memory)
    limit = None if max_memory is None else parse_bytes(max_memory, "max_memory")
    objection = explain_module(model)
    if objection is not None:
        return FuseReport(model=model, left=(Left(path="", what=type(model).__name__, reason=objection),))
    if example_input is None:
        return _fuse_unseen(model, limit, inplace=inplace, cache_weights=cache_weights)
    tolerances = TOLERANCES if tolerance is None else dict.fromkeys(TOLERANCES, tolerance)
    expected = _run(model, example_input)
    if limit is not None:
        _check_limit(limit, expected)
    try:
        seen, _ = observe(model, example_input, limit)
    except Exception as raised:  # noqa: BLE001 -- a model may raise anything, and this one runs by itself
        return FuseReport(model=model, left=(_leave("", type(model).__name__, raised, explain_code(model)),))
    plan = plan_observed(model, seen, tolerances)
    is_measured = measure_memory or limit is not None
    before = measure_model_peak(model, example_input) if is_measured else None
    plan_strips(plan, model, limit)
    gradients = compute_gradients(model, example_input) if verify_gradients and plan.kinds else []
    fused = _apply(model, plan, inplace=inplace, cache_weights=cache_weights, max_memory=limit)
    gradient_error = None
    try:
        error, is_close = _compare_with(fused, example_input, expected, tolerances)
        if is_close and verify_gradients:
            gradient_error = _compare_gradients_with(fused, example_input, gradients)
    except (DeconvbenchError, KeyboardInterrupt):
        _undo(fused, plan)
        raise
    except Exception as raised:  # noqa: BLE001 -- as above
        _undo(fused, plan)
        reasons = [_leave(change.path, change.was, raised) for change in plan.changed]
        return FuseReport(model=model, left=(*reasons, *plan.left))
    allowed = _GRADIENT_ALLOWANCE * tolerances[torch.float64]
    if not is_close or (gradient_error is not None and not gradient_error <= allowed):
        _undo(fused, plan)
        # the model may be another every time: it has a state or random numbers that cannot be put back
        if not is_close:
            own_error, is_own_close = _compare_with(model, example_input, expected, tolerances)
        else:
            own_error = _compare_gradients_with(model, example_input, gradients)
            is_own_close = own_error <= allowed
        what = "gradients" if is_close else "outputs"
        if is_own_close:
            _refuse(what, error if gradient_error is None else gradient_error, seen)
        left = Left(path="", what=type(model).__name__, reason=_explain_fickle(what, own_error))
        return FuseReport(model=model, left=(left, *plan.left))
    after = measure_model_peak(fused, example_input) if is_measured else None
    return FuseReport(
        model=fused,
        changed=tuple(plan.changed),
        left=tuple(plan.left),
        max_relative_error=error,
        max_relative_gradient_error=gradient_error,
        peak_memory_bytes_before=before if isinstance(before, int) else None,
        peak_memory_bytes_after=after if isinstance(after, int) else None,
        memory_remark=next((found for found in (before, after) if isinstance(found, str)), ""),
        max_memory_bytes=limit,
        in_strips=tuple(plan.in_strips),
    )


def _fuse_unseen(model: nn.Module, limit: int | None, *, inplace: bool, cache_weights: bool) -> FuseReport:
    """Fuse a model by its containers and code."""
    plan = plan_unseen(model)
    plan_strips(plan, model, limit)
    return FuseReport(
        model=_apply(model, plan, inplace=inplace, cache_weights=cache_weights, max_memory=limit),
        changed=tuple(plan.changed),
        watched=tuple(plan.watched),
        left=tuple(plan.left),
        max_memory_bytes=limit,
        in_strips=tuple(plan.in_strips),
    )


def _check_limit(max_bytes: int, outputs: Sequence[Tensor]) -> None:
    size = sum(tensor.numel() * tensor.element_size() for tensor in outputs)
    if size > max_bytes:
        raise UsageError(
            f"max_memory: {format_bytes(max_bytes)} is less than the output for the example alone,"
            f" {format_bytes(size)}"
        )


def _run(model: nn.Module, example_input: Any) -> list[Tensor]:
    try:
        with torch.no_grad():
            return run_once(model, example_input)
    except DeconvbenchError:
        raise
    except Exception as error:
        raise UsageError(f"example_input: the model does not run with it: {describe_failure(error)}") from error


def _compare_with(
    model: nn.Module, example_input: Any, expected: Sequence[Tensor], tolerances: Mapping[torch.dtype, float]
) -> tuple[float, bool]:
    with torch.no_grad():
        return compare_outputs(expected, run_once(model, example_input), tolerances)


def _compare_gradients_with(model: nn.Module, example_input: Any, gradients: Sequence[Tensor | None]) -> float:
    return compare_gradients(gradients, compute_gradients(model, example_input) if gradients else [])


def _explain_fickle(what: str, error: float) -> str:
    return (
        f"its {what} differ by {error:.1e} of the largest value between two runs of itself with the same input, so"
        " those of a fused model cannot be compared with them; without example_input it is fused by its code alone"
    )


def _check_arguments(
    model: Any, example_input: Any, verify_gradients: bool, tolerance: float | None, cache_weights: bool
) -> None:
    if not isinstance(model, nn.Module):
        raise UsageError(f"model: {type(model).__name__} is not an nn.Module")
    check_kind("verify_gradients", verify_gradients, bool, "True or False")
    check_kind("cache_weights", cache_weights, bool, "True or False")
    if verify_gradients and example_input is None:
        raise UsageError("verify_gradients: True needs an example_input")
    if tolerance is not None and (not is_number(tolerance) or not tolerance >= 0):
        raise UsageError(f"tolerance: {quote(tolerance)} is not a number of at least 0")
    if cache_weights and model.training:
        raise UsageError("cache_weights: the model is training, so its weights will change; call eval() first")


def _check_flags(example_input: Any, **flags: Any) -> None:
    for name, value in flags.items():
        check_kind(name, value, bool, "True or False")
    if flags["measure_memory"] and example_input is None:
        raise UsageError("measure_memory: True needs an example_input")


def _apply(
    model: nn.Module, plan: FusionPlan, *, inplace: bool, cache_weights: bool, max_memory: int | None
) -> nn.Module:
    if not plan.kinds:
        return model
    fused = model if inplace else copy_sharing(model)
    for path, kind in plan.kinds.items():
        module = fused.get_submodule(path)
        attach(module, kind, WeightCache(module) if cache_weights else None, max_memory)
    return fused


def _undo(fused: nn.Module, plan: FusionPlan) -> None:
    for path in plan.kinds:
        detach(fused.get_submodule(path))


def _leave(path: str, what: str, error: Exception, reason: str | None = None) -> Left:
    """Say that the model runs without the fusion only; an error of the fused one is not the user's."""
    lines = str(error).strip().splitlines() or [""]
    return Left(
        path=path, what=what, reason=reason or f"the fused model raises {type(error).__name__}: {lines[0]}"
    )


def _refuse(what: str, error: float, seen: Observation) -> NoReturn:
    worst = max(seen.fusions, key=lambda fusion: fusion.relative_error, default=None)
    place = ""
    if worst is not None:
        place = f"; by itself {worst.path or 'the model'} differs most, by {worst.relative_error:.1e}"
    raise FusionError(
        f"the {what} of the fused model differ by {error:.1e} of the largest value{place}; nothing was changed"
    )


M = TypeVar("M", bound=nn.Module)


def copy_sharing(model: M) -> M:
    """Copy the modules of a model, but none of its tensors.

    Parameters
    ----------
    model : nn.Module
        Any.

    Returns
    -------
    nn.Module
        Its parameters and buffers, and any other tensor that its modules hold as an attribute, are those of the
        model: training one trains the other. Hooks and training flags are copied.

    Raises
    ------
    UsageError
        If a module holds something that cannot be copied.
    """
    # deepcopy keeps what the memo knows already
    memo: dict[int, Any] = {}
    for module in model.modules():
        tensors = (*module._parameters.values(), *module._buffers.values(), *vars(module).values())
        memo |= {id(tensor): tensor for tensor in tensors if isinstance(tensor, Tensor)}
    try:
        return copy.deepcopy(model, memo)
    except (TypeError, RuntimeError, AttributeError, copy.Error) as error:
        raise UsageError(f"model: cannot be copied ({error}); pass inplace=True") from error
