"""How many runs the comparison of sites takes, and at which size."""

import importlib
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import deconvbench
from deconvbench.networks.inspection.running import Runner
from tests.networks.inspection.networks import level_gains


def make_stack(count: int, *, good: int = 0, end: nn.Module | None = None) -> nn.Module:
    """Make a network of transposed convolutions, the first few of them with equal gains but for a trace."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 6, 3, 2**count, 1), nn.ReLU()]
    for number in range(count):
        layer = nn.ConvTranspose2d(6, 6, 4, 2, 1)
        with torch.no_grad():
            # as strong as a trained one, so that no ReLU closes
            layer.weight.mul_(3)
            layer.bias.fill_(0.2)  # type: ignore[union-attr] # it has one
        layers += [level_gains(layer, 1e-3) if number < good else layer, nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(6, 3, 3, padding=1), *([] if end is None else [end]))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """Count runs by the side of what is shown."""
    found: Counter[int] = Counter()
    run = Runner.run

    def count(self: Runner, example: Any, *watchers: Any) -> list[Tensor]:
        found[example.shape[-1]] += 1
        return run(self, example, *watchers)

    monkeypatch.setattr(Runner, "run", count)
    return found


def count_forwards(runs: Counter[int], side: int) -> float:
    return sum(count * (one / side) ** 2 for one, count in runs.items())


@pytest.mark.slow
def test_four_sites_take_less_than_a_dozen_forwards_since_they_are_compared_at_half_the_size(
    runs: Counter[int],
) -> None:
    audit = deconvbench.audit(make_stack(4), torch.rand(1, 3, 256, 256))
    assert len(audit.sites) == 4
    # one for the sites and one for each photograph at its own size
    assert runs[256] == 3
    # one for the sites, three colours, for each site a colour and an image, and at most each site alone
    assert 1 + 3 + 2 * 4 <= runs[128] <= 1 + 3 + 2 * 4 + 4
    assert count_forwards(runs, 256) < 8


def test_what_is_seen_at_half_the_size_is_what_is_seen_at_the_own_one(monkeypatch: pytest.MonkeyPatch) -> None:
    small = deconvbench.audit(make_stack(2), torch.rand(1, 3, 256, 256))
    # the package's attribute of that name is the function
    monkeypatch.setattr(
        importlib.import_module("deconvbench.networks.inspection.audit"), "shrink", lambda *_: None
    )
    own = deconvbench.audit(make_stack(2), torch.rand(1, 3, 256, 256))
    assert dict(small.flat_field) == pytest.approx(dict(own.flat_field), rel=1e-4)
    for one, other in zip(small.attributions, own.attributions, strict=True):
        assert (one.site, one.is_harmonic) == (other.site, other.is_harmonic)
        assert one.removed_share == pytest.approx(other.removed_share, abs=1e-3)


def test_two_sites_need_no_runs_of_each_alone(runs: Counter[int]) -> None:
    deconvbench.audit(make_stack(2), torch.rand(1, 3, 128, 128))
    # sites, two photographs, three colours, and for each site a colour and an image
    assert runs == {128: 1 + 2 + 3 + 2 * 2}


def test_sites_without_a_part_are_not_looked_at_alone(runs: Counter[int]) -> None:
    audit = deconvbench.audit(make_stack(3, good=2), torch.rand(1, 3, 128, 128))
    assert {one.site for one in audit.attributions} == {3}
    assert runs == {128: 1 + 2 + 3 + 2 * 3}


def test_a_last_activation_takes_three_runs_and_its_ripple_none(runs: Counter[int]) -> None:
    audit = deconvbench.audit(make_stack(1, end=nn.Sigmoid()), torch.rand(1, 3, 128, 128))
    assert set(audit.hidden) == {2}
    assert runs == {128: 1 + 2 + 3 + 3 + 2}


def test_borders_that_reach_far_are_looked_at_from_further_away(runs: Counter[int]) -> None:
    class Far(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 3, 4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            # what is not a multiple of the period, and reaches further at small sizes
            columns = torch.arange(2 * x.shape[-1])
            y: Tensor = self.up(x) + (columns * 0.7).sin() * (100.0 if x.shape[-1] < 128 else 1e-3)
            return y

    audit = deconvbench.audit(Far(), torch.rand(1, 3, 128, 128))
    assert audit.periodicity_error < 0.25
    # sites, the last activation, an image; one colour was enough to see it
    assert runs[64] == 1 + 1 + 1 + 1
    assert runs[128] == 1 + 2 + 3 + 1


def test_a_network_that_raises_on_plain_colours_of_a_smaller_size_is_looked_at_in_its_own() -> None:
    class Fussy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 3, 4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            if x.shape[-1] == 64 and float(x.std()) < 1e-3:
                raise ValueError("plain")
            y: Tensor = self.up(x)
            return y

    audit = deconvbench.audit(Fussy(), 0.5 + 1e-4 * torch.rand(1, 3, 128, 128))
    assert audit.flat_field[2] > 0
    assert not any("plain colours" in text for text in audit.not_covered)
