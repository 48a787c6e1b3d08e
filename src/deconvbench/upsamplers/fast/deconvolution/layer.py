"""`ConvTranspose2d`: torch's layer by fewer multiplications, wherever that is faster.

Holds parameters, and keeps the cached transformed weight up to date; all else is torch's.
"""

from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.upsamplers.fast.caching import CachedWeight
from deconvbench.upsamplers.fast.deconvolution.choice import DECONVOLUTIONS, may_prefer_minimal
from deconvbench.upsamplers.fast.deconvolution.compiled import has_plan
from deconvbench.upsamplers.fast.deconvolution.forms import choose_form, run_minimal
from deconvbench.upsamplers.fast.deconvolution.frozen import FrozenKernel
from deconvbench.upsamplers.fast.deconvolution.operators import compile_deconvolution
from deconvbench.upsamplers.fast.deconvolution.shape import TransposedShape, read_shape, run_plain
from deconvbench.upsamplers.fast.recording import is_called_alone, is_symbol, is_traced

# more kinds of calls than these are not worth remembering
_MOST_CALLS = 64


class ConvTranspose2d(CachedWeight, nn.ConvTranspose2d):
    r"""`torch.nn.ConvTranspose2d`, faster where its kernel, its stride of 2 and the size of the input allow it.

    A drop-in: arguments, defaults, initialisation, ``output_size``, errors, the keys of the state_dict and the
    memory format of the output are torch's, and so is the output but for rounding, as are all gradients. Kernel 3
    and 4 with padding 1, and kernel 5 and 6 with padding 2, in float32 on a CPU, can be computed with fewer
    multiplications (see `forms`) once `deconvbench.nn.build_native` has compiled them for this machine. All other
    layers and inputs are torch's own.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size, stride, padding, output_padding, dilation : int or (int, int)
        As for torch's.
    groups : int
        As for torch's.
    bias : bool
        Whether to add a learnt bias.
    padding_mode : str
        As for torch's, which has ``zeros`` only.
    device, dtype
        Of the parameters.
    implementation : str
        ``plain`` is torch's own, ``minimal`` the compiled form wherever it can compute the call, and ``auto`` the
        faster of the two by a rule learnt from measurements, if it holds no more than 1.1 times the memory.

    Attributes
    ----------
    weight : Parameter, shape (C_in, C_out/groups, k, k)
    bias : Parameter, shape (C_out,), or None

    Raises
    ------
    UsageError
        If the implementation is not one of these; for other arguments what torch raises.

    Notes
    -----
    The transformed weight is computed in every call, so training needs no care. `cache_weight` keeps it for
    inference with a copy of the weight, and every call that uses it compares the two bit by bit, as
    `ResizeConv2d` does. An output that is not finite is computed again by torch's own, so an infinite or NaN pixel
    spoils what it spoils there. In float32 the compiled form rounds relative to the largest pixel nearby.

    Whoever records or transforms torch's operations (traces, exports, ``torch.func``, forward-mode gradients,
    modes) gets torch's own operation, for any size; ``torch.compile`` one whose form is chosen when it runs.
    ``torch.jit.script`` compiles torch's own layer.

    References
    ----------
    Lavin, Gray, "Fast algorithms for convolutional neural networks", arXiv:1509.09308 (minimal filtering).
    Chang, Ahn, Kang, Kang, "Towards design methodology of efficient fast algorithms for accelerating generative
    adversarial networks on FPGAs", arXiv:1911.06918 (of the phases of a transposed convolution).
    Di, Yang, Jia, Huang, Mao, "Exploring efficient acceleration architecture for Winograd-transformed transposed
    convolution of GANs on FPGAs", Electronics 9:286, 2020.

    Examples
    --------
    >>> layer = ConvTranspose2d(8, 4, kernel_size=4, stride=2, padding=1)
    >>> layer(torch.zeros(1, 8, 5, 7)).shape
    torch.Size([1, 4, 10, 14])
    """

    # whether torch's own is the faster for every input, compiled or not; older pickles do not say
    _is_hopeless = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        output_padding: int | tuple[int, int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, int] = 1,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        implementation: str = "auto",
    ) -> None:
        if implementation not in DECONVOLUTIONS:
            raise UsageError(f"implementation: {implementation!r} is not one of {', '.join(DECONVOLUTIONS)}")
        super().__init__(
            *(in_channels, out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation),
            padding_mode=padding_mode,
            device=device,
            dtype=dtype,
        )
        self.implementation = implementation
        self._idle: set[Any] = set()
        may_gain = may_prefer_minimal(self.kernel_size[0], in_channels, out_channels, groups)
        self._is_hopeless = self.stride != (2, 2) or not may_gain

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        # of weights of another type or order in memory
        self._idle.clear()
        return super()._apply(*args, **kwargs)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call] # torch has no types here
        # on another machine other calls may gain, and layers of before have none
        self._idle = set()

    @classmethod
    def from_conv(cls, conv: nn.ConvTranspose2d, implementation: str = "auto") -> Self:
        """Make the layer of one of torch's, sharing its parameters.

        Parameters
        ----------
        conv : nn.ConvTranspose2d
            Whose parameters are ordinary ones.
        implementation : str
            As for the layer.

        Returns
        -------
        ConvTranspose2d
            Its `weight` and `bias` are those of `conv`, not copies.

        Raises
        ------
        UsageError
            If the layer has a forward of its own, or a weight that is computed in every call or has no shape yet.
        """
        objection = explain_deconvolution(conv)
        if objection is not None:
            raise UsageError(f"conv: {objection}")
        # no memory: what is drawn here is replaced at once
        layer = cls(**_list_arguments(conv), device="meta", implementation=implementation)
        layer.weight, layer.bias = conv.weight, conv.bias
        return layer.train(conv.training)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Upsample (N, C_in, H, W) or (C_in, H, W), as `torch.nn.ConvTranspose2d`."""
        if is_symbol(input):
            # of which no number of axes can be asked
            is_asked = output_size is not None
            return super().forward(input, output_size) if is_asked else self._run_plain(input)
        if self._is_hopeless and self.implementation == "auto" and not torch.compiler.is_compiling():
            return super().forward(input, output_size)
        if is_called_alone(input) and self._describe_call(input) in self._idle:
            return super().forward(input, output_size)
        if self._is_left(input):
            return super().forward(input, output_size)
        shape = self._shape.pad_output(self._find_output_padding(input, output_size))
        # once: a parametrised weight is computed whenever it is read
        weight, bias = self.weight, self.bias
        x = input if input.ndim == 4 else input[None]
        if torch.compiler.is_compiling():
            y = compile_deconvolution(self.implementation, x, weight, bias, shape)
            y = run_plain(x, weight, bias, shape) if y is None else y
        else:
            y = self._run(input, x, weight, bias, shape)
        return y if input.ndim == 4 else y[0]

    def _run_plain(self, input: Any) -> Any:
        return run_plain(input, self.weight, self.bias, self._shape)

    @property
    def _shape(self) -> TransposedShape:
        return read_shape(self)

    def _is_left(self, input: Any) -> bool:
        """Whether it is at once seen that torch's own is to answer."""
        return (
            self.implementation == "plain"
            or self.padding_mode != "zeros"
            # what is asked below would be kept for every other size and type
            or is_traced()
            or input.ndim not in {3, 4}
            or not has_plan(self.kernel_size, self.stride, self.padding, self.dilation)  # type: ignore[arg-type] # never a word
        )

    def _find_output_padding(self, input: Tensor, output_size: list[int] | None) -> list[int]:
        return self._output_padding(
            input,
            output_size,
            *(self.stride, self.padding, self.kernel_size),  # type: ignore[arg-type] # tuples are lists to torch
            num_spatial_dims=2,
            dilation=self.dilation,  # type: ignore[arg-type]
        )

    def _run(
        self, given: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, shape: TransposedShape
    ) -> Tensor:
        # other threads may drop it meanwhile
        frozen = self._find_frozen(weight)
        form = choose_form(self.implementation, x, weight, bias, shape, is_prepared=frozen is not None)
        prepared = None
        if frozen is not None and form == "minimal":
            prepared = frozen.take(form, weight, torch.contiguous_format, x.dtype)
            if prepared is None:
                self._frozen = None
                form = choose_form(self.implementation, x, weight, bias, shape, is_prepared=False)
        if form == "plain":
            if is_called_alone(given):
                self._note_idle(given)
            return run_plain(x, weight, bias, shape)
        return run_minimal(self.implementation, x, weight, prepared, bias, shape)

    def _describe_call(self, input: Tensor) -> Any:
        """Describe all that decides on the form from one call to the next."""
        # not the weight of a parametrisation, which is computed whenever it is read
        weight = self._parameters.get("weight")
        is_trained = weight is None or weight.requires_grad
        is_recorded = torch.is_grad_enabled() and (is_trained or input.requires_grad)
        own = (self._frozen is not None, is_recorded, self.implementation)
        return input.shape, input.stride(), *own, torch.get_num_threads()

    def _note_idle(self, input: Tensor) -> None:
        """Remember where torch's own is the faster, so that the next such call asks no more than that."""
        if len(self._idle) >= _MOST_CALLS:
            self._idle.clear()
        self._idle.add(self._describe_call(input))

    def choose(self, x: Tensor, *, is_prepared: bool = False) -> str:
        """Name the form that an input would take.

        Parameters
        ----------
        x : Tensor, shape (N, C_in, H, W)
            The input.
        is_prepared : bool
            Whether the transformed weight is at hand.

        Returns
        -------
        str
            ``plain`` or ``minimal``.
        """
        if is_symbol(x) or self._is_left(x):
            return "plain"
        return choose_form(self.implementation, x, self.weight, self.bias, self._shape, is_prepared=is_prepared)

    def _make_frozen(self) -> FrozenKernel:
        return FrozenKernel(self._shape)

    def __prepare_scriptable__(self) -> nn.ConvTranspose2d:
        """Answer torch.jit.script with torch's own layer of the same parameters, which it can compile."""
        layer = nn.ConvTranspose2d(**_list_arguments(self), device="meta")
        layer.weight, layer.bias = self.weight, self.bias
        return layer.train(self.training)

    def extra_repr(self) -> str:
        """Say what the layer is, as torch's own."""
        words = super().extra_repr()  # type: ignore[no-untyped-call] # torch has no types here
        return f"{words}, implementation={self.implementation}"


def _list_arguments(conv: nn.ConvTranspose2d) -> dict[str, Any]:
    names = (
        *("in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding"),
        *("groups", "dilation", "padding_mode"),
    )
    return {**{name: getattr(conv, name) for name in names}, "bias": conv.bias is not None}


def explain_deconvolution(conv: nn.ConvTranspose2d) -> str | None:
    """Say why a layer cannot become a `ConvTranspose2d` of this package, or None where it can.

    Parameters
    ----------
    conv : nn.ConvTranspose2d
        The layer.
    """
    if type(conv).forward not in {nn.ConvTranspose2d.forward, ConvTranspose2d.forward} or "forward" in vars(conv):
        return f"{type(conv).__name__} has a forward of its own"
    weight = conv._parameters.get("weight")
    if weight is None:
        return "its weight is not a parameter but computed in every call"
    has_shape = not nn.parameter.is_lazy(weight)
    return None if has_shape else "its weight has no shape yet: call it once"
