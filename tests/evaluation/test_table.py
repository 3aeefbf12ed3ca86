"""Accuracies as a table."""

import report_samples

from sat_tf.evaluation.table import format_table


def test_the_table_is_in_per_cent():
    table = format_table(
        {
            "clean_accuracy": 0.975,
            "robust_accuracy": {"pgd-20": 0.5},
            "examples": 40,
            "epsilon": 4 / 255,
            "step": 7,
        }
    )
    assert table.splitlines() == [
        "accuracy at step 7 on 40 examples, Linf epsilon 0.01569 (4/255)",
        "clean   97.50 %",
        "pgd-20  50.00 %",
    ]


def test_the_table_says_what_each_attack_has_broken():
    table = format_table(report_samples.results())
    assert [line.split() for line in table.splitlines()[1:]] == [
        line.split()
        for line in (
            "clean 98.89 %",
            "fgsm 88.61 % broke 37 of 356 in 0.4 s",
            "pgd-20 85.00 % broke 50 of 356 in 3.2 s",
            "autoattack 81.94 % broke 61 of 356 in 80.1 s",
            "apgd-ce 83.61 % broke 55 of 356 in 11.2 s",
            "apgd-t 81.94 % broke 6 of 301 in 41.5 s",
            "fab-t 81.94 % broke 0 of 295 in 19.5 s",
            "square 81.94 % broke 0 of 295 in 7.8 s",
            "pgd-20:parametric_softplus 86.11 %",
            "worst case 81.67 %",
        )
    ]
