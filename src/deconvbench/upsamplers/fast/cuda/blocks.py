"""Which blocks the kernels are tried with: data, and nothing of Triton or torch.

Guesses that compile, for Hopper, to its matrix instructions with few spilled registers (that takes 64 rows of a
product and eight warps; with fewer the sums of 25 products spill by the kilobyte), or, for float32 without TF32,
to fused multiply-adds. They were compiled for it, and not yet run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """One configuration of a kernel.

    Parameters
    ----------
    sizes : mapping of str to int
        Of its blocks, by the names of its parameters.
    warps, stages : int
        Warps of a program; blocks that are loaded ahead, and the one in use.
    """

    sizes: Mapping[str, int]
    warps: int
    stages: int


def _list(names: Sequence[str], *rows: tuple[int, ...]) -> tuple[Blocks, ...]:
    """Make a configuration of each row: blocks by name, then warps and stages."""
    return tuple(
        Blocks(sizes=dict(zip(names, row[:-2], strict=True)), warps=row[-2], stages=row[-1]) for row in rows
    )


_TILED = ("block_tiles", "block_out", "block_in")
_MINIMAL = ("patch_rows", "patch_columns", "block_out", "block_in")
_GRADIENT = ("block_pixels", "block_in", "block_out")
# by kernel, and whether its products are those of tensor cores
CONFIGURATIONS: Mapping[tuple[str, bool], tuple[Blocks, ...]] = {
    ("tiled_forward", True): _list(_TILED, (64, 16, 16, 8, 2), (64, 16, 16, 8, 3), (64, 16, 32, 8, 2)),
    ("tiled_forward", False): _list(_TILED, (32, 16, 16, 8, 1), (16, 32, 16, 8, 1)),
    ("minimal_forward", True): _list(
        _MINIMAL, (8, 8, 32, 32, 8, 2), (8, 16, 32, 32, 8, 2), (8, 8, 64, 16, 8, 2), (4, 16, 32, 32, 8, 3)
    ),
    ("minimal_forward", False): _list(_MINIMAL, (8, 8, 32, 16, 8, 2), (4, 8, 32, 16, 8, 1)),
    ("input_gradient", True): _list(_GRADIENT, (64, 64, 16, 8, 2), (64, 128, 16, 8, 2), (64, 32, 16, 8, 2)),
    ("input_gradient", False): _list(_GRADIENT, (64, 64, 16, 8, 2), (32, 32, 16, 4, 2)),
    ("weight_gradient", True): _list(_GRADIENT, (16, 32, 64, 8, 2), (16, 64, 64, 8, 2), (32, 32, 64, 8, 2)),
    ("weight_gradient", False): _list(_GRADIENT, (16, 32, 32, 8, 2), (16, 64, 32, 8, 2)),
}
