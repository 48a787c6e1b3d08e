"""Mean input activations of modules in a network, which `effective_ripple` weighs the gains with.

Hooks watch what the named modules are given while the network runs; they are taken off again whatever happens, and
nothing else of the network is touched.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deconvbench.arguments import check_kind
from deconvbench.errors import UsageError, quote, suggest
from deconvbench.measure.artifacts.periodic import find_device
from deconvbench.measure.layers import explain_failures


class InputMeans:
    """Watches the inputs of modules as long as it is entered, for networks that someone else runs.

    Parameters
    ----------
    model : nn.Module
        The network; hooks are on it between ``__enter__`` and ``__exit__``.
    modules : iterable of str
        Names of modules in it, as in ``model.named_modules()``; of shared ones any of their names.

    Raises
    ------
    UsageError
        If there is no module of that name.

    Examples
    --------
    >>> with InputMeans(model, ["decoder.0"]) as means:
    ...     for image in images:
    ...         model(image)
    >>> means.read()["decoder.0"]  # (uses, I)
    """

    def __init__(self, model: nn.Module, modules: Iterable[str]) -> None:
        check_kind("model", model, nn.Module, "a module")
        if isinstance(modules, str):
            raise UsageError(f"modules: {quote(modules)} is one name, not a list of names")
        if not isinstance(modules, Iterable):
            raise UsageError(f"modules: {quote(modules)} is not a list of names")
        known = dict(model.named_modules(remove_duplicate=False))
        self._model = model
        self._modules: dict[str, nn.Module] = {}
        for name in modules:
            # a list finds what cannot be a key too
            if name not in list(known):
                raise UsageError(f"modules: {quote(name)} is not a module of this network{suggest(name, known)}")
            self._modules[name] = known[name]
        # for each use in a pass: of each image the mean over its pixels (I,), in float64, and how many there were
        self._means: dict[str, list[list[Tensor]]] = {}
        self._pixels: dict[str, list[list[int]]] = {}
        self._uses: dict[str, int] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> "InputMeans":
        self._handles.append(self._model.register_forward_pre_hook(self._start, prepend=True))
        for name, module in self._modules.items():
            hook = self._make_hook(name)
            self._handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._handles:
            self._handles.pop().remove()

    def read(self, *, per_image: bool = False) -> dict[str, Tensor]:
        """Mean of each input channel, for each module and use.

        Parameters
        ----------
        per_image : bool
            Give the mean of each image on its own.

        Returns
        -------
        dict of str to Tensor, shape (U, I) or (U, N, I), float64
            On the CPU. U is how often the module is used in one pass through the network, in order (passes are
            told apart by calls of the network itself); all images and pixels of a use count alike. Not finite
            where an activation was not.

        Raises
        ------
        UsageError
            If a module has not been used since; for means per image, if its uses had different numbers of images.
        """
        for name in self._modules:
            if name not in self._means:
                raise UsageError(f"modules: {quote(name)} was not used when the network ran")
        return {name: self._average(name, per_image) for name in self._modules}

    def _average(self, name: str, per_image: bool) -> Tensor:
        uses = [torch.stack(means) for means in self._means[name]]
        if not per_image:
            counts = (torch.tensor(pixels, dtype=torch.float64, device="cpu") for pixels in self._pixels[name])
            return torch.stack([(use.T @ count) / count.sum() for use, count in zip(uses, counts, strict=True)])
        if len({len(use) for use in uses}) > 1:
            raise UsageError(f"modules: the uses of {quote(name)} had different numbers of images")
        return torch.stack(uses)

    def _start(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        del module, args
        self._uses.clear()

    def _make_hook(self, name: str) -> Any:
        def add(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
            if given is None:
                raise UsageError(f"modules: {quote(name)} is given no tensor")
            self._add(name, _flatten_channels(module, given, name))

        return add

    def _add(self, name: str, values: Tensor) -> None:
        """Add values (N, I, pixels) of the next use."""
        means, pixels = self._means.setdefault(name, []), self._pixels.setdefault(name, [])
        use = self._uses.get(name, 0)
        self._uses[name] = use + 1
        if use == len(means):
            means.append([])
            pixels.append([])
        # in float64 from the start: sums in half precision end at 65504, or lose all but three digits
        found = values.mean(2, dtype=torch.float64).cpu()
        if means[use] and found.shape[1:] != means[use][0].shape:
            raise UsageError(
                f"modules: {quote(name)} is given {found.shape[1]} channels here and {len(means[use][0])} before"
            )
        means[use] += found.unbind()
        pixels[use] += [values.shape[2]] * len(found)


def _flatten_channels(module: nn.Module, given: Tensor, name: str) -> Tensor:
    """Lay an input out as (N, I, pixels)."""
    size = getattr(module, "kernel_size", None)
    # a convolution of d dimensions takes (I, *d) too; any other module is taken to have a batch
    has_batch = not (isinstance(size, tuple) and given.ndim == len(size) + 1)
    batched = given.detach() if has_batch else given.detach()[None]
    if batched.ndim < 2:
        raise UsageError(f"modules: {quote(name)} is given shape {tuple(given.shape)}, which has no channels")
    # Apple's devices have no float64
    held = batched.cpu() if batched.device.type == "mps" else batched
    return held.flatten(2) if held.ndim > 2 else held[..., None]


def measure_mean_inputs(
    model: nn.Module, modules: Iterable[str], inputs: Iterable[Any], *, per_image: bool = False
) -> dict[str, Tensor]:
    """Run a network on images and measure the mean activation of each input channel of some of its modules.

    Parameters
    ----------
    model : nn.Module
        On any device, in any precision; run in evaluation mode without a graph, and left as it was.
    modules : iterable of str
        Names of modules in it, as in ``model.named_modules()``.
    inputs : iterable of Tensor, tuple or mapping
        What each pass is given: one tensor such as images (N, C, H, W), a tuple of arguments, or a mapping of
        keywords. Tensors are moved to the network's device; those of floating point get its parameters' type. A
        single tensor is one pass.
    per_image : bool
        Give the mean of each image on its own: what cancels on the mean of all, and not in each, then shows.

    Returns
    -------
    dict of str to Tensor, shape (U, I) or (U, N, I), float64
        For each name and use in a pass what `effective_ripple` takes. Sums run in float64.

    Raises
    ------
    UsageError
        If there is no module of a name, one is not used, there are no inputs, or the network fails with one.
    """
    passes = [inputs] if isinstance(inputs, Tensor) else inputs
    if not isinstance(passes, Iterable):
        raise UsageError(f"inputs: {quote(inputs)} is not a tensor or an iterable of what each pass is given")
    check_kind("per_image", per_image, bool, "True or False")
    with InputMeans(model, modules) as means, _evaluating(model):
        count = 0
        for given in passes:
            arguments = given if isinstance(given, tuple) else () if isinstance(given, Mapping) else (given,)
            keywords = given if isinstance(given, Mapping) else {}
            with explain_failures(f"inputs: the network fails with {_describe(given)}"):
                model(*(_fit(x, model) for x in arguments), **{key: _fit(x, model) for key, x in keywords.items()})
            count += 1
    if not count:
        raise UsageError("inputs: there are none; at least one is needed")
    return means.read(per_image=per_image)


def _describe(given: Any) -> str:
    if isinstance(given, Tensor):
        return f"a tensor of shape {tuple(given.shape)}"
    return f"what it is given ({type(given).__name__})" if isinstance(given, (tuple, Mapping)) else quote(given)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, without a graph; each module gets its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _fit(value: Any, model: nn.Module) -> Any:
    """Bring a tensor to the network's device and type; anything else stays as it is."""
    if not isinstance(value, Tensor):
        return value
    kinds = (held.dtype for held in (*model.parameters(), *model.buffers()) if held.is_floating_point())
    kind = next(kinds, value.dtype) if value.is_floating_point() else value.dtype
    return value.to(find_device(model), kind)
