"""Where a Triton form cannot be had, one line says why, and nothing else takes its place in silence."""

import subprocess
import sys

import pytest
import torch

from deconvbench.errors import UsageError
from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast.choice import IMPLEMENTATIONS
from deconvbench.upsamplers.fast.cuda import TRITON_IMPLEMENTATIONS, form

over_forms = pytest.mark.parametrize("name", TRITON_IMPLEMENTATIONS)


@over_forms
def test_without_triton(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "has_triton", lambda: False)
    with pytest.raises(UsageError) as caught:
        ResizeConv2d(4, 2, implementation=name)(torch.zeros(1, 4, 3, 3))
    assert str(caught.value) == (
        f"implementation: {name} needs the package triton, which is not installed (pip install triton)"
    )


@over_forms
def test_on_another_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "has_triton", lambda: True)
    monkeypatch.setattr(form, "is_interpreted", lambda: False)
    layer = ResizeConv2d(4, 2, implementation=name)
    for call in (layer, layer.eval(), layer.choose):
        with pytest.raises(UsageError) as caught:
            call(torch.zeros(1, 4, 3, 3))
        assert str(caught.value) == f"implementation: {name} needs a CUDA device: the input is on cpu"
    with pytest.raises(UsageError, match="on meta"):
        ResizeConv2d(4, 2, implementation=name, device="meta")(torch.zeros(1, 4, 3, 3, device="meta"))


@over_forms
def test_of_another_type(name: str) -> None:
    layer = ResizeConv2d(4, 2, implementation=name, dtype=torch.float64)
    with pytest.raises(UsageError) as caught:
        layer(torch.zeros(1, 4, 3, 3, dtype=torch.float64))
    assert str(caught.value) == f"implementation: {name} is for float32, bfloat16 and float16, not float64"


def test_auto_takes_none_of_them() -> None:
    assert not set(TRITON_IMPLEMENTATIONS) & set(IMPLEMENTATIONS)


@pytest.mark.process
def test_triton_is_not_imported_before_a_form_is_called() -> None:
    code = (
        "import sys, torch; before = 'triton' in sys.modules; from deconvbench.nn import ResizeConv2d;"
        "layer = ResizeConv2d(4, 2, implementation='tiled_triton'); repr(layer);"
        "assert ('triton' in sys.modules) == before;"
        "assert 'deconvbench.upsamplers.fast.cuda.launching' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
