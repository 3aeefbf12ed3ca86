"""Our side of the comparison, through the evaluation that `main.py` uses."""

import numpy as np
import tensorflow as tf

from benchmarks.peers.agreement import judged, repeated
from sat_tf import attacks, evaluation


def search(setting):
    """Returns our attack of a Setting, as evaluation takes it.

    PGD's noisy start is fitted to the pixel range before the first gradient, as the other libraries
    do; by default ours, like the original release, is not.
    """
    if setting.algorithm == "pgd":
        return attacks.pgd_search(
            epsilon=setting.epsilon,
            norm=setting.norm,
            num_steps=setting.num_steps,
            step_size=setting.step_size,
            random_start=setting.random_start,
            clip_start=True,
        )
    return attacks.create(setting.algorithm, epsilon=setting.epsilon, norm=setting.norm)


def run(logits_fn, images, labels, settings, *, seed=0):
    """Returns {setting: Side}; arguments as for `judged`."""
    sides = {}
    for starts in {setting.starts: None for setting in settings}:
        chosen = [setting for setting in settings if setting.starts == starts]
        result = evaluation.Evaluator(
            logits_fn,
            {setting.name: search(setting) for setting in chosen},
            seed=seed,
            keep=starts * len(images),
        )(_batches(*(repeated(value, chosen[0]) for value in (images, labels))))
        for setting in chosen:
            side = judged(logits_fn, images, labels, result.adversarial[setting.name], setting)
            if (side.broken.reshape(-1) == result.survives(setting.name)).any():
                raise AssertionError(f"{setting.name}: the images kept do not bear out the count")
            sides[setting] = side
    return sides


def _batches(images, labels, size=128):
    padding = -len(images) % size
    padded = [
        np.resize(values, [len(images) + padding, *values.shape[1:]]) for values in (images, labels)
    ]
    rows = tf.data.Dataset.from_tensor_slices((*padded, np.arange(len(padded[0])) < len(images)))
    return rows.batch(size, drop_remainder=True)
