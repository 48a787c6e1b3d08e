"""What was put into a model in place of what, how near it comes, and what was left alone.

Plain data with a readable form.
"""

import math
from dataclasses import dataclass

from torch import nn

from deconvbench.networks.fusion.report import Left
from deconvbench.system.notebook import write_html

# relative error of what is exact but for rounding, in double precision
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """One entry of the state_dict.

    Parameters
    ----------
    before, after : str
        Its key in the old and in the new model.
    shape_before, shape_after : tuple of int
        Its shape.
    """

    before: str
    after: str
    shape_before: tuple[int, ...]
    shape_after: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.before} {self.shape_before} -> {self.after} {self.shape_after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """One layer that became another.

    Parameters
    ----------
    paths : tuple of str
        Where the layer is, several where it is shared; of the convolution, for a layer made of two modules. Empty
        text for the model itself.
    was, now : str
        The modules, as torch prints them.
    relative_error : float or None
        Norm of the difference between what the old and the new layer compute, as kernels, over that of the old
        one; None where the weights were drawn anew.
    bias_error : float
        The same of the bias.
    remark : str
        What else is different; empty where nothing is.
    keys : tuple of KeyChange
        Its entries in the state_dict.
    rounding : float
        Relative errors up to this are those of rounding, in the dtype of the weights.
    """

    paths: tuple[str, ...]
    was: str
    now: str
    relative_error: float | None
    bias_error: float = 0.0
    remark: str = ""
    keys: tuple[KeyChange, ...] = ()
    rounding: float = ROUNDING

    @property
    def is_exact(self) -> bool:
        """Whether the new layer computes what the old one did, but for rounding."""
        error = self.relative_error
        return error is not None and max(error, self.bias_error) <= self.rounding and not self.remark

    def __str__(self) -> str:
        where = ", ".join(path or "(the model)" for path in self.paths)
        words = [self._describe_mapping()]
        if self.bias_error > self.rounding:
            words.append(f"bias averaged over the phases, error {self.bias_error:.1%}")
        if self.remark:
            words.append(self.remark)
        return f"{where}: {self.was} -> {self.now}: {'; '.join(words)}"

    def _describe_mapping(self) -> str:
        if self.relative_error is None:
            return "weights drawn anew"
        if self.relative_error <= self.rounding:
            return "weights carried over exactly"
        return f"weights carried over by least squares, error {self.relative_error:.1%} of the kernel"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceReport:
    """The result of `replace`.

    Parameters
    ----------
    model : nn.Module
        The new model: a copy, or the given one where it was changed in place.
    replaced : tuple of Replacement
        The layers that became others, in the order in which the model lists them.
    left : tuple of Left
        Those that were meant, or look as if they could be, and were left alone, with the reason.
    output_error : float or None
        Largest difference between the outputs of both models for the example, over the largest output; NaN where
        an output is not finite, None where there was no example.
    remark : str
        What the model has instead, where there is no layer of the kind that was meant; otherwise empty.
    """

    model: nn.Module
    replaced: tuple[Replacement, ...] = ()
    left: tuple[Left, ...] = ()
    output_error: float | None = None
    remark: str = ""

    @property
    def keys(self) -> dict[str, str]:
        """Keys of the state_dict before and after, of the layers that were replaced; all other keys stay."""
        return {key.before: key.after for one in self.replaced for key in one.keys}

    def _repr_html_(self) -> str:
        title, *_ = str(self).split("\n")
        lines = [("replaced", one) for one in self.replaced], [("left", one) for one in self.left]
        return write_html(title, ("", "layer"), [row for group in lines for row in group])

    def __str__(self) -> str:
        lines = [f"{len(self.replaced)} replaced, {len(self.left)} left alone"]
        if self.remark:
            lines.append(f"  {self.remark}")
        for one in self.replaced:
            lines.append(f"  replaced  {one}")
            lines += [f"            {key}" for key in one.keys if key.before != key.after]
        lines += [f"  left      {left}" for left in self.left]
        if self.output_error is not None and math.isnan(self.output_error):
            lines.append("  outputs of the same shapes, not compared: they hold NaN or infinity")
        elif self.output_error is not None:
            lines.append(
                f"  outputs of the same shapes, different by at most {self.output_error:.1e} of the largest"
            )
        return "\n".join(lines)
