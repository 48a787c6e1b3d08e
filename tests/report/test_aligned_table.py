from deconvbench.report.aligned_table import align_table


def test_columns_have_one_width_words_to_the_left_and_numbers_to_the_right() -> None:
    assert align_table([("rule", "n"), ("a", "10"), ("longer", "7")]) == [
        "| rule   |  n |",
        "| ------ | -: |",
        "| a      | 10 |",
        "| longer |  7 |",
    ]
