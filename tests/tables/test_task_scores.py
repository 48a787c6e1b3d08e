from typing import Any

import pytest

from deconvbench.errors import UsageError
from deconvbench.records.schema import EARLIER_RUN_KEYS, TRAINED_DTYPES
from deconvbench.tables.frames import make_frame
from deconvbench.tables.task_scores import write_task_table
from deconvbench.tables.trained import Trained


def make_row(upsampler: str, kernel_size: int | None, seed: int, **values: Any) -> dict[str, Any]:
    keys = {"task": "segmentation", "norm": "none", "recipe": "tuned", "variant": "standard", "scale_factor": 2}
    return {
        **dict.fromkeys(TRAINED_DTYPES),
        **EARLIER_RUN_KEYS,
        **keys,
        "upsampler": upsampler,
        "kernel_size": kernel_size,
        "seed": seed,
        "steps": 1000,
        **{
            name: 1 for name, dtype in TRAINED_DTYPES.items() if dtype == "int64" and name not in ("seed", "steps")
        },
        "scale_factor": 2,
        "autocast": False,
        "width": 16,
        **values,
    }


def make_trained(*rows: dict[str, Any]) -> Trained:
    return Trained(results=make_frame(list(rows), TRAINED_DTYPES))


def test_layers_are_rows_with_means_and_intervals_the_strongest_first() -> None:
    trained = make_trained(
        *(
            make_row("nearest_conv", 3, seed, checkerboard_levels=-0.25, miou=0.7, boundary_error_px=2.0)
            for seed in range(2)
        ),
        make_row("transposed", 3, 0, checkerboard_levels=1.0, miou=0.6, boundary_error_px=3.0),
        make_row("transposed", 3, 1, checkerboard_levels=2.0, miou=0.8, boundary_error_px=None),
        make_row("dysample", None, 0, checkerboard_levels=0.5),
        # what stands for the task is the main network alone
        make_row("subpixel", 3, 0, variant="gain-2", checkerboard_levels=9.0),
    )
    lines = write_task_table(trained, "segmentation").splitlines()
    assert lines[0] == "| layer | CBA (levels) | mIoU | boundary error (px) |"
    assert lines[1] == "|---|---|---|---|"
    assert lines[2] == "| `transposed` k3 s2 | 1.50 ± 6.35 | 0.700 ± 1.271 | 3.00 |"
    assert lines[3] == "| `dysample` s2 | 0.50 | – | – |"
    assert lines[4] == "| `nearest_conv` k3 s2 | −0.25 ± 0.00 | 0.700 ± 0.000 | 2.00 ± 0.00 |"
    assert lines[6] == "Segmentation: 1 to 2 seeds each, 1,000 steps."
    assert len(lines) == 7


def test_style_transfer_has_the_levels_of_outputs_and_photographs() -> None:
    row = make_row(
        "transposed", 3, 0, task="style-transfer", norm="instance", checkerboard_levels=3.0, style_loss=0.125,
        content_loss=0.01, output_checkerboard_levels=2.5, target_checkerboard_levels=0.1,
    )  # fmt: skip
    lines = write_task_table(make_trained(row), "style-transfer").splitlines()
    assert lines[2] == "| `transposed` k3 s2 | 3.00 | 2.50 | 0.10 | 0.125 | 0.0100 |"
    assert lines[-1] == "Style transfer, instance norm: 1 seed each, 1,000 steps."


@pytest.mark.parametrize("task", ["segmentation", "style-transfer"])
def test_what_was_not_trained_is_said_plainly(task: str) -> None:
    assert write_task_table(Trained(), task) == (
        f"No results of {task} ship with this version: `deconvbench train --task {task}` makes them."
    )


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(UsageError, match="task: 'style' is not one of"):
        write_task_table(Trained(), "style")
