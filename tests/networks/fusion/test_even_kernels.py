"""Even kernels are fused where the compiled form was measured to pay."""

import pytest
import torch

from deconvbench.networks.fusion import even_kernels, resizing
from deconvbench.networks.fusion.resizing import is_faster
from deconvbench.upsamplers.fast.choice import NATIVE
from tests.networks.fusion.test_resizing import make_expression, plan


@pytest.mark.parametrize(("size", "padding"), [(2, (0, 1, 0, 1)), (4, (1, 2, 1, 2))])
def test_even_kernels_need_many_products(
    size: int, padding: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    channels, out_channels = 8, 6
    products = size**2 * 2 * 12 * 12 * channels * out_channels
    weight = torch.randn(out_channels, channels, size, size).double()
    first, cut = make_expression((channels, 2), padding=padding), make_expression((channels, 2))
    last = first.map(lambda source: source.contiguous(memory_format=torch.channels_last))

    def ask_all(chosen: str) -> list[bool]:
        monkeypatch.setattr(resizing, "choose", lambda *_, **__: chosen)
        return [is_faster(one, plan(one, weight, 0), weight, is_prepared=False) for one in (first, last, cut)]

    for least, expected in (
        ((products, products + 1), [True, False, False]),
        ((products + 1, products), [False, True, False]),
        ((products // 2, products + 1), [True, False, True]),
    ):
        monkeypatch.setattr(even_kernels, "LEAST_PRODUCTS", {size: least})
        assert ask_all(NATIVE) == expected
    # the rule is that of the compiled form
    assert ask_all("transposed") == [True, True, True]
    monkeypatch.setattr(even_kernels, "NATIVE_ONLY_KERNELS", {size})
    assert ask_all("transposed") == [False, False, False]
