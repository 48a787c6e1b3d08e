"""A small folder of training experiments made by hand: smooth pictures, with checkerboards where they belong."""

import math
from collections.abc import Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from deconvbench.records.schema import CURVE_DTYPES, IMAGE_DTYPES, TRAINED_DTYPES
from deconvbench.tables.frames import make_frame
from deconvbench.tables.trained import Trained
from deconvbench.tables.trained_networks import MAIN_NETWORK, Network

Floats = npt.NDArray[np.float64]

LAYERS: tuple[tuple[str, int | None], ...] = (
    ("transposed", 3),
    ("transposed", 4),
    ("transposed_smoothed", 3),
    ("nearest_conv", 3),
    ("bilinear_conv", 3),
    ("subpixel", 3),
    ("subpixel_icnr", 3),
    ("equal_gain_transposed", 3),
    ("carafe", None),
)
# checkerboard at the last step, in levels
AMPLITUDES: dict[tuple[str, int | None], float] = {
    ("transposed", 3): 7.0,
    ("transposed", 4): 4.0,
    ("transposed_smoothed", 3): 3.0,
    ("subpixel", 3): 6.0,
    ("subpixel_icnr", 3): 1.2,
}
IMAGES = ("chelsea", "coffee", "rocket")
STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)
SIDE = 128


def make_picture(index: int) -> Floats:
    """A smooth picture with an edge, levels."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    waves = np.sin(2 * np.pi * (rows * (1 + index) + 0.3 * columns)) * np.cos(2 * np.pi * columns * 1.5)
    disc = 60 * ((rows - 0.4) ** 2 + (columns - 0.6) ** 2 < 0.05 + 0.02 * index)
    colours = np.array([1.0, 0.8 - 0.1 * index, 0.55 + 0.1 * index])
    picture: Floats = (110 + 45 * waves + disc)[:, :, None] * colours
    return picture


def add_checkerboard(picture: Floats, levels: float) -> Floats:
    """Plant what repeats every four pixels, of an RMS in levels."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    fine = (-1.0) ** (rows + columns)
    coarse = math.sqrt(2) * np.cos(np.pi * rows / 2) + math.sqrt(2) * np.cos(np.pi * columns / 2)
    planted: Floats = picture + levels * ((2 * fine + coarse) / math.sqrt(6))[:, :, None]
    return planted


def make_trained(
    folder: Path,
    *,
    layers: Sequence[tuple[str, int | None]] = LAYERS,
    images: Sequence[str] = IMAGES,
    networks: Sequence[Network] = (MAIN_NETWORK,),
    seeds: int = 3,
) -> Trained:
    """Write the crops and give the tables that go with them."""
    results: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    pictures = {image: make_picture(index) for index, image in enumerate(images)}
    for task in sorted({network.task for network in networks}):
        for image, picture in pictures.items():
            save_picture(folder / "crops" / "originals" / f"{task}-{image}.png", picture)
    for upsampler, kernel in layers:
        last = AMPLITUDES.get((upsampler, kernel), -0.05)
        for network in networks:
            for seed in range(seeds):
                keys: dict[str, Any] = {
                    **asdict(network), "upsampler": upsampler, "kernel_size": kernel, "scale_factor": 2,
                    "seed": seed,
                }  # fmt: skip
                for step in STEPS:
                    amplitude = last * (1 + 0.1 * seed) * (1 + 2.0 / (1 + step))
                    scores = {
                        "psnr_db": 8 + 6 * math.log10(1 + step), "ssim": 0.9, "checkerboard_levels": amplitude,
                        "detection_levels": 0.2 + 0.5 / (1 + step), "loss": 1.0 / (1 + step),
                    }  # fmt: skip
                    curves.append({**keys, **scores, "step": step, "seconds": 0.1 * step})
                results.append(
                    {
                        **keys,
                        **scores,
                        "steps": STEPS[-1],
                        "target_checkerboard_levels": -0.1,
                        "output_checkerboard_levels": amplitude,
                        "parameters": 1000,
                        "width": 16,
                        "residual_blocks": 5,
                        "crop_size": 128,
                        "batch": 4,
                        "learning_rate": 1e-3,
                        "device": "cpu",
                        "autocast": False,
                        "torch_version": "2.13.0",
                        "code_version": "0.1.0",
                    }
                )
                for image, picture in pictures.items():
                    for step in (0, 1, STEPS[-1]):
                        crop = None
                        amplitude = last * (1 + 2.0 / (1 + step))
                        if seed == 0:
                            name = "-".join([upsampler, *([f"k{kernel}"] if kernel else []), *astuple(network)])
                            crop = f"crops/{name}/{image}-step{step}.png"
                            grey = 128 + (picture - 128) * (0.15 + 0.85 * step / STEPS[-1])
                            save_picture(folder / crop, add_checkerboard(grey, max(amplitude, 0)))
                        rows.append(
                            {
                                **keys,
                                "step": step,
                                "image": image,
                                "ssim": 0.9,
                                "psnr_db": 8 + 6 * math.log10(1 + step) + 0.1 * len(image),
                                "checkerboard_levels": amplitude + 0.01 * len(image),
                                "crop": crop,
                            }
                        )
    return Trained(
        results=make_frame(results, TRAINED_DTYPES),
        curves=make_frame(curves, CURVE_DTYPES),
        images=make_frame(rows, IMAGE_DTYPES),
        folder=folder,
    )


def save_picture(path: Path, picture: Floats) -> None:
    """Write levels as an 8-bit PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(picture.clip(0, 255)).astype(np.uint8)).save(path)
