"""Networks and what torch exports of them: the same sites, with the same ripple, and the same outputs."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import deconvbench
from deconvbench.networks.onnx import load_onnx
from deconvbench.records.audit import Audit
from deconvbench.records.sites import SiteReport
from tests.networks.inspection.networks import (
    Fcn,
    MaskDecoder,
    Shuffle,
    UNet,
    make_dcgan,
    make_diffusion_decoder,
    make_espcn,
)
from tests.networks.onnx.graphs import onnx, run_runtime

pytestmark = pytest.mark.filterwarnings("ignore")


class Tokens(nn.Module):
    """Tokens that a linear layer and a shuffle make a map of, as a ViT's decoder does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 16), nn.Linear(16, 3 * 16)

    def forward(self, x: Tensor) -> Tensor:
        n, side = len(x), int(x.shape[1] ** 0.5)
        y = self.last(nn.functional.gelu(self.first(x)))
        patches: Tensor = y.reshape(n, side, side, 4, 4, 3).permute(0, 5, 1, 3, 2, 4)
        return patches.reshape(n, 3, 4 * side, 4 * side)


class Rearranged(nn.Module):
    """A convolution, an activation that exporters write out, and a shuffle in TensorFlow's order."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.conv, self.activation, self.shuffle = nn.Conv2d(3, 12, 3, padding=1), activation, Shuffle("ijc")

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.shuffle(self.activation(self.conv(x)))
        return y


class Repeated(nn.Module):
    """Repeats pixels by `repeat_interleave`, and by expanding."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x).repeat_interleave(2, -1).repeat_interleave(2, -2).relu()
        n, c, h, w = y.shape
        z = y[..., None, :, None].expand(n, c, h, 2, w, 2).reshape(n, c, 2 * h, 2 * w)
        found: Tensor = self.second(z)
        return found


def make_volume() -> nn.Module:
    return nn.Sequential(nn.ConvTranspose3d(2, 4, 4, 2, 1), nn.ReLU(), nn.Conv3d(4, 1, 3, padding=1))


def make_sequence() -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose1d(4, 8, 3, 2, 1, 1, groups=2), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv1d(8, 1, 3)
    )


def make_resizes() -> nn.Module:
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bicubic"),
        nn.Conv2d(3, 3, 3, padding=1),
        nn.Upsample(scale_factor=1.5, mode="bilinear"),
        nn.Conv2d(3, 3, 3, padding=1),
        nn.Upsample(scale_factor=2, mode="nearest"),
    )


def make_normed() -> nn.Module:
    """Make a network whose batch norms have learned something: exporters fold them into the layers."""
    layers = make_dcgan()
    for layer in layers.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None:
            with torch.no_grad():
                for tensor in (layer.weight, layer.running_var):
                    tensor.copy_(0.5 + torch.rand_like(tensor))
                for tensor in (layer.bias, layer.running_mean):
                    tensor.copy_(torch.randn_like(tensor))
    return layers


IMAGE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...]]] = {
    "FCN": (Fcn, ((1, 3, 64, 64),)),
    "DCGAN": (make_dcgan, ((4, 16, 1, 1),)),
    "U-Net": (UNet, ((1, 3, 64, 64),)),
    "bilinear U-Net": (lambda: UNet(bilinear=True), ((1, 3, 64, 64),)),
    "ESPCN": (make_espcn, ((1, 1, 48, 48),)),
    "mask decoder": (MaskDecoder, ((1, 32, 16, 16), (1, 3, 32))),
    "diffusion": (make_diffusion_decoder, ((1, 4, 32, 32),)),
    "tokens": (Tokens, ((1, 64, 12),)),
    "SiLU": (lambda: Rearranged(nn.SiLU()), ((1, 3, 32, 32),)),
    "GELU": (lambda: Rearranged(nn.GELU()), ((1, 3, 32, 32),)),
    "Mish": (lambda: Rearranged(nn.Mish()), ((1, 3, 32, 32),)),
    "repeated": (Repeated, ((1, 3, 16, 16),)),
    "3-D": (make_volume, ((1, 2, 12, 12, 12),)),
    "1-D": (make_sequence, ((1, 4, 48),)),
    "resizes": (make_resizes, ((1, 3, 24, 24),)),
}


# how many of them are run in every session
COMMON = 7


