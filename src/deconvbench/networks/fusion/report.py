"""What was done to a model, what was not, and why.

Plain data with a readable form.
"""

from dataclasses import dataclass

from torch import nn

from deconvbench.system.notebook import write_html
from deconvbench.units import format_bytes


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
    peak_memory_bytes_before, peak_memory_bytes_after : int or None
        The most that a call of the original and of the fused model held for the example, above what was there
        before the call, in bytes: the output counts, the input does not. None where it was not measured.
    memory_remark : str
        Why it could not be measured; empty where it was, or was not wanted.
    max_memory_bytes : int or None
        The limit that was given.
    in_strips : tuple of Change
        What is computed in row strips where it would hold more than that.
    """

    model: nn.Module
    changed: tuple[Change, ...] = ()
    watched: tuple[Change, ...] = ()
    left: tuple[Left, ...] = ()
    max_relative_error: float | None = None
    max_relative_gradient_error: float | None = None
    peak_memory_bytes_before: int | None = None
    peak_memory_bytes_after: int | None = None
    memory_remark: str = ""
    max_memory_bytes: int | None = None
    in_strips: tuple[Change, ...] = ()

    @property
    def is_within_memory(self) -> bool | None:
        """Whether the fused model held no more than the limit; None without a limit or a measurement."""
        if self.max_memory_bytes is None or self.peak_memory_bytes_after is None:
            return None
        return self.peak_memory_bytes_after <= self.max_memory_bytes

    def __str__(self) -> str:
        watched = f"{len(self.watched)} watched, " if self.watched else ""
        lines = [f"{len(self.changed)} changed, {watched}{len(self.left)} left alone"]
        lines += [f"  changed  {change}" for change in self.changed]
        lines += [f"  watched  {change}" for change in self.watched]
        lines += [f"  left     {left}" for left in self.left]
        lines += [f"  strips   {change}" for change in self.in_strips]
        if self.max_relative_error is not None:
            lines.append(f"  outputs differ by at most {self.max_relative_error:.1e} of the largest")
        if self.max_relative_gradient_error is not None:
            lines.append(f"  gradients differ by at most {self.max_relative_gradient_error:.1e} of the largest")
        return "\n".join([*lines, *self._describe_memory()])

    def _describe_memory(self) -> list[str]:
        lines = []
        before, after = self.peak_memory_bytes_before, self.peak_memory_bytes_after
        if before is not None and after is not None:
            lines.append(
                f"  peak memory for the example: {format_bytes(before)} before, {format_bytes(after)} after"
            )
        if self.memory_remark:
            lines.append(f"  peak memory was not measured: {self.memory_remark}")
        if self.max_memory_bytes is None:
            return lines
        limit = f"max_memory {format_bytes(self.max_memory_bytes)}"
        if not self.in_strips:
            lines.append(f"  {limit}: nothing here can be computed in row strips")
        if self.is_within_memory is False:
            lines.append(f"  {limit} is not met: what strips cannot cut, or the output and its strips, hold more")
        return lines

    def _repr_html_(self) -> str:
        title, *_ = str(self).split("\n")
        rows: list[tuple[object, ...]] = [(one.path or "(the model)", one.was, one.now) for one in self.changed]
        rows += [(one.path or "(the model)", one.was, f"watched: {one.now}") for one in self.watched]
        rows += [(one.path or "(the model)", one.what, f"left: {one.reason}") for one in self.left]
        return write_html(title, ("module", "was", "is"), rows)
