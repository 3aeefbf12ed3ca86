"""May a robust accuracy be trusted: what the network, its gradients and the outcomes say.

from sat_tf.evaluation import checks
for finding in checks.examine(logits_fn, images, labels):
  print(finding.name, finding.text)        # see docs/evaluation.md for what each means
"""

from sat_tf.evaluation.checks.gradients import has_gradient
from sat_tf.evaluation.checks.network import CHECKS, EXAMPLES, Finding, check_inside, examine
from sat_tf.evaluation.checks.outcomes import first_of_each, review, review_result
from sat_tf.evaluation.checks.probes import Prober, are_wanted, probe

__all__ = [
    "CHECKS",
    "EXAMPLES",
    "Finding",
    "Prober",
    "are_wanted",
    "check_inside",
    "examine",
    "first_of_each",
    "has_gradient",
    "probe",
    "review",
    "review_result",
]
