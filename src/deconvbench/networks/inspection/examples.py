"""Inputs for a network that comes without: of a description, guessed from its first layer, or of pictures."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from deconvbench.errors import UsageError, describe_failure, quote
from deconvbench.measure.decoding import UnreadableImageError, hush_pillow, read_image
from deconvbench.networks.fusion.observation import keep_state, split_input
from deconvbench.networks.inspection.inputs import LEVELS, fit_image, is_photograph
from deconvbench.networks.onnx.module import InputInfo, OnnxModule
from deconvbench.records.inputs import InputDescription

_LABEL = "--input"
# sides that are tried, by the axes of the first layer; a generator begins with a single pixel
_SIDES = {1: (1024, 16384), 2: (256, 224, 128, 64, 512, 32), 3: (32, 64, 16)}
_LATENT_SIDES = (1, 16, 8)
# axes of images and channels, where a file leaves them open
_OPEN_SIDES = {0: 1, 1: 3}
_CONVOLUTIONS: Mapping[type[nn.Module], tuple[int, bool]] = {
    nn.Conv1d: (1, False),
    nn.Conv2d: (2, False),
    nn.Conv3d: (3, False),
    nn.ConvTranspose1d: (1, True),
    nn.ConvTranspose2d: (2, True),
    nn.ConvTranspose3d: (3, True),
}
_IMAGE_CHANNELS = (1, 3)


def make_example(inputs: Sequence[InputDescription], dtype: torch.dtype, device: torch.device) -> Any:
    """Make the example that descriptions ask for; random, and the same every time.

    Parameters
    ----------
    inputs : sequence of InputDescription
        All named or none.
    dtype : torch.dtype
        Of those that name none.
    device : torch.device
        Where they are to be.

    Returns
    -------
    tuple or dict of Tensor
        By name where they have names.
    """
    generator = torch.Generator().manual_seed(0)
    made = [_draw(one, dtype, generator).to(device) for one in inputs]
    if all(one.name for one in inputs):
        return {one.name: tensor for one, tensor in zip(inputs, made, strict=True)}
    return tuple(made)


def _draw(one: InputDescription, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    wanted: torch.dtype = getattr(torch, one.dtype) if one.dtype else dtype
    if not wanted.is_floating_point:
        least, most = (0, 1) if one.low is None or one.high is None else (round(one.low), round(one.high))
        return torch.randint(least, most + 1, one.shape, generator=generator).to(wanted)
    is_image = len(one.shape) >= 3 and one.shape[1] in _IMAGE_CHANNELS
    if one.is_normal or (one.low is None and not is_image):
        return torch.randn(one.shape, generator=generator).to(wanted)
    low, high = (0.0, 1.0) if one.low is None or one.high is None else (one.low, one.high)
    return (low + (high - low) * torch.rand(one.shape, generator=generator)).to(wanted)


def guess_inputs(model: nn.Module) -> list[tuple[InputDescription, ...]]:
    """Guess what a network takes, the most likely first.

    Parameters
    ----------
    model : nn.Module
        Any. Of an `OnnxModule` it is what the file declares, with usual sizes for open sides; of others what the
        first layer with weights tells.

    Returns
    -------
    list of tuple of InputDescription
        Empty where nothing is told.

    Raises
    ------
    UsageError
        If a file declares an input that no tensor can be.
    """
    if isinstance(model, OnnxModule):
        declared = [_complete(model.describe_inputs(), side) for side in _SIDES[2]]
        return list(dict.fromkeys(declared))
    for module in model.modules():
        for kind, (dims, is_transposed) in _CONVOLUTIONS.items():
            if isinstance(module, kind):
                channels = int(getattr(module, "in_channels", 1))
                sides = _LATENT_SIDES if is_transposed else _SIDES[dims]
                return [(InputDescription(shape=(1, channels, *[side] * dims)),) for side in sides]
        if isinstance(module, nn.Linear):
            return [(InputDescription(shape=(1, module.in_features)),)]
        if next(module.parameters(recurse=False), None) is not None:
            break
    return []


def _complete(described: Sequence[InputInfo], side: int) -> tuple[InputDescription, ...]:
    """Close the open sides of what a file declares: one image, three channels, as large as is asked for."""
    return tuple(
        InputDescription(
            shape=tuple(one if one is not None else _OPEN_SIDES.get(axis, side) for axis, one in enumerate(sides)),
            name=name,
            dtype=str(dtype).removeprefix("torch."),
        )
        for name, sides, dtype in described
    )


def find_inputs(
    model: nn.Module, dtype: torch.dtype, device: torch.device, say: Callable[[str], None]
) -> tuple[InputDescription, ...]:
    """Try guessed inputs until the network takes them.

    Parameters
    ----------
    model : nn.Module
        It is run; left as it was.
    dtype, device
        As of `make_example`.
    say : callable
        Is told what is tried.

    Returns
    -------
    tuple of InputDescription
        That run.

    Raises
    ------
    UsageError
        If none do; the message asks for ``--input``.
    """
    guesses = guess_inputs(model)
    reason = ""
    for guess in guesses:
        say(f"trying an input of {', '.join(map(str, guess))}")
        try:
            run_once(model, make_example(guess, dtype, device))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 -- code of the user's may raise anything
            reason = reason or describe_failure(error)
        else:
            return guess
    words = ", ".join(" and ".join(map(str, guess)) for guess in guesses)
    tried = f", and {words} {'does' if len(guesses) == 1 else 'do'} not run ({reason})" if guesses else ""
    raise UsageError(
        f"{_LABEL}: none is given{tried}; forward takes {_write_parameters(model)}: give its shapes, such as"
        f" {_LABEL} 1x3x256x256 or {_LABEL} NAME=1x3x256x256 for each"
    )


def run_once(model: nn.Module, example: Any) -> list[Tensor]:
    """Run a network, which is left as it was, and list the tensors that it gives."""
    args, kwargs = split_input(example)
    with keep_state(model), torch.no_grad():
        output = model(*args, **kwargs)
    return [value for value in pytree.tree_leaves(output) if isinstance(value, Tensor)]


def _write_parameters(model: nn.Module) -> str:
    if isinstance(model, OnnxModule):
        return ", ".join(name for name, _, _ in model.describe_inputs()) or "nothing"
    try:
        return str(inspect.signature(model.forward))
    except Exception:  # noqa: BLE001 -- an object of another's may be anything
        return "unknown arguments"


def make_images(example: Any, paths: Sequence[str]) -> list[Any]:
    """Put pictures in the place of the images of an example, cut and scaled to their size and in their range.

    Parameters
    ----------
    example : tuple or dict
        From `make_example`.
    paths : sequence of str
        Of picture files of any kind that Pillow reads.

    Returns
    -------
    list of (tuple or dict)
        One for each file.

    Raises
    ------
    UsageError
        If a file cannot be read, or no input is an image.
    """
    if not any(is_photograph(value) for value in pytree.tree_leaves(example)):
        raise UsageError("--image: no input is an image of shape N×1×H×W or N×3×H×W, of 16 pixels a side or more")
    return [_put_image(example, _read_image(path)) for path in paths]


def _read_image(path: str) -> Tensor:
    try:
        with hush_pillow():
            return read_image(Path(path))[None].double() / LEVELS
    except UnreadableImageError as error:
        raise UsageError(f"--image: cannot read {quote(path)}: {error}") from error


def _put_image(example: Any, image: Tensor) -> Any:
    return pytree.tree_map(lambda value: fit_image(image, value) if is_photograph(value) else value, example)
