"""Whole networks: the same numbers, gradients, training steps and keys, and nothing where there is nothing."""

import copy
import io
import itertools
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import deconvbench
from deconvbench.errors import UsageError
from deconvbench.networks.fusion import FusionError, deconvolution, fuse, observation, resizing
from deconvbench.networks.fusion.rewriting import copy_sharing
from tests.networks.fusion.comparing import LIMITS, differentiate_both, run_both
from tests.networks.fusion.networks import GeneratorBlock, TransformationNetwork, UNet, Up, VaeDecoder

Build = Callable[[], nn.Module]

# how to build it, what it takes, how many fast convolutions it has, how many places fuse() reports
NETWORKS: dict[str, tuple[Build, tuple[int, ...], int, int]] = {
    "vae_decoder": (VaeDecoder, (1, 4, 5, 6), 2, 2),
    "unet": (UNet, (2, 3, 16, 8), 3, 3),
    "unet_by_size": (lambda: UNet(by_size=True), (1, 3, 8, 12), 3, 3),
    "transformation": (TransformationNetwork, (1, 3, 16, 20), 2, 2),
    # the convolution of the shortcut is moved before its upsampling
    "generator_block": (lambda: GeneratorBlock(6, 4), (2, 6, 3, 5), 1, 2),
}
over_networks = pytest.mark.parametrize("name", NETWORKS)
over_dtypes = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def build(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    make, shape, *_ = NETWORKS[name]
    return make().to(dtype), torch.randn(shape, dtype=dtype)


@over_networks
@over_dtypes
def test_outputs_and_gradients_are_those_of_the_original(
    name: str, dtype: torch.dtype, fast_calls: list[tuple[int, ...]]
) -> None:
    model, x = build(name, dtype)
    model.eval()
    report = fuse(model, x, verify_gradients=True)
    assert len(report.changed) == NETWORKS[name][3]
    assert report.max_relative_error is not None
    assert report.max_relative_error <= LIMITS[dtype]
    assert report.max_relative_gradient_error is not None
    assert report.max_relative_gradient_error <= 1e-9
    fast_calls.clear()
    # twice, for nothing may be left over from the first call
    assert max(run_both(model, report.model, x) for _ in range(2)) <= LIMITS[dtype]
    assert len(fast_calls) == 2 * NETWORKS[name][2]


@over_networks
def test_without_an_example_the_same_is_found(name: str, fast_calls: list[tuple[int, ...]]) -> None:
    model, x = build(name)
    fused = fuse(model.eval()).model
    assert fused is not model
    assert run_both(model, fused, x) <= 1e-10
    assert len(fast_calls) == NETWORKS[name][2]


@over_networks
def test_a_training_step_is_the_same(name: str) -> None:
    model, x = build(name)
    twin = copy.deepcopy(model)
    fused = fuse(twin, inplace=True).model
    assert fused is twin
    optimizers = [torch.optim.SGD(one.parameters(), lr=0.1, momentum=0.9) for one in (model, fused)]
    for _ in range(2):
        for one, optimizer in zip((model, fused), optimizers, strict=True):
            optimizer.zero_grad()
            y = one(x)
            (y["sample"] if isinstance(y, dict) else y).square().mean().backward()
            optimizer.step()
    for (key, expected), found in zip(model.state_dict().items(), fused.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9, msg=key)


@over_networks
def test_other_sizes_than_the_example_are_exact(name: str) -> None:
    model, x = build(name)
    fused = fuse(model.eval(), x).model
    other = torch.randn(3, x.shape[1], 24, 12, dtype=x.dtype)
    assert run_both(model, fused, other) <= 1e-10


@over_networks
def test_parameters_buffers_and_keys_are_shared(name: str) -> None:
    model, _ = build(name)
    fused = fuse(model).model
    assert list(fused.state_dict()) == list(model.state_dict())
    for (path, expected), (_, found) in zip(model.named_parameters(), fused.named_parameters(), strict=True):
        assert expected is found, path
    for (path, before), (_, after) in zip(model.named_buffers(), fused.named_buffers(), strict=True):
        assert before is after, path
    modules = set(model.modules())
    assert modules.isdisjoint(fused.modules())


def test_a_state_dict_goes_both_ways() -> None:
    model, x = build("vae_decoder")
    fused = fuse(copy.deepcopy(model)).model
    other, _ = build("vae_decoder")
    for parameter in other.parameters():
        nn.init.normal_(parameter, std=0.1)
    fused.load_state_dict(other.state_dict())
    assert run_both(other, fused, x) <= 1e-10
    model.load_state_dict(fused.state_dict())
    assert run_both(other, model, x) <= 1e-10


def test_training_the_fused_model_trains_the_original() -> None:
    model, x = build("unet")
    fused = fuse(model).model
    fused(x).square().mean().backward()
    with torch.no_grad():
        for parameter in fused.parameters():
            if parameter.grad is not None:
                parameter.sub_(0.1 * parameter.grad)
    model.eval()
    fused.eval()
    assert run_both(model, fused, x) <= 1e-10


def test_training_flags_are_each_models_own() -> None:
    model, _ = build("unet")
    fused = fuse(model).model
    fused.eval()
    assert all(module.training for module in model.modules())
    assert not any(module.training for module in fused.modules())


@over_networks
def test_copies_and_pickles_stay_fused(name: str, fast_calls: list[tuple[int, ...]]) -> None:
    model, x = build(name)
    fused = fuse(model.eval()).model
    file = io.BytesIO()
    torch.save(fused, file)
    file.seek(0)
    for other in (
        copy.deepcopy(fused),
        pickle.loads(pickle.dumps(fused)),
        torch.load(file, weights_only=False),
    ):
        fast_calls.clear()
        assert run_both(model, other, x) <= 1e-10
        assert len(fast_calls) == NETWORKS[name][2]
        assert not {id(parameter) for parameter in other.parameters()} & {id(p) for p in model.parameters()}


def test_classes_stay_what_they_were() -> None:
    model, x = build("vae_decoder")
    fused = fuse(model, x).model
    module, original = (
        fused.get_submodule("up_blocks.0.upsamplers.0"),
        model.get_submodule("up_blocks.0.upsamplers.0"),
    )
    assert isinstance(module, type(original))
    assert type(module).__name__ == type(original).__name__
    assert "FusedUpsample2D" in repr(fused)
    assert type(module) is type(original)
    assert type(fused) is type(model)


def test_to_another_dtype_and_back() -> None:
    model, x = build("transformation")
    fused = fuse(copy.deepcopy(model)).model
    assert run_both(model.float(), fused.float(), x.float()) <= 1e-5
    assert run_both(model.double(), fused.double(), x) <= 1e-5


@pytest.mark.parametrize("example", [None, torch.zeros(1, 3, 8, 8)], ids=["unseen", "seen"])
def test_nothing_to_fuse_is_the_very_same_model(example: Tensor | None) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    report = fuse(model, example)
    assert report.model is model
    assert not report.changed
    assert not report.left


def test_fusing_twice_changes_nothing_more() -> None:
    model, x = build("vae_decoder")
    fused = fuse(model, x).model
    for report in (fuse(fused), fuse(fused, x)):
        assert report.model is fused
        assert report.changed == ()


def test_an_example_leaves_no_trace() -> None:
    model: Any
    model, x = build("unet")
    state = copy.deepcopy(model.state_dict())
    model.blocks.eval()
    flags = [module.training for module in model.modules()]
    before, random = x.clone(), torch.get_rng_state()
    fuse(model, x, verify_gradients=True)
    assert [module.training for module in model.modules()] == flags
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(x, before)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


class Counting(Up):
    """Counts its calls in a buffer, whatever the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        return super().forward(x) * self.calls


def test_a_buffer_that_counts_is_put_back() -> None:
    model = Counting()
    report = fuse(model, torch.randn(1, 4, 3, 3), verify_gradients=True)
    assert report.changed
    assert model.calls == 0


@pytest.mark.parametrize("as_dict", [False, True], ids=["tuple", "dict"])
def test_examples_with_several_arguments(as_dict: bool) -> None:
    model = UNet().blocks[0].eval()
    x, skip = torch.randn(1, 16, 3, 4), torch.randn(1, 8, 6, 8)
    report = fuse(model, {"x": x, "skip": skip} if as_dict else (x, skip))
    assert [change.path for change in report.changed] == ["conv1.0"]
    assert run_both(model, report.model, x, skip) <= 1e-5


def test_the_public_name_is_the_function() -> None:
    assert deconvbench.fuse is fuse


@pytest.mark.parametrize("inplace", [True, False], ids=["inplace", "copied"])
@pytest.mark.parametrize("what", ["outputs", "gradients"])
def test_a_difference_is_an_error_and_changes_nothing(
    what: str, inplace: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = build("vae_decoder")
    model.eval()
    expected = model(x)["sample"]
    original = resizing.resize_conv2d

    def distort(image: Tensor, weight: Tensor, bias: Tensor | None, **options: object) -> Tensor:
        y = original(image, weight, bias, **options)  # type: ignore[arg-type] # passed on as it came
        return y * (1 + 1e-3) if what == "outputs" else y + (y - y.detach())

    # only the comparison of whole models, as if the parts had been right
    monkeypatch.setattr(observation, "compare", lambda *_: 0.0)
    monkeypatch.setattr(resizing, "resize_conv2d", distort)
    with pytest.raises(FusionError, match=f"the {what} of the fused model differ.*up_blocks.*nothing was changed"):
        fuse(model, x, inplace=inplace, verify_gradients=True)
    monkeypatch.undo()
    assert torch.equal(model(x)["sample"], expected)
    assert fuse(model, x).max_relative_error is not None
    assert "Fused" not in repr(model)


def test_a_wrong_transposed_convolution_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.ConvTranspose2d(4, 2, 4, 4))
    monkeypatch.setattr(deconvolution, "deconvolve", lambda *_: torch.zeros(1, 2, 12, 12))
    with pytest.raises(
        FusionError, match="the outputs of the fused model differ by 1.0e.00 of the largest value; nothing"
    ):
        fuse(model, torch.randn(1, 4, 3, 3))


class Flattening(nn.Module):
    """A network whose last layer takes nothing but a tensor in torch's own order."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).view(len(x), -1)  # type: ignore[no-any-return] # modules are not typed


@pytest.mark.parametrize("inplace", [False, True], ids=["copy", "inplace"])
@pytest.mark.parametrize("kind", ["deconvolution", "resize-convolution", "watched"])
def test_an_error_of_the_fused_model_alone_leaves_it_alone(
    kind: str, inplace: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "deconvolution":
        model = Flattening(nn.ConvTranspose2d(4, 2, 4, 4))
        wrong = torch.zeros(1, 2, 12, 13)[..., :12]
        monkeypatch.setattr(deconvolution, "deconvolve", lambda *_: wrong)
    else:
        up = (
            Up(4, 4)
            if kind == "watched"
            else nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3, padding=1))
        )
        model = Flattening(up)
        original = resizing.resize_conv2d

        def lay_out_otherwise(*args: Any, **options: Any) -> Tensor:
            return original(*args, **options).transpose(2, 3).contiguous().transpose(2, 3)

        monkeypatch.setattr(resizing, "resize_conv2d", lay_out_otherwise)
    x = torch.randn(1, 4, 3, 3)
    expected = model(x)
    report = fuse(model, x, inplace=inplace)
    assert report.model is model
    assert not report.changed
    assert "the fused model raises RuntimeError: view size is not compatible" in report.left[0].reason
    assert torch.equal(report.model(x), expected)


