"""The backend of ``torch.compile`` that makes nearest-neighbour upsampling fast, before another backend compiles.

``torch.compile(model, backend="deconvbench")`` is all that a user changes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor
from torch.fx import GraphModule

from deconvbench.errors import UsageError
from deconvbench.networks.fusion.graphs import rewrite_graph


def compile_graph(
    graph_module: GraphModule,
    example_inputs: Sequence[Tensor],
    *,
    mode: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Callable[..., Any]:
    """Rewrite a graph, then hand it on to another backend.

    Parameters
    ----------
    graph_module : GraphModule
        As ``torch.compile`` gives it.
    example_inputs : sequence of Tensor
        Its inputs.
    mode : str, optional
        Of ``torch.compile``; for inductor.
    options : mapping, optional
        Of ``torch.compile``: ``inner_backend`` names the backend that compiles (``inductor`` if it is not
        given), the rest is its own.

    Returns
    -------
    callable
        What the other backend returns.

    Raises
    ------
    UsageError
        If ``inner_backend`` is this one.

    Examples
    --------
    >>> compiled = torch.compile(model, backend="deconvbench", options={"inner_backend": "aot_eager"})
    """
    import torch._dynamo  # noqa: PLC0415 # seconds to import, and only compiling needs it

    own = dict(options or {})
    inner = own.pop("inner_backend", "inductor")
    if inner in {"deconvbench", compile_graph}:
        raise UsageError(f"inner_backend: {inner!r} is this backend itself; name the one that compiles")
    rewrite_graph(graph_module)
    if inner != "inductor":
        compile_inner: Any = torch._dynamo.lookup_backend(inner)
        compiled: Callable[..., Any] = compile_inner(
            graph_module, list(example_inputs), **({"options": own} if own else {})
        )
        return compiled
    from torch._inductor import list_mode_options  # noqa: PLC0415 # as above
    from torch._inductor.compile_fx import compile_fx  # noqa: PLC0415 # as above

    patches = {**(list_mode_options(mode) if mode else {}), **own}
    optimized: Any = compile_fx(graph_module, list(example_inputs), config_patches=patches or None)
    return cast(Callable[..., Any], optimized)
