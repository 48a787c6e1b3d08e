"""Which layers the implementations have, by name. Knows no tensors."""

from deconvbench.upsamplers.fast import tiled
from deconvbench.upsamplers.fast.choice import IMPLEMENTATIONS
from deconvbench.upsamplers.fast.cuda.form import TRITON_IMPLEMENTATIONS


def explain_implementation(
    name: str, kernel_size: int, scale_factor: int, groups: int, *, is_exact: bool
) -> str | None:
    """Say why an implementation does not have a layer, or None where it does.

    Parameters
    ----------
    name : str
        Of the implementation.
    kernel_size, scale_factor, groups : int
        Of the layer.
    is_exact : bool
        Whether the padding can be had before the upsampling.

    Returns
    -------
    str or None
        One line.
    """
    known = (*IMPLEMENTATIONS, *TRITON_IMPLEMENTATIONS)
    if name not in known:
        return f"{name!r} is not one of {', '.join(known)}"
    size, scale = tiled.KERNEL_SIZE, tiled.SCALE_FACTOR
    if name in {"tiled", *TRITON_IMPLEMENTATIONS} and (kernel_size, scale_factor) != (size, scale):
        return f"{name} is for kernel_size {size} and scale_factor {scale}, not {kernel_size} and {scale_factor}"
    if name in TRITON_IMPLEMENTATIONS and groups != 1:
        return f"{name} has one group, not {groups}"
    if name not in {"auto", "plain"} and not is_exact:
        return (
            f"{name} reflects at most scale_factor - 1 = {scale_factor - 1} pixels exactly; kernel_size"
            f" {kernel_size} needs {(kernel_size - 1) // 2}: take auto or plain"
        )
    return None
