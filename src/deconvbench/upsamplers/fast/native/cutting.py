"""How the compiled form cuts its work: among threads, in bands that stay in the cache, within a memory limit."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from deconvbench.upsamplers.fast.native.plans import Plan

# tiles of a band: more load the weights less often, fewer stay in the cache; between these it makes no difference
_BAND_TILES = (64, 32, 16)
# of output channels whose weights are transformed together, where they are not kept
_LIVE_BLOCKS = (2, 1)
# vector operations per input channel: a product of a tile with a block, combining a tile, loading the weights of
# a block for a product once, and transforming them
_MULTIPLY, _COMBINE, _LOAD, _TRANSFORM = 2.0, 8.0, 2.0, 11.6


class Sizes(Protocol):
    """What the library says of the memory that it needs."""

    block_channels: int

    def count_block_values(self, plan: int, in_channels: int) -> int:
        """Values of a block's transformed weight."""

    def count_band_values(self, plan: int, in_channels: int, width: int, rows: int) -> int:
        """Values that a worker holds for a band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How the work is cut.

    Parameters
    ----------
    splits, groups : int
        Parts of the output channels and of the rows of tiles; each pair is one worker's.
    rows : int
        Rows of tiles of a band.
    blocks : int
        Blocks of output channels whose weights are there at a time.
    values : int
        What a worker holds.
    fits : bool
        Whether all of them stay within what was allowed.
    """

    splits: int
    groups: int
    rows: int
    blocks: int
    values: int
    fits: bool


@lru_cache(maxsize=1024)
def cut_work(
    sizes: Sizes,
    plan: Plan,
    *,
    batch: int,
    in_channels: int,
    out_channels: int,
    height: int,
    width: int,
    threads: int,
    is_prepared: bool,
    room_values: int,
) -> Cut:
    """Cut the work as is fastest within the memory allowed; where nothing fits, as needs least.

    Parameters
    ----------
    sizes : Sizes
        Of the library.
    plan : Plan
        Of the layer.
    batch, in_channels, out_channels, height, width : int
        Of input and layer.
    threads : int
        Workers there are at most.
    is_prepared : bool
        Whether the transformed weight is at hand.
    room_values : int
        What all workers may hold.
    """
    rows, row_tiles = batch * ((height + 1) // 2), (width + 1) // 2
    blocks = -(-out_channels // sizes.block_channels)
    best: tuple[tuple[bool, float, int], Cut] | None = None
    for splits in range(1, min(threads, blocks) + 1):
        own_blocks = -(-blocks // splits)
        made_blocks = {own_blocks} if is_prepared else {min(own_blocks, some) for some in _LIVE_BLOCKS}
        for groups in {min(threads // splits, rows), 1}:
            own_rows = -(-rows // groups)
            for band_rows in {min(max(tiles // row_tiles, 1), own_rows) for tiles in _BAND_TILES}:
                bands = -(-own_rows // band_rows)
                for some in made_blocks:
                    values = sizes.count_band_values(plan.index, in_channels, width, band_rows)
                    values += 0 if is_prepared else some * sizes.count_block_values(plan.index, in_channels)
                    total = splits * groups * values
                    # one band is combined once for all blocks
                    passes = 1 if bands == 1 else -(-own_blocks // some)
                    per_block = plan.products * (_MULTIPLY * own_rows * row_tiles + _LOAD * bands)
                    per_block += 0 if is_prepared else _TRANSFORM * plan.products
                    cost = own_blocks * per_block + passes * _COMBINE * own_rows * row_tiles
                    fits = total <= room_values
                    rank = (not fits, cost if fits else total, total)
                    if best is None or rank < best[0]:
                        cut = Cut(
                            splits=splits, groups=groups, rows=band_rows, blocks=some, values=values, fits=fits
                        )
                        best = rank, cut
    assert best is not None  # one worker with the smallest band is always there
    return best[1]
