"""Even kernels, and paddings of all kinds, are fused where the compiled form was measured to pay."""

import pytest
import torch

from deconvbench.networks.fusion import compiled_gain, resizing
from deconvbench.networks.fusion.resizing import is_faster
from deconvbench.upsamplers.fast.choice import NATIVE
from tests.networks.fusion.test_resizing import make_expression, plan


@pytest.mark.parametrize(("size", "padding"), [(2, (0, 1, 0, 1)), (4, (1, 2, 1, 2))])
def test_compiled_gain_need_many_products(
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
        monkeypatch.setattr(compiled_gain, "LEAST_PRODUCTS", {size: least})
        assert ask_all(NATIVE) == expected
    # the rule is that of the compiled form
    assert ask_all("transposed") == [True, True, True]
    monkeypatch.setattr(compiled_gain, "NATIVE_ONLY_KERNELS", {size})
    assert ask_all("transposed") == [False, False, False]


def test_paddings_that_do_not_keep_the_size_need_many_products(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, products = torch.randn(6, 8, 3, 3).double(), 9 * 2 * 12 * 12 * 8 * 6
    padded = make_expression((8, 2), padding=(1, 1, 1, 1), padding_mode="circular")
    expressions = [(make_expression((8, 2)), 1), (make_expression((8, 2)), 0), (padded, 0)]

    def ask_all() -> list[bool]:
        return [is_faster(one, plan(one, weight, own), weight, is_prepared=False) for one, own in expressions]

    monkeypatch.setattr(resizing, "choose", lambda *_, **__: NATIVE)
    monkeypatch.setattr(compiled_gain, "LEAST_PRODUCTS_PADDED", (products, products))
    assert ask_all() == [True, True, True]
    monkeypatch.setattr(compiled_gain, "LEAST_PRODUCTS_PADDED", (products + 1, products))
    assert ask_all() == [True, False, False]
