"""The check of `fuse` on architectures: it finds what differs, and says what was left."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench import fusion_check
from bench.fusion_architectures import ARCHITECTURES, Architecture, Call
from bench.fusion_check import USES, check_architecture, format_checks, main
from bench.fusion_fuzz.forcing import force_fast_forms
from deconvbench.errors import UnsupportedError
from deconvbench.networks.fusion import resizing


class Decoder(nn.Module):
    """A decoder with one upsampling of each kind, and checkpoints to switch on."""

    def __init__(self) -> None:
        super().__init__()
        self.nearest = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(2, 4, 3, padding=1))
        self.bilinear = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(4, 1, 3))
        self.checkpoints = 0

    def enable_gradient_checkpointing(self) -> None:
        self.checkpoints += 1

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bilinear(self.nearest(x))
        return y


ARCHITECTURE = Architecture(build=Decoder, shape=(2, 4, 5))


@pytest.fixture(autouse=True)
def fast_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    force_fast_forms(monkeypatch.setattr)


def test_an_exact_fusion_has_no_differences() -> None:
    check = check_architecture(ARCHITECTURE)
    assert check.differences == []
    assert set(check.errors) == set(USES)
    assert len(check.report.changed) == 1
    assert check.report.model.checkpoints == 1


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda y: y * (1 + 1e-3), "evaluation: "),
        (lambda y: y + (0 if y.shape[0] < 3 else 1), "batch of 3: "),
        (lambda y: y + (0 if y.shape[-1] < 11 else 1), "another size: "),
        (lambda y: y.detach() if torch.is_grad_enabled() else y, "training: "),
        (lambda y: y + (1 if y.dtype == torch.float32 else 0), "float32: "),
        (lambda y: y + (1 if y.dtype == torch.bfloat16 else 0), "autocast: "),
    ],
)
def test_what_differs_is_named(
    spoil: Callable[[Tensor], Tensor], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = resizing.resize_conv2d
    # `fuse` itself compares once, in double precision, without gradients, on the first size
    calls: list[int] = []

    def resize(*args: Any, **kwargs: Any) -> Tensor:
        calls.append(1)
        y = original(*args, **kwargs)
        return y if len(calls) <= 2 else spoil(y)

    monkeypatch.setattr(resizing, "resize_conv2d", resize)
    # otherwise autocast leaves nothing to it
    monkeypatch.setattr(resizing, "is_half_precision", lambda *_: False)
    differences = check_architecture(ARCHITECTURE).differences
    assert any(difference.startswith(expected) for difference in differences), differences


def test_what_raises_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(pair: Any, architecture: Architecture) -> float:
        raise RuntimeError("no\nmemory")

    monkeypatch.setattr(fusion_check, "USES", {"evaluation": fail})
    assert check_architecture(ARCHITECTURE).differences == ["evaluation: RuntimeError: no memory"]


def test_the_table_counts_and_gives_reasons() -> None:
    table = format_checks({"mine": check_architecture(ARCHITECTURE)}).splitlines()
    assert table[-1] == "| mine | 2 | 1 | mode bilinear is not nearest | – |"


def test_inputs_have_batch_width_and_dtype() -> None:
    architecture = Architecture(build=Decoder, shape=(2, 4, 5), further=(torch.tensor(3), torch.ones(3, 16)))
    image, count, words = architecture.make_input(2, 3, torch.float64)
    assert (image.shape, image.dtype) == ((2, 2, 4, 15), torch.float64)
    assert (count.tolist(), count.dtype) == ([3, 3], torch.int64)
    assert (words.shape, words.dtype) == ((2, 3, 16), torch.float64)


def test_a_call_is_a_module() -> None:
    call = Call(nn.Conv2d(1, 1, 1), lambda model, x: model(x) + 1)
    assert len(list(call.parameters())) == 2
    assert call(torch.zeros(1, 1, 2, 2)).shape == (1, 1, 2, 2)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_missing_package_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("diffusers", "transformers", "monai.networks.nets", "segmentation_models_pytorch"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        UnsupportedError, match="pip install (diffusers|transformers|monai|segmentation-models-pytorch)"
    ):
        ARCHITECTURES[name].build()


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nosuch"]) == 2
    assert capsys.readouterr().err.startswith("deconvbench: NAME: nosuch is not one of AutoencoderKL, ")


@pytest.mark.parametrize(("error", "code"), [(0.0, 0), (2.0, 1)])
def test_the_command_exits_1_if_anything_differs(
    error: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fusion_check, "ARCHITECTURES", {"mine": ARCHITECTURE})
    monkeypatch.setattr(fusion_check, "USES", {"evaluation": lambda pair, architecture: error})
    monkeypatch.setattr(fusion_check, "force_fast_forms", lambda set_attribute: None)
    assert main([]) == code
    assert "| mine | 2 | 1 |" in capsys.readouterr().out