def make_network(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(3)
    make, shapes = NETWORKS[name]
    return make().eval(), tuple(
        torch.rand(shape) if shape[1] in {1, 3} else torch.randn(shape) for shape in shapes
    )


def export(network: nn.Module, args: tuple[Tensor, ...], path: Path, exporter: str) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            torch.onnx.export(network, args, path, dynamo=True, verbose=False, external_data=False)
        else:
            opset = int(exporter.removeprefix("script "))
            torch.onnx.export(network, args, str(path), dynamo=False, opset_version=opset)
    return path


def find_audit(model: nn.Module, args: tuple[Tensor, ...]) -> Audit:
    return deconvbench.audit(model, args if len(args) > 1 else args[0])


def describe(report: SiteReport) -> dict[str, Any]:
    """What has to agree exactly."""
    names = ("kind", "dims", "scale", "kernel_size", "stride", "padding", "output_padding", "dilation", "groups")
    shapes = ("out_shape", "in_channels", "out_channels", "macs", "uses", "is_last", "dtype")
    found = {name: getattr(report.site, name) for name in (*names, *shapes)}
    return found | {"period": report.period, "gains_from": report.gains_from, "fusible": report.is_fusible}


def list_numbers(report: SiteReport) -> dict[str, float]:
    """What has to agree but for rounding."""
    names = (
        "overlap_cv",
        "phase_ripple",
        "effective_ripple",
        "relative_ripple",
        "image_rejection_db",
        "real_levels",
    )
    return {name: math.nan if (value := getattr(report, name)) is None else value for name in names}


def assert_agree(ours: Audit, theirs: Audit) -> None:
    assert ours.sites
    assert [describe(report) for report in theirs.sites] == [describe(report) for report in ours.sites]
    for own, other in zip(ours.sites, theirs.sites, strict=True):
        wanted = pytest.approx(list_numbers(own), rel=1e-3, abs=1e-4, nan_ok=True)
        assert list_numbers(other) == wanted
    assert theirs.judgement == ours.judgement
    assert [finding.code for finding in theirs.findings] == [finding.code for finding in ours.findings]
    causes = [[(one.period, one.site) for one in audit.attributions] for audit in (ours, theirs)]
    assert causes[0] == causes[1]
    levels = [[one.levels for one in audit.attributions] for audit in (ours, theirs)]
    assert levels[1] == pytest.approx(levels[0], rel=1e-3)


def assert_same_output(path: Path, args: tuple[Tensor, ...]) -> None:
    module = load_onnx(path)
    names = [name for name, _, _ in module.describe_inputs()]
    assert [shape for _, shape, _ in module.describe_inputs()] == [tuple(one.shape) for one in args]
    with torch.no_grad():
        output = module(*args)
    ours = list(output.values()) if isinstance(output, dict) else [output]
    theirs = run_runtime(onnx.load(path), {name: one.numpy() for name, one in zip(names, args, strict=True)})
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, torch.from_numpy(other), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if number >= COMMON else ())
        for number, name in enumerate(NETWORKS)
    ],
)
def test_what_torchscript_exports_has_the_sites_of_the_network(name: str, tmp_path: Path) -> None:
    network, args = make_network(name)
    path = export(network, args, tmp_path / "model.onnx", "script 17")
    assert_same_output(path, args)
    assert_agree(find_audit(network, args), find_audit(load_onnx(path), args))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("exporter", ["dynamo", "script 13", "script 20"])
def test_other_exports_have_the_sites_of_the_network(name: str, exporter: str, tmp_path: Path) -> None:
    network, args = make_network(name)
    path = export(network, args, tmp_path / "model.onnx", exporter)
    assert_same_output(path, args)
    assert_agree(find_audit(network, args), find_audit(load_onnx(path), args))


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["dynamo", "script 17"])
def test_folded_norms_leave_levels_in_the_output_as_they_are(exporter: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, args = make_normed().eval(), (torch.randn(4, 16, 1, 1),)
    path = export(network, args, tmp_path / "model.onnx", exporter)
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert ("BatchNormalization" in kinds) == (exporter != "dynamo")
    ours, theirs = find_audit(network, args), find_audit(load_onnx(path), args)
    assert [report.site.kernel_size for report in theirs.sites] == [(4, 4)] * 3
    for own, other in zip(ours.sites, theirs.sites, strict=True):
        assert other.real_levels == pytest.approx(own.real_levels, rel=0.05)
    assert theirs.real == pytest.approx(ours.real, rel=1e-4)


def test_paths_are_the_names_of_nodes(tmp_path: Path) -> None:
    network, args = make_network("FCN")
    module = load_onnx(export(network, args, tmp_path / "model.onnx", "script 17"))
    assert [report.site.path for report in find_audit(module, args).sites] == [
        "/up2/ConvTranspose",
        "/up8/ConvTranspose",
    ]
