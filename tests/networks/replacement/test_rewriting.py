"""`replace`: exact where it says so, of the same size everywhere, and the given model untouched."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import deconvbench
from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import impulse_response, phase_ripple
from deconvbench.networks.replacement import ReplaceReport, replace
from deconvbench.networks.replacement.specification import TARGETS
from deconvbench.upsamplers.equal_gain import EqualGainConvTranspose2d
from deconvbench.upsamplers.subpixel import SubpixelConv2d
from tests.networks.replacement.layers import (
    draw_input,
    resize_layers,
    subpixel_layers,
    transposed_layers,
    wrap,
)

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws is the same each time."""
    torch.manual_seed(0)


def run(model: nn.Module, x: Tensor) -> Tensor | None:
    """The output, or None where torch has none for this size."""
    try:
        y: Tensor = model(x)
    except RuntimeError:
        return None
    return y if y.numel() else None


def list_values(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def source_of(model: nn.Module) -> str:
    kinds = {type(module) for module in model.modules()}
    if nn.ConvTranspose2d in kinds:
        return "transposed"
    return "subpixel" if kinds & {nn.PixelShuffle, SubpixelConv2d} else "interpolate+conv"


@given(
    layer=transposed_layers() | transposed_layers(is_square=True) | subpixel_layers() | resize_layers(),
    target=st.sampled_from(TARGETS),
    kernel_size=st.sampled_from(["", "", "-k1", "-k3", "-k5"]),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
)
@settings(deadline=None, max_examples=250)
def test_sizes_stay_exact_is_exact_and_the_given_model_is_untouched(
    layer: nn.Module, target: str, kernel_size: str, size: tuple[int, int]
) -> None:
    model = layer if isinstance(layer, nn.Sequential) else wrap(layer)
    x = draw_input(size)
    expected = run(model, x)
    assume(expected is not None)
    assert expected is not None
    before, text = list_values(model), str(model)
    report = replace(model, f"{source_of(model)} -> {target}{kernel_size}")
    assert len(report.replaced) + len(report.left) == 1
    found = report.model(x)
    assert found.shape == expected.shape
    if all(one.is_exact for one in report.replaced):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert str(model) == text
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


EXACT = [
    ("transposed -> subpixel", transposed_layers(is_square=True)),
    ("transposed -> transposed-k11", transposed_layers(is_square=True)),
    ("nearest_conv -> transposed", resize_layers(("nearest",))),
    ("nearest_conv -> equal_gain", resize_layers(("nearest",))),
    ("nearest_conv -> subpixel", resize_layers(("nearest",))),
    ("nearest_conv -> nearest_conv", resize_layers(("nearest",))),
    ("subpixel -> subpixel", subpixel_layers()),
    ("bilinear_conv -> bilinear_conv", resize_layers(("bilinear",))),
]


@pytest.mark.parametrize(("specification", "layers"), EXACT, ids=[case[0] for case in EXACT])
def test_pairs_that_are_exact_whatever_the_weights(
    specification: str, layers: st.SearchStrategy[nn.Module]
) -> None:
    replaced = 0

    @given(layer=layers, size=st.tuples(st.integers(1, 6), st.integers(1, 6)))
    @settings(deadline=None, max_examples=40, derandomize=True)
    def check(layer: nn.Module, size: tuple[int, int]) -> None:
        nonlocal replaced
        model = layer if isinstance(layer, nn.Sequential) else wrap(layer)
        x = draw_input(size)
        expected = run(model, x)
        assume(expected is not None)
        report = replace(model, specification)
        assert all(one.is_exact for one in report.replaced)
        torch.testing.assert_close(report.model(x), expected, rtol=1e-10, atol=1e-10)
        replaced += len(report.replaced)

    check()
    assert replaced > 0, "no pair was of the kind that the specification names"


@given(
    layer=transposed_layers(is_square=True) | subpixel_layers(),
    target=st.sampled_from(["nearest_conv", "equal_gain_transposed", "subpixel_icnr", "transposed_fir"]),
)
@settings(deadline=None, max_examples=60)
def test_no_step_from_the_carried_weights_comes_nearer(layer: nn.Module, target: str) -> None:
    model = layer if isinstance(layer, nn.Sequential) else wrap(layer)
    report = replace(model, f"{source_of(model)} -> {target}")
    assume(report.replaced)
    key = report.replaced[0].keys[0].after
    weight = dict(report.model.named_parameters())[key]
    # every pixel alone, so that the output is the kernel, and no border near
    x = torch.zeros(2, 2, 41, 41, dtype=torch.float64)
    x[0, 0, 20, 20] = x[1, 1, 20, 20] = 1
    zero = torch.zeros_like(x)
    with torch.no_grad():
        wanted = model(x) - model(zero)

    def measure() -> float:
        with torch.no_grad():
            return float((report.model(x) - report.model(zero) - wanted).square().sum())

    best = measure()
    assert report.replaced[0].relative_error == pytest.approx(
        (best / float(wanted.square().sum())) ** 0.5, abs=1e-9
    )
    kept = weight.detach().clone()
    for _ in range(4):
        step = 0.01 * torch.randn_like(kept)
        if target == "subpixel_icnr":
            # equal phases are an initialisation: the nearest of those
            phases = step.shape[0] // report.model(x).shape[1]
            step = step[::phases].repeat_interleave(phases, 0)
        weight.data = kept + step
        assert measure() >= best - 1e-12


class Decoder(nn.Module):
    """With a shared layer, two paths to one block, and functions between."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2, 2, 4, 2, 1)
        self.block = nn.Sequential(nn.ConvTranspose2d(2, 2, 3, 2, 1), nn.Tanh())
        self.again = self.block
        self.last = nn.ConvTranspose2d(2, 3, 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample by about 16."""
        y: Tensor = self.last(self.again(self.block(torch.tanh(self.up(self.up(x))))))
        return y


def test_shared_modules_stay_shared_and_every_key_is_told() -> None:
    model = Decoder()
    report = replace(model, "transposed -> nearest_conv", example_input=torch.randn(1, 2, 3, 4))
    new = report.model
    assert isinstance(new, Decoder)
    assert new.block is new.again
    assert type(new.up).__name__ == "ResizeConv2d"
    assert report.keys == {
        "up.weight": "up.weight",
        "up.bias": "up.bias",
        "block.0.weight": "block.0.0.weight",
        "block.0.bias": "block.0.0.bias",
        "again.0.weight": "again.0.0.weight",
        "again.0.bias": "again.0.0.bias",
    }
    assert [one.reason for one in report.left] == [
        "its output has 2·H + 2 pixels, more than the 2·H that nearest_conv makes"
    ]
    # what is told is what there is
    before, after = model.state_dict(), new.state_dict()
    assert {report.keys.get(key, key) for key in before} == set(after)
    for one in report.replaced:
        for key in one.keys:
            assert tuple(before[key.before].shape) == key.shape_before
            assert tuple(after[key.after].shape) == key.shape_after
    assert report.output_error is not None
    assert report.output_error > 0


def test_one_key_for_each_place_of_a_shared_layer() -> None:
    up = nn.ConvTranspose2d(2, 2, 4, 2, 1)
    report = replace(nn.Sequential(up, nn.ReLU(), up), "transposed -> subpixel")
    assert len(report.replaced) == 1
    assert report.replaced[0].paths == ("0", "2")
    assert report.model[0] is report.model[2]  # type: ignore[index]
    assert set(report.keys) == {"0.weight", "2.weight", "0.bias", "2.bias"}


def test_pairs_leave_an_identity_and_their_keys() -> None:
    model = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(2, 3, 3, padding=1), nn.ReLU())
    report = replace(model, "nearest_conv -> transposed")
    assert [type(child).__name__ for child in report.model.children()] == ["Identity", "ConvTranspose2d", "ReLU"]
    assert report.keys == {"1.weight": "1.weight", "1.bias": "1.bias"}
    assert report.replaced[0].is_exact


