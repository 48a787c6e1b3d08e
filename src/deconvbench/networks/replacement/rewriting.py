"""`replace`: one call that puts other upsamplers into a network, for retraining, and says what that changes.

Reads top to bottom: read the words, copy, find, fit, put in, check.
"""

import copy
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace as alter
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from deconvbench.arguments import check_kind, is_text
from deconvbench.errors import UsageError, describe_failure, quote
from deconvbench.networks.fusion.observation import run_once
from deconvbench.networks.fusion.report import Left
from deconvbench.networks.fusion.tensors import compare
from deconvbench.networks.replacement.building import Built, build_layer
from deconvbench.networks.replacement.finding import Found, count_kinds, find_layers, list_parameters
from deconvbench.networks.replacement.report import ROUNDING, KeyChange, Replacement, ReplaceReport
from deconvbench.networks.replacement.specification import parse_specification
from deconvbench.networks.replacement.tree import ModuleTree, Slot, is_scripted

_NOT_FINITE = "its weights are not all finite, so no others come near them: carry_weights=False draws new ones"


def replace(
    model: nn.Module,
    specification: str,
    *,
    only: str | Sequence[str] | None = None,
    carry_weights: bool = True,
    inplace: bool = False,
    example_input: Any = None,
) -> ReplaceReport:
    """Replace the upsampling layers of one kind by another kind, for retraining.

    Found are ``nn.ConvTranspose2d`` anywhere in the model, ``nn.Conv2d`` and ``nn.PixelShuffle`` one after
    another in an ``nn.Sequential``, ``nn.Upsample`` and ``nn.Conv2d`` likewise, and the layers of
    `deconvbench.nn`. What a forward pass calls as a function (``F.interpolate``) is not found:
    `deconvbench.fuse` and an audit see it.

    The new layer gives an output of the same size. Its weights are those with which it comes nearest to the old
    one, by exact least squares on the kernels of the transposed convolutions that both equal; some pairs are
    exact. Unlike `fuse`, it otherwise changes what the model computes: train it again, with a new optimizer.

    Parameters
    ----------
    model : nn.Module
        Any model.
    specification : str
        ``OLD -> NEW``, such as ``transposed -> nearest_conv`` or ``transposed-k3-s2 -> equal_gain_transposed``.
        OLD is ``transposed``, ``subpixel``, ``nearest_conv``, ``bilinear_conv`` or ``interpolate+conv`` (both of
        them), with ``-kN`` and ``-sN`` for layers of that kernel and stride only. NEW is ``nearest_conv``,
        ``bilinear_conv``, ``equal_gain_transposed`` (or ``equal_gain``), ``transposed_fir``, ``transposed``,
        ``subpixel``, ``subpixel_icnr`` or ``subpixel_icnr_blur``, with ``-kN`` for a kernel of that size;
        otherwise it is the smallest that reaches as far as the old one.
    only : str or sequence of str, optional
        Only layers whose path matches one of these patterns (``decoder.*``), as in file names.
    carry_weights : bool
        Compute the new weights from the old ones; otherwise they are drawn as torch draws them.
    inplace : bool
        Change the model itself. Otherwise it is copied with its parameters, and not touched.
    example_input : Tensor, tuple, list or dict, optional
        Arguments of the model, in a dict by name: both models run with them, in evaluation mode and leaving no
        trace, and their outputs must have the same shapes.

    Returns
    -------
    ReplaceReport
        ``model``, what was ``replaced`` (with the error of each mapping and the keys of the state_dict before and
        after), and what was ``left`` with the reason; ``print`` it.

    Raises
    ------
    UsageError
        If an argument is not allowed, the model cannot be copied, or it does not run with the example or gives
        another shape. Nothing is changed then.

    Notes
    -----
    A new layer stands under the name of the old one (of the convolution, where it was made of two modules; an
    ``nn.Identity`` takes the place of the other), so its keys stay, ``NAME.weight`` and ``NAME.bias``, with
    other shapes. Only where it has to be cropped it is the first module of a Sequential, with the keys
    ``NAME.0.weight`` and ``NAME.0.bias``. It has the dtype, device, memory format, ``requires_grad`` and mode of
    the old one. A module that is used in several places stays one module. A Sequential is taken to run its
    children in turn: a forward pass that picks single ones out of it is not noticed.

    Left alone, with the reason in the report: layers with hooks, parametrizations, shared or complex weights, a
    forward of their own or other padding than zeros, and those that cannot have the size; transposed
    convolutions of one or three axes. An argument ``output_size`` in a call is known to the transposed layers
    only; an example shows whether it is there.

    Examples
    --------
    >>> model = nn.Sequential(nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1), nn.ReLU())
    >>> report = replace(model, "transposed -> nearest_conv")
    >>> report.model[0]
    ResizeConv2d(8, 4, kernel_size=3, scale_factor=2, implementation=auto)
    """
    check_kind("model", model, nn.Module, "a module of torch")
    meant = parse_specification(specification)
    patterns = _read_patterns(only)
    check_kind("carry_weights", carry_weights, bool, "True or False")
    check_kind("inplace", inplace, bool, "True or False")
    if is_scripted(model):
        raise UsageError("model: it is TorchScript, whose modules cannot be replaced: take what it was made from")
    expected = None if example_input is None else _run(model, example_input, "the model")
    target = model if inplace else _copy(model)
    tree = ModuleTree(target)
    found, left = find_layers(tree, meant)
    remark = "" if found or left else _explain_nothing(tree, specification)
    _check_patterns(patterns, tree, [*(path for one in found for path in one.paths), *(one.path for one in left)])
    built: list[tuple[Found, Built]] = []
    for one in found:
        if patterns and not any(fnmatchcase(path, pattern) for path in one.paths for pattern in patterns):
            continue
        if inplace and not one.slots:
            raise UsageError("inplace: the model is the layer itself and cannot be changed in place: take False")
        is_usable = not carry_weights or _is_finite(one.module)
        answer = build_layer(one, meant, carry_weights=carry_weights) if is_usable else _NOT_FINITE
        if isinstance(answer, str):
            left.append(Left(path=one.paths[0], what=one.was, reason=answer))
        else:
            built.append((one, answer))
    if patterns:
        left = [one for one in left if any(fnmatchcase(one.path, pattern) for pattern in patterns)]
        if found and not built and not left:
            known = ", ".join(path for one in found for path in one.paths)
            remark = f"only: no layer of this kind matches; they are {known}"
    before = _list_keys(target)
    new_model, undone = _put_in(target, built)
    after = _list_keys(new_model)
    report = ReplaceReport(
        model=new_model,
        replaced=tuple(_describe(one, answer, before, after) for one, answer in built),
        left=tuple(left),
        remark=remark,
    )
    if expected is None:
        return report
    try:
        return alter(report, output_error=_compare(expected, _run(new_model, example_input, "the new model")))
    except UsageError:
        for slot, module in undone:
            slot.put(module)
        raise


