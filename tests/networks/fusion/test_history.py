"""Gradients of maps that other code looks at, and of what is computed twice: those of the plain network."""

import copy
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from deconvbench.networks.fusion import fuse
from deconvbench.networks.fusion.checking import compare_gradients
from deconvbench.networks.fusion.history import Watch, are_hooks_active
from deconvbench.networks.fusion.recorded import RecordedCall
from tests.networks.fusion.comparing import differentiate_both
from tests.networks.fusion.test_odd_cases import up, written

FastCalls = list[tuple[int, ...]]


class Net(nn.Module):
    """Upsamples, works on the map, convolves it, and returns both."""

    def __init__(self, step: Callable[[Tensor], Tensor], watch: Callable[[Tensor], Any] | None = None) -> None:
        super().__init__()
        self.up, self.conv = nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3, padding=1)
        self.step, self.watch = step, watch

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.up(x)
        if self.watch is not None:
            self.watch(h)
        return self.conv(self.step(h)), h


STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "nothing": lambda h: h,
    "activation": torch.tanh,
    "activation_of_its_input": lambda h: functional.leaky_relu(h, 0.2),
    "product": lambda h: h * 3,
    "attention": lambda h: h * h.mean((2, 3), keepdim=True),
    "joined": lambda h: torch.cat([h[:, :2] * 1, torch.relu(h)[:, 2:]], 1),
    "read_too": lambda h: h + h.mean(),
}


def look(net: nn.Module, x: Tensor, how: Callable[[Tensor, Tensor, Tensor, list[Any]], Any]) -> list[Any]:
    net.zero_grad()
    given = x.clone().requires_grad_()
    seen: list[Any] = []
    y, h = net(given)
    how(y, h, given, seen)
    assert type(h) is Tensor
    return [*seen, h.grad if h.retains_grad else None, given.grad, *(p.grad for p in net.parameters())]


def retain(y: Tensor, h: Tensor, x: Tensor, seen: list[Any]) -> None:
    h.retain_grad()
    y.square().sum().backward()  # type: ignore[no-untyped-call] # torch has no types here


def use_twice(y: Tensor, h: Tensor, x: Tensor, seen: list[Any]) -> None:
    h.retain_grad()
    (y.square().sum() + h.square().sum()).backward()  # type: ignore[no-untyped-call] # torch has no types here


def hook(y: Tensor, h: Tensor, x: Tensor, seen: list[Any]) -> None:
    h.register_hook(lambda gradient: gradient * 0.1)  # type: ignore[no-untyped-call] # torch has no types here
    y.square().sum().backward()  # type: ignore[no-untyped-call] # torch has no types here


def hook_the_node(y: Tensor, h: Tensor, x: Tensor, seen: list[Any]) -> None:
    assert h.grad_fn is not None
    h.grad_fn.register_prehook(lambda gradients: tuple(3 * gradient for gradient in gradients))
    y.square().sum().backward()  # type: ignore[no-untyped-call] # torch has no types here


def hook_many(y: Tensor, h: Tensor, x: Tensor, seen: list[Any]) -> None:
    torch.autograd.graph.register_multi_grad_hook((h, y), seen.extend)
    y.square().sum().backward()  # type: ignore[no-untyped-call] # torch has no types here


def differentiate(y: Tensor, h: Tensor, x: Tensor, seen: list[Any]) -> None:
    seen.extend(torch.autograd.grad(y.square().sum(), [h, x]))


def differentiate_inputs(y: Tensor, h: Tensor, x: Tensor, seen: list[Any]) -> None:
    y.square().sum().backward(inputs=[h, x])  # type: ignore[no-untyped-call] # torch has no types here
    seen.append(h.grad)


def go_back_twice(y: Tensor, h: Tensor, x: Tensor, seen: list[Any]) -> None:
    h.retain_grad()
    y.square().sum().backward(retain_graph=True)  # type: ignore[no-untyped-call] # torch has no types here
    y.sum().backward()  # type: ignore[no-untyped-call] # torch has no types here


