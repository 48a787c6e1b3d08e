"""Where fuse() looks, what it reports, and which modules it never touches."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from deconvbench.networks.fusion import fuse
from deconvbench.networks.fusion.modules import Fused, FusedConvTranspose2d, FusedScope, find_fused
from deconvbench.networks.fusion.planning import explain_module
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
        path: type(entry)
        for path, module in report.model.named_modules()
        if (entry := find_fused(module)) is not None
    }
    assert found == kinds
    fast_calls.clear()
    assert run_both(model, report.model, x) <= 1e-5
    assert len(fast_calls) == calls
    expected = 1 if name == "the_same_module_twice" else max(calls, len(kinds))
    assert len(report.changed) + len(report.watched) == expected
    assert bool(report.watched) == (not has_example and FusedScope in kinds.values())


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
            "1 changed, 1 watched, 2 left alone",
            "  changed  3: nearest-neighbour upsampling by 2 (in 1), then Conv2d 3×3"
            " -> one fast resize-convolution, in the model",
            "  watched  0: upsampling in its forward"
            " -> watched as 0 runs, and fused with a convolution after it, if there is one",
            "  left     4: Upsample: scale_factor 1.5 is not whole",
            "  left     6: ConvTranspose2d 4×4, stride 2: 8 output channels and stride 2:"
            " as a sub-pixel convolution it is faster only with at most 3 and at least 3, or once deconvbench"
            " native has compiled another form",
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
    assert isinstance(find_fused(fused), FusedScope)
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
    assert isinstance(find_fused(part), Fused)
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
    assert type(find_fused(fuse(model).model)) is FusedScope


class Framewise(nn.Module):
    """As video decoders have it: frames are upsampled one by one, or time with them, and convolved in time too."""

    def __init__(self, conv: nn.Module, *, by_frame: bool = False) -> None:
        super().__init__()
        self.conv, self.by_frame = conv, by_frame

    def forward(self, x: Tensor) -> Any:
        if not self.by_frame:
            return self.conv(functional.interpolate(x, scale_factor=2.0))
        n, c, t, h, w = x.shape
        x = functional.interpolate(x.transpose(1, 2).reshape(n * t, c, h, w), scale_factor=2.0)
        x = x.reshape(n, t, c, 2 * h, 2 * w).transpose(1, 2).transpose(1, 2).reshape(n * t, c, 2 * h, 2 * w)
        return self.conv(x).reshape(n, t, -1, 2 * h, 2 * w).transpose(1, 2)


class SubclassedUpsample(nn.Upsample):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).type_as(x)


class Hidden(nn.Module):
    """Makes its upsampling as it runs."""

    def forward(self, x: Tensor) -> Any:
        return nn.Upsample(scale_factor=2)(x)


def conv3d() -> nn.Conv3d:
    return nn.Conv3d(4, 4, 3, padding=1)


VIDEO, SIGNAL = (1, 4, 2, 3, 3), (1, 4, 6)
# what nobody can fuse: the model, its input, and what the report names
NEVER: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "signal": (lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv1d(4, 4, 3)), SIGNAL),
    "signal_by_size": (lambda: nn.Sequential(nn.Upsample(size=12), nn.ReLU(), nn.Conv1d(4, 4, 3)), SIGNAL),
    "subclass": (lambda: nn.Sequential(SubclassedUpsample(scale_factor=2), nn.ReLU()), (1, 4, 3, 3)),
    "made_while_running": (Hidden, (1, 4, 3, 3)),
    "alone": (lambda: nn.Upsample(scale_factor=2), (1, 4, 3, 3)),
    "listed_deeply": (lambda: nn.ModuleList([nn.ModuleList([nn.Upsample(scale_factor=2)])]), ()),
}


VIDEOS: dict[str, Callable[[], nn.Module]] = {
    "all_at_once": lambda: Framewise(conv3d()),
    "by_frame": lambda: Framewise(conv(), by_frame=True),
    "container": lambda: nn.Sequential(nn.Upsample(scale_factor=2), conv3d()),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_videos_are_watched_and_then_changed(name: str) -> None:
    model, x = VIDEOS[name]().eval(), torch.randn(VIDEO)
    unseen = fuse(model)
    assert (unseen.changed, unseen.left, len(unseen.watched)) == ((), (), 1)
    assert run_both(model, unseen.model, x) <= 1e-5
    seen = fuse(model, x)
    assert (len(seen.changed), seen.left) == (1, ())
    assert run_both(model, seen.model, x) <= 1e-5


@pytest.mark.parametrize("name", NEVER)
def test_what_cannot_fuse_is_never_changed_and_always_named(name: str) -> None:
    build, shape = NEVER[name]
    model = build().eval()
    unseen = fuse(model)
    assert unseen.changed == ()
    assert len(unseen.left) + len(unseen.watched) == 1
    if shape:
        x = torch.randn(shape)
        assert run_both(model, unseen.model, x) <= 1e-5
        seen = fuse(model, x)
        assert (seen.changed, seen.watched) == ((), ())
        assert len(seen.left) == 1
        assert seen.model is model


def test_a_mixed_decoder_counts_what_is_certain() -> None:
    model = nn.Sequential(
        *(Framewise(conv3d()), nn.Flatten(1, 2), nn.Upsample(scale_factor=2)),
        *(nn.Conv2d(16, 4, 3, padding=1), Framewise(conv(), by_frame=True)),
    )
    report = fuse(model)
    assert [change.path for change in report.changed] == ["3"]
    assert [change.path for change in report.watched] == ["0", "4"]
    assert str(report).splitlines()[0] == "1 changed, 2 watched, 0 left alone"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"scale_factor": 0.5}, "downsampling"),
        ({"size": (2, 3)}, "downsampling"),
        ({"scale_factor": (0.5, 1)}, "downsampling"),
        ({"scale_factor": 1}, "resizing"),
        ({"scale_factor": 1.5}, "upsampling"),
        ({"scale_factor": 0.5, "mode": "bilinear"}, "downsampling"),
    ],
)
def test_what_makes_images_smaller_is_not_called_upsampling(options: dict[str, Any], what: str) -> None:
    model = Upsampling(lambda x: functional.interpolate(x, **options))
    (left,) = fuse(model, torch.randn(1, 4, 4, 6)).left
    assert left.what == what
    if "scale_factor" in options and options["scale_factor"] != 1:
        (left,) = fuse(Upsampling(nn.Upsample(**options))).left
        assert ("downsampling" in left.what) == (what == "downsampling")


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.conv = nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Any:
        return self.conv(self.up(x)) if x.shape[-1] > 4 else self.conv(x)


def test_an_upsampling_that_the_example_does_not_reach_is_named() -> None:
    (left,) = fuse(Branching(), torch.randn(1, 4, 3, 3)).left
    assert (left.path, left.reason) == ("up", "the example does not reach it")
    assert fuse(Branching(), torch.randn(1, 4, 6, 6)).left == ()


def test_a_call_that_others_have_replaced_is_left_alone() -> None:
    model = Up()
    vars(model)["_call_impl"] = functools.partial(nn.Module._call_impl, model)
    assert fuse(model).left[0].reason == "its call was replaced on the instance"


def test_a_transposed_convolution_with_a_hook_runs_it_and_is_fast_all_the_same() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(4, 3, 6, 3))
    model[0].register_forward_hook(lambda *given: given[-1] * 2)
    report = fuse(model)
    assert [change.path for change in report.changed] == ["0"]
    x = torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(report.model(x), model(x))


@pytest.mark.parametrize(
    ("layer", "shape", "what"),
    [
        (nn.ConvTranspose1d(4, 2, 16, 8, 4), (1, 4, 9), "ConvTranspose1d 16, stride 8"),
        (nn.ConvTranspose3d(4, 2, (1, 4, 4), (1, 2, 2)), (1, 4, 2, 3, 3), "ConvTranspose3d 1×4×4, stride 1×2×2"),
        (weight_norm(nn.ConvTranspose1d(4, 2, 4, 2)), (1, 4, 9), "ConvTranspose1d 4, stride 2"),
    ],
    ids=["1-D", "3-D", "weight_norm"],
)
def test_transposed_convolutions_of_one_and_three_axes_are_listed(
    layer: nn.Module, shape: tuple[int, ...], what: str
) -> None:
    model = nn.Sequential(layer, nn.ReLU())
    reason = "only those of rows and columns (ConvTranspose2d) have a faster form"
    for report in (fuse(model), fuse(model, torch.randn(shape))):
        assert report.model is model
        assert [(left.path, left.what, left.reason) for left in report.left] == [("0", what, reason)]
