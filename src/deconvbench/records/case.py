"""A case: one combination of the grid, and its stable name.

The `case_id` is what tables, journals, pytest and people use to name a case. Its defaults are constants of
this module, never read from a machine or a preset, so the same case has the same name everywhere; a new axis
is appended with a default and renames nothing. Plain data: no torch, no files.
"""

import re
from dataclasses import dataclass, fields
from typing import Any, Self

from deconvbench.arguments import is_text
from deconvbench.errors import UsageError, quote, suggest

DTYPES = ("float32", "float64", "bfloat16", "float16")
MEMORY_FORMATS = ("contiguous", "channels_last")
STEPS = ("forward", "train")
EXECUTIONS = ("eager", "compile", "cudagraph")
DEVICE_PATTERN = re.compile(r"cpu|(?:cuda|mps|xpu)(?::\d{1,4})?", re.ASCII)
NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]*")

_CHOICES = {"dtype": DTYPES, "memory_format": MEMORY_FORMATS, "step": STEPS, "execution": EXECUTIONS}
# the fields whose values are names; the others are whole numbers
TEXT_FIELDS = frozenset({"upsampler", "device", *_CHOICES})
_AT_LEAST_ONE = ("scale_factor", "in_channels", "out_channels", "height", "width", "batch", "threads")
_ID_PATTERN = re.compile(
    rf"(?P<upsampler>{NAME_PATTERN.pattern})(?:-k(?P<kernel_size>\d{{1,4000}}))?-s(?P<scale_factor>\d{{1,4000}})"
    r"-c(?P<in_channels>\d{1,4000})x(?P<out_channels>\d{1,4000})-(?P<height>\d{1,4000})x(?P<width>\d{1,4000})"
    r"(?:-b(?P<batch>\d{1,4000}))?"
    rf"(?:-(?P<dtype>{'|'.join(DTYPES)}))?"
    rf"(?:-(?P<memory_format>{'|'.join(MEMORY_FORMATS)}))?"
    rf"(?:-(?P<step>{'|'.join(STEPS)}))?"
    rf"(?:-(?P<device>{DEVICE_PATTERN.pattern}))?"
    r"(?:-t(?P<threads>\d{1,4000}))?"
    rf"(?:-(?P<execution>{'|'.join(EXECUTIONS)}))?",
    re.ASCII,
)
_LAYER_PATTERN = re.compile(rf"(?P<upsampler>{NAME_PATTERN.pattern})(?:-k(?P<kernel_size>\d{{1,4}}))?", re.ASCII)


