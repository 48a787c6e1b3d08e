"""Networks that were trained: what names one, how it is called, and which one stands for a task.

Of frames of training experiments; reads and trains nothing.
"""

from dataclasses import asdict, dataclass

import pandas as pd

from deconvbench.records.variants import STANDARD, VARIANT_TITLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A trained network but for its upsamplers and its seed.

    Parameters
    ----------
    task : str
        ``reconstruction``, for example.
    norm : str
        ``none`` or ``instance``.
    recipe : str
        ``tuned`` or ``plain``.
    variant : str
        What is changed in it; ``standard``: nothing.
    """

    task: str
    norm: str = "none"
    recipe: str = "tuned"
    variant: str = STANDARD

    @property
    def title(self) -> str:
        """Name for sentences and headings, with what differs from a task's main network.

        ``reconstruction, last layer 3×3`` or ``reconstruction, instance norm, plain recipe``, for example.
        """
        parts = [
            self.task,
            "" if self.norm == "none" else f"{self.norm} norm",
            VARIANT_TITLES.get(self.variant, self.variant),
            "" if self.recipe == "tuned" else f"{self.recipe} recipe",
        ]
        return ", ".join(filter(None, parts))

    @property
    def rank(self) -> tuple[bool, bool, bool, bool, str, str]:
        """Sorts networks: the article's task first, of each task the main network, then others of the recipe."""
        return (
            self.task != MAIN_TASK,
            self.variant != STANDARD,
            self.recipe != "tuned",
            self.norm != "none",
            self.task,
            self.variant,
        )


MAIN_TASK = "reconstruction"
# what a layer's trained quality means where no network is named
MAIN_NETWORK = Network(task=MAIN_TASK)


def list_networks(frame: pd.DataFrame) -> list[Network]:
    """List the networks of which there are rows.

    Parameters
    ----------
    frame : DataFrame
        Results, curves or images of training experiments.

    Returns
    -------
    list of Network
        By `Network.rank`: the first one of a task is what stands for it.
    """
    columns = list(asdict(MAIN_NETWORK))
    known = frame[columns].drop_duplicates()
    networks = [Network(**dict(zip(columns, map(str, row), strict=True))) for row in known.itertuples(index=False)]
    return sorted(networks, key=lambda network: network.rank)


def find_network(frame: pd.DataFrame, task: str = MAIN_TASK) -> Network | None:
    """Find the network that stands for a task.

    Parameters
    ----------
    frame : DataFrame
        Results, curves or images of training experiments.
    task : str
        Any.

    Returns
    -------
    Network or None
        The standard variant, of the tuned recipe and without a norm, where there is one; otherwise what comes
        first by `Network.rank`. None where the task was not trained.
    """
    return next((network for network in list_networks(frame) if network.task == task), None)


def keep_network(frame: pd.DataFrame, network: Network | None) -> pd.DataFrame:
    """Keep the rows of one network.

    Parameters
    ----------
    frame : DataFrame
        Results, curves or images of training experiments.
    network : Network or None
        Which; None keeps no row.
    """
    kept = pd.Series(network is not None, index=frame.index)
    for name, value in ({} if network is None else asdict(network)).items():
        kept &= frame[name] == value
    return frame[kept]
