"""Which site causes which ripple."""

from collections.abc import Mapping

import pytest
import torch

from deconvbench.measure.artifacts.spectrum import CheckerboardResult
from deconvbench.networks.inspection.attribution import Suspect, attribute_flat, attribute_real, has_part
from deconvbench.networks.inspection.periodic import PeriodicPart, read_periodic
from deconvbench.records.audit import Attribution

# the first has a pattern of period 4 alone, the second one of period 2
SUSPECTS = {
    1: Suspect(number=1, path="up1", periods=frozenset({4})),
    2: Suspect(number=2, path="up2", periods=frozenset({2})),
}


def make_part(small: float, large: float, scatter: float = 0.0) -> PeriodicPart:
    """Make a pattern of stripes of period 2 and others of period 4, of these RMS amplitudes and signs."""
    columns = torch.arange(64)
    pattern = small * torch.cos(torch.pi * columns) + large * 2**0.5 * torch.cos(torch.pi / 2 * columns)
    part = read_periodic(pattern.double().expand(1, 1, 64, 64), 4, 2)
    assert part is not None
    return PeriodicPart(power=part.power, scatter=scatter, periodicity_error=0.0, waves=part.waves)


def attribute(
    whole: PeriodicPart, without: Mapping[int, PeriodicPart | None], alone: Mapping[int, PeriodicPart | None]
) -> list[Attribution]:
    return attribute_flat(whole, whole, without, alone, SUSPECTS)


def test_the_site_that_has_most_of_a_scale_is_its_cause() -> None:
    two, four = attribute(make_part(3.0, 1.0), {1: make_part(2.9, 0.1), 2: make_part(0.3, 1.0)}, {})
    assert (two.period, two.site, two.path, two.alone_levels) == (2, 2, "up2", None)
    assert two.levels == pytest.approx(3.0)
    assert two.removed_share == pytest.approx(0.9)
    assert (four.period, four.site, four.path) == (4, 1, "up1")
    assert str(four) == "period 4: 1.00 levels in plain colours, from 1. up1, which has 90% of it"


def test_what_no_site_has_a_quarter_of_has_no_cause() -> None:
    (two,) = attribute(make_part(3.0, 0.01), {1: make_part(2.9, 0.0), 2: make_part(4.0, 0.0)}, {})
    assert (two.site, two.path, two.removed_share) == (None, "", 0.0)
    assert str(two).endswith("from no single site")


def test_harmonics_of_a_longer_pattern_are_told_apart_from_the_pattern_of_that_scale() -> None:
    # what one makes alone is what there is without the other; the second takes most of the harmonics away
    alone = {1: make_part(-5.0, 4.0), 2: make_part(9.0, 0.0)}
    two, four = attribute(make_part(4.0, 4.0), {1: alone[2], 2: alone[1]}, alone)
    assert (two.site, two.is_harmonic, two.removed_share) == (2, False, 1.0)
    assert two.alone_levels == pytest.approx(9.0)
    (harmonic,) = two.harmonics
    assert (harmonic.site, harmonic.path) == (1, "up1")
    assert harmonic.levels == pytest.approx(5.0)
    assert "harmonics of the longer pattern of 1. up1, alone 5.00 levels, add to it or cancel with it" in str(two)
    assert (four.site, four.is_harmonic, four.harmonics) == (1, False, ())


def test_harmonics_have_a_cause_where_the_site_of_that_scale_has_no_part() -> None:
    two, four = attribute(make_part(2.0, 4.0), {1: make_part(0.0, 0.0), 2: make_part(1.9, 4.0)}, {})
    assert (two.site, two.is_harmonic, two.harmonics) == (1, True, ())
    assert str(two) == (
        "period 2: 2.00 levels in plain colours, from harmonics of the longer pattern of 1. up1, which has 100% of"
        " it"
    )
    assert (four.site, four.is_harmonic) == (1, False)


def test_a_share_is_the_mean_of_what_is_taken_away_and_what_is_left_alone() -> None:
    whole, alone = make_part(4.0, 0.0), {1: make_part(1.0, 0.0), 2: make_part(1.5, 0.0)}
    (second,) = attribute(whole, {1: alone[2], 2: alone[1]}, alone)
    assert second.removed_share == pytest.approx((4 - 1 + 1.5) / 2 / 4)
    (first,) = attribute_flat(whole, whole, {1: alone[2], 2: alone[1]}, alone, {1: SUSPECTS[2], 2: SUSPECTS[1]})
    assert first.removed_share == pytest.approx((4 - 1.5 + 1) / 2 / 4)


def test_alone_is_given_for_the_mean_of_all_colours() -> None:
    mean, colour = make_part(2.0, 0.0), make_part(4.0, 0.0)
    alone = {1: make_part(0.1, 0.0), 2: make_part(3.9, 0.0)}
    (two,) = attribute_flat(mean, colour, {1: alone[2], 2: alone[1]}, alone, SUSPECTS)
    assert two.levels == pytest.approx(2.0)
    assert two.alone_levels == pytest.approx(1.95)


def test_a_site_that_changes_nothing_has_no_part() -> None:
    whole = make_part(3.0, 1.0)
    assert has_part(whole, whole, make_part(3.0, 0.9))
    assert not has_part(whole, whole, make_part(2.99, 1.01))
    assert not has_part(whole, whole, None)
    # period 4 is chance
    faint = make_part(3.0, 0.01)
    assert not has_part(faint, faint, make_part(3.0, 0.0))


def test_chance_is_not_attributed() -> None:
    assert attribute(make_part(1.0, 1.0, scatter=0.5), {1: make_part(0.0, 0.0)}, {}) == []


def test_in_images_the_changes_count_and_not_the_content() -> None:
    def score(small: float, large: float) -> CheckerboardResult:
        return CheckerboardResult(
            amplitude=1.0, detection_level=0.1, noise_level=0.1, by_scale={2: small, 4: large}, period=4, patches=9
        )

    (two,) = attribute_real(score(5.0, 5.0), {1: score(0.1, 0.0), 2: score(2.0, 0.01)}, SUSPECTS)
    assert (two.period, two.site, two.is_flat, two.is_harmonic) == (2, 2, False, False)
    assert two.removed_share == pytest.approx(4 / 4.01)
    assert attribute_real(score(5.0, 5.0), {1: None}, SUSPECTS) == []
