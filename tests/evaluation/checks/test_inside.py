"""Images that an attack returned, and those outside the ball."""

import numpy as np
import pytest
import tensorflow as tf
from network_checks import IMAGES, LABELS

from sat_tf.attacks import NORMS, ThreatModel, pgd
from sat_tf.errors import NotTrustworthy
from sat_tf.evaluation.checks.network import check_inside


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_what_attacks_return_is_inside(norm, bounds):
    low, high = bounds
    images = low + (high - low) * IMAGES
    radius = 0.05 if norm == "linf" else 1.0
    threat = ThreatModel(norm, epsilon=(high - low) * radius, bounds=bounds)
    weights = tf.random.stateless_normal([3, 4], [0, 1])
    linear = lambda images: tf.reduce_mean(images, [1, 2]) @ weights
    adversarial = pgd(
        linear, images, LABELS, 0, epsilon=threat.epsilon, num_steps=3, norm=norm, bounds=bounds
    )
    check_inside(threat, images, adversarial)
    check_inside(threat, images, images)


@pytest.mark.parametrize("norm", NORMS)
def test_images_outside_the_ball_are_refused_with_how_many_and_by_how_much(norm):
    threat = ThreatModel(norm, epsilon=0.05)
    adversarial = IMAGES.copy()
    adversarial[[3, 7], 0, 0, 0] = (
        np.where(IMAGES[[3, 7], 0, 0, 0] > 0.5, -0.0501, 0.0501) + (IMAGES[[3, 7], 0, 0, 0])
    )
    message = "outside ball: 2 of 32 .*epsilon=0.05 .*at most 0.0501"
    with pytest.raises(NotTrustworthy, match=message):
        check_inside(threat, IMAGES, adversarial)
    within = IMAGES.copy()
    within[3, 0, 0, 0] += 0.05 * (1 + 2e-6)
    check_inside(threat, IMAGES, within)


@pytest.mark.parametrize("norm", NORMS)
def test_images_outside_the_pixel_range_are_refused(norm):
    threat = ThreatModel(norm, epsilon=0.1)
    images = np.zeros([4, 2, 2, 3], np.float32)
    adversarial = images.copy()
    adversarial[1, 0, 0, 0] = -0.02
    with pytest.raises(NotTrustworthy, match=r"1 of 4 .*1 with pixels outside \[0, 1\].*0.02"):
        check_inside(threat, images, adversarial)
    adversarial[1, 0, 0, 0] = np.nan
    with pytest.raises(NotTrustworthy, match="1 of 4"):
        check_inside(threat, images, adversarial)


def test_rounding_to_half_precision_is_more_than_rounding():
    adversarial = (IMAGES + np.float32(8 / 255)).astype(np.float16)
    with pytest.raises(NotTrustworthy, match="by more than epsilon"):
        check_inside(ThreatModel(epsilon=8 / 255), IMAGES, adversarial)