def test_a_wrong_convolution_is_left_alone_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = build("vae_decoder")
    original = resizing.resize_conv2d
    monkeypatch.setattr(
        resizing, "resize_conv2d", lambda *args, **options: original(*args, **options) * (1 + 1e-3)
    )
    report = fuse(model.eval(), x)
    assert report.model is model
    assert {left.path for left in report.left} == {f"up_blocks.{number}.upsamplers.0.conv" for number in (0, 1)}
    assert all("differs by" in left.reason for left in report.left)


def test_a_tolerance_of_ones_own() -> None:
    model, x = build("unet", torch.float32)
    model.eval()
    assert fuse(model, x, tolerance=1e-3).model is not model
    assert fuse(model, x, tolerance=0).model is model


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_is_left_alone_and_the_report_says_why(name: str) -> None:
    dtype = getattr(torch, name)
    model, x = build("vae_decoder", dtype)
    report = fuse(model.eval(), x)
    assert report.model is model
    assert not report.changed
    assert (
        str(report).count("is computed in half precision, where no fast form but the compiled one is as precise")
        == 2
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": 3}, "model: int is not an nn.Module"),
        ({"example_input": 3}, "example_input: int is not a tensor"),
        ({"verify_gradients": True}, "verify_gradients: True needs an example_input"),
        ({"tolerance": -1.0}, "tolerance: -1.0 is not a number of at least 0"),
        ({"tolerance": float("nan")}, "tolerance: nan is not a number"),
        ({"cache_weights": True}, "cache_weights: the model is training"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_wrong_arguments_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fuse(**{"model": Up(), **options})  # type: ignore[arg-type] # wrong on purpose


class NoTensor(Up):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x).sum().item()


class Detached(Up):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x).detach()