def _read_patterns(only: object) -> tuple[str, ...]:
    if only is None:
        return ()
    patterns = (only,) if isinstance(only, str) else tuple(only) if isinstance(only, Sequence) else ()
    if not patterns or not all(map(is_text, patterns)):
        raise UsageError(f"only: {quote(only)} is not a pattern of paths such as 'decoder.*', or several of them")
    return patterns


def _check_patterns(patterns: Sequence[str], tree: ModuleTree, found: Sequence[str]) -> None:
    """Refuse patterns that match no module at all: they are not what was meant."""
    for pattern in patterns:
        if not any(fnmatchcase(path, pattern) for path in tree.modules):
            known = ", ".join(map(quote, found)) or "nowhere"
            raise UsageError(
                f"only: {quote(pattern)} matches no module of the model; layers of this kind are {known}"
            )


def _explain_nothing(tree: ModuleTree, specification: str) -> str:
    kinds = ", ".join(f"{name} ({count})" for name, count in count_kinds(tree).items())
    source = re.split(r"->|→", specification)[0].strip()
    has = (
        f"it has {kinds}"
        if kinds
        else "it has no upsampling layer that is known; what forward passes call is not seen"
    )
    return f"no layer of the model is {source}: {has}"


def _is_finite(module: nn.Module) -> bool:
    held = [parameter for parameter in list_parameters(module) if parameter is not None]
    return all(parameter.is_meta or bool(parameter.isfinite().all()) for parameter in held)


def _copy(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise UsageError(f"model: it cannot be copied ({describe_failure(error)}): take inplace=True") from error


def _run(model: nn.Module, example_input: Any, name: str) -> list[Tensor]:
    try:
        return run_once(model, example_input)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"example_input: {name} does not run with it: {describe_failure(error)}") from error


def _compare(expected: list[Tensor], found: list[Tensor]) -> float:
    shapes = [[tuple(tensor.shape) for tensor in tensors] for tensors in (expected, found)]
    if shapes[0] != shapes[1]:
        raise UsageError(f"example_input: the new model gives outputs of shapes {shapes[1]}, not {shapes[0]}")
    if not all(bool(tensor.isfinite().all()) for tensor in (*expected, *found) if tensor.is_floating_point()):
        return math.nan
    return max((compare(one, other) for one, other in zip(expected, found, strict=True)), default=0.0)


def _put_in(model: nn.Module, built: list[tuple[Found, Built]]) -> tuple[nn.Module, list[tuple[Slot, nn.Module]]]:
    """Put new layers in; the model, and what was where before."""
    undone: list[tuple[Slot, nn.Module]] = []
    for found, answer in built:
        if not found.slots:
            model = answer.module
        # what comes where a module of a pair was that has nothing left to do, and the layer
        for slot, module in (
            *((slot, nn.Identity()) for slot in found.emptied),
            *((slot, answer.module) for slot in found.slots),
        ):
            old = slot.parent._modules[slot.name]
            assert old is not None  # it was found there
            undone.append((slot, old))
            slot.put(module)
    return model, undone


def _list_keys(model: nn.Module) -> dict[int, list[str]]:
    """Keys of the state_dict by parameter, in all places where it is."""
    keys = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        keys[id(parameter)].append(name)
    return keys


def _describe(
    found: Found, built: Built, before: dict[int, list[str]], after: dict[int, list[str]]
) -> Replacement:
    keys = []
    for name in ("weight", "bias"):
        old, new = getattr(found.module, name), getattr(built.layer, name)
        if old is None:
            continue
        keys += [
            KeyChange(before=was, after=now, shape_before=tuple(old.shape), shape_after=tuple(new.shape))
            for was, now in zip(before[id(old)], after[id(new)], strict=True)
        ]
    weight, _ = list_parameters(built.layer)
    return Replacement(
        paths=found.paths,
        was=found.was,
        now=built.now,
        relative_error=built.relative_error,
        bias_error=built.bias_error,
        remark=built.remark,
        keys=tuple(keys),
        rounding=max(ROUNDING, torch.finfo(weight.dtype).eps),
    )