def penalise(y: Tensor, h: Tensor, x: Tensor, seen: list[Any]) -> None:
    (gradient,) = torch.autograd.grad(y.square().sum(), h, create_graph=True)
    gradient.square().sum().backward()  # type: ignore[no-untyped-call] # torch has no types here


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "how",
    [
        *(retain, use_twice, hook, hook_the_node, hook_many, differentiate, differentiate_inputs),
        *(go_back_twice, penalise),
    ],
    ids=lambda how: how.__name__,
)
def test_a_returned_map_has_the_gradients_of_the_plain_one(how: Any, step: str) -> None:
    torch.manual_seed(0)
    model = Net(STEPS[step]).double()
    fused = fuse(model).model
    x = torch.randn(1, 4, 4, 6, dtype=torch.float64)
    for expected, found in zip(look(model, x, how), look(fused, x, how), strict=True):
        assert (expected is None) == (found is None)
        assert expected is None or torch.allclose(found, expected, rtol=1e-9)


INSIDE: dict[str, Callable[[Tensor], Any]] = {
    "hook": lambda h: h.register_hook(lambda gradient: gradient * 0.1),  # type: ignore[no-untyped-call] # torch has no types here
    "retained": lambda h: h.retain_grad(),
    "node": lambda h: h.grad_fn.register_hook(lambda found, _: tuple(2 * one for one in found)),  # type: ignore[union-attr] # it has one
}


@pytest.mark.parametrize("step", ["nothing", "activation", "product"])
@pytest.mark.parametrize("name", INSIDE)
def test_a_hook_before_the_convolution_is_called(name: str, step: str) -> None:
    torch.manual_seed(0)
    model = Net(STEPS[step], INSIDE[name]).double()
    fused = fuse(model).model
    x = torch.randn(1, 4, 4, 6, dtype=torch.float64)
    assert differentiate_both(model, fused, x) <= 1e-9


