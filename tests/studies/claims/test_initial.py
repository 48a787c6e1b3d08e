import pytest

from deconvbench.studies.claims import initial


@pytest.mark.parametrize(
    "measure",
    [initial.measure_smoothing, initial.measure_divisibility, initial.measure_resizing, initial.measure_subpixel],
    ids=lambda measure: measure.__name__,
)
def test_each_is_measured_once(measure: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(measure)
    first = measure()
    monkeypatch.setattr(initial, "measure_quality", pytest.fail)
    assert measure() is first
    assert all(name.startswith("init_") for name in first)
    assert all(value is not None for value in first.values())
