"""Networks that were trained: their names, their order, and which one stands for a task."""

import pandas as pd
import pytest

from deconvbench.records.variants import STANDARD, VARIANT_TITLES
from deconvbench.studies.training.settings import RECIPES
from deconvbench.studies.training.variants import VARIANTS
from deconvbench.tables.trained_networks import (
    MAIN_NETWORK,
    Network,
    find_network,
    keep_network,
    list_networks,
)

ARTICLE = Network(task="reconstruction", norm="instance", recipe="plain")
LARGE = Network(task="super-resolution", variant="last-9")
NETWORKS = (
    MAIN_NETWORK,
    Network(task="reconstruction", norm="instance"),
    Network(task="reconstruction", recipe="plain"),
    ARTICLE,
    Network(task="reconstruction", variant="gain-2"),
    Network(task="reconstruction", variant="last-3"),
    Network(task="super-resolution"),
    LARGE,
)


def make_frame(*networks: Network) -> pd.DataFrame:
    """Two rows of each, the last network first."""
    rows = [
        {"task": each.task, "norm": each.norm, "recipe": each.recipe, "variant": each.variant, "seed": seed}
        for seed in (0, 1)
        for each in reversed(networks)
    ]
    return pd.DataFrame(rows, columns=["task", "norm", "recipe", "variant", "seed"])


@pytest.mark.parametrize(
    ("network", "title"),
    [
        (MAIN_NETWORK, "reconstruction"),
        (ARTICLE, "reconstruction, instance norm, plain recipe"),
        (Network(task="reconstruction", variant="last-3"), "reconstruction, last layer 3×3"),
        (Network(task="super-resolution", variant="gain-0.5"), "super-resolution, half the first gain"),
        (Network(task="colouring", norm="instance", variant="blue"), "colouring, instance norm, blue"),
    ],
)
def test_a_title_names_what_differs_from_the_main_network(network: Network, title: str) -> None:
    assert network.title == title


def test_every_variant_that_can_be_trained_has_a_title_of_its_own() -> None:
    titles = [VARIANT_TITLES[name] for name in VARIANTS]
    assert len({*titles}) == len(VARIANTS)
    assert [name for name in VARIANTS if not VARIANT_TITLES[name]] == [STANDARD]
    assert MAIN_NETWORK.recipe in RECIPES


def test_networks_are_listed_the_main_one_of_the_articles_task_first() -> None:
    assert list_networks(make_frame(*NETWORKS)) == list(NETWORKS)
    assert list_networks(make_frame()) == []


@pytest.mark.parametrize(
    ("networks", "task", "found"),
    [
        (NETWORKS, "reconstruction", MAIN_NETWORK),
        (NETWORKS, "super-resolution", Network(task="super-resolution")),
        ((ARTICLE,), "reconstruction", ARTICLE),
        ((ARTICLE, NETWORKS[5]), "reconstruction", ARTICLE),
        ((ARTICLE, NETWORKS[1]), "reconstruction", NETWORKS[1]),
        ((LARGE,), "super-resolution", LARGE),
        ((LARGE,), "reconstruction", None),
        ((), "reconstruction", None),
    ],
)
def test_one_network_stands_for_a_task(networks: tuple[Network, ...], task: str, found: Network | None) -> None:
    assert find_network(make_frame(*networks), task) == found


def test_rows_of_one_network_are_kept() -> None:
    frame = make_frame(*NETWORKS)
    for network in NETWORKS:
        kept = keep_network(frame, network)
        assert kept["seed"].tolist() == [0, 1]
        assert list_networks(kept) == [network]
    assert keep_network(frame, None).empty
    assert keep_network(frame, Network(task="colouring")).empty
