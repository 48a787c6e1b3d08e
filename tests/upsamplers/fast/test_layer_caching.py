"""A frozen layer never uses the transform of an old weight, as far as anybody can see one change."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.upsamplers.fast import ResizeConv2d, preparation
from tests.upsamplers.fast.plain_form import (
    assert_plain,
    draw,
    make_layer,
    make_plain,
    over_forms,
    over_layouts,
)


def make_frozen(form: str) -> ResizeConv2d:
    """Make a frozen layer that has already kept something."""
    layer = make_layer(form).eval().cache_weight()
    with torch.no_grad():
        layer(draw(1, 4, 3, 4))
    assert layer.is_frozen
    return layer


@over_forms
def test_a_training_layer_is_not_frozen(form: str) -> None:
    with pytest.raises(UsageError, match=r"cache_weight: the layer is training.* call eval\(\) first"):
        make_layer(form).cache_weight()


def test_a_weight_whose_changes_cannot_be_seen_is_not_cached() -> None:
    with torch.inference_mode():
        layer = make_layer().eval()
    with pytest.raises(UsageError, match="cache_weight: the weight was made in inference mode"):
        layer.cache_weight()


@over_layouts
@over_forms
def test_a_frozen_layer_transforms_its_weight_once(
    form: str, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    make = preparation._PREPARATIONS[form]

    def count(*arguments: Any) -> Tensor:
        calls.append(form)
        return make(*arguments)

    monkeypatch.setattr(preparation, "_PREPARATIONS", {form: count})
    layer, x = make_layer(form).eval(), draw(2, 4, 3, 4).contiguous(memory_format=layout)
    with torch.no_grad():
        expected = layer(x)
        # perhaps in parts
        each = len(calls)
        layer(x)
        assert len(calls) == 2 * each > 0
        assert layer.cache_weight() is layer
        for _ in range(3):
            torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)
        assert len(calls) == 2 * each + 1
        # to cache it again is to make it again
        layer.cache_weight()(x)
        assert len(calls) == 2 * each + 2


def change_in_place(layer: ResizeConv2d) -> None:
    with torch.no_grad():
        layer.weight.mul_(2)


def train_a_step(optimizer: Callable[..., torch.optim.Optimizer]) -> Callable[[ResizeConv2d], None]:
    def change(layer: ResizeConv2d) -> None:
        layer(draw(1, 4, 3, 3)).square().sum().backward()
        optimizer(layer.parameters(), lr=0.1).step()

    return change


def load(*, assign: bool) -> Callable[[ResizeConv2d], None]:
    def change(layer: ResizeConv2d) -> None:
        layer.load_state_dict({name: 2 * value for name, value in layer.state_dict().items()}, assign=assign)

    return change


def replace_parameter(layer: ResizeConv2d) -> None:
    layer.weight = nn.Parameter(2 * layer.weight.detach())


def replace_data(layer: ResizeConv2d) -> None:
    layer.weight.data = 2 * layer.weight.data


def initialise(layer: ResizeConv2d) -> None:
    nn.init.xavier_uniform_(layer.weight)


CHANGES: dict[str, Callable[[ResizeConv2d], None]] = {
    "in place": change_in_place,
    "SGD": train_a_step(torch.optim.SGD),
    "Adam, for each": train_a_step(lambda *a, **k: torch.optim.Adam(*a, foreach=True, **k)),
    "Adam, fused": train_a_step(lambda *a, **k: torch.optim.Adam(*a, fused=True, **k)),
    "load_state_dict": load(assign=False),
    "load_state_dict, assigned": load(assign=True),
    "another parameter": replace_parameter,
    "other data": replace_data,
    "initialisation": initialise,
    "clipping": lambda layer: nn.utils.vector_to_parameters(torch.ones(222).double(), layer.parameters()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@over_forms
def test_a_change_of_the_weight_is_noticed(form: str, change: Callable[[ResizeConv2d], None]) -> None:
    layer = make_frozen(form)
    before = layer.weight.detach().clone()
    change(layer)
    assert not torch.equal(layer.weight, before)
    assert_plain(layer, draw(1, 4, 3, 4))
    assert not layer.is_frozen


@over_forms
def test_a_change_before_the_first_call_is_no_matter(form: str) -> None:
    layer = make_layer(form).eval().cache_weight()
    change_in_place(layer)
    assert_plain(layer, draw(1, 4, 3, 4))
    assert layer.is_frozen


@over_forms
def test_training_drops_the_cached_weight(form: str) -> None:
    layer = make_frozen(form)
    layer.eval()
    assert layer.is_frozen
    nn.Sequential(layer).train()
    assert not layer.eval().is_frozen


@over_forms
def test_another_type_or_layout_drops_the_cached_weight(form: str) -> None:
    layer = make_frozen(form).float()
    assert not layer.is_frozen
    with torch.no_grad():
        assert layer(draw(1, 4, 3, 4, dtype=torch.float32)).dtype == torch.float32
    layer = make_frozen(form)
    assert not layer.to(memory_format=torch.channels_last).is_frozen  # type: ignore[call-overload] # left out
    assert_plain(layer, draw(1, 4, 3, 4))


@over_forms
def test_a_frozen_layer_still_trains_when_asked(form: str) -> None:
    layer, x = make_frozen(form), draw(1, 4, 3, 4)
    plain = make_plain(layer)
    layer(x).square().sum().backward()
    plain(x).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, plain[1].weight.grad, rtol=0, atol=1e-10)
    # an optimizer would come next
    assert not layer.is_frozen


@over_forms
def test_a_frozen_layer_leads_gradients_to_its_input(form: str) -> None:
    layer = make_layer(form).requires_grad_(False).eval().cache_weight()
    # first used in inference mode, whose tensors autograd may not save
    with torch.inference_mode():
        layer(draw(1, 4, 3, 4))
    x = draw(1, 4, 3, 4).requires_grad_()
    (found,) = torch.autograd.grad(layer(x).square().sum(), x)
    (expected,) = torch.autograd.grad(make_plain(layer)(x).square().sum(), x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert layer.is_frozen


@over_forms
def test_inference_mode_uses_what_is_frozen(form: str) -> None:
    layer, x = make_frozen(form), draw(1, 4, 3, 4)
    with torch.no_grad():
        expected = layer(x)
    with torch.inference_mode():
        assert torch.equal(layer(x), expected)
        assert layer.is_frozen


@over_forms
def test_a_parameter_of_inference_mode_drops_the_cached_weight(form: str) -> None:
    layer = make_layer(form).eval().cache_weight()
    with torch.inference_mode():
        layer.weight = nn.Parameter(draw(6, 4, 3, 3))
        assert_plain(layer, draw(1, 4, 3, 4))
    assert not layer.is_frozen


@over_forms
def test_writes_into_data_are_what_cannot_be_seen(form: str) -> None:
    layer, x = make_frozen(form), draw(1, 4, 3, 4)
    with torch.no_grad():
        before = layer(x)
        layer.weight.data.zero_()
        assert torch.equal(layer(x), before)
        layer.cache_weight()
    assert_plain(layer, x)


@over_forms
def test_what_is_frozen_is_not_stored(form: str) -> None:
    layer = make_frozen(form)
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert [name for name, _ in layer.named_buffers()] == []
    copies = [copy.deepcopy(layer), copy.copy(layer), pickle.loads(pickle.dumps(layer))]
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for other in (*copies, torch.load(file, weights_only=False)):
        assert not other.is_frozen
        change_in_place(other)
        assert_plain(other, draw(1, 4, 3, 4))


def test_the_name_before_still_works_and_says_what_to_call() -> None:
    layer = ResizeConv2d(4, 2, 3, implementation="minimal").eval()
    with pytest.warns(DeprecationWarning, match="freeze is deprecated: call cache_weight"):
        assert layer.freeze() is layer
    assert layer.is_frozen
