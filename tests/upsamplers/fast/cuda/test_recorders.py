"""Who records, transforms or counts torch's operations gets what is right of the Triton forms."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast.cuda.form import TRITON_IMPLEMENTATIONS
from tests.upsamplers.fast.plain_form import draw, make_plain

over_forms = pytest.mark.parametrize("form", TRITON_IMPLEMENTATIONS)


def draw_layer(form: str, device: str) -> ResizeConv2d:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ResizeConv2d(4, 6, implementation=form).to(device)


def draw_input(*shape: int, device: str, seed: int = 1) -> Tensor:
    return draw(*shape, dtype=torch.float32, seed=seed).to(device)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, device: str) -> list[str]:
    """List the kernels that run."""
    from deconvbench.upsamplers.fast.cuda import launching

    names: list[str] = []
    own = launching._launch

    def note(kernel: Any, *arguments: Any, **options: Any) -> None:
        names.append(kernel.__name__)
        own(kernel, *arguments, **options)

    monkeypatch.setattr(launching, "_launch", note)
    return names


@over_forms
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiler_s_graph_runs_it_at_every_size_forward_and_backward(
    form: str, backend: str, device: str, calls: list[str]
) -> None:
    torch.compiler.reset()
    layer = draw_layer(form, device)
    compiled = torch.compile(layer, backend=backend, dynamic=True, fullgraph=True)
    for shape in ((2, 4, 3, 5), (1, 4, 6, 4)):
        x = draw_input(*shape, device=device).requires_grad_()
        calls.clear()
        y = compiled(x)
        found = torch.autograd.grad(y.square().sum(), (x, *layer.parameters()))
        assert calls == [f"{form.removesuffix('_triton')}_forward", "input_gradient", "weight_gradient"]
        plain = make_plain(layer).to(device)
        expected = plain(x)
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
        others = torch.autograd.grad(expected.square().sum(), (x, *plain.parameters()))
        for one, other in zip(found, others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


# raised inside torch when it first differentiates forward
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@over_forms
def test_transforms_of_functions_get_what_they_can_follow(form: str, device: str, calls: list[str]) -> None:
    layer, x = draw_layer(form, device), draw_input(3, 2, 4, 3, 5, device=device)
    with torch.no_grad():
        mapped = torch.vmap(layer)(x)
        tangent = torch.func.jvp(layer, (x[0],), (x[1],))[1]
        assert not calls
        torch.testing.assert_close(mapped, torch.stack([layer(part) for part in x]))
        torch.testing.assert_close(tangent, layer(x[1]) - layer(torch.zeros_like(x[1])))


@over_forms
def test_exports_and_traces_hold_operations_for_every_size(form: str, device: str) -> None:
    layer, x = draw_layer(form, device), draw_input(1, 4, 4, 6, device=device)
    other = draw_input(1, 4, 3, 5, device=device)
    with torch.no_grad():
        sizes = {2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}
        program = torch.export.export(layer, (x,), dynamic_shapes=(sizes,))
        assert "deconvbench" not in str(program.graph)
        torch.testing.assert_close(program.module()(other), layer(other))


@over_forms
def test_who_counts_operations_sees_those_of_the_form(form: str, device: str, calls: list[str]) -> None:
    layer, x = draw_layer(form, device), draw_input(1, 4, 4, 6, device=device)
    counts = []
    with torch.no_grad():
        for counted in (layer, draw_layer(form.removesuffix("_triton"), device)):
            with FlopCounterMode(display=False) as counter:
                found = counted(x)
            counts.append(counter.get_total_flops())
        assert counts[0] == counts[1] > 0
        assert not calls
        torch.testing.assert_close(found, layer(x))
    assert calls


@over_forms
def test_cached_weights_are_those_of_the_form(form: str, device: str) -> None:
    layer, x = draw_layer(form, device).eval(), draw_input(1, 4, 4, 6, device=device)
    with torch.no_grad():
        expected = layer(x)
        assert torch.equal(layer.cache_weight()(x), expected)
        assert torch.equal(layer(x), expected)
        layer.weight.mul_(2)
        assert not torch.equal(layer(x), expected)
