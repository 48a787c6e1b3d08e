"""Where fuse() looks, what it reports, and which modules it never touches."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.fusion import fuse
from deconvbench.networks.fusion.modules import Fused, FusedConvTranspose2d, FusedScope
from deconvbench.networks.fusion.planning import explain_module, read_forward
from deconvbench.networks.fusion.sequential import FusedSequential
from tests.networks.fusion.comparing import run_both
from tests.networks.fusion.networks import TransformationNetwork, Up, Upsample2D

FastCalls = list[tuple[int, ...]]


def conv() -> nn.Conv2d:
    return nn.Conv2d(4, 4, 3, padding=1)


def upsample_by_two(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2)


def upsample_far_away(x: Tensor) -> Tensor:
    return upsample_by_two(x)


class Upsampling(nn.Module):
    """Upsamples in the way it is given."""

    def __init__(self, up: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.up = up
        self.conv = conv()

    def forward(self, x: Tensor) -> Any:
        return self.conv(self.up(x))


class Calling(Upsample2D):
    def __init__(self) -> None:
        super().__init__(4)

    def forward(self, x: Tensor) -> Any:  # type: ignore[override] # one argument is enough here
        return self.conv(self.grow(x))

    def grow(self, x: Tensor) -> Tensor:
        return upsample_far_away(x)


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ups = nn.ModuleList([nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="bilinear")])
        self.convs = nn.ModuleList([conv()])

    def forward(self, x: Tensor) -> Any:
        return self.ups[1](self.convs[0](self.ups[0](x)))


class Decorated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = conv()

    @torch.no_grad()
    def forward(self, x: Tensor) -> Any:
        return self.conv(upsample_by_two(x))


class Tail(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(conv(), nn.Upsample(scale_factor=2))
        self.conv = conv()

    def forward(self, x: Tensor) -> Any:
        return self.conv(self.block(x))


class ByMode(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = conv()

    def forward(self, x: Tensor) -> Any:
        return self.conv(functional.interpolate(x, scale_factor=2, mode="bilinear"))


# build, the paths that change class, how many fast convolutions run
FOUND: dict[str, tuple[Callable[[], nn.Module], dict[str, type[Fused]], int]] = {
    "sequential": (lambda: nn.Sequential(nn.Upsample(scale_factor=2), conv()), {"": FusedSequential}, 1),
    "nested_sequential": (
        lambda: nn.Sequential(conv(), nn.Sequential(nn.Upsample(scale_factor=2), conv())),
        {"1": FusedSequential},
        1,
    ),
    "across_containers": (
        lambda: nn.Sequential(nn.Sequential(conv(), nn.Upsample(scale_factor=2)), nn.Sequential(conv())),
        {"": FusedScope},
        1,
    ),
    "two_ways_in_one": (
        lambda: nn.Sequential(
            nn.Upsample(scale_factor=2), conv(), nn.Sequential(nn.Upsample(scale_factor=2)), conv()
        ),
        {"": FusedScope},
        2,
    ),
    "tail_of_a_container": (Tail, {"": FusedScope}, 1),
    "attribute": (lambda: Upsampling(nn.Upsample(scale_factor=2)), {"": FusedScope}, 1),
    "function_attribute": (lambda: Upsampling(upsample_by_two), {"": FusedScope}, 1),
    "lambda_attribute": (
        lambda: Upsampling(lambda x: functional.interpolate(x, scale_factor=2)),
        {"": FusedScope},
        1,
    ),
    "partial_attribute": (
        lambda: Upsampling(functools.partial(functional.interpolate, scale_factor=2)),
        {"": FusedScope},
        1,
    ),
    "method_and_helpers": (Calling, {"": FusedScope}, 1),
    "module_list": (Listed, {"": FusedScope}, 1),
    "decorated_forward": (Decorated, {"": FusedScope}, 1),
    "upsampling_without_convolution": (
        lambda: nn.Sequential(conv(), Upsample2D(4, use_conv=False), conv()),
        {"": FusedScope},
        1,
    ),
    "twice_in_a_row": (lambda: nn.Sequential(Up(4, 4), Up(4, 4)), {"0": FusedScope, "1": FusedScope}, 2),
    "the_same_module_twice": (lambda: nn.Sequential(*[Up(4, 4)] * 2), {"0": FusedScope}, 2),
    "transposed": (
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 3, 6, 3), nn.ConvTranspose2d(3, 4, 4, 2)),
        {"0": FusedConvTranspose2d},
        0,
    ),
}


@pytest.mark.parametrize("has_example", [False, True], ids=["unseen", "seen"])
@pytest.mark.parametrize("name", FOUND)
def test_the_innermost_module_is_changed(name: str, has_example: bool, fast_calls: FastCalls) -> None:
    build, kinds, calls = FOUND[name]
    torch.manual_seed(0)
    model, x = build().eval(), torch.randn(1, 4, 3, 5)
    report = fuse(model, x if has_example else None)
    found = {
        path: type(module).__bases__[0]
        for path, module in report.model.named_modules()
        if isinstance(module, Fused)
    }
    assert found == kinds
    fast_calls.clear()
    assert run_both(model, report.model, x) <= 1e-5
    assert len(fast_calls) == calls
    assert len(report.changed) == (1 if name == "the_same_module_twice" else max(calls, len(kinds)))


def test_the_report_reads_like_this() -> None:
    model = nn.Sequential(
        *(
            Up(4, 4),
            nn.Upsample(scale_factor=2),
            nn.ZeroPad2d(1),
            nn.Conv2d(4, 3, 3),
            nn.Upsample(scale_factor=1.5),
        ),
        *(nn.Conv2d(3, 3, 1), nn.ConvTranspose2d(3, 8, 4, 2, 1)),
    )
    assert str(fuse(model)) == "\n".join(
        [
            "2 changed, 2 left alone",
            "  changed  0: upsampling in its forward -> watched as 0 runs, and fused with a convolution after it",
            "  changed  3: nearest-neighbour upsampling by 2 (in 1), then Conv2d 3×3"
            " -> one fast resize-convolution, in the model",
            "  left     4: Upsample: scale_factor 1.5 is not whole",
            "  left     6: ConvTranspose2d 4×4, stride 2: 8 output channels and stride 2:"
            " as a sub-pixel convolution it is faster only with at most 3 and at least 3",
        ]
    )
    seen = str(fuse(model, torch.randn(1, 4, 2, 2), verify_gradients=True)).splitlines()
    assert seen[1] == (
        "  changed  0.conv: nearest-neighbour upsampling by 2 (in 0), then Conv2d 3×3"
        " -> one fast resize-convolution, in 0"
    )
    assert seen[3] == "  left     4: upsampling: scale_factor 1.5 is not whole"
    assert seen[5].startswith("  outputs differ by at most ")
    assert seen[6].startswith("  gradients differ by at most ")


class WithForward(Up):
    def __init__(self) -> None:
        super().__init__()
        self.forward = functools.partial(self.forward)  # type: ignore[method-assign] # what some libraries do


class Holding(nn.Module):
    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Any:
        return self.conv(upsample_by_two(self.part(x)))


def compiled() -> nn.Module:
    model = Up()
    model.compile(backend="eager")
    return model


def compiled_from_outside() -> Any:
    return torch.compile(Up(), backend="eager")


def scripted() -> nn.Module:
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        return torch.jit.script(Up())


def hooked_sequential() -> nn.Module:
    model = nn.Sequential(nn.Upsample(scale_factor=2), conv())
    model.forward = functools.partial(model.forward)  # type: ignore[method-assign] # what some libraries do
    return model


UNTOUCHED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "script_module": (scripted, "TorchScript is compiled already"),
    "data_parallel": (
        lambda: nn.DataParallel(Up()),
        "DataParallel holds copies of its own: fuse the model before",
    ),
    "compiled": (compiled_from_outside, 'use torch.compile(..., backend="deconvbench")'),
    "compiled_in_place": (compiled, 'use torch.compile(..., backend="deconvbench")'),
    "forward_on_the_instance": (WithForward, "its forward was replaced on the instance"),
    "sequential_with_forward": (hooked_sequential, "its forward was replaced on the instance"),
    "compiled_part": (lambda: Holding(compiled()), "a part of it is compiled"),
    "parallel_part": (
        lambda: Holding(nn.DataParallel(nn.Conv2d(4, 3, 1))),
        "a part of it is wrapped for parallel",
    ),
}


@pytest.mark.parametrize("has_example", [False, True], ids=["unseen", "seen"])
@pytest.mark.parametrize("name", UNTOUCHED)
def test_some_modules_are_never_touched(name: str, has_example: bool) -> None:
    build, reason = UNTOUCHED[name]
    model = build()
    report = fuse(model, torch.randn(1, 4, 3, 3) if has_example else None)
    assert report.model is model
    assert report.changed == ()
    assert all(reason in left.reason for left in report.left), report
    assert len(report.left) == 1


@pytest.mark.parametrize("has_example", [False, True], ids=["unseen", "seen"])
def test_around_an_untouchable_module_the_next_one_is_watched(has_example: bool, fast_calls: FastCalls) -> None:
    model = nn.Sequential(WithForward(), nn.Conv2d(3, 3, 1)).eval()
    x = torch.randn(1, 4, 3, 3)
    fused = fuse(model, x if has_example else None).model
    assert isinstance(fused, FusedScope)
    fast_calls.clear()
    assert run_both(model, fused, x) <= 1e-5
    assert len(fast_calls) == 1


def test_a_script_module_inside_is_passed_by() -> None:
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        part = torch.jit.script(nn.Conv2d(4, 3, 1))
    model = Holding(part)
    x = torch.randn(1, 4, 3, 3)
    assert explain_module(part) is not None
    assert run_both(model, fuse(model, x).model, x) <= 1e-5


def test_a_graph_module_is_watched_too(fast_calls: FastCalls) -> None:
    model = TransformationNetwork().eval()
    traced = torch.fx.symbolic_trace(model)
    x = torch.randn(1, 3, 16, 16)
    for example in (None, x):
        fused = fuse(traced, example).model
        fast_calls.clear()
        assert run_both(model, fused, x) <= 1e-5
        assert len(fast_calls) == 2


def test_a_mode_that_the_code_names_is_a_reason() -> None:
    (left,) = fuse(ByMode()).left
    assert left.reason == "its code names mode bilinear"


def test_a_watched_module_is_not_watched_again() -> None:
    fused = fuse(Tail()).model
    assert fuse(fused).model is fused


def test_upsampling_far_from_any_convolution() -> None:
    model = nn.Sequential(nn.Upsample(scale_factor=2), nn.ReLU())
    report = fuse(model)
    assert report.model is model
    assert report.left[0].reason == "no convolution follows in its container"
    assert fuse(Upsample2D(4, use_conv=False)).left[0].reason == "no convolution is near"
    assert (
        fuse(Upsampling(nn.Upsample(scale_factor=2, mode="bicubic"))).left[0].reason
        == "mode bicubic is not nearest"
    )


def test_an_untouchable_container_in_a_model_is_named() -> None:
    model = nn.Sequential(hooked_sequential(), nn.ReLU())
    (left,) = fuse(model).left
    assert (left.path, left.reason) == ("0.0", "its forward was replaced on the instance")


def test_a_fused_part_of_a_model_is_not_planned_again() -> None:
    part = fuse(nn.Sequential(conv(), nn.Upsample(scale_factor=2), conv(), nn.Upsample(scale_factor=2))).model
    assert isinstance(part, Fused)
    model = nn.Sequential(part, conv())
    x = torch.randn(1, 4, 2, 2)
    assert fuse(model).model is model
    report = fuse(model, x)
    assert [change.path for change in report.changed] == ["1"]
    assert run_both(model, report.model, x) <= 1e-5


def forward_hook(*_: Any) -> None:
    return None


def test_a_hooked_chain_is_watched_instead() -> None:
    model = nn.Sequential(nn.Upsample(scale_factor=2), conv())
    model[1].register_forward_hook(forward_hook)
    assert isinstance(fuse(model).model, FusedScope)


class Helper:
    def __call__(self, x: Tensor) -> Tensor:
        return upsample_by_two(x)


class Unassigned(nn.Module):
    def __init__(self) -> None:
        super().__init__()

        def step(x: Tensor) -> Any:
            return later(x)  # noqa: F821 -- what it closes over is gone again

        self.step = step
        later = step
        del later


class Inside(nn.Module):
    def forward(self, x: Tensor) -> Any:
        def step(image: Tensor) -> Tensor:
            return functional.interpolate(image, scale_factor=2, mode="nearest")

        return step(x)


class Mentioning(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.upsample: Any = None
        self.interpolate: Any = None

    def forward(self, x: Tensor) -> Tensor:
        return x if self.upsample is None and self.interpolate is None else -x


class Recursive(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return self.forward(x)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (Up(), "nearest"),
        (Calling(), "nearest"),
        (Upsampling(functional.interpolate), "nearest"),
        (ByMode(), "bilinear"),
        (Upsample2D(4, use_conv=False), "nearest"),
        (nn.Upsample(scale_factor=2), None),
        (nn.Conv2d(1, 1, 1), None),
        (Tail(), None),
        (Upsampling(Helper()), None),
        (Unassigned(), None),
        (Recursive(), None),
        (Inside(), "nearest"),
        (Mentioning(), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value),
)
def test_code_is_read_for_upsamplings(module: nn.Module, expected: str | None) -> None:
    assert read_forward(module) == expected


class Wrapped(nn.Module):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return upsample_by_two(x)


class Held(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = functools.partial(functional.interpolate, scale_factor=2)

    def forward(self, x: Tensor) -> Any:
        return self.up(x)


class Far(nn.Module):
    """Upsamples five helpers away, which is further than anybody looks."""

    def forward(self, x: Tensor) -> Tensor:
        return one(x)


def one(x: Tensor) -> Tensor:
    return two(x)


def two(x: Tensor) -> Tensor:
    return three(x)


def three(x: Tensor) -> Tensor:
    return four(x)


def four(x: Tensor) -> Tensor:
    return upsample_by_two(x)


@pytest.mark.parametrize(("module", "expected"), [(Wrapped(), "nearest"), (Held(), "nearest"), (Far(), None)])
def test_decorators_and_attributes_are_looked_through_and_helpers_for_a_while(
    module: nn.Module, expected: str | None
) -> None:
    assert read_forward(module) == expected


def test_a_graph_is_read_though_its_class_is_torchs() -> None:
    assert read_forward(torch.fx.symbolic_trace(Up())) == "nearest"


def test_no_code_of_the_model_runs() -> None:
    class Exploding(Up):
        def forward(self, x: Tensor) -> Any:
            raise AssertionError(functional.interpolate(x, scale_factor=2))

    assert read_forward(Exploding()) == "nearest"
