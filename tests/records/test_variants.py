"""Variants have a title each, which can stand in a sentence behind the network's task."""

from deconvbench.records.variants import STANDARD, VARIANT_TITLES


def test_only_the_standard_variant_needs_no_words() -> None:
    assert [name for name, title in VARIANT_TITLES.items() if not title] == [STANDARD]
    titles = list(VARIANT_TITLES.values())
    assert len({*titles}) == len(titles)


def test_titles_fit_into_a_list_and_before_a_bracket() -> None:
    # sentences say "reconstruction, last layer 3×3 (6 seeds, …)", and are taken apart there
    assert not [title for title in VARIANT_TITLES.values() if set(title) & set(",(;")]