def test_the_model_itself_may_be_the_layer() -> None:
    model = nn.ConvTranspose2d(2, 2, 4, 2, 1)
    report = replace(model, "transposed -> equal_gain")
    assert isinstance(report.model, EqualGainConvTranspose2d)
    assert report.keys == {"weight": "weight", "bias": "bias"}
    with pytest.raises(UsageError, match="inplace: the model is the layer itself"):
        replace(model, "transposed -> equal_gain", inplace=True)
    pair = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.PixelShuffle(2))
    assert replace(pair, "subpixel -> transposed", inplace=True).model is pair


@pytest.mark.parametrize(
    "target", ["nearest_conv", "bilinear_conv", "equal_gain", "transposed_fir", "subpixel_icnr_blur"]
)
def test_what_is_put_in_has_no_ripple(target: str) -> None:
    model = nn.ConvTranspose2d(3, 3, 4, 2, 1)
    assert phase_ripple(impulse_response(model, 3, 2), 2) > 0.5
    new = replace(model, f"transposed -> {target}").model
    # what float32 rounds
    assert phase_ripple(impulse_response(new, 3, 2), 2) == pytest.approx(0, abs=1e-12)


def test_in_place_the_model_itself_is_changed() -> None:
    model = Decoder()
    report = replace(model, "transposed -> equal_gain", inplace=True)
    assert report.model is model
    assert isinstance(model.last, EqualGainConvTranspose2d)


