"""Kernels that sum to zero without rounding, and the table that is made with them."""

import pytest
import torch

from bench.half_precision import FORMS, draw_zero_sum_weight, main, measure_form


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_kernels_cancel_exactly_and_sums_of_taps_need_more_digits(kernel_size: int, dtype: torch.dtype) -> None:
    weight = draw_zero_sum_weight(16, 12, kernel_size, dtype, seed=1)
    assert (weight.shape, weight.dtype) == ((16, 12, kernel_size, kernel_size), dtype)
    axes = (1, 2, 3) if kernel_size == 1 else (2, 3)
    assert not weight.double().sum(axes).any()
    assert 0.3 < weight.double().std() * (12 * kernel_size**2) ** 0.5 < 1.5
    sums = weight.double() + weight.double().roll(1, 0)
    assert (sums.to(dtype).double() != sums).any()
    assert torch.equal(weight, draw_zero_sum_weight(16, 12, kernel_size, dtype, seed=1))


def test_the_plain_form_rounds_once_and_the_transposed_one_does_not() -> None:
    plain, transposed, auto = (measure_form(form, 100, torch.bfloat16) for form in ("plain", "transposed", "auto"))
    assert 1e-3 < plain < 2e-3
    assert transposed > 10 * plain
    assert auto == plain


def test_the_table_has_all_forms(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["half_precision"])
    main()
    lines = capsys.readouterr().out.splitlines()
    main(["--forms", "plain"])
    assert capsys.readouterr().out.splitlines() == [line for line in lines if "`" not in line or "`plain`" in line]
    assert lines[0] == "| precision | form | mean 1 | mean 10 | mean 100 | mean 1000 |"
    assert [line.split(" | ")[1] for line in lines[2:]] == 3 * [f"`{form}`" for form in FORMS]
