"""A world without pixels: images are names, and what would be computed is written down."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from deconvbench.networks.fusion.recipes import Part, Recipe


class NamedWorld:
    """Images are names; their shapes and recipes are given.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Of the images that are computed.
    recipes : mapping of str to Recipe of str
        Of those that are not.
    dtypes : mapping of str to torch.dtype
        Of those that are not float32.
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[Any]],
        recipes: Mapping[str, Recipe[str]] | None = None,
        dtypes: Mapping[str, torch.dtype] | None = None,
    ) -> None:
        self.shapes, self.recipes, self.dtypes = dict(shapes), dict(recipes or {}), dict(dtypes or {})

    def find_recipe(self, value: Any) -> Recipe[str] | None:
        return self.recipes.get(value) if isinstance(value, str) else None

    def find_plain(self, value: Any) -> str | None:
        return value if isinstance(value, str) and value in self.shapes else None

    def get_shape(self, value: Any) -> Sequence[Any]:
        if value in self.shapes:
            return self.shapes[value]
        (part,) = self.recipes[value].parts
        batch, channels, height, width = self.shapes[part.source]
        return (batch, channels, height * part.scale, width * part.scale)

    def get_dtype(self, value: Any) -> torch.dtype:
        return self.dtypes.get(value, torch.float32)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
        if function is Tensor.to and self.get_dtype(args[0]) == args[1]:
            # as torch, which returns what it is given
            return str(args[0])
        words = [str(value) for value in args] + [f"{name}={value}" for name, value in kwargs.items()]
        return f"{function.__name__}({', '.join(words)})"

    def settle(self, source: str, function: Any, size: int, **options: Any) -> str:
        return source


def describe(recipe: Any) -> list[tuple[str, int]]:
    """List sources and scales of a recipe."""
    assert isinstance(recipe, Recipe)
    return [(part.source, part.scale) for part in recipe.parts]


def enlarged(*parts: tuple[str, int, int], **options: Any) -> Recipe[str]:
    """Make a recipe of parts: source, channels, scale."""
    made = tuple(Part(source=source, channels=channels, scale=scale) for source, channels, scale in parts)
    return Recipe(parts=made, **options)