def test_copies_share_no_parameters() -> None:
    model = Decoder()
    new = replace(model, "transposed-k3 -> nearest_conv").model
    assert not {id(one) for one in model.parameters()} & {id(one) for one in new.parameters()}


@pytest.mark.parametrize(
    ("only", "paths"),
    [("block.*", ["block.0"]), (["up", "last"], ["up", "last"]), ("*", ["up", "block.0", "last"])],
    ids=["pattern", "several", "all"],
)
def test_only_what_matches(only: Any, paths: list[str]) -> None:
    report = replace(Decoder(), "transposed -> equal_gain", only=only)
    assert [one.paths[0] for one in report.replaced] == paths


def test_what_does_not_match_is_not_named() -> None:
    assert replace(Decoder(), "transposed -> nearest_conv", only="up").left == ()


def test_weights_may_be_drawn_anew() -> None:
    report = replace(Decoder(), "transposed -> subpixel", carry_weights=False)
    assert {one.relative_error for one in report.replaced} == {None}


def test_nothing_to_replace_is_an_equal_copy() -> None:
    model = nn.Sequential(nn.ReLU())
    report = replace(model, "transposed -> subpixel", example_input=torch.randn(2, 3))
    assert (report.replaced, report.left, report.output_error) == ((), (), 0.0)
    assert report.model is not model


class NeedsSize(nn.Module):
    """Asks its layer for a size."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2, 2, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample by 2."""
        y: Tensor = self.up(x, output_size=[2 * n for n in x.shape[2:]])
        return y


@pytest.mark.parametrize(
    ("specification", "lost"),
    [
        # of 16 free taps 9, 13 and 4 remain
        ("transposed -> nearest_conv-k3", 7 / 16),
        ("transposed -> equal_gain", 3 / 16),
        ("transposed -> transposed-k2", 12 / 16),
    ],
)
def test_of_random_kernels_the_dimensions_that_are_missing_are_lost(specification: str, lost: float) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.ConvTranspose2d(64, 64, 4, 2, 1)
    assert replace(model, specification).replaced[0].relative_error == pytest.approx(lost**0.5, rel=0.01)


@pytest.mark.parametrize("inplace", [True, False])
def test_an_example_shows_what_calls_ask_for(inplace: bool) -> None:
    model, x = NeedsSize(), torch.randn(1, 2, 3, 4)
    before, text = list_values(model), str(model)
    with pytest.raises(UsageError, match="example_input: the new model does not run with it"):
        replace(model, "transposed -> nearest_conv", example_input=x, inplace=inplace)
    # it is what it was
    assert str(model) == text
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert model(x).shape == (1, 2, 6, 8)
    assert replace(model, "transposed -> equal_gain", example_input=x, inplace=inplace).model(x).shape == (
        1,
        2,
        6,
        8,
    )


