"""What the metrics are given wrongly is one line that names the argument, whatever torch would have said."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import deconvbench
from deconvbench.errors import UsageError

NAN = math.nan


class Raising(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("inside")


class Uncopyable(nn.Module):
    def __deepcopy__(self, memo: object) -> "Uncopyable":
        raise TypeError("not to be copied")


def layer(channels: int = 4) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, 4, 4, 2, 1)


def taps(*shape: int) -> Tensor:
    return torch.ones(shape or (2, 4, 4, 4))


def means(inputs: Any, **options: Any) -> object:
    network = nn.Sequential(nn.Conv2d(4, 4, 3), layer())
    return deconvbench.measure_mean_inputs(network, **{"modules": ["1"], "inputs": inputs, **options})


FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "flat_field_channels": (
        lambda: deconvbench.flat_field_ripple(layer(), 3, 2),
        "network: fails for inputs of 3 channels and 128×128 pixels: RuntimeError: ",
    ),
    "flat_field_raises": (
        lambda: deconvbench.flat_field_ripple(Raising(), 3, 2),
        "network: fails for inputs of 3 channels and 32×32 pixels: KeyError: 'inside'",
    ),
    "flat_field_uncopyable": (
        lambda: deconvbench.flat_field_ripple(Uncopyable(), 3, 2),
        "network: cannot be copied to float64: TypeError: not to be copied",
    ),
    "flat_field_size": (
        lambda: deconvbench.flat_field_ripple(layer(), 4, 2, size=1),
        "margin: 0 of 2 pixels on each side leave less than two periods of 2;",
    ),
    "flat_field_size_beyond": (
        lambda: deconvbench.flat_field_ripple(layer(), 4, 2, size=10**30),
        "size: 8 inputs of 4×",
    ),
    "flat_field_two_tone": (
        lambda: deconvbench.flat_field_ripple(layer(), 4, 2, two_tone="no"),  # type: ignore[arg-type]
        "two_tone: 'no' is not True, False or None",
    ),
    "gradients_channels": (
        lambda: deconvbench.gradient_overlap_cv(nn.Conv2d(4, 4, 3, 2, 1), 3, 2),
        "layer: fails for inputs of 3 channels and 64×64 pixels: RuntimeError: ",
    ),
    "gradients_raise": (
        lambda: deconvbench.gradient_overlap_cv(Raising(), 3, 2),
        "layer: fails for inputs of 3 channels and 64×64 pixels: KeyError: 'inside'",
    ),
    "gradients_size": (
        lambda: deconvbench.gradient_overlap_cv(nn.Conv2d(4, 4, 3, 2, 1), 4, 2, size=10**30),
        "size: 16 inputs of 4×",
    ),
    "layer_channels": (
        lambda: deconvbench.measure_layer(layer(), 3, 2),
        "layer: fails for maps of 3 channels and 24×24 pixels: RuntimeError: ",
    ),
    "layer_raises": (
        lambda: deconvbench.measure_layer(Raising(), 3, 2),
        "layer: fails for maps of 3 channels and 24×24 pixels: KeyError: 'inside'",
    ),
    "layer_is_another": (
        lambda: deconvbench.measure_layer(layer(), 4, 3),
        "layer: outputs of 48×48 for 24×24 and 50×50 for 25×25; scale_factor 3 asks for sides",
    ),
    "layer_mean_of_nan": (
        lambda: deconvbench.measure_layer(layer(), 4, 2, mean_input=[1.0, NAN, 1.0, 1.0]),
        "mean_input: [1.0, nan, 1.0, 1.0] has numbers that are not finite",
    ),
    # read also where the layer has no impulse response, and it would not be needed
    "nonlinear_mean_of_too_few": (
        lambda: deconvbench.measure_layer(nn.Sequential(layer(), nn.Sigmoid()), 4, 2, mean_input=[1.0]),
        "mean_input: shape (1,) does not hold a number for each of the 4 input channels",
    ),
    "response_channels": (
        lambda: deconvbench.impulse_response(layer(), 3, 2),
        "layer: fails for maps of 3 channels and ",
    ),
    "effective_mean": (
        lambda: deconvbench.effective_ripple(taps(), 2, torch.full((4,), NAN)),
        "mean_input: tensor([nan, nan, nan, nan]) has numbers that are not finite",
    ),
    "taps_of_nan": (lambda: deconvbench.phase_ripple(NAN * taps(), 2), "taps: they are not all finite real"),
    "taps_complex": (lambda: deconvbench.phase_ripple(1j * taps(), 2), "taps: they are not all finite real"),
    "no_taps": (
        lambda: deconvbench.phase_ripple(taps(1, 4, 0, 0), 2),
        "taps: shape (1, 4, 0, 0) is not (..., T, T)",
    ),
    "noise_axes": (
        lambda: deconvbench.noise_gain_cv(taps(2, 2), 2),
        "taps: shape (2, 2) is not (..., O, I, T, T)",
    ),
    "image_axes": (
        lambda: deconvbench.image_rejection_db(taps(2, 2), 2),
        "taps: shape (2, 2) is not (..., O, I, T, T)",
    ),
    "image_frequency": (
        lambda: deconvbench.image_rejection_db(taps(), 2, 10**400),
        "frequency: 1000000000",
    ),
    "means_shape": (
        lambda: means([torch.zeros(1, 3, 5, 5)]),
        "inputs: the network fails with a tensor of shape (1, 3, 5, 5): RuntimeError: ",
    ),
    "means_text": (lambda: means("photograph.png"), "inputs: the network fails with 'p': "),
    "means_number": (lambda: means(3), "inputs: 3 is not a tensor or an iterable"),
    "means_arguments": (
        lambda: means([{"y": torch.zeros(1)}]),
        "inputs: the network fails with what it is given (dict)",
    ),
    "means_modules": (lambda: means([], modules=3), "modules: 3 is not a list of names"),
    "means_list": (lambda: means([], modules=[["1"]]), "modules: ['1'] is not a module of this network"),
    "periods": (
        lambda: deconvbench.find_period(torch.rand(64, 64), periods=2),  # type: ignore[arg-type]
        "periods: 2 is not a list of whole numbers from 2 to 64",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_one_line(name: str) -> None:
    call, message = FAULTS[name]
    with pytest.raises(UsageError) as caught:
        call()
    assert type(caught.value) is UsageError
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_whole_numbers_are_taps_too() -> None:
    whole = torch.arange(64).reshape(2, 2, 4, 4)
    assert deconvbench.noise_gain_cv(whole, 2) == pytest.approx(deconvbench.noise_gain_cv(whole.double(), 2))
    assert deconvbench.phase_ripple(whole, 2) == pytest.approx(deconvbench.phase_ripple(whole.double(), 2))


def test_a_lack_of_memory_is_not_a_wrong_argument() -> None:
    class Large(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise MemoryError

    for call in (deconvbench.flat_field_ripple, deconvbench.gradient_overlap_cv, deconvbench.measure_layer):
        with pytest.raises(MemoryError):
            call(Large(), 3, 2)
