"""What the self-checks say of a network, on the images they are tried with."""

import re

import pytest
import tiny

from sat_tf.errors import NotTrustworthy, RunFailure
from sat_tf.evaluation.checks.network import CHECKS, examine

IMAGES, LABELS = tiny.examples(32, seed=1)


def names(logits_fn, **settings):
    findings = examine(logits_fn, IMAGES, LABELS, **settings)
    for finding in findings:
        assert "\n" not in finding.text and re.search(r"\d", finding.text)
    return [finding.name for finding in findings]


def refusal(logits_fn, **settings):
    with pytest.raises(NotTrustworthy) as caught:
        examine(logits_fn, IMAGES, LABELS, **settings)
    assert caught.value.check in CHECKS
    assert str(caught.value).startswith(caught.value.check.replace("_", " ") + ": ")
    assert isinstance(caught.value, RunFailure)
    return caught.value
