"""The fast gradient sign method: PGD of one step of length epsilon, from the image itself.

adversarial = fgsm(logits_fn, images, labels, epsilon=8 / 255)
"""

from collections.abc import Callable

import tensorflow as tf
from tensorflow.types.experimental import TensorLike

from sat_tf.attacks.losses import cross_entropy
from sat_tf.attacks.pgd import pgd


def fgsm(
    logits_fn: Callable,
    images: TensorLike,
    labels: TensorLike,
    seed: int | TensorLike = 0,
    *,
    epsilon: float,
    norm: str = "linf",
    bounds: tuple[float, float] = (0.0, 1.0),
    loss: Callable = cross_entropy,
    loss_scale: float = 1.0,
    compiled: str = "none",
    targeted: bool = False,
) -> tf.Tensor:
    """Returns `images` moved by one step of length epsilon; `seed` changes nothing.

    The arguments are those of `pgd`, of which this is one step without a random start.
    Reference: Goodfellow et al., 2015, https://arxiv.org/abs/1412.6572.
    """
    return pgd(
        logits_fn,
        images,
        labels,
        seed,
        epsilon=epsilon,
        num_steps=1,
        step_size=epsilon,
        random_start=False,
        norm=norm,
        bounds=bounds,
        loss=loss,
        loss_scale=loss_scale,
        compiled=compiled,
        targeted=targeted,
    )
