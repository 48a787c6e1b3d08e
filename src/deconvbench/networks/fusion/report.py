"""What was done to a model, what was not, and why.

Plain data with a readable form.
"""

from dataclasses import dataclass

from torch import nn

from deconvbench.system.notebook import write_html


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One place that is computed differently.

    Parameters
    ----------
    path : str
        Of the module in the model; empty for the model itself.
    was : str
        What it was.
    now : str
        What it is.
    """

    path: str
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.path or '(the model)'}: {self.was} -> {self.now}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """One place that was left alone.

    Parameters
    ----------
    path : str
        Of the module in the model; empty for the model itself.
    what : str
        What it is.
    reason : str
        Why it was left.
    """

    path: str
    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path or '(the model)'}: {self.what}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FuseReport:
    """The result of `fuse`.

    Parameters
    ----------
    model : nn.Module
        The fused model; the very model that was given, if nothing was changed or if it was changed in place.
    changed : tuple of Change
        What is computed differently.
    watched : tuple of Change
        Upsampling operations whose module is watched as it runs: whether a convolution follows that can be fused
        with them shows only then. Given an example there are none, for it has shown.
    left : tuple of Left
        Upsampling operations and transposed convolutions that are not, with the reason.
    max_relative_error : float or None
        Largest difference between the outputs of both models, over the largest output; None if nothing was
        compared.
    max_relative_gradient_error : float or None
        The same of the gradients to inputs and parameters, in double precision, each over its own largest value.
    """

    model: nn.Module
    changed: tuple[Change, ...] = ()
    watched: tuple[Change, ...] = ()
    left: tuple[Left, ...] = ()
    max_relative_error: float | None = None
    max_relative_gradient_error: float | None = None

    def __str__(self) -> str:
        watched = f"{len(self.watched)} watched, " if self.watched else ""
        lines = [f"{len(self.changed)} changed, {watched}{len(self.left)} left alone"]
        lines += [f"  changed  {change}" for change in self.changed]
        lines += [f"  watched  {change}" for change in self.watched]
        lines += [f"  left     {left}" for left in self.left]
        if self.max_relative_error is not None:
            lines.append(f"  outputs differ by at most {self.max_relative_error:.1e} of the largest")
        if self.max_relative_gradient_error is not None:
            lines.append(f"  gradients differ by at most {self.max_relative_gradient_error:.1e} of the largest")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        title, *_ = str(self).split("\n")
        rows: list[tuple[object, ...]] = [(one.path or "(the model)", one.was, one.now) for one in self.changed]
        rows += [(one.path or "(the model)", one.was, f"watched: {one.now}") for one in self.watched]
        rows += [(one.path or "(the model)", one.what, f"left: {one.reason}") for one in self.left]
        return write_html(title, ("module", "was", "is"), rows)
