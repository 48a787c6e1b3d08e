"""Finding the layers to replace in a model: single modules, and pairs of them that a Sequential runs in turn.

A layer that was meant and cannot be replaced is named with the reason, and so is an upsampling whose convolution
is not beside it. What forward passes call as functions is not seen.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from deconvbench.networks.fusion.report import Left
from deconvbench.networks.replacement.specification import OTHER_CONV, SOURCES, Specification
from deconvbench.networks.replacement.tree import ModuleTree, Slot
from deconvbench.upsamplers.convolution import SameConv2d
from deconvbench.upsamplers.fast.deconvolution import ConvTranspose2d
from deconvbench.upsamplers.fast.layer import ResizeConv2d as FastResizeConv2d
from deconvbench.upsamplers.resize_modes import ResizeConv2d
from deconvbench.upsamplers.subpixel import SubpixelConv2d

_MODES = {"nearest": "nearest_conv", "nearest-exact": "nearest_conv", "bilinear": "bilinear_conv"}
_OTHER_DIMENSIONS = (nn.ConvTranspose1d, nn.ConvTranspose3d)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """A layer to replace.

    Parameters
    ----------
    name : str
        Its kind: ``transposed``, ``subpixel``, ``nearest_conv`` or ``bilinear_conv``; ``other_conv`` for
        interpolation of other modes.
    module : nn.Module
        Which has the weights.
    stride : tuple of int
        Scale s along rows and columns; empty where it is not known.
    slots : tuple of Slot
        Where the new layer comes; empty for the model itself.
    emptied : tuple of Slot
        Where nothing is left to do.
    was : str
        The modules, as torch prints them.
    objection : str
        What speaks against it at first sight; empty where nothing does.
    """

    name: str
    module: nn.Module
    stride: tuple[int, ...]
    slots: tuple[Slot, ...]
    emptied: tuple[Slot, ...] = ()
    was: str
    objection: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        """Of the module with the weights."""
        return tuple(slot.path for slot in self.slots) or ("",)


def find_layers(tree: ModuleTree, specification: Specification) -> tuple[list[Found], list[Left]]:
    """Find the layers that are meant.

    Parameters
    ----------
    tree : ModuleTree
        Of the model.
    specification : Specification
        Which layers are meant.

    Returns
    -------
    found : list of Found
        In the order in which the model lists them.
    left : list of Left
        Those that cannot be replaced.
    """
    found, left = [], []
    paired: set[int] = set()
    for path, module in tree.modules.items():
        for one in _look(tree, path, module, paired):
            if not specification.is_meant(one.name, read_kernel_size(one.module), one.stride):
                continue
            reason = one.objection or _explain(tree, one)
            if reason:
                left.append(Left(path=one.paths[0], what=one.was, reason=reason))
            else:
                found.append(one)
    return found, [*left, *_list_alone(tree, SOURCES[specification.source], paired)]


def count_kinds(tree: ModuleTree) -> dict[str, int]:
    """Count the layers of each kind that a model has, whether or not they can be replaced.

    Parameters
    ----------
    tree : ModuleTree
        Of the model.

    Returns
    -------
    dict of str to int
        By kind, in the order of `SOURCES`.
    """
    paired: set[int] = set()
    names = [one.name for path, module in tree.modules.items() for one in _look(tree, path, module, paired)]
    return {name: names.count(name) for name in (*SOURCES, OTHER_CONV) if name in names}


def _look(tree: ModuleTree, path: str, module: nn.Module, paired: set[int]) -> Iterator[Found]:
    slots, was = tree.list_slots(module), describe(module)
    if type(module).forward is nn.Sequential.forward:
        yield from _look_into(path, module, paired)
    elif isinstance(module, (nn.ConvTranspose2d, *_OTHER_DIMENSIONS)):
        is_covered = isinstance(module, nn.ConvTranspose2d)
        objection = "" if is_covered else "transposed convolutions of one and three axes are not covered"
        yield Found(
            name="transposed", module=module, stride=module.stride, slots=slots, was=was, objection=objection
        )
    elif isinstance(module, SubpixelConv2d):
        scale = (module.scale_factor,) * 2
        yield Found(name="subpixel", module=module, stride=scale, slots=slots, was=was)
    elif isinstance(module, FastResizeConv2d):
        mode = module.mode if isinstance(module, ResizeConv2d) else "nearest"
        name, scale = _MODES.get(mode, OTHER_CONV), (module.scale_factor,) * 2
        objection = f"mode {mode} is not covered" if name == OTHER_CONV else ""
        yield Found(name=name, module=module, stride=scale, slots=slots, was=was, objection=objection)


def _look_into(path: str, parent: nn.Module, paired: set[int]) -> Iterator[Found]:
    """Find a convolution and PixelShuffle, or upsampling and a convolution, among the children of a Sequential."""
    children = [(name, child) for name, child in parent._modules.items() if child is not None]
    for (first_name, first), (second_name, second) in itertools.pairwise(children):
        places = [Slot(parent, name, f"{path}.{name}" if path else name) for name in (first_name, second_name)]
        was = f"{describe(first)} + {describe(second)}"
        if type(second) is nn.PixelShuffle and _is_convolution(first):
            paired.add(id(second))
            yield Found(
                name="subpixel",
                module=first,
                stride=(second.upscale_factor,) * 2,
                slots=(places[0],),
                emptied=(places[1],),
                was=was,
            )
        elif isinstance(first, nn.Upsample) and _is_convolution(second):
            paired.add(id(first))
            factors, objection = _read_resize(first)
            yield Found(
                name=_MODES.get(first.mode, OTHER_CONV),
                module=second,
                stride=factors,
                slots=(places[1],),
                emptied=(places[0],),
                was=was,
                objection=objection,
            )


def _is_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and not isinstance(module, SubpixelConv2d)


def _list_alone(tree: ModuleTree, names: frozenset[str], paired: set[int]) -> Iterator[Left]:
    """Name upsamplings that have no convolution beside them."""
    for path, module in tree.modules.items():
        if id(module) in paired:
            continue
        if type(module) is nn.PixelShuffle and "subpixel" in names:
            beside = "before"
        elif isinstance(module, nn.Upsample) and _MODES.get(module.mode, OTHER_CONV) in names:
            beside = "after"
        else:
            continue
        reason = f"no Conv2d comes right {beside} it in a Sequential: what does is decided in a forward pass"
        yield Left(path=path, what=describe(module), reason=reason)


def _read_resize(module: nn.Upsample) -> tuple[tuple[int, ...], str]:
    """Scale of an upsampling, and why it is not covered."""
    if module.size is not None or module.scale_factor is None:
        return (), f"it upsamples to a fixed size, {module.size}, which is not covered"
    factors = module.scale_factor if isinstance(module.scale_factor, tuple) else (module.scale_factor,) * 2
    if len(factors) != 2 or any(factor != int(factor) or factor < 1 for factor in factors):
        return (
            (),
            f"scale_factor {module.scale_factor} is not covered: it is not whole for each of two axes",
        )
    scale = tuple(int(factor) for factor in factors)
    if module.mode not in _MODES:
        return scale, f"mode {module.mode} is not covered"
    if module.align_corners:
        return scale, "align_corners=True is not covered: its scale changes with the size"
    return scale, ""


def _explain(tree: ModuleTree, found: Found) -> str | None:
    """Say why a layer cannot be replaced, or None where it can."""
    module = found.module
    if max(found.stride) == 1:
        return "its scale is 1: it does not upsample"
    computes = {
        nn.Conv2d.forward,
        nn.ConvTranspose2d.forward,
        ConvTranspose2d.forward,
        SameConv2d.forward,
        SubpixelConv2d.forward,
        FastResizeConv2d.forward,
        ResizeConv2d.forward,
    }
    if type(module).forward not in computes:
        return f"{type(module).__name__} has a forward of its own, which is not covered"
    if not found.emptied:
        return _explain_padding(module) or tree.explain(module)
    places = tree.list_slots(module)
    if len(places) > 1:
        return f"its convolution is in {len(places)} places: {', '.join(place.path for place in places)}"
    for slot in found.emptied:
        emptied = slot.parent._modules[slot.name]
        reason = None if emptied is None else tree.explain(emptied)
        if reason is not None:
            return f"of {slot.path}: {reason}"
    return _explain_padding(module) or _explain_convolution(module, found) or tree.explain(module)


def _explain_padding(module: nn.Module) -> str | None:
    if getattr(module, "blur", False):
        return "blur=True is not covered: near the border it is not a convolution"
    mode = getattr(module, "padding_mode", "zeros")
    return None if mode == "zeros" else f"padding_mode {mode} is not covered: the new layer would pad with zeros"


def _explain_convolution(module: nn.Module, found: Found) -> str | None:
    assert isinstance(module, nn.Conv2d)
    if module.stride != (1, 1):
        return f"the convolution's stride {module.stride} is not 1"
    if found.name == "subpixel":
        scale = found.stride[0]
        if module.out_channels % scale**2 or (module.out_channels // scale**2) % module.groups:
            return f"{module.out_channels} channels in {module.groups} groups are not blocks of {scale}×{scale}"
    return None


def describe(module: nn.Module) -> str:
    """Print a module as torch does, without the modules in it.

    Parameters
    ----------
    module : nn.Module
        Any.
    """
    return f"{type(module).__name__}({module.extra_repr()})"


def list_parameters(module: nn.Module) -> tuple[nn.Parameter, nn.Parameter | None]:
    """List weight and bias of a module that `explain` has nothing against.

    Parameters
    ----------
    module : nn.Module
        Of any kind that is found, or put in.
    """
    weight, bias = module._parameters["weight"], module._parameters["bias"]
    assert weight is not None  # only a bias may be missing
    return weight, bias


def read_kernel_size(module: nn.Module) -> tuple[int, ...]:
    """Read the kernel of a convolution, for each axis.

    Parameters
    ----------
    module : nn.Module
        Of any kind that is found.
    """
    size: int | tuple[int, ...] = module.kernel_size  # type: ignore[assignment] # all that is found has one
    return (size,) if isinstance(size, int) else size
