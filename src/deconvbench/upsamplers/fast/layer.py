"""`ResizeConv2d`: nearest-neighbour upsampling and convolution in one layer, as fast as it can be exact.

Holds parameters, checks input, and keeps the cached transformed weight up to date.
"""

import warnings
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.upsamplers.convolution import SameConv2d
from deconvbench.upsamplers.fast.caching import CachedWeight
from deconvbench.upsamplers.fast.dtypes import find_autocast_dtype
from deconvbench.upsamplers.fast.forms import Geometry, choose, run, run_plain, specify
from deconvbench.upsamplers.fast.frozen import FrozenWeights
from deconvbench.upsamplers.fast.memory import is_channels_last
from deconvbench.upsamplers.fast.native.library import find_library
from deconvbench.upsamplers.fast.objections import explain_implementation
from deconvbench.upsamplers.fast.operators import compile_call
from deconvbench.upsamplers.fast.recording import is_called_alone, is_symbol, is_traced

PADDING_MODES = ("zeros", "reflect", "replicate")
# more kinds of calls than these are not worth remembering
_MOST_CALLS = 64


class ResizeConv2d(CachedWeight):
    r"""Nearest-neighbour upsampling by s, then a convolution that keeps the size.

    The same function, parameters and initialisation as ``Sequential(Upsample(scale_factor=s), Conv2d(C_in, C_out,
    k, padding=(k-1)//2))``, without its price: upsampled pixels repeat, so most of its products are computed again
    and again. In float32 and float64 every implementation is exact but for rounding:

    - ``plain``: as it is written; k² multiply-accumulates per output pixel (in units of C_in·C_out);
    - ``transposed``: one transposed convolution of kernel k + s − 1; (k+s−1)²/s²;
    - ``subpixel``: one convolution at low resolution, then PixelShuffle; (2r+1)², r = ⌈(k−1)/(2s)⌉;
    - ``minimal``: k² products per input pixel; k²/s² (see `minimal`);
    - ``tiled``: 25 products per four input pixels, kernel 3 and scale 2 only; 1.5625 (see `tiled`), twice as fast
      once `deconvbench.nn.build_native` has compiled it for this machine, for kernels 3 and 5 and scales 2 to 4;
    - ``minimal_triton``, ``tiled_triton``: kernels for CUDA devices, kernel 3 and scale 2 only (see `cuda`);
    - ``auto``: the fastest for this input by a rule learnt from measurements (see `choice`); in bfloat16 and
      float16, also under autocast, the compiled one or ``plain``, because no other is as precise there.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Odd kernel size k.
    scale_factor : int
        Scale s, at least 2.
    bias : bool
        Whether to add a learnt bias.
    groups : int
        Groups of the convolution.
    padding_mode : str
        ``zeros``, ``reflect`` or ``replicate``: what the convolution sees beyond the upsampled tensor's border.
        Reflection is fast only where it is the same as replication, (k−1)/2 ≤ s − 1.
    implementation : str
        One of those above.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    weight : Parameter, shape (C_out, C_in/groups, k, k)
    bias : Parameter, shape (C_out,), or None

    Raises
    ------
    UsageError
        If a parameter is not allowed; the message says which are.

    Notes
    -----
    The transformed weight is computed from `weight` in every call, so training needs no care. `cache_weight`
    keeps it for inference, with a copy of the weight. Every call that uses it compares the two, bit by bit, so a
    changed weight is never missed, however it was changed: by an optimizer, through ``weight.data`` or ``numpy()``
    or by another parameter. A change, ``train()``, ``load_state_dict``, ``.to()`` and a call that records the
    gradient of `weight` drop what is kept. Only a change by another thread during a call is not guarded against.
    Nothing is kept of weights that are not plain tensors in the memory of the CPU (elsewhere the comparison would
    wait for the device), nor where calls are recorded or transformed.

    In half precision the compiled form computes in float32 and rounds once, as the plain form does. The other fast
    forms, asked for by name, round sums of taps or pixels. Where kernels sum to zero,
    the error grows with the mean of the input: in bfloat16 at mean 100 it is 0.13 of the output in ``transposed``.
    ``minimal`` and ``tiled`` round relative to the largest pixel nearby, and sums near the largest number of half
    precision overflow. On a CPU an output that is not finite is computed again as the plain form. On accelerators
    one infinite or NaN pixel spoils 36 output pixels in ``subpixel`` (recorded, on a CPU too) and 25 in ``tiled``,
    where it spoils 16 in the others (kernel 3, scale 2). ``implementation="plain"`` is the way out.

    Traces and exports get the plain form, for any size (exports also ``transposed`` and ``subpixel``, by name),
    torch.compile one operation (see `operators`), others what `recording` says.

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill 2016 (the layer).
    Colbert, Pino, Sen, Najafi, IEEE Access 9, 2021 (its transposed form).

    Examples
    --------
    >>> layer = ResizeConv2d(8, 4, kernel_size=3, scale_factor=2)
    >>> layer(torch.zeros(1, 8, 5, 7)).shape
    torch.Size([1, 4, 10, 14])
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        scale_factor: int = 2,
        *,
        bias: bool = True,
        groups: int = 1,
        padding_mode: str = "zeros",
        implementation: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _check_whole("in_channels", in_channels, 1)
        _check_whole("out_channels", out_channels, 1)
        _check_whole("kernel_size", kernel_size, 1)
        _check_whole("scale_factor", scale_factor, 2)
        _check_whole("groups", groups, 1)
        if in_channels % groups or out_channels % groups:
            raise UsageError(
                f"groups: {groups} does not divide both in_channels {in_channels} and out_channels {out_channels}"
            )
        if kernel_size % 2 == 0:
            raise UsageError(f"kernel_size: {kernel_size} is even; ResizeConv2d takes odd kernels")
        if padding_mode not in PADDING_MODES:
            raise UsageError(f"padding_mode: {padding_mode!r} is not one of {', '.join(PADDING_MODES)}")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.scale_factor = kernel_size, scale_factor
        self.groups, self.padding_mode = groups, padding_mode
        self.implementation = implementation
        self._check_implementation()
        # torch's own layer draws the weights
        conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, groups=groups, bias=bias, device=device, dtype=dtype
        )
        self.weight = conv.weight
        if bias:
            self.bias = conv.bias
        else:
            self.register_parameter("bias", None)
        self._idle: dict[Any, Geometry] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call] # torch has no types here
        # on another machine other calls may gain, and layers of before have none
        self._idle = {}

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, scale_factor: int, implementation: str = "auto") -> Self:
        """Put upsampling before a convolution that keeps the size, sharing its parameters.

        Parameters
        ----------
        conv : nn.Conv2d
            Square odd kernel, stride and dilation 1, padding (k−1)/2 of a mode that this layer has.
        scale_factor : int
            Scale s of the upsampling.
        implementation : str
            As for the layer.

        Returns
        -------
        ResizeConv2d
            Its `weight` and `bias` are those of `conv`, not copies.

        Raises
        ------
        UsageError
            If the convolution is of another kind; the message says what is in the way.
        """
        objection = explain_conv(conv)
        if objection is not None:
            raise UsageError(f"conv: {objection}")
        layer = cls(
            *(conv.in_channels, conv.out_channels, conv.kernel_size[0], scale_factor),
            bias=conv.bias is not None,
            groups=conv.groups,
            padding_mode=conv.padding_mode,
            implementation=implementation,
            # no memory: what is drawn here is replaced at once
            device="meta",
        )
        layer.weight = conv.weight
        if conv.bias is not None:
            layer.bias = conv.bias
        return layer.train(conv.training)

    @property
    def _is_exact(self) -> bool:
        """Whether the padding can be had before the upsampling."""
        return self.padding_mode != "reflect" or (self.kernel_size - 1) // 2 <= self.scale_factor - 1

    @property
    def _geometry(self) -> Geometry:
        # where reflection is exact it is replication
        mode = "replicate" if self.padding_mode == "reflect" and self._is_exact else self.padding_mode
        return Geometry(
            kernel_size=self.kernel_size, scale_factor=self.scale_factor, groups=self.groups, padding_mode=mode
        )

    def _check_implementation(self) -> None:
        objection = explain_implementation(
            self.implementation, self.kernel_size, self.scale_factor, self.groups, is_exact=self._is_exact
        )
        if objection is not None:
            raise UsageError(f"implementation: {objection}")

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C_in, H, W) or (C_in, H, W) to (N, C_out, s·H, s·W) or (C_out, s·H, s·W)."""
        if is_symbol(x) or is_traced():
            # what is compared below would be kept for every other size and type
            if not is_symbol(x) and x.ndim == 3:
                return self.forward(x[None])[0]
            return run("plain", x, self.weight, None, self.bias, self._geometry)
        # once: a parametrised weight is computed whenever it is read
        weight = self.weight
        if is_called_alone(x):
            bias = self.bias
            geometry = self._idle.get(self._describe_call(x, weight, bias))
            if geometry is not None:
                return run_plain(x, weight, bias, geometry)
        if x.ndim not in {3, 4} or x.shape[-3] != self.in_channels or 0 in x.shape[-2:]:
            allowed = f"({self.in_channels}, H, W)"
            raise UsageError(
                f"x: shape {tuple(x.shape)} is not (N, {allowed[1:]} or {allowed} with H and W of at least 1"
            )
        if x.ndim == 3:
            return self.forward(x[None])[0]
        if not x.is_floating_point():
            raise UsageError(f"x: dtype {x.dtype} is not a real floating-point one")
        cast = find_autocast_dtype(x)
        if cast is not None:
            # sums of taps are to be taken of the weight as it is, and rounded once
            with torch.autocast(x.device.type, enabled=False):
                return self._run(x, x.to(cast), weight)
        if x.dtype != weight.dtype:
            raise UsageError(f"x: dtype {x.dtype} is not that of the weight, {weight.dtype}")
        return self._run(x, x, weight)

    def _run(self, given: Tensor, x: Tensor, weight: Tensor) -> Tensor:  # before and after autocast
        bias = None if self.bias is None else self.bias.to(x.dtype)
        is_compiling = torch.compiler.is_compiling()
        y = compile_call(self.implementation, x, weight, bias, self._geometry) if is_compiling else None
        if y is not None:
            return y
        # other threads may drop it meanwhile
        frozen = self._find_frozen(weight)
        implementation = self._choose(x, weight, is_prepared=frozen is not None)
        prepared = None
        if frozen is not None:
            layout = torch.channels_last if is_channels_last(x, weight) else torch.contiguous_format
            prepared = frozen.take(implementation, weight, layout, x.dtype)
            if prepared is None:
                self._frozen = None
                implementation = self._choose(x, weight, is_prepared=False)
        if implementation != "plain":
            return run(implementation, x, weight, prepared, bias, self._geometry)
        # as it is written, in backward too
        geometry = replace(self._geometry, padding_mode=self.padding_mode)
        if is_called_alone(given) and bias is self.bias and x.dtype == weight.dtype:
            self._note_idle(given, weight, bias, geometry)
        return run(implementation, given, weight, prepared, bias, geometry, x.dtype)

    def _describe_call(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Any:
        """Describe all that decides on the form from one call to the next."""
        is_recorded = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
        shape = (self.kernel_size, self.scale_factor, self.groups, self.padding_mode)
        own = (
            *shape,
            self._frozen is None,
            self.implementation,
            weight.dtype,
            None if bias is None else bias.dtype,
        )
        # another library may be compiled meanwhile
        system = (torch.get_num_threads(), find_library() is None)
        return x.shape, x.stride(), x.dtype, is_recorded, *own, *system

    def _note_idle(self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> None:
        """Remember where the plain form is the fastest, so that the next such call asks no more than that."""
        if len(self._idle) >= _MOST_CALLS:
            self._idle.clear()
        self._idle[self._describe_call(x, weight, bias)] = geometry

    def choose(self, x: Tensor, *, is_prepared: bool = False) -> str:
        """Name the implementation that an input would take.

        Parameters
        ----------
        x : Tensor, shape (N, C_in, H, W)
            The input.
        is_prepared : bool
            Whether the transformed weight is at hand.

        Returns
        -------
        str
            `implementation`, or what ``auto`` chooses; ``tiled (native)`` where the tiled form is there compiled
            (`deconvbench.nn.build_native`) and has this input.
        """
        return self._choose(x, self.weight, is_prepared=is_prepared)

    def _choose(self, x: Tensor, weight: Tensor, *, is_prepared: bool) -> str:
        if self.implementation != "auto":
            return specify(self.implementation, x, weight, self._geometry)
        if not self._is_exact:
            return "plain"
        return choose(x, weight, self._geometry, is_prepared=is_prepared)

    def _make_frozen(self) -> FrozenWeights:
        return FrozenWeights(self._geometry)

    def freeze(self) -> Self:
        """Do what `cache_weight` does: its name before, deprecated because torch calls other things frozen."""
        warnings.warn("freeze is deprecated: call cache_weight", DeprecationWarning, stacklevel=2)
        return self.cache_weight()

    def extra_repr(self) -> str:
        """Say what the layer is, as torch's own layers do."""
        words = [
            f"{self.in_channels}, {self.out_channels}",
            f"kernel_size={self.kernel_size}, scale_factor={self.scale_factor}",
        ]
        if self.groups != 1:
            words.append(f"groups={self.groups}")
        if self.bias is None:
            words.append("bias=False")
        if self.padding_mode != "zeros":
            words.append(f"padding_mode={self.padding_mode}")
        return ", ".join([*words, f"implementation={self.implementation}"])


def explain_conv(conv: nn.Conv2d) -> str | None:
    """Say why a convolution cannot become part of a `ResizeConv2d`, or None where it can.

    Parameters
    ----------
    conv : nn.Conv2d
        The convolution after the upsampling.
    """
    size = conv.kernel_size[0]
    expected = ((size - 1) // 2,) * 2
    padding = {"same": expected, "valid": (0, 0)}.get(str(conv.padding), conv.padding)
    weight = conv._parameters.get("weight")
    computes = {nn.Conv2d.forward, SameConv2d.forward}
    objections = {
        f"{type(conv).__name__} has a forward of its own": type(conv).forward not in computes
        or "forward" in vars(conv),
        "its weight is not a parameter but computed in every call": weight is None,
        "its weight has no shape yet: call it once": weight is not None and nn.parameter.is_lazy(weight),
        f"kernel_size {conv.kernel_size} is not square and odd": (size, size) != conv.kernel_size or size % 2 == 0,
        f"stride {conv.stride} is not 1": conv.stride != (1, 1),
        f"dilation {conv.dilation} is not 1": conv.dilation != (1, 1),
        f"padding {conv.padding} does not keep the size; kernel_size {size} needs {expected}": padding != expected,
        f"padding_mode {conv.padding_mode!r} is not one of {', '.join(PADDING_MODES)}": conv.padding_mode
        not in PADDING_MODES,
    }
    return next((reason for reason, applies in objections.items() if applies), None)


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{name}: {value!r} is not a whole number of at least {least}")