def check_field(name: str, value: Any) -> None:
    """Check one field of a case by itself.

    Parameters
    ----------
    name : str
        A field of `Case`.
    value : object
        The requested value.

    Raises
    ------
    UsageError
        Naming the field, the value and what is allowed.
    """
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise UsageError(
                f"{name}: {quote(value)} is not one of {', '.join(_CHOICES[name])}{suggest(value, _CHOICES[name])}"
            )
    elif name == "device":
        if not (isinstance(value, str) and DEVICE_PATTERN.fullmatch(value)):
            raise UsageError(f"device: {quote(value)} is not cpu, cuda, mps or xpu (with an index like cuda:1)")
    elif name == "upsampler":
        if not (isinstance(value, str) and NAME_PATTERN.fullmatch(value)):
            raise UsageError(f"upsampler: {quote(value)} is not a name in lower case such as nearest_conv")
    elif name == "kernel_size" and value is None:
        return
    elif name == "kernel_size" or name in _AT_LEAST_ONE:
        # bool is an int to Python, and TOML's true is a bool
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UsageError(f"{name}: {quote(value)} is not a whole number of at least 1")
    else:
        hint = suggest(name, CASE_FIELDS)
        raise UsageError(f"{quote(name)} is not an axis; the axes are {', '.join(CASE_FIELDS)}{hint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One combination of the grid: what is built, on which input, how it is run.

    Parameters
    ----------
    upsampler : str
        Name in the registry.
    kernel_size : int or None
        Kernel size k; None for an upsampler that has none.
    scale_factor : int
        Scale s: a map of (H, W) becomes (sH, sW).
    in_channels, out_channels, height, width, batch : int
        The input is (batch, in_channels, height, width).
    dtype, memory_format, step, device, execution : str
        See `DTYPES`, `MEMORY_FORMATS`, `STEPS`, `EXECUTIONS`.
    threads : int
        Threads of intra-operator parallelism on the CPU.

    Raises
    ------
    UsageError
        If a field has a value that no upsampler accepts.
    """

    upsampler: str
    kernel_size: int | None
    scale_factor: int
    in_channels: int
    out_channels: int
    height: int
    width: int
    batch: int = 1
    dtype: str = "float32"
    memory_format: str = "contiguous"
    step: str = "forward"
    device: str = "cpu"
    threads: int = 1
    execution: str = "eager"

    def __post_init__(self) -> None:
        for name in CASE_FIELDS:
            check_field(name, getattr(self, name))

    @property
    def case_id(self) -> str:
        """The stable, readable name: ``nearest_conv-k3-s2-c64x32-64x64``."""
        parts = [
            name_layer(self.upsampler, self.kernel_size, self.scale_factor),
            f"c{self.in_channels}x{self.out_channels}",
            f"{self.height}x{self.width}",
        ]
        prefixes = {"batch": "b", "threads": "t"}
        for name, default in CASE_DEFAULTS.items():
            value = getattr(self, name)
            if value != default:
                parts.append(f"{prefixes.get(name, '')}{value}")
        return "-".join(parts)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of the input, (N, C, H, W)."""
        return (self.batch, self.in_channels, self.height, self.width)

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """Shape of the output, (N, C_out, sH, sW)."""
        s = self.scale_factor
        return (self.batch, self.out_channels, s * self.height, s * self.width)

    @property
    def layer_name(self) -> str:
        """What a reader calls the layer: ``transposed k3 s2``."""
        return format_layer(self.upsampler, self.kernel_size, self.scale_factor)

    @classmethod
    def from_id(cls, case_id: str) -> Self:
        """Parse a `case_id` back into its case.

        Raises
        ------
        UsageError
            If the text is not the id of a case.
        """
        match = _ID_PATTERN.fullmatch(case_id) if is_text(case_id) else None
        if match is None:
            raise UsageError(
                f"case id: {quote(case_id)} is not of the form upsampler-kK-sS-cINxOUT-HxW[-bN][-dtype]"
                "[-memory_format][-step][-device][-tN][-execution]"
            )
        found = {name: value for name, value in match.groupdict().items() if value is not None}
        values: dict[str, Any] = {n: v if n in TEXT_FIELDS else int(v) for n, v in found.items()}
        values.setdefault("kernel_size", None)
        return cls(**values)


def name_group(case: Case) -> str:
    """Name the cases that compete with this one, as they differ from it in the layer alone: its id without that.

    Parameters
    ----------
    case : Case
        Any.
    """
    return case.case_id.removeprefix(f"{name_layer(case.upsampler, case.kernel_size)}-")


def name_layer(upsampler: str, kernel_size: int | None, scale_factor: int | None = None) -> str:
    """Name a layer as the ids of its cases begin: ``transposed-k3-s2``, or without k where there is no kernel.

    Parameters
    ----------
    upsampler : str
        Name in the registry.
    kernel_size : int or None
        Kernel size k.
    scale_factor : int, optional
        Scale s; left out for layers of any scale.
    """
    kernel = "" if kernel_size is None else f"-k{kernel_size}"
    return f"{upsampler}{kernel}" if scale_factor is None else f"{upsampler}{kernel}-s{scale_factor}"


def parse_layer(text: object, name: str) -> tuple[str, int | None]:
    """Take a layer's name apart, as case ids write it: ``transposed-k3``, or without the kernel.

    Parameters
    ----------
    text : object
        What was given.
    name : str
        The option or argument, for the message.

    Returns
    -------
    upsampler : str
        Whether there is one of that name is not checked.
    kernel_size : int or None
        None where none was given.

    Raises
    ------
    UsageError
        If it is something else.
    """
    match = _LAYER_PATTERN.fullmatch(text) if isinstance(text, str) else None
    if match is None or match["kernel_size"] == "0":
        raise UsageError(f"{name}: {quote(text)} is not a layer such as transposed-k3 or nearest_conv")
    kernel_size = match["kernel_size"]
    return match["upsampler"], None if kernel_size is None else int(kernel_size)


def format_layer(upsampler: str, kernel_size: int | None, scale_factor: int) -> str:
    """Name a layer for a reader: ``transposed k3 s2``, or without k where there is no kernel.

    Parameters
    ----------
    upsampler : str
        Name in the registry.
    kernel_size : int or None
        Kernel size k.
    scale_factor : int
        Scale s.
    """
    kernel = "" if kernel_size is None else f" k{kernel_size}"
    return f"{upsampler}{kernel} s{scale_factor}"


CASE_FIELDS = tuple(field.name for field in fields(Case))
# in the order in which they are appended to a case_id
CASE_DEFAULTS: dict[str, Any] = {
    "batch": 1,
    "dtype": "float32",
    "memory_format": "contiguous",
    "step": "forward",
    "device": "cpu",
    "threads": 1,
    "execution": "eager",
}
