"""What is done with a network: calls of many kinds, and what people do to networks between them.

A scenario is a list of plain steps, so that it can be printed and repeated. Runs nothing.
"""

from dataclasses import dataclass

from bench.fusion_fuzz.draws import Draw, happens, pick

# how a call is made: what torch records, and in which surroundings
GRADIENTS = ("recorded", "no_grad", "inference", "recorded")
CONTEXTS = (
    "",
    "",
    "",
    "autocast",
    "default_device",
    "default_dtype",
    "saved_tensors_hooks",
    "deterministic",
    "mode",
)
LAYOUTS = ("contiguous", "contiguous", "channels_last", "transposed", "sliced", "expanded")
LOSSES = ("squares", "twice", "kept", "weights_only")
# what happens to a network between two calls
CHANGES = (
    *("sgd", "fused_adam", "data_mul", "data_twice", "load", "load_assign", "copy", "swap", "numpy", "set_data"),
    *("freeze_some", "train", "eval", "deepcopy", "to_float_and_back", "channels_last", "new_convolution"),
    *("hook_records", "hook_doubles", "pre_hook_doubles", "backward_hook", "global_hook", "unhook"),
    *(
        "patch_convolution",
        "patch_forward",
        "patch_class",
        "unpatch",
        "weight_norm",
        "remove_weight_norm",
        "prune",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call.

    Parameters
    ----------
    batch, height, width : int
        Of the image.
    gradients, context, layout, loss : str
        From the lists above.
    is_leaf : bool
        Whether the image asks for a gradient.
    seed : int
        Of the image.
    """

    batch: int
    height: int
    width: int
    gradients: str
    context: str
    layout: str
    loss: str
    is_leaf: bool
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something done to the network.

    Parameters
    ----------
    kind : str
        One of `CHANGES`.
    which : int
        To which of the modules that it can be done to; counted round.
    """

    kind: str
    which: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is done with a network.

    Parameters
    ----------
        How it is fused: with an example, and with kept weights.
    is_training : bool
        Its mode when it is fused.
    before, steps : tuple
        What is done before and after it is fused.
    """

    has_example: bool
    caches_weights: bool
    is_training: bool
    before: tuple[Change, ...]
    steps: tuple[Call | Change, ...]


def draw_scenario(draw: Draw) -> Scenario:
    """Draw a scenario.

    Parameters
    ----------
    draw : Draw
        Where decisions come from.
    """
    has_example = happens(draw, 50)
    is_training = happens(draw, 40)
    caches_weights = not is_training and happens(draw, 40)
    before = tuple(_draw_change(draw) for _ in range(draw.integer(0, 1)))
    steps: list[Call | Change] = [_draw_call(draw)]
    steps += [_draw_change(draw) if happens(draw, 45) else _draw_call(draw) for _ in range(draw.integer(0, 5))]
    steps.append(_draw_call(draw))
    return Scenario(
        has_example=has_example,
        caches_weights=caches_weights,
        is_training=is_training,
        before=before,
        steps=tuple(steps),
    )


def _draw_call(draw: Draw) -> Call:
    return Call(
        batch=pick(draw, [1, 2, 3]),
        height=draw.integer(3, 7),
        width=draw.integer(3, 7),
        gradients=pick(draw, GRADIENTS),
        context=pick(draw, CONTEXTS),
        layout=pick(draw, LAYOUTS),
        loss=pick(draw, LOSSES),
        is_leaf=happens(draw, 50),
        seed=draw.integer(0, 3),
    )


def _draw_change(draw: Draw) -> Change:
    return Change(kind=pick(draw, CHANGES), which=draw.integer(0, 7))
