"""Arguments of an audit: each problem in one line that names the argument."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import deconvbench
from deconvbench.errors import UsageError
from deconvbench.networks.inspection.checks import check_range, is_finite

IMAGE = torch.rand(1, 3, 16, 16)
NAN = torch.full((1, 3, 16, 16), float("nan"))


class _Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 3, 2, 2)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        y: Tensor = self.up(x) * scale
        return y


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"model": 3}, "model: 3 is not a module", id="no module"),
        pytest.param(
            {"model": nn.Conv2d(3, 3, 1, device="meta")}, "model: weight is on the meta device", id="meta model"
        ),
        pytest.param({"example_input": "x"}, "example_input: str is not a tensor", id="text"),
        pytest.param({"example_input": None}, "example_input: NoneType is not a tensor", id="nothing"),
        pytest.param({"example_input": ()}, "example_input: missing a required argument: 'x'", id="too few"),
        pytest.param({"example_input": (IMAGE,) * 3}, "example_input: too many positional", id="too many"),
        pytest.param(
            {"example_input": {"image": IMAGE, "scale": torch.ones(1)}},
            "example_input: missing a required argument: 'x'; the model takes (x: torch.Tensor, scale",
            id="another name",
        ),
        pytest.param(
            {"example_input": {"x": IMAGE, "scale": torch.ones(1), "y": IMAGE}},
            "example_input: got an unexpected keyword argument 'y'",
            id="one name more",
        ),
        pytest.param(
            {"example_input": (IMAGE[:0], torch.ones(1))},
            "example_input: a tensor of shape 0×3×16×16 has no values",
            id="no batch",
        ),
        pytest.param(
            {"example_input": (IMAGE.to("meta"), torch.ones(1))},
            "example_input: a tensor of shape 1×3×16×16 is not a plain one",
            id="meta",
        ),
        pytest.param(
            {"example_input": (IMAGE.to_sparse(), torch.ones(1))},
            "example_input: a tensor of shape 1×3×16×16 is not a plain one",
            id="sparse",
        ),
        pytest.param(
            {"example_input": (NAN, torch.ones(1))},
            "example_input: a tensor of shape 1×3×16×16 holds NaN",
            id="NaN",
        ),
        pytest.param(
            {"example_input": ((255 * IMAGE).byte(), torch.ones(1))},
            "example_input: is uint8, and the model float32; model: raised ",
            id="whole numbers",
        ),
        pytest.param(
            {"example_input": (IMAGE.double(), torch.ones(1))},
            "example_input: is float64, and the model float32; model: raised RuntimeError: ",
            id="double",
        ),
        pytest.param(
            {"example_input": (torch.rand(1, 2, 8, 8), torch.ones(1))},
            "model: raised RuntimeError",
            id="channels",
        ),
        pytest.param({"images": []}, "images: is empty", id="no images"),
        pytest.param({"images": IMAGE}, "images: is a Tensor; a list", id="batch"),
        pytest.param({"images": "photographs"}, "images: is a str; a list", id="name"),
        pytest.param({"images": 3}, "images: is a int; a list", id="number"),
        pytest.param({"images": iter([IMAGE])}, "images: is a list_iterator; a list", id="iterator"),
        pytest.param({"images": [IMAGE]}, "images[0]: missing a required argument: 'scale'", id="image alone"),
        pytest.param({"images": [3]}, "images[0]: int is not a tensor", id="image is a number"),
        pytest.param(
            {"images": [(IMAGE, torch.ones(1)), (NAN, torch.ones(1))]},
            "images[1]: a tensor of shape 1×3×16×16 holds NaN",
            id="image of NaN",
        ),
        pytest.param(
            {"images": [((255 * IMAGE).byte(), torch.ones(1))]},
            "images[0]: has 4-D uint8 at [0], 1-D float32 at [1], and example_input 4-D float32 at [0]",
            id="image of bytes",
        ),
        pytest.param({"output_range": "a"}, "output_range: 'a' is not (black, white)", id="range is text"),
        pytest.param({"output_range": 3}, "output_range: 3 is not (black, white)", id="range is a number"),
        pytest.param({"output_range": (0, 1, 2)}, "output_range: (0, 1, 2) is not", id="three numbers"),
        pytest.param({"output_range": (None, 1)}, "output_range: (None, 1) is not", id="nothing and one"),
        pytest.param({"output_range": (1, 1)}, "output_range: (1, 1) is not", id="no range"),
        pytest.param({"output_range": (0, float("inf"))}, "output_range: (0, inf) is not", id="endless"),
        pytest.param({"colours": 0}, "colours: 0 is not", id="no colours"),
        pytest.param({"colours": "many"}, "colours: 'many' is not", id="colours in words"),
        pytest.param({"colours": 10**9}, "colours: 1000000000 is too large; at most 100", id="all colours"),
        pytest.param({"photographs": 4}, "photographs: 4 is too large; at most 3", id="more than there are"),
        pytest.param({"measure_fuse": "yes"}, "measure_fuse: 'yes' is not True or False", id="fuse"),
        pytest.param({"evidence": 1}, "evidence: 1 is not True or False", id="evidence"),
        pytest.param({"progress": 3}, "progress: 3 ", id="progress"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments: Mapping[str, Any], message: str) -> None:
    given = {"model": _Two(), "example_input": (IMAGE, torch.ones(1)), **arguments}
    with pytest.raises(UsageError) as caught:
        deconvbench.audit(given.pop("model"), given.pop("example_input"), **given)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_range_that_is_given_is_kept() -> None:
    assert check_range((0, 255)).levels_per_unit == 1
    assert not check_range([-1, 1]).is_guessed


def test_masks_may_be_infinite() -> None:
    class Masked(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return x + mask.softmax(-1).mean()

    mask = torch.zeros(1, 1, 4, 4).masked_fill(torch.ones(4, 4).triu(1).bool(), float("-inf"))
    assert deconvbench.audit(Masked(), (IMAGE, mask)).judgement == "clean"


def test_what_has_no_fractions_is_finite() -> None:
    assert is_finite(torch.ones(1).int())
    assert is_finite("text")
    assert not is_finite(torch.tensor([1.0, float("inf")]))