def test_an_output_without_tensors_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="example_input: the model's output holds no tensors"):
        fuse(NoTensor(), torch.zeros(1, 4, 3, 3))


def test_an_output_without_gradients_cannot_be_verified() -> None:
    with pytest.raises(UsageError, match="verify_gradients: no output of the model has a gradient"):
        fuse(Detached(), torch.zeros(1, 4, 3, 3), verify_gradients=True)


def test_frozen_weights_are_kept_and_seen_to_change() -> None:
    model, x = build("vae_decoder")
    fused = fuse(model.eval(), x, cache_weights=True).model
    module: Any = fused.get_submodule("up_blocks.0.upsamplers.0")
    weight_cache = module.weight_cache
    with torch.inference_mode():
        assert run_both(model, fused, x) <= 1e-10
    assert len(weight_cache) == 1
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
        assert run_both(model, fused, x) <= 1e-10
    # with gradients nothing kept is used
    assert differentiate_both(model, fused, x) <= 1e-10
    fused.train()(x)
    assert len(weight_cache) == 0


class Referring(nn.Module):
    """Refers to its parts in ways that are not children."""

    def __init__(self) -> None:
        super().__init__()
        self.part = Up(4, 4)
        self.parts = [self.part]
        self.method: Any = self.part.forward
        self.mean = torch.ones(3)
        self.register_buffer("absent", None)
        self.config = {"width": 4}

    def forward(self, x: Tensor) -> Any:
        return self.method(x)


