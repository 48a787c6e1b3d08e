"""What a call makes of an image that is known by its recipe: the rules that a running network and a graph share.

Decides what is followed; how results are made is the world's business. Handles no in-place calls: their owner
does.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion import calls
from deconvbench.networks.fusion.channelwise import follow_channelwise
from deconvbench.networks.fusion.recipes import Part, Recipe, Site, plan_convolution, read_scale
from deconvbench.networks.fusion.rules_protocol import World

S = TypeVar("S")


def follow(  # noqa: PLR0911 -- one return for each kind of call
    function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], world: World[S]
) -> Recipe[S] | str | None:
    """Find the recipe of what a call returns.

    Parameters
    ----------
    function : callable
        One of `calls.KINDS` other than a convolution.
    args, kwargs
        Its arguments.
    world : World
        Where its images are.

    Returns
    -------
    Recipe, str or None
        The very recipe of the argument, if the call returns its argument; a reason, if the call would have to be
        written down but cannot be; None if it is none of ours.
    """
    kind = calls.KINDS.get(function)
    if kind in {calls.INTERPOLATE, calls.PAD, calls.JOIN}:
        call = calls.read_call(function, args, kwargs)
        if isinstance(call, calls.EnlargeCall):
            return _follow_enlargement(call, world)
        if isinstance(call, calls.PadCall):
            return _follow_padding(call, world)
        return _follow_join(call, world) if isinstance(call, calls.JoinCall) else None
    if kind == calls.CHANNELWISE:
        return follow_channelwise(function, args, kwargs, world)
    if kind is None or kind == calls.CONVOLVE or not args:
        return None
    image, *rest = args
    recipe = world.find_recipe(image)
    if recipe is None or any(isinstance(value, Tensor) for value in (*rest, *kwargs.values())):
        return None
    if kind == calls.DROP:
        is_training = kwargs.get("training", rest[1] if len(rest) > 1 else True)
        return None if is_training else recipe
    if kind == calls.CAST:
        dtype = calls.read_cast(function, rest, kwargs)
        if dtype not in calls.DTYPES:
            return None
        same = dtype == world.get_dtype(image)
        return recipe if same else recipe.map(lambda source: world.call(Tensor.to, source, dtype))
    if kind == calls.LAYOUT:
        laid_out = recipe.map(lambda source: world.call(function, source, *rest, **kwargs))
        # not ==, which compares the pixels of tensors
        pairs = zip(recipe.parts, laid_out.parts, strict=True)
        return recipe if all(one.source is other.source for one, other in pairs) else laid_out
    if recipe.padding:
        return f"{getattr(function, '__name__', function)} comes after the padding"
    return recipe.map(lambda source: world.call(function, source, *rest, **kwargs))


def _follow_enlargement(call: calls.EnlargeCall, world: World[S]) -> Recipe[S] | str | None:
    recipe = world.find_recipe(call.image)
    if recipe is not None:
        scale = read_scale(call, world.get_shape(call.image))
        return scale if isinstance(scale, str) else recipe.enlarge(scale)
    image = world.find_plain(call.image)
    if image is None:
        return "its input is not an ordinary tensor of floating-point numbers"
    scale = read_scale(call, world.get_shape(image))
    if isinstance(scale, str):
        return scale
    source = world.settle(image, functional.interpolate, 1, scale_factor=1)
    return Recipe(parts=(Part(source=source, channels=world.get_shape(image)[1], scale=scale),))


def _follow_padding(call: calls.PadCall, world: World[S]) -> Recipe[S] | str | None:
    recipe = world.find_recipe(call.image)
    padded = None if recipe is None else recipe.pad(call)
    if not isinstance(padded, Recipe) or not padded.padding:
        return padded
    mode = "constant" if padded.padding_mode == "zeros" else padded.padding_mode
    amount = padded.padding
    return padded.map(lambda source: world.settle(source, functional.pad, amount + 1, pad=[amount] * 4, mode=mode))


def _follow_join(call: calls.JoinCall, world: World[S]) -> Recipe[S] | str | None:
    if call.axis not in {1, -3}:
        return None
    parts: list[Part[S]] = []
    origins: list[Any] = []
    for image in call.images:
        recipe = world.find_recipe(image)
        if recipe is not None and not recipe.padding:
            parts.extend(recipe.parts)
            origins.extend(recipe.origins)
            continue
        plain = world.find_plain(image)
        if plain is None or len(world.get_shape(plain)) != 4:
            return "it is joined with something that is not an ordinary image"
        parts.append(Part(source=plain, channels=world.get_shape(plain)[1], scale=1))
    if not any(part.scale > 1 for part in parts):
        return None
    if not all(isinstance(part.channels, int) for part in parts):
        return "the number of joined channels is not known"
    dtypes = [world.get_dtype(part.source) for part in parts]
    recipe = Recipe(parts=tuple(parts), origins=tuple(origins))
    if len(set(dtypes)) == 1:
        return recipe
    dtype = reduce(torch.promote_types, dtypes)
    return recipe.map(lambda source: world.call(Tensor.to, source, dtype))


def find_site(
    args: Sequence[Any], kwargs: Mapping[str, Any], world: World[S], is_operand: Callable[[Any], bool]
) -> tuple[calls.ConvolveCall, Recipe[S], Site | str] | None:
    """Find how a convolution is done fast.

    Parameters
    ----------
    args, kwargs
        Of ``conv2d``.
    world : World
        Where its image is.
    is_operand : callable
        Whether something can be a weight or bias.

    Returns
    -------
    tuple or None
        The call, the recipe of its input, and the site or why there is none; None if it convolves no recipe.
    """
    call = calls.read_call(torch.conv2d, args, kwargs)
    recipe = None if not isinstance(call, calls.ConvolveCall) else world.find_recipe(call.image)
    if recipe is None or not isinstance(call, calls.ConvolveCall):
        return None
    if not is_operand(call.weight) or not (call.bias is None or is_operand(call.bias)):
        return None
    return call, recipe, plan_convolution(recipe, call, world.get_shape(call.weight))
