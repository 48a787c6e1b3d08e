"""One small study for all tests of what is made from it."""

from dataclasses import replace

import pytest
import torch

from deconvbench.progress import PartDone
from deconvbench.studies.validation.photographs import PhotographSet, list_bundled
from deconvbench.studies.validation.study import Study, StudySettings, run_study

SMALL = StudySettings(seeds=2, crops=4, size=128, photographs=("coins",))


@pytest.fixture(scope="session")
def small_settings() -> StudySettings:
    return SMALL


@pytest.fixture(scope="session")
def small_photographs() -> PhotographSet:
    """Two photographs: one for squares of 256 pixels, and one for all sizes."""
    found = list_bundled(SMALL.photographs)
    return replace(found, photographs=(found.find("coins"), found.find("hubble_deep_field")))


@pytest.fixture(scope="session")
def small_run(small_photographs: PhotographSet) -> tuple[Study, list[PartDone]]:
    steps: list[PartDone] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    study = run_study(SMALL, small_photographs, steps.append)
    torch.set_num_threads(threads)
    return study, steps


@pytest.fixture
def small_study(small_run: tuple[Study, list[PartDone]]) -> Study:
    return small_run[0]