def test_references_are_to_the_copy() -> None:
    model = Referring()
    found = copy_sharing(model)
    assert found.parts[0] is found.part is not model.part
    assert found.method.__self__ is found.part
    assert found.part.conv.weight is model.part.conv.weight
    assert found.mean is model.mean
    assert found.config == model.config
    assert found.config is not model.config


def test_hooks_are_copied() -> None:
    model = Up()
    seen: list[Any] = []
    model.conv.register_forward_hook(lambda *_: seen.append(1))
    fuse(model).model(torch.zeros(1, 4, 2, 2))
    assert seen == [1]


def test_old_weight_norm_can_be_copied() -> None:
    model = Up()
    with pytest.warns(FutureWarning, match="weight_norm"):
        nn.utils.weight_norm(model.conv)
    x = torch.randn(1, 4, 3, 3)
    model(x)
    assert torch.allclose(copy_sharing(model)(x), model(x))


def test_what_cannot_be_copied_is_named() -> None:
    model = Up()
    model.lock = threading.Lock()  # type: ignore[assignment] # no module
    with pytest.raises(UsageError, match=r"model: cannot be copied \(cannot pickle '_thread.lock'.*inplace=True"):
        fuse(model)
    assert fuse(model, inplace=True).watched


class Recurrent(Up):
    """Answers with a state of its own, in the way it is told."""

    def __init__(self, way: str) -> None:
        super().__init__(4, 4)
        self.way = way
        self.state: Any = None
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros(()))
        self.history: list[Tensor] = []
        self.generator = torch.Generator().manual_seed(1)

    def forward(self, x: Tensor) -> Any:
        self.steps = self.steps + 1
        y = super().forward(x)
        if self.way == "state":
            self.state = y if self.state is None else self.state + y
            return self.state
        if self.way == "list":
            self.history.append(y)
            return torch.stack(self.history).sum(0)
        if self.way == "generator":
            return y + torch.rand(y.shape, generator=self.generator)
        return y * self.steps


@pytest.mark.parametrize("way", ["state", "list", "generator", "buffer"])
@pytest.mark.parametrize("inplace", [False, True], ids=["copied", "inplace"])
def test_a_model_with_a_state_is_fused_and_gets_it_back(way: str, inplace: bool) -> None:
    model, x = Recurrent(way).eval(), torch.randn(1, 4, 3, 5)
    untouched = Recurrent(way).eval()
    untouched.load_state_dict(model.state_dict())
    report = fuse(model, x, inplace=inplace)
    assert report.changed
    fused: Any = report.model
    for one in (model, fused):
        assert (int(one.steps), one.state, len(one.history)) == (0, None, 0)
    for _ in range(3):
        # each has a state of its own, so both take the same steps
        assert run_both(untouched, fused, x) <= 1e-5


_calls = itertools.count()


class Fickle(Up):
    """Another every time, for a reason that nobody can put back."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x) * (1 + next(_calls))


@pytest.mark.parametrize("inplace", [False, True], ids=["copied", "inplace"])
def test_a_model_that_differs_from_itself_is_left_alone_and_not_blamed_on_fusion(inplace: bool) -> None:
    model, x = Fickle().eval(), torch.randn(1, 4, 3, 5)
    before = dict(vars(model))
    report = fuse(model, x, inplace=inplace)
    assert report.model is model
    assert report.changed == ()
    assert "between two runs of itself with the same input" in report.left[0].reason
    assert vars(model) == before
    assert fuse(model).watched


class Growing(Up):
    def forward(self, x: Tensor) -> Any:
        return [super(Growing, self).forward(x) for _ in range(1 + next(_calls) % 7)]


def test_another_number_of_outputs_is_a_difference_too() -> None:
    assert "between two runs of itself" in fuse(Growing().eval(), torch.randn(1, 4, 3, 5)).left[0].reason


class FickleGradient(Up):
    def forward(self, x: Tensor) -> Any:
        y = super().forward(x)
        return y + next(_calls) * (y - y.detach())


def test_a_gradient_that_differs_from_itself_is_not_blamed_on_fusion() -> None:
    model, x = FickleGradient().eval(), torch.randn(1, 4, 3, 5)
    report = fuse(model, x, verify_gradients=True)
    assert report.model is model
    assert report.left[0].reason.startswith("its gradients differ by")
