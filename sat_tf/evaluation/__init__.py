"""How accurate and how robust a network is, as exact counts over a whole data set.

    from sat_tf import evaluation
    result = evaluation.evaluate(model, (images, labels), "pgd-20,square", epsilon=4 / 255)
    print(result)                                                    # a table, in per cent
    print(result.clean_accuracy, result.robust_accuracy["pgd-20"])   # fractions

Whether such a number may be trusted is the affair of `evaluation.checks`, which `evaluate` runs.
`Evaluator` is the engine without them, for evaluating again and again.
"""

from sat_tf.evaluation import checks, curves, diagnostics, work
from sat_tf.evaluation.evaluator import Evaluator
from sat_tf.evaluation.library import evaluate
from sat_tf.evaluation.progress import StateFile, fingerprint
from sat_tf.evaluation.result import Outcome, Result
from sat_tf.evaluation.suite import Suite
from sat_tf.evaluation.table import format_table

__all__ = [
    "Evaluator",
    "Outcome",
    "Result",
    "StateFile",
    "Suite",
    "checks",
    "curves",
    "diagnostics",
    "evaluate",
    "fingerprint",
    "format_table",
    "work",
]