class Uncopyable(nn.Module):
    """Refuses to be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2, 2, 4, 2, 1)

    def __deepcopy__(self, memo: object) -> "Uncopyable":
        raise TypeError("no copies")


def script() -> nn.Module:
    scripted: nn.Module = torch.jit.script(nn.Sequential(nn.ConvTranspose2d(2, 2, 4, 2, 1)))
    return scripted


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (lambda: 3, {}, "model: 3 is not a module of torch"),
        (Uncopyable, {}, "model: it cannot be copied .*no copies.*: take inplace=True"),
        (script, {}, "model: it is TorchScript"),
        (Decoder, {"only": 3}, "only: 3 is not a pattern of paths"),
        (Decoder, {"only": []}, r"only: \[\] is not a pattern of paths"),
        (Decoder, {"only": ["up", 3]}, "only: .* is not a pattern of paths"),
        (Decoder, {"example_input": 3}, "example_input: int is not a tensor"),
        (Decoder, {"example_input": torch.zeros(3)}, "example_input: the model does not run with it: "),
    ],
    ids=["model", "copy", "script", "only", "none", "mixed", "example", "shape"],
)
def test_what_is_not_allowed_is_named(build: Callable[[], Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(build(), "transposed -> nearest_conv", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inplace": "no"}, "inplace: 'no' is not True or False"),
        ({"carry_weights": 1}, "carry_weights: 1 is not True or False"),
        (
            {"only": "encoder.*"},
            r"only: 'encoder\.\*' matches no module of the model; layers of this kind are '\w+",
        ),
        ({"only": ["*", "x"]}, "only: 'x' matches no module of the model; layers of this kind are "),
    ],
    ids=["inplace", "carry_weights", "pattern", "one-of-two"],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        replace(Decoder(), "transposed -> nearest_conv", **options)


def test_a_kind_that_the_model_has_not_is_said_with_those_that_it_has() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(2, 2, 4, 2, 1), nn.Upsample(scale_factor=2), nn.Conv2d(2, 2, 3))
    report = replace(model, "subpixel -> nearest_conv")
    assert report.remark == "no layer of the model is subpixel: it has transposed (1), nearest_conv (1)"
    assert str(report).splitlines() == ["0 replaced, 0 left alone", f"  {report.remark}"]
    assert replace(model, "transposed-k3 -> nearest_conv").remark.startswith(
        "no layer of the model is transposed-k3:"
    )
    assert "it has no upsampling layer that is known" in replace(nn.ReLU(), "transposed -> subpixel").remark
    assert replace(model, "transposed -> nearest_conv").remark == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_carried_over(value: float) -> None:
    layer = nn.ConvTranspose2d(2, 2, 4, 2, 1)
    with torch.no_grad():
        layer.weight[0, 0, 0, 0] = value
    model = nn.Sequential(layer)
    report = replace(model, "transposed -> nearest_conv")
    assert not report.replaced
    assert "its weights are not all finite" in report.left[0].reason
    drawn = replace(model, "transposed -> nearest_conv", carry_weights=False)
    assert len(drawn.replaced) == 1
    assert all(bool(parameter.isfinite().all()) for parameter in drawn.model.parameters())


def test_the_new_model_trains_pickles_and_copies() -> None:
    report = replace(Decoder(), "transposed -> nearest_conv")
    new, x = report.model, torch.randn(1, 2, 3, 4)
    optimizer = torch.optim.Adam(new.parameters(), lr=0.01)
    target = torch.zeros_like(new(x))
    first = functional.mse_loss(new(x), target)
    for _ in range(5):
        optimizer.zero_grad()
        loss = functional.mse_loss(new(x), target)
        torch.autograd.backward(loss)
        optimizer.step()
    assert functional.mse_loss(new(x), target) < first
    new.eval()
    assert torch.equal(pickle.loads(pickle.dumps(new))(x), new(x))
    assert torch.equal(copy.deepcopy(new)(x), new(x))


def test_it_is_public() -> None:
    assert deconvbench.replace is replace
    assert isinstance(replace(nn.ReLU(), "transposed -> subpixel"), ReplaceReport)


def test_outputs_that_are_not_finite_are_not_called_equal() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(2, 2, 3, 2), nn.Conv2d(2, 2, 1))
    with torch.no_grad():
        model.get_parameter("1.weight")[0] = torch.inf
    report = replace(model, "transposed -> nearest_conv", example_input=torch.rand(1, 2, 8, 8))
    assert report.output_error is not None
    assert math.isnan(report.output_error)
    assert "not compared: they hold NaN or infinity" in str(report)
