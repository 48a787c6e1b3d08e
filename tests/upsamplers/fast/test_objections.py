"""Which layers the implementations have, and what is said where one has not."""

import pytest

from deconvbench.errors import UsageError
from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast.cuda.form import TRITON_IMPLEMENTATIONS
from deconvbench.upsamplers.fast.objections import explain_implementation


@pytest.mark.parametrize("name", ["tiled", *TRITON_IMPLEMENTATIONS])
def test_forms_of_one_kernel_and_scale(name: str) -> None:
    assert explain_implementation(name, 3, 2, 1, is_exact=True) is None
    for sizes in ((5, 2), (3, 3)):
        with pytest.raises(UsageError) as caught:
            ResizeConv2d(8, 4, *sizes, implementation=name)
        message = f"implementation: {name} is for kernel_size 3 and scale_factor 2, not {sizes[0]} and {sizes[1]}"
        assert str(caught.value) == message


def test_groups() -> None:
    assert explain_implementation("tiled", 3, 2, 2, is_exact=True) is None
    for name in TRITON_IMPLEMENTATIONS:
        assert explain_implementation(name, 3, 2, 2, is_exact=True) == f"{name} has one group, not 2"


def test_reflection_is_refused_where_it_is_not_replication() -> None:
    for name in ("auto", "plain"):
        assert explain_implementation(name, 7, 2, 1, is_exact=False) is None
    found = explain_implementation("minimal", 7, 2, 1, is_exact=False)
    assert found == (
        "minimal reflects at most scale_factor - 1 = 1 pixels exactly; kernel_size 7 needs 3: take auto or plain"
    )


def test_an_unknown_name_lists_the_known_ones() -> None:
    found = explain_implementation("triton", 3, 2, 1, is_exact=True)
    assert found is not None
    assert found.startswith("'triton' is not one of auto, plain, ")
    assert found.endswith("minimal_triton, tiled_triton")
