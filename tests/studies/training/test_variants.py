"""What a variant changes, and that it has words wherever networks are named."""

from deconvbench.records.training_tasks import TRAINING_TASKS
from deconvbench.records.variants import STANDARD, VARIANT_TITLES
from deconvbench.studies.training.variants import VARIANTS, Variant


def test_every_variant_has_a_title_and_every_title_a_variant() -> None:
    assert list(VARIANTS) == list(VARIANT_TITLES)


def test_the_standard_one_changes_nothing_and_every_task_has_it() -> None:
    assert VARIANTS[STANDARD] == Variant(tasks=tuple(TRAINING_TASKS))


def test_every_other_one_changes_one_thing() -> None:
    usual = Variant()
    for name, variant in VARIANTS.items():
        changes = [
            field
            for field in ("last_kernel_size", "upsampler_gain", "has_switches")
            if getattr(variant, field) != getattr(usual, field)
        ]
        assert len(changes) == (name != STANDARD), name
        assert {*variant.tasks} <= {*TRAINING_TASKS}
