"""The networks of the trial's table: our own run, others are named where they are missing."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.fusion_decoders import TABLE
from bench.fusion_networks import NETWORKS
from deconvbench.errors import UnsupportedError
from deconvbench.networks.fusion.rewriting import fuse

PACKAGES = {
    **dict.fromkeys(("autoencoder", "flux2", "wan", "qwen_image"), "diffusers"),
    **dict.fromkeys(("flexible_unet", "dynunet"), "monai"),
    **dict.fromkeys(("sam", "hifigan"), "transformers"),
}


class FakeModel(nn.Module):
    """A model that decodes to what it got, and notes how it is made."""

    def __init__(self, *sizes: Any, **options: Any) -> None:
        super().__init__()
        self.sizes, self.options = sizes, options
        self.encoder = nn.Linear(4, 4)

    def decode(self, z: Tensor, *, return_dict: bool) -> tuple[Tensor]:
        assert not return_dict
        return (z,)

    def forward(self, *inputs: Tensor, **named: Any) -> tuple[Tensor, ...]:
        return (*inputs, *(value for value in named.values() if isinstance(value, Tensor)))[:1]


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put packages in place whose models do nothing."""
    kinds = ("AutoencoderKLFlux2", "AutoencoderKLWan", "AutoencoderKLQwenImage")
    monkeypatch.setitem(sys.modules, "diffusers", SimpleNamespace(**dict.fromkeys(kinds, FakeModel)))
    nets = SimpleNamespace(FlexibleUNet=FakeModel, DynUNet=FakeModel)
    monkeypatch.setitem(sys.modules, "monai.networks.nets", nets)
    configs = {"SamMaskDecoderConfig": SimpleNamespace, "SpeechT5HifiGanConfig": SimpleNamespace}
    transformers = SimpleNamespace(SpeechT5HifiGan=FakeModel, **configs)
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    modeling = SimpleNamespace(SamMaskDecoder=FakeModel)
    monkeypatch.setitem(sys.modules, "transformers.models.sam.modeling_sam", modeling)


@pytest.mark.parametrize("name", [name for name in PACKAGES if name != "autoencoder"])
def test_each_network_is_built_from_its_package_and_called_with_its_input(name: str, packages: None) -> None:
    network = TABLE[name]
    (x,) = network.make_input()
    found = network.build()(x)
    assert torch.equal(found[0] if isinstance(found, tuple) else found, x)


def test_decoders_have_no_encoder(packages: None) -> None:
    model = TABLE["wan"].build()
    assert not list(model.parameters())


@pytest.mark.parametrize(("name", "package"), PACKAGES.items())
def test_a_missing_package_is_named(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("diffusers", "transformers", "monai.networks.nets"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnsupportedError, match=f"the package {package} cannot be imported"):
        TABLE[name].build()


def test_the_head_is_fused_with_all_four_maps() -> None:
    network = TABLE["segformer_head"]
    maps = tuple(
        torch.randn(1, shape[1], *(side // 8 for side in shape[2:]))
        for shape in (network.shape, *network.further_shapes)
    )
    report = fuse(network.build().eval(), maps)
    assert len(report.changed) == 1
    assert not report.left
    assert report.model(*maps).shape == (1, 150, 16, 16)


def test_what_is_of_our_own_is_there_once() -> None:
    for name in ("autoencoder", "transformation", "transformation_training"):
        assert TABLE[name] is NETWORKS[name]
    assert TABLE["transformation_training"].is_trained
    assert all(network.title for network in TABLE.values())
