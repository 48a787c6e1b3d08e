"""Which neighbouring modules are one upsampling and one convolution, and why the others are not."""

import pytest
import torch
from torch import nn

from deconvbench.networks.fusion.chains import Chain, NoChain, find_chain, is_upsampling, read_upsampling


def upsample(scale_factor: float = 2, **options: object) -> nn.Upsample:
    return nn.Upsample(scale_factor=scale_factor, **options)  # type: ignore[arg-type] # whatever a test wants


def conv(**options: object) -> nn.Conv2d:
    return nn.Conv2d(4, 4, **{"kernel_size": 3, "padding": 1, **options})  # type: ignore[arg-type] # as above


CHAINS: dict[str, tuple[list[nn.Module], int]] = {
    "plain": ([upsample(), conv(), nn.ReLU()], 2),
    "activation": ([upsample(), nn.SiLU(), nn.Identity(), conv()], 4),
    "padding": ([upsample(), nn.ReflectionPad2d(1), nn.Identity(), conv(padding=0)], 4),
    "constant_zero": ([upsample(), nn.ConstantPad2d(1, 0.0), conv(padding=0)], 3),
    "own_padding_mode": ([upsample(), conv(padding_mode="replicate")], 2),
    "own_padding_mode_same": ([upsample(), conv(padding="same", padding_mode="reflect")], 2),
    "valid": ([upsample(), conv(kernel_size=1, padding="valid", padding_mode="reflect")], 2),
    "nearest2d": ([nn.UpsamplingNearest2d(scale_factor=2), conv()], 2),
    "twice": ([upsample(), upsample(3), conv()], 3),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chains_are_found(name: str) -> None:
    modules, stop = CHAINS[name]
    chain = find_chain(modules, 0)
    assert isinstance(chain, Chain)
    assert (chain.start, chain.stop) == (0, stop)
    assert chain.conv is modules[stop - 1]


def hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(lambda *_: None)
    return module


class Special(nn.Conv2d):
    pass


NO_CHAINS: dict[str, tuple[list[nn.Module], str, bool]] = {
    "bilinear": ([upsample(mode="bilinear"), conv()], "mode bilinear is not nearest", True),
    "aligned": ([nn.UpsamplingBilinear2d(scale_factor=2), conv()], "mode bilinear is not nearest", True),
    "aligned_nearest": ([upsample(align_corners=True), conv()], "align_corners=True", True),
    "fraction": ([upsample(1.5), conv()], "scale_factor 1.5 is not whole", True),
    "size": ([nn.Upsample(size=(8, 8)), conv()], "size=(8, 8) fixes the output", False),
    "stride": ([upsample(), conv(stride=2)], "the convolution after it: stride", True),
    "two_paddings": ([upsample(), nn.ZeroPad2d(1), conv(padding_mode="reflect")], "it is padded twice", True),
    "two_circular": (
        [upsample(), nn.CircularPad2d(1), conv(padding_mode="circular")],
        "it is padded twice",
        True,
    ),
    "constant_one": ([upsample(), nn.ConstantPad2d(1, 1.0), conv(padding=0)], "padding mode constant", True),
    "norm": ([upsample(), nn.BatchNorm2d(4), conv()], "BatchNorm2d comes between", False),
    "after_padding": (
        [upsample(), nn.ZeroPad2d(1), nn.Sigmoid(), conv(padding=0)],
        "Sigmoid comes between",
        False,
    ),
    "subclass": ([upsample(), Special(4, 4, 3)], "Special comes between", False),
    "hook": ([upsample(), hooked(conv())], "Conv2d has hooks", False),
    "hook_first": ([hooked(upsample()), conv()], "Upsample has hooks", False),
    "end": ([upsample(), nn.ReLU()], "no convolution follows", False),
    "complex": (
        [upsample(), nn.Conv2d(4, 4, 3, padding=1, dtype=torch.complex64)],
        "its weight is not a parameter of real numbers",
        True,
    ),
}


@pytest.mark.parametrize("name", NO_CHAINS)
def test_reasons_why_there_is_none(name: str) -> None:
    modules, reason, is_certain = NO_CHAINS[name]
    found = find_chain(modules, 0)
    assert isinstance(found, NoChain)
    assert reason in found.reason
    assert found.is_certain is is_certain


def test_upsamplings() -> None:
    assert is_upsampling(upsample())
    assert not is_upsampling(nn.Identity())
    assert read_upsampling(upsample(3.0)) == 3
