"""The networks of the trial are built from packages that may not be there."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from bench.fusion_networks import NETWORKS
from deconvbench.errors import UnsupportedError

OWN = ("transformation", "transformation_training")


class FakeAutoencoder:
    """Notes how it is made."""

    made: list[dict[str, Any]] = []  # noqa: RUF012 -- emptied by the fixture

    def __init__(self, **options: Any) -> None:
        self.made.append(options)
        self.decoder = nn.Identity()


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Put packages in place that make nothing."""
    monkeypatch.setattr(FakeAutoencoder, "made", [])
    diffusers = SimpleNamespace(AutoencoderKL=FakeAutoencoder, AutoencoderTiny=FakeAutoencoder)
    kinds = dict.fromkeys(("Unet", "UnetPlusPlus", "MAnet", "FPN", "Linknet"), make_segmentation)
    monkeypatch.setitem(sys.modules, "diffusers", diffusers)
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", SimpleNamespace(**kinds))
    return FakeAutoencoder.made


def make_segmentation(encoder: str, *, encoder_weights: None) -> nn.Module:
    return nn.Identity()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_built_from_its_package(name: str, packages: list[dict[str, Any]]) -> None:
    assert isinstance(NETWORKS[name].build(), nn.Module)


def test_the_small_autoencoder_is_smaller(packages: list[dict[str, Any]]) -> None:
    NETWORKS["autoencoder"].build()
    NETWORKS["small_autoencoder"].build()
    widths = [options["block_out_channels"] for options in packages]
    assert widths == [(128, 256, 512, 512), (32, 64, 128)]
    assert [len(options["up_block_types"]) for options in packages] == [4, 3]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in OWN])
def test_a_missing_package_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    package = "diffusers" if "autoencoder" in name else "segmentation-models-pytorch"
    with pytest.raises(
        UnsupportedError, match=f"the package {package} cannot be imported .*: pip install {package}"
    ):
        NETWORKS[name].build()


def test_the_transformation_network_gives_an_image_of_the_same_size() -> None:
    model = NETWORKS["transformation"].build().eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 16, 24)).shape == (1, 3, 16, 24)
    assert sum(isinstance(module, nn.Conv2d) for module in model.modules()) == 16
