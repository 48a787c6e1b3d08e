"""What the variants of a trained network are called, for readers; what they change is `studies.training.variants`.

Names only, so that tables and reports can say them where torch is not installed.
"""

from collections.abc import Mapping

STANDARD = "standard"
# in words that stand behind the network's task: ``reconstruction, last layer 3×3``
VARIANT_TITLES: Mapping[str, str] = {
    STANDARD: "",
    "last-1": "last layer 1×1",
    "last-3": "last layer 3×3",
    "last-9": "last layer 9×9",
    "gain-0.5": "half the first gain",
    "gain-2": "twice the first gain",
    "encoder-switches": "switches of its own encoder",
}
