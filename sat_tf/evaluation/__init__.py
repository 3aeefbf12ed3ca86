"""How accurate and how robust a network is, as exact counts over a whole data set.

    from sat_tf import attacks, evaluation
    named = {"pgd-20": attacks.create("pgd-20", epsilon=4 / 255)}
    result = evaluation.evaluate(logits_fn, batches, named, seed=0)
    print(result.clean_accuracy, result.robust_accuracy["pgd-20"])    # fractions

Whether such a number may be trusted is the affair of `evaluation.checks`.
"""

from sat_tf.evaluation import checks, curves, diagnostics
from sat_tf.evaluation.evaluator import Evaluator, evaluate
from sat_tf.evaluation.progress import StateFile, fingerprint
from sat_tf.evaluation.result import Outcome, Result
from sat_tf.evaluation.suite import Suite

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
]
