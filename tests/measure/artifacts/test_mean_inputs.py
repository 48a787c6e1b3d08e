"""Mean inputs of modules: what is counted, and that nothing else of the network is touched."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import InputMeans, measure_mean_inputs


class _Twice(nn.Module):
    """Uses one layer twice and another by keyword; behaves otherwise in training."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.ConvTranspose2d(2, 2, 2, 2)
        self.alias = self.shared
        self.last = nn.Conv2d(2, 1, 1)
        self.unused = nn.Conv2d(2, 1, 1)

    def forward(self, x: Tensor, *, gain: float = 1.0) -> Tensor:
        if self.training:
            x = x + 100
        y = self.shared(gain * self.shared(x))
        z: Tensor = self.last(input=y)
        return z


def _draw(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_means_are_those_of_all_images_and_pixels_for_each_use() -> None:
    network = _Twice()
    small, large = _draw(3, 2, 4, 5), 1 + _draw(1, 2, 8, 2)
    found = measure_mean_inputs(network, ["shared", "alias", "last"], [small, large])
    with torch.no_grad():
        pixels = torch.cat([x.double().transpose(0, 1).flatten(1) for x in (small, large)], 1)
        second = torch.cat([network.shared(x).double().transpose(0, 1).flatten(1) for x in (small, large)], 1)
        third = [network.shared(network.shared(x)).double().transpose(0, 1).flatten(1) for x in (small, large)]
    assert found["shared"].dtype == torch.float64
    torch.testing.assert_close(found["shared"], torch.stack([pixels.mean(1), second.mean(1)]), rtol=0, atol=1e-7)
    assert torch.equal(found["alias"], found["shared"])
    torch.testing.assert_close(found["last"], torch.cat(third, 1).mean(1)[None], rtol=0, atol=1e-7)


def test_each_image_has_a_mean_of_its_own() -> None:
    network = _Twice()
    images = _draw(3, 2, 4, 4)
    found = measure_mean_inputs(network, ["shared", "last"], [images[:2], images[2:]], per_image=True)
    assert found["shared"].shape == (2, 3, 2)
    torch.testing.assert_close(found["shared"][0], images.double().mean((2, 3)), rtol=0, atol=1e-7)
    alone = measure_mean_inputs(network, ["last"], [images[1:2]])["last"]
    torch.testing.assert_close(found["last"][:, 1], alone, rtol=0, atol=1e-7)

    class Uneven(_Twice):
        def forward(self, x: Tensor, *, gain: float = 1.0) -> Tensor:
            y: Tensor = self.shared(self.shared(gain * x)[:1])
            return y

    assert measure_mean_inputs(Uneven(), ["shared"], images)["shared"].shape == (2, 2)
    with pytest.raises(UsageError, match="the uses of 'shared' had different numbers of images"):
        measure_mean_inputs(Uneven(), ["shared"], images, per_image=True)


def test_tuples_are_arguments_and_mappings_keywords() -> None:
    network, x = _Twice(), _draw(1, 2, 4, 4)
    found = measure_mean_inputs(network, ["shared"], [{"x": x, "gain": 3.0}])
    single = measure_mean_inputs(network, ["shared"], [(x,)])
    torch.testing.assert_close(found["shared"][0], single["shared"][0])
    assert found["shared"][1].tolist() == pytest.approx((3 * single["shared"][1]).tolist())
    # one tensor is one pass, not an image each
    assert torch.equal(measure_mean_inputs(network, ["shared"], x)["shared"], single["shared"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_sums_are_exact_whatever_the_network_computes_in(dtype: torch.dtype) -> None:
    # in float16 sums would end at 65504, in bfloat16 the mean of 1 and 1.0078125 is neither
    network = nn.Sequential(nn.Identity(), nn.Conv2d(1, 1, 1)).to(dtype)
    x = torch.ones(1, 1, 512, 512)
    x[..., ::2] = 1.0078125
    found = measure_mean_inputs(network, ["1"], [1.0 * x])["1"]
    assert found.tolist() == [[1.00390625]]
    large = measure_mean_inputs(network, ["1"], [torch.full((1, 1, 64, 64), 512.0)])["1"]
    assert large.tolist() == [[512]]


def test_layers_of_other_dimensions_and_images_without_batch() -> None:
    line = nn.Sequential(nn.ConvTranspose1d(2, 2, 2, 2))
    x = _draw(3, 2, 7)
    assert measure_mean_inputs(line, ["0"], [x])["0"][0].tolist() == pytest.approx(x.mean((0, 2)).tolist())
    image = nn.Sequential(nn.ConvTranspose2d(2, 2, 2, 2))
    assert measure_mean_inputs(image, ["0"], [x[0, :, None]])["0"][0].tolist() == pytest.approx(
        x[0].mean(1).tolist()
    )
    dense = nn.Sequential(nn.Linear(5, 2))
    y = _draw(4, 5)
    assert measure_mean_inputs(dense, ["0"], [y])["0"][0].tolist() == pytest.approx(y.mean(0).tolist())


def test_the_network_is_left_as_it_was() -> None:
    network = _Twice().train()
    network.last.eval()
    state = torch.get_rng_state()
    measure_mean_inputs(network, ["shared"], [_draw(1, 2, 4, 4)])
    assert network.training
    assert network.shared.training
    assert not network.last.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network._forward_pre_hooks
    assert not network.shared._forward_pre_hooks


def test_hooks_come_off_where_the_network_fails() -> None:
    network = _Twice().train()
    with pytest.raises(UsageError, match="^inputs: the network fails with a tensor of shape .*channels"):
        measure_mean_inputs(network, ["shared"], [_draw(1, 3, 4, 4)])
    assert not network.shared._forward_pre_hooks
    assert network.training


def test_a_network_that_someone_else_runs_is_watched() -> None:
    network = _Twice().eval()
    images = _draw(2, 2, 4, 4)
    with InputMeans(network, ["last"]) as means, torch.no_grad():
        for image in images:
            network(image[None])
    expected = measure_mean_inputs(network, ["last"], images)["last"]
    torch.testing.assert_close(means.read()["last"], expected, rtol=0, atol=1e-7)
    network(images)
    torch.testing.assert_close(means.read()["last"], expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("modules", "inputs", "message"),
    [
        pytest.param(
            ["shred"], [], r"'shred' is not a module of this network \(did you mean 'shared'", id="unknown"
        ),
        pytest.param("shared", [], "modules: 'shared' is one name", id="text"),
        pytest.param(["unused"], [_draw(1, 2, 4, 4)], "modules: 'unused' was not used", id="unused"),
        pytest.param(["shared"], [], "inputs: there are none", id="none"),
    ],
)
def test_what_cannot_be_measured_is_an_error(modules: Any, inputs: list[Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        measure_mean_inputs(_Twice(), modules, inputs)


def test_modules_without_channels_are_an_error() -> None:
    class Takes(nn.Module):
        def __init__(self, *layers: nn.Module) -> None:
            super().__init__()
            self.inner = nn.ModuleList(layers)

        def forward(self, x: Any) -> Any:
            return [layer(x) for layer in self.inner]

    with pytest.raises(UsageError, match=r"modules: 'inner.0' is given shape \(3,\), which has no channels"):
        measure_mean_inputs(Takes(nn.Identity()), ["inner.0"], [torch.ones(3)])
    with pytest.raises(UsageError, match=r"modules: 'inner.0' is given no tensor"):
        measure_mean_inputs(Takes(nn.Identity()), ["inner.0"], ["text"])
    with pytest.raises(UsageError, match=r"modules: '0' is given 3 channels here and 2 before"):
        measure_mean_inputs(nn.Sequential(nn.Identity()), ["0"], [torch.ones(1, 2, 4), torch.ones(1, 3, 4)])


@pytest.mark.cuda
def test_means_come_from_the_device_in_half_precision() -> None:
    network = _Twice().cuda().half()
    found = measure_mean_inputs(network, ["shared"], [_draw(1, 2, 4, 4)])["shared"]
    assert found.device == torch.device("cpu")
    assert found[0].tolist() == pytest.approx(_draw(1, 2, 4, 4).half().double().mean((0, 2, 3)).tolist())