@pytest.mark.parametrize("place", ["up", "conv"])
def test_backward_hooks_of_modules_are_called(place: str) -> None:
    torch.manual_seed(0)
    model = Net(torch.tanh).double()
    seen: list[Tensor] = []
    getattr(model, place).register_full_backward_hook(
        lambda module, found, gradients: seen.extend(one for one in (*found, *gradients) if one is not None)
    )
    x = torch.randn(1, 4, 4, 6, dtype=torch.float64)
    assert differentiate_both(model, fuse(model).model, x) <= 1e-9
    first, second = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert all(torch.allclose(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("place", ["up", "conv"])
def test_what_a_forward_hook_captured_has_its_gradient(place: str) -> None:
    torch.manual_seed(0)
    model = Net(torch.tanh).double()
    fused = fuse(model).model
    gradients = []
    for one in (model, fused):
        kept: list[Tensor] = []
        hooked: Any = getattr(one, place)
        handle = (
            hooked.register_forward_hook(lambda module, args, output, kept=kept: kept.append(output))
            if place == "up"
            else hooked.register_forward_pre_hook(lambda module, args, kept=kept: kept.append(args[0]))
        )
        torch.manual_seed(1)
        y, _ = one(torch.randn(1, 4, 4, 6, dtype=torch.float64, requires_grad=True))
        handle.remove()
        gradients.append(torch.autograd.grad(y.square().sum(), kept[0])[0])
    assert torch.allclose(gradients[0], gradients[1])


@pytest.mark.parametrize("is_held", [False, True])
def test_only_a_map_that_is_held_is_convolved_again_in_a_backward_pass(
    is_held: bool, fast_calls: FastCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn(1, 4, 4, 6, dtype=torch.float64, requires_grad=True)
    held: list[Tensor] = []
    watch = held.append if is_held else (lambda h: None)
    model = fuse(written(lambda c, x: (watch(h := up(x)), c(torch.tanh(h)))[1]).double()).model
    y = model(x)
    assert len(fast_calls) == 1
    made: list[Any] = []
    original = RecordedCall.run

    def note(call: RecordedCall, tensors: Any) -> Tensor:
        made.append(call)
        return original(call, tensors)

    monkeypatch.setattr(RecordedCall, "run", note)
    y.sum().backward()
    assert bool(made) == is_held


def test_nothing_of_a_graph_outlives_it() -> None:
    model = fuse(written(lambda c, x: c(functional.leaky_relu(up(x), 0.2)))).model
    x = torch.randn(1, 4, 4, 6, requires_grad=True)
    source = x * 1
    y = model(source)
    reference = weakref.ref(source)
    del source
    y.sum().backward()
    assert reference() is None
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()


@pytest.mark.parametrize("name", ["in_place", "data"])
def test_a_source_may_change_after_the_convolution(name: str) -> None:
    def forward(c: nn.Module, x: Tensor) -> Any:
        x = x * 1
        y = c(functional.leaky_relu(up(x), 0.2))
        if name == "data":
            x.data.zero_()
        else:
            x.mul_(2)
        return y + x.mean()

    torch.manual_seed(0)
    model = written(forward).double()
    assert differentiate_both(model, fuse(model).model, torch.randn(1, 4, 4, 6, dtype=torch.float64)) <= 1e-9


LATE: dict[str, Callable[[Tensor], Any]] = {
    "in_place": lambda x: x.detach().mul_(2),
    "data": lambda x: x.data.zero_(),
    "numpy": lambda x: x.detach().numpy().fill(3),
    "dlpack": lambda x: torch.utils.dlpack.from_dlpack(x.detach()).add_(1),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", LATE)
def test_a_source_may_change_after_its_module(name: str, step: str) -> None:
    torch.manual_seed(0)
    model = Net(STEPS[step]).double()
    fused = fuse(model).model
    x = torch.randn(1, 4, 4, 6, dtype=torch.float64)
    gradients = []
    for one in (model, fused):
        one.zero_grad()
        given = x.clone().requires_grad_()
        source = given * 1
        y, h = one(source)
        del h
        LATE[name](source)
        y.square().sum().backward()
        gradients.append([given.grad, *(parameter.grad for parameter in one.parameters())])
    assert compare_gradients(*gradients) <= 1e-9


class Inside(nn.Module):
    """Checkpoints within the module that is watched."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.options = options

    def enlarge(self, x: Tensor) -> Any:
        return self.conv(torch.relu(up(x)))

    def forward(self, x: Tensor) -> Any:
        return checkpoint(self.enlarge, self.stem(x), **self.options)


class Around(Inside):
    """Checkpoints a module that is watched itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.block = Net(torch.tanh)

    def enlarge(self, x: Tensor) -> Any:
        return self.block(x)[0]


class Outside(Inside):
    """Upsamples before the checkpoint, convolves in it."""

    def forward(self, x: Tensor) -> Any:
        h = up(self.stem(x))
        return checkpoint(lambda h: self.conv(torch.relu(h)), h, **self.options) + h.mean()


class Nested(Inside):
    """A checkpoint in a checkpoint."""

    def enlarge(self, x: Tensor) -> Any:
        h = up(x)
        return h + checkpoint(lambda h: self.conv(h) + self.conv(up(x)), h, **self.options)


class Chained(Inside):
    """A container in a checkpoint."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.chain = nn.Sequential(nn.Upsample(scale_factor=2), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))

    def enlarge(self, x: Tensor) -> Any:
        return self.chain(x)


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"use_reentrant": False},
    "late_stop": {"use_reentrant": False, "early_stop": False},
    "unchecked": {"use_reentrant": False, "determinism_check": "none"},
    "reentrant": {"use_reentrant": True},
}


# torch warns that an inner reentrant one has nothing to compute again
CHECKPOINTS = [
    (kind, options)
    for kind in (Inside, Around, Outside, Nested, Chained)
    for options in OPTIONS
    if (kind, options) != (Nested, "reentrant")
]


@pytest.mark.parametrize(("kind", "options"), CHECKPOINTS)
def test_checkpoints_train_as_the_original_does(kind: Any, options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = kind(**OPTIONS[options]).double()
    fused = fuse(model).model
    for size in (4, 2, 4, 2):
        # every second call of a size may be one in which nothing is to be gained
        monkeypatch.setattr("deconvbench.networks.fusion.resizing.LEAST_PIXELS_SPLIT", size)
        x = torch.randn(1, 4, size, size, dtype=torch.float64)
        for training in (True, False):
            gradients = []
            for one in (model.train(training), fused.train(training)):
                one.zero_grad()
                given = x.clone().requires_grad_()
                one(given).square().sum().backward()
                gradients.append([given.grad, *(p.grad for p in one.parameters() if p.grad is not None)])
            assert all(torch.allclose(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("is_small", [False, True])
def test_a_small_map_is_checkpointed_too(is_small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if is_small:
        monkeypatch.setattr("deconvbench.networks.fusion.resizing.choose", lambda *_, **__: "plain")
    model = Around(use_reentrant=False).double()
    fused = fuse(model).model
    for _ in range(3):
        assert differentiate_both(model, fused, torch.randn(1, 4, 2, 2, dtype=torch.float64)) <= 1e-9


def test_hooks_count_only_where_gradients_are_recorded() -> None:
    assert not are_hooks_active()
    with torch.autograd.graph.save_on_cpu():
        assert are_hooks_active()
        with torch.no_grad():
            assert not are_hooks_active()


def test_a_map_is_watched_while_it_is_held_or_after_it_was_given_away() -> None:
    watch, face = Watch(), torch.ones(1)
    seen = [watch.is_watched]
    watch.follow(face)
    seen.append(watch.is_watched)
    del face
    seen.append(watch.is_watched)
    watch.is_exposed = True
    seen.append(watch.is_watched)
    assert seen == [False, True, False, True]


def join_with_itself(c: nn.Module, x: Tensor) -> Any:
    h = up(x[:, :2])
    return c(torch.cat([h, h], 1))


def share_an_activation(c: nn.Module, x: Tensor) -> Any:
    h = functional.leaky_relu(up(x), 0.2)
    return c(h) + c(h) * c(torch.tanh(h))


def share_a_convolution_of_pixels(c: Any, x: Tensor) -> Any:
    h = functional.conv2d(up(x), c.weight[:, :, :1, :1])
    return c(h) + c(torch.relu(h))


def join_what_was_convolved(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    y = c(h)
    return c(torch.cat([h[:, :0], up(x[:, :2]), y[:, :2]], 1)) + c(torch.cat([up(x[:, :3]), y[:, :1]], 1))


def toggle_the_source(c: nn.Module, x: Tensor) -> Any:
    source = x.detach()
    h = up(source)
    source.requires_grad_()
    return c(h) + x.mean()


def detach_the_source(c: nn.Module, x: Tensor) -> Any:
    source = x * 2
    h = up(source)
    source.detach_()
    return c(h)


def change_after_activation(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    y = c(torch.relu(h))
    h.mul_(3)
    return y + c(h)


def use_one_of_inference(c: nn.Module, x: Tensor) -> Any:
    with torch.inference_mode():
        frozen = x.detach() * 2
    return c(up(frozen)) + x.mean()


def stop_recording(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    with torch.no_grad():
        y = c(torch.relu(h))
    return c(h * y.mean())


def start_recording(c: nn.Module, x: Tensor) -> Any:
    with torch.no_grad():
        h = up(x)
        with torch.enable_grad():
            return c(h * x.mean()) + c(up(x))


def make_a_leaf(c: nn.Module, x: Tensor) -> Any:
    with torch.no_grad():
        h = up(x)
    h.requires_grad_()
    (gradient,) = torch.autograd.grad(c(h).square().sum(), h)
    return c(h) + gradient


def go_back_inside(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    (gradient,) = torch.autograd.grad(c(h).square().sum(), h, create_graph=True)
    return c(h) + gradient


def normalise_channels_last(c: nn.Module, x: Tensor) -> Any:
    h = up(x.contiguous(memory_format=torch.channels_last))
    scale = x.mean((0, 2, 3))
    return c(functional.batch_norm(h, scale.detach(), torch.ones_like(scale), scale.exp(), scale)).mean((2, 3))


PROGRAMS = [
    *(join_with_itself, share_an_activation, share_a_convolution_of_pixels, join_what_was_convolved),
    *(toggle_the_source, detach_the_source, change_after_activation, use_one_of_inference),
    *(stop_recording, start_recording, make_a_leaf, go_back_inside, normalise_channels_last),
]


@pytest.mark.parametrize("form", ["tiled", "minimal", "subpixel", "transposed"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_gradients_of_programs(program: Any, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deconvbench.networks.fusion.resizing.choose", lambda *_, **__: form)
    torch.manual_seed(0)
    model = written(program).double()
    fused = fuse(model).model
    x = torch.randn(1, 4, 4, 6, dtype=torch.float64)
    assert differentiate_both(model, fused, x) <= 1e-9
    penalties = []
    for one in (model, fused):
        given = x.clone().requires_grad_()
        leaves = [given, *one.parameters()]
        found = torch.autograd.grad(one(given).square().sum(), leaves, create_graph=True, allow_unused=True)
        # for the type, None may be among them
        known: list[Any] = list(found)
        total = torch.stack([gradient.square().sum() for gradient in known if gradient is not None]).sum()
        penalties.append(torch.autograd.grad(total, leaves, allow_unused=True))
    assert compare_gradients(penalties[0], penalties[1]) <= 1e-8


class Normalising(nn.Module):
    """Checkpoints a region that normalises and convolves an upsampled tensor, and writes into that tensor."""

    def __init__(
        self,
        write_inside: Callable[[Tensor], Any],
        write_after: Callable[[Tensor], Any],
        *,
        is_plain: bool,
        use_reentrant: bool,
    ) -> None:
        super().__init__()
        self.stem, self.norm, self.conv = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)
        self.write_inside, self.write_after = write_inside, write_after
        self.is_plain, self.use_reentrant = is_plain, use_reentrant

    def region(self, h: Tensor) -> Any:
        self.write_inside(h)
        self.norm(h)
        return self.conv(h)

    def forward(self, x: Tensor) -> Any:
        h = up(x.detach() if self.is_plain else self.stem(x))
        y = checkpoint(self.region, h, use_reentrant=self.use_reentrant)
        self.write_after(h)
        return y


def leave_alone(h: Tensor) -> None:
    pass


def write_unrecorded(h: Tensor) -> None:
    with torch.no_grad():
        functional.relu(h, inplace=True)


def write_into_a_part(h: Tensor) -> None:
    h[:, :1] = 0


WRITES: dict[str, Callable[[Tensor], Any]] = {
    "zero": lambda h: h.zero_(),
    "relu": lambda h: h.relu_(),
    "functional": lambda h: functional.relu(h, inplace=True),
    "unrecorded": write_unrecorded,
    "part": write_into_a_part,
    "view": lambda h: h.view(-1).mul_(2),
    "data": lambda h: h.data.mul_(2),
}


def train_once(model: nn.Module, x: Tensor) -> tuple[str, list[Tensor]]:
    """Make a step; what torch says, and the gradients and buffers afterwards."""
    given = x.clone().requires_grad_()
    model.zero_grad()
    said = ""
    try:
        model(given).square().sum().backward()
    except RuntimeError as error:
        # the name of a tensor's node is not that of torch
        said = str(error).split("[")[0]
    gradients = [p.grad for p in (given, *model.parameters()) if p.grad is not None]
    return said, [*gradients, *model.buffers()]


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("is_plain", [False, True])
@pytest.mark.parametrize("place", ["inside", "after"])
@pytest.mark.parametrize("name", WRITES)
# torch warns that a reentrant one without gradients has nothing to compute again
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_a_write_into_what_is_checkpointed_does_what_torch_does(
    name: str, place: str, is_plain: bool, use_reentrant: bool
) -> None:
    torch.manual_seed(0)
    writes = (WRITES[name], leave_alone) if place == "inside" else (leave_alone, WRITES[name])
    model = Normalising(*writes, is_plain=is_plain, use_reentrant=use_reentrant).double()
    fused = fuse(copy.deepcopy(model)).model
    x = torch.randn(2, 4, 4, 6, dtype=torch.float64)
    for _ in range(2):
        (expected, tensors), (said, found) = (train_once(one, x) for one in (model, fused))
        assert said == expected
        assert len(found) == len(tensors)
        assert all(torch.allclose(a, b, rtol=1e-9) for a, b in zip(tensors, found, strict=True))


class Squared(torch.autograd.Function):
    """Saves its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        y: Tensor = 2 * ctx.saved_tensors[0] * gradients[0]
        return y


@pytest.mark.parametrize("write", [WRITES["zero"], WRITES["functional"]], ids=["torch", "functional"])
def test_a_write_into_what_a_custom_function_has_saved_is_refused(write: Callable[[Tensor], Any]) -> None:
    def square(c: nn.Module, x: Tensor) -> Any:
        h = up(x)
        y: Any = Squared.apply(h)  # type: ignore[no-untyped-call] # torch has no types here
        write(h)
        return c(y)

    model = written(square).double()
    x = torch.randn(1, 4, 4, 6, dtype=torch.float64, requires_grad=True)
    for one in (model, fuse(model).model):
        y = one(x).sum()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.backward()


def write_before(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    functional.relu(h, inplace=True)
    return checkpoint(c, h, use_reentrant=False)


def write_what_nobody_reads_again(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    checkpoint(c, h, use_reentrant=False)
    functional.relu(h, inplace=True)
    return c(h)


def write_between(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    checkpoint(c, h, use_reentrant=False)
    h.mul_(2)
    return checkpoint(c, h, use_reentrant=False)


def write_what_is_not_an_argument(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    y = checkpoint(lambda z: c(h) + z.mean(), x, use_reentrant=False)
    h.data.mul_(2)
    return y


def write_unrecorded_inside(c: nn.Module, x: Tensor) -> Any:
    def region(h: Tensor) -> Any:
        write_unrecorded(h)
        return c(h)

    return checkpoint(region, up(x), use_reentrant=True)


def write_in_inference_mode(c: nn.Module, x: Tensor) -> Any:
    h = up(x.detach())
    with torch.inference_mode():
        functional.relu(h, inplace=True)
    assert not h.is_inference()
    return c(h) + x.mean()


class Halved(torch.autograd.Function):
    """Writes into its input, and says so."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        x.mul_(0.5)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * 0.5


def write_in_a_custom_function(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    y: Any = Halved.apply(h)  # type: ignore[no-untyped-call] # torch has no types here
    return c(y) + c(h)


def detach_what_was_saved(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    y: Any = Squared.apply(h)  # type: ignore[no-untyped-call] # as above
    h.detach_()
    return c(y) + c(h)


@pytest.mark.parametrize(
    "program",
    [
        *(write_in_a_custom_function, detach_what_was_saved),
        *(write_before, write_what_nobody_reads_again, write_between, write_what_is_not_an_argument),
        *(write_unrecorded_inside, write_in_inference_mode),
    ],
    ids=lambda program: program.__name__,
)
def test_writes_that_torch_allows_are_allowed(program: Any) -> None:
    torch.manual_seed(0)
    model = written(program).double()
    x = torch.randn(1, 4, 4, 6, dtype=torch.float64, requires_grad=True)
    gradients = []
    for one in (model, fuse(copy.deepcopy(model)).model):
        x.grad = None
        one.zero_grad()
        one(x).square().sum().backward()
        gradients.append([x.grad, *(p.grad for p in one.parameters())])
    assert all(torch.allclose(a, b, rtol=1e-9) for a, b in zip(*gradients, strict=True))
