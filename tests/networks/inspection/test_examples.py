"""Inputs that were described, guessed, or read from pictures."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.networks.inspection.examples import (
    _complete,
    find_inputs,
    guess_inputs,
    make_example,
    make_images,
    run_once,
)
from deconvbench.records.inputs import parse_inputs

CPU = torch.device("cpu")


def make(*texts: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    made = make_example(parse_inputs(texts), dtype, CPU)
    assert isinstance(made, tuple)
    return made


def test_images_are_uniform_and_latents_normal() -> None:
    image, latent = make("1x3x64x64", "1x4x64x64")
    assert 0 <= image.min() < 0.01
    assert 0.99 < image.max() <= 1
    assert -5 < latent.min() < -2
    assert latent.std() == pytest.approx(1, abs=0.05)


def test_range_dtype_and_shape_are_as_described() -> None:
    image, ids, flags, number, odd = make(
        "1x3x64x64:float16:-1..1", "1x77:int64:3..5", "9x9:bool", "scalar", "1x3x64x64:normal"
    )
    assert (image.dtype, ids.dtype, flags.dtype) == (torch.float16, torch.int64, torch.bool)
    assert -1 <= image.min() < -0.95
    assert set(ids.flatten().tolist()) == {3, 4, 5}
    assert set(flags.flatten().tolist()) == {False, True}
    assert number.shape == ()
    assert odd.min() < -2
    assert make("1x3x8x8", dtype=torch.bfloat16)[0].dtype == torch.bfloat16
    assert torch.equal(make("1x3x8x8")[0], make("1x3x8x8")[0])


def test_names_make_a_dict() -> None:
    made = make_example(parse_inputs(["a=1x3", "b=1:int64"]), torch.float32, CPU)
    assert set(made) == {"a", "b"}


@pytest.mark.parametrize(
    ("model", "first"),
    [
        (nn.Conv2d(5, 3, 3), (1, 5, 256, 256)),
        (nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3)), None),
        (nn.Sequential(nn.Identity(), nn.Conv1d(2, 3, 3)), (1, 2, 1024)),
        (nn.Conv3d(1, 3, 3), (1, 1, 32, 32, 32)),
        (nn.ConvTranspose2d(100, 3, 4), (1, 100, 1, 1)),
        (nn.Linear(64, 3), (1, 64)),
        (nn.Embedding(10, 3), None),
        (nn.Upsample(scale_factor=2), None),
    ],
)
def test_the_first_layer_tells_what_a_network_takes(model: nn.Module, first: tuple[int, ...] | None) -> None:
    guesses = guess_inputs(model)
    assert (guesses[0][0].shape if guesses else None) == first


class Picky(nn.Module):
    """Takes one side only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[-1] != 224:
            raise ValueError(f"side {image.shape[-1]}")
        result: Tensor = self.norm(self.conv(image))
        return result


def test_guesses_are_tried_until_one_runs() -> None:
    said: list[str] = []
    model = Picky()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert [one.shape for one in find_inputs(model, torch.float32, CPU, said.append)] == [(1, 3, 224, 224)]
    assert said == ["trying an input of 1x3x256x256", "trying an input of 1x3x224x224"]
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_when_none_runs_the_shapes_are_asked_for() -> None:
    class Never(Picky):
        def forward(self, image: Tensor) -> Tensor:
            raise ValueError("never")

    with pytest.raises(UsageError) as caught:
        find_inputs(Never(), torch.float32, CPU, lambda _: None)
    assert "1x3x512x512, 1x3x32x32 do not run (ValueError: never (test_examples.py:" in str(caught.value)
    assert "give its shapes, such as --input 1x3x256x256" in str(caught.value)


def test_tensors_of_any_output_are_listed() -> None:
    class Many(nn.Module):
        def forward(self, x: Tensor) -> object:
            return {"a": [x, 3], "b": (x + 1, None)}

    assert len(run_once(Many(), (torch.ones(2),))) == 2


@pytest.fixture
def picture(tmp_path: Path) -> str:
    values = torch.arange(64 * 48 * 3, dtype=torch.uint8).reshape(48, 64, 3)
    Image.fromarray(values.numpy()).save(tmp_path / "picture.png")
    return str(tmp_path / "picture.png")


def test_pictures_take_the_place_of_images_in_their_range(picture: str) -> None:
    example = make_example(parse_inputs(["photo=1x3x32x40:-1..1", "t=1:int64"]), torch.float32, CPU)
    (made,) = make_images(example, [picture])
    assert made["photo"].shape == (1, 3, 32, 40)
    assert made["t"] is example["t"]
    values = torch.arange(64 * 48 * 3, dtype=torch.uint8).reshape(48, 64, 3)[8:40, 12:52].permute(2, 0, 1)
    assert torch.allclose(made["photo"][0], 2 * values.float() / 255 - 1, atol=1e-6)
    large = make_images((torch.rand(2, 1, 96, 96),), [picture, picture])
    assert [one[0].shape for one in large] == [(2, 1, 96, 96)] * 2


def test_pictures_need_an_image_to_replace(picture: str) -> None:
    with pytest.raises(UsageError, match="--image: no input is an image of shape"):
        make_images((torch.rand(1, 4, 32, 32),), [picture])
    with pytest.raises(UsageError, match="--image: cannot read 'none.png'"):
        make_images((torch.rand(1, 3, 32, 32),), ["none.png"])


def test_open_sides_of_a_file_are_closed() -> None:
    described = [("image", (None, None, None, 64), torch.float32), ("ids", (1, 77), torch.int64)]
    image, ids = _complete(described, 128)
    assert (str(image), str(ids)) == ("image=1x3x128x64:float32", "ids=1x77:int64")
