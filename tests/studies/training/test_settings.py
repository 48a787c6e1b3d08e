from dataclasses import asdict, replace
from typing import Any

import pytest

from deconvbench.errors import UsageError
from deconvbench.records.layers import FAST_UPSAMPLERS
from deconvbench.records.schema import RUN_KEYS
from deconvbench.studies.training.settings import DEFAULT_LAYERS, TrainingSettings, choose_layers
from deconvbench.upsamplers import list_upsamplers, registry
from tests.tiny_training import TINY


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"task": "style"},
            "task: 'style' is not one of reconstruction, super-resolution, segmentation, style-transfer",
        ),
        ({"norm": "batch"}, "norm: 'batch' is not one of instance, none"),
        ({"recipe": "tunde"}, "recipe: 'tunde' is not one of plain, tuned"),
        (
            {"variant": "last-5"},
            "variant: 'last-5' is not one of standard, last-1, last-3, last-9, gain-0.5, gain-2, encoder-switches",
        ),
        (
            {"variant": "encoder-switches"},
            "variant: encoder-switches is for max_unpool_conv, not for 'transposed'",
        ),
        (
            {"variant": "encoder-switches", "task": "super-resolution"},
            "variant: encoder-switches is for reconstruction, not for super-resolution",
        ),
        ({"variant": "last-9"}, "variant: last-9 is for super-resolution, not for reconstruction"),
        ({"variant": "gain-2"}, "variant: gain-2 needs the tuned recipe, which sets the upsamplers' gain"),
        ({"upsampler": "Transposed"}, "upsampler: 'Transposed' is not a name in lower case"),
        ({"kernel_size": 0}, "kernel_size: 0 is not"),
        ({"device": "gpu"}, "device: 'gpu' is not cpu, cuda, mps or xpu"),
        ({"scale_factor": 1}, "scale_factor: 1 is not a whole number of at least 2"),
        ({"width": 0}, "width: 0 is not a whole number of at least 1"),
        ({"residual_blocks": -1}, "residual_blocks: -1 is not a whole number of at least 0"),
        ({"batch": 1.0}, "batch: 1.0 is not a whole number"),
        ({"steps": True}, "steps: True is not a whole number"),
        ({"steps": 0}, "steps: 0 is not a whole number of at least 1"),
        ({"seed": -1}, "seed: -1 is not a whole number of at least 0"),
        ({"crop_size": 12}, "crop_size: 12 is not a whole number of at least 16"),
        ({"crop_size": 34}, "crop_size: 34 is not a multiple of 4, what is upsampled in all"),
        (
            {"kernel_size": 99, "crop_size": 64},
            "kernel_size: 99 is not from 1 to 32, the side of the smallest map that an upsampler gives with crops"
            " of 64 pixels",
        ),
        (
            {"kernel_size": 65, "crop_size": 64, "task": "super-resolution"},
            "kernel_size: 65 is not from 1 to 64, the side of the smallest map",
        ),
        ({"learning_rate": 0.0}, "learning_rate: 0.0 is not a number between 0 and 1"),
        ({"learning_rate": float("nan")}, "learning_rate: nan is not"),
    ],
    ids=str,
)
def test_wrong_settings_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", "\\(")):
        replace(TINY, **changes)


@pytest.mark.parametrize(
    ("changes", "run_id", "period"),
    [
        ({}, "reconstruction-transposed-k3-s2-instance-seed0", 4),
        ({"kernel_size": 4, "norm": "none", "seed": 2}, "reconstruction-transposed-k4-s2-none-seed2", 4),
        (
            {"task": "super-resolution", "upsampler": "dysample", "kernel_size": None},
            "super-resolution-dysample-s2-instance-seed0",
            2,
        ),
        ({"task": "segmentation"}, "segmentation-transposed-k3-s2-instance-seed0", 4),
        ({"task": "style-transfer"}, "style-transfer-transposed-k3-s2-instance-seed0", 4),
        ({"recipe": "tuned"}, "reconstruction-transposed-k3-s2-instance-tuned-seed0", 4),
        ({"variant": "last-3"}, "reconstruction-transposed-k3-s2-instance-last-3-seed0", 4),
        (
            {"recipe": "tuned", "variant": "gain-0.5", "norm": "none"},
            "reconstruction-transposed-k3-s2-none-tuned-gain-0.5-seed0",
            4,
        ),
        ({"scale_factor": 3, "crop_size": 36}, "reconstruction-transposed-k3-s3-instance-seed0", 9),
    ],
    ids=["plain", "kernel and norm", "no kernel", "segmentation", "style", "recipe", "variant", "both", "scale 3"],
)
def test_the_name_says_task_layer_norm_and_seed(changes: dict[str, Any], run_id: str, period: int) -> None:
    settings = replace(TINY, **changes)
    assert settings.run_id == run_id
    assert settings.period == period


def test_keys_are_those_of_the_tables() -> None:
    assert TINY.keys == {
        "task": "reconstruction",
        "upsampler": "transposed",
        "kernel_size": 3,
        "scale_factor": 2,
        "norm": "instance",
        "recipe": "plain",
        "variant": "standard",
        "seed": 0,
    }
    assert list(TINY.keys) == list(RUN_KEYS)


def test_a_difference_is_named_with_both_values() -> None:
    assert TINY.name_difference(asdict(TINY)) is None
    assert TINY.name_difference({**asdict(TINY), "steps": 99}) is None
    assert TINY.name_difference({**asdict(TINY), "batch": 7, "seed": 3}) == "batch was 7, is 1"
    without = {name: value for name, value in asdict(TINY).items() if name != "autocast"}
    assert TINY.name_difference(without) == "autocast was None, is False"


def test_what_was_trained_before_there_were_recipes_was_plain() -> None:
    before = {name: value for name, value in asdict(TINY).items() if name not in ("recipe", "variant")}
    assert TINY.name_difference(before) is None
    assert replace(TINY, recipe="tuned").name_difference(before) == "recipe was 'plain', is 'tuned'"
    assert replace(TINY, variant="last-3").name_difference(before) == "variant was 'standard', is 'last-3'"
    assert replace(TINY, steps=99).name_difference(before) is None


def test_steps_count_where_the_learning_rate_depends_on_them() -> None:
    tuned = replace(TINY, recipe="tuned")
    assert tuned.name_difference({**asdict(tuned), "steps": 99}) == "steps was 99, is 12"


def test_nothing_asked_for_gives_the_default() -> None:
    assert choose_layers() == DEFAULT_LAYERS
    assert len(DEFAULT_LAYERS) == 8
    for name, kernel_size in DEFAULT_LAYERS:
        TrainingSettings(upsampler=name, kernel_size=kernel_size)


@pytest.mark.parametrize(
    ("words", "layers"),
    [
        (["transposed"], [("transposed", 3)]),
        (["transposed-k4", "transposed", "transposed-k4"], [("transposed", 4), ("transposed", 3)]),
        (["dysample"], [("dysample", None)]),
    ],
    ids=["the article's kernel", "kernels", "no kernel"],
)
def test_layers_are_read(words: list[str], layers: list[tuple[str, int | None]]) -> None:
    assert list(choose_layers(words)) == layers


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("deconv", "upsampler: 'deconv' is unknown"),
        ("deconv-k3", "upsampler: 'deconv' is unknown"),
        ("transposed-kx", "'transposed-kx' is not NAME-kN with a whole number N"),
        ("dysample-k3", "'dysample-k3' is not dysample: it has no kernel"),
        ("transposed-k1", "--upsampler: 'transposed-k1': "),
    ],
    ids=str,
)
def test_layers_that_do_not_exist_are_named(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_layers([word])


def test_all_are_all_but_the_fast_forms_the_default_first() -> None:
    layers = choose_layers(all_upsamplers=True)
    assert layers[: len(DEFAULT_LAYERS)] == DEFAULT_LAYERS
    names = {name for name, _ in layers}
    assert names == set(list_upsamplers()) - set(FAST_UPSAMPLERS)
    assert len(layers) == len(names) + 1  # transposed has two kernels
    assert choose_layers(["subpixel-k5"], all_upsamplers=True)[0] == ("subpixel", 5)


def test_another_kernel_is_taken_where_3_cannot_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    spec = list_upsamplers()["transposed"]
    for name, largest in (("made_even", 4), ("made_large", 9)):
        objection = lambda k, s, least=largest: None if k == least else "no"  # noqa: E731 -- two in a line each
        registry._REGISTRY[name] = replace(spec, name=name, objection=objection)
    assert choose_layers(["made_even"]) == (("made_even", 4),)
    with pytest.raises(UsageError, match="'made_large' has no kernel of 3, 4, 2, 5; name one as made_large-kN"):
        choose_layers(["made_large"])
    assert choose_layers(["made_large-k9"]) == (("made_large", 9),)
