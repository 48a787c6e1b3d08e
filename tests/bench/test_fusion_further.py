"""Blocks by themselves: all that can be built without other packages is found as it should be."""

import pytest

from bench.fusion_count import count
from bench.fusion_further import FURTHER

FUSED = {
    "ESRGAN, end of the generator": (2, 2),
    "smp Unet, block": (1, 1),
    "smp FPN, block": (1, 0),
    "YOLO neck": (1, 1),
    "SegFormer-like head, nearest": (1, 1),
    "CycleGAN, resize-convolution": (1, 1),
    "U-Net of 2015, up-convolution 2×2": (1, 1),
    "kernel 4 after asymmetric padding": (1, 1),
    "seamless tiling (circular padding)": (1, 1),
    "no padding": (1, 1),
    "gated by its own sigmoid": (1, 1),
    "expand and reshape": (1, 1),
    "repeat_interleave twice": (1, 1),
    "aten and relu_": (1, 1),
    "rows and columns by 4 and 2": (1, 1),
    "volumes, nearest": (1, 1),
    "volumes, joined (3-D U-Net)": (1, 0),
    "ProGAN, 1-D": (1, 0),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("name", FUSED)
def test_blocks_are_counted(name: str) -> None:
    found, fused, error, left = count(FURTHER[name])
    assert (found, fused) == FUSED[name], left
    assert error < 1e-10
    assert bool(left) is (found > fused)


def test_every_block_is_counted() -> None:
    names = list(FURTHER)
    blocks = names[names.index("ESRGAN, end of the generator") :]
    assert {*blocks} - {"einops repeat"} == {*FUSED}
