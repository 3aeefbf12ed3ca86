"""Sharpness-aware minimisation: the weights descend the loss of the worst weights near them.

    model = AdversarialModel(classifier, methods.create("pgd", epsilon=8/255, num_steps=7),
                             sam=SAM(rho=0.05))

It wraps the update of any method.  The attack makes its images once, at the weights as they are,
and both gradients are of those images: our reading of how the two combine.  Training with a K-step
attack costs K + 2 passes where the plain update costs K + 1.
"""

import dataclasses
import math

import tensorflow as tf

from sat_tf.training import step

NORMS = ("global", "replica")


@dataclasses.dataclass(frozen=True)
class SAM:
    """The size and the kind of the weights' perturbation e, made of the loss gradient g at w.

    Attributes:
      rho: radius, above 0.  e = rho g / ||g||_2, the norm over all trainable variables together,
        those of batch norm and learnable activations among them.
      adaptive: e = rho w^2 g / || |w| g ||_2 instead (ASAM), relative to the size of each weight;
        rho is then about ten times as large.
      norm: "global": g is of the global batch, and all replicas take one e, whatever their number.
        "replica": every replica makes its own e of its own images, which needs no communication
        and is the authors' form; then the number of replicas matters.
    Raises: ValueError for a value out of range.
    References: Foret et al., 2021, https://arxiv.org/abs/2010.01412; Kwon et al., 2021,
      https://arxiv.org/abs/2102.11600, in the form of the widely used davda54/sam.
    """

    rho: float
    adaptive: bool = False
    norm: str = "global"

    def __post_init__(self):
        if not (math.isfinite(self.rho) and self.rho > 0):
            raise ValueError(f"rho={self.rho}: give a number above 0; the plain update is sam=None")
        if self.norm not in NORMS:
            raise ValueError(f"unknown norm {self.norm!r}; known: {', '.join(NORMS)}")

    def perturbation(self, weights, gradients):
        """Returns e, shaped and typed as `weights`; all NaN where a gradient is not finite."""
        sizes = [tf.abs(w) if self.adaptive else tf.ones_like(w) for w in weights]
        slopes = [size * g for size, g in zip(sizes, gradients)]
        norm = tf.linalg.global_norm([tf.cast(slope, tf.float32) for slope in slopes])
        # An infinite gradient would make the other weights' part of e zero, and might leave the
        # second gradient finite; as NaN it cannot pass, and loss scaling skips the step.
        scale = tf.where(tf.math.is_finite(norm), self.rho / (norm + 1e-12), math.nan)
        return [tf.cast(scale, slope.dtype) * size * slope for size, slope in zip(sizes, slopes)]


def apply_gradients(settings, weights, compute_loss, decay_loss):
    """Descends the loss by one sharpness-aware step; call in replica context.

    1. g: the gradient of `compute_loss` at the weights w; 2. g': the same at w + e; 3. the weights
    are given back w, bit for bit, and the optimizer applies g' plus the gradient of `decay_loss`
    at w, which is no part of e.

    What else the classifier's passes change (batch-norm statistics, counts of calls) moves by
    the first pass alone, and the second pass starts from the same values as the first: layers whose
    draws depend on such a count drop the same units in both.  Keras' own random layers draw
    from TensorFlow's generator, so theirs differ.  With synchronised batch norm a replica's
    gradient includes what its images do to the others through the statistics.

    Args:
      settings: a SAM.
      weights: the `step.Weights` that move.
      compute_loss: () -> (float32 scalar mean loss of this replica, anything); called twice.
      decay_loss: () -> float32 scalar, the weight decay.
    Returns: (loss, anything), of the first pass; the loss with the decay at w.
    """
    moved = [*weights.variables, *weights.state]
    values, before = _read(weights.variables), _read(weights.state)
    loss, extra, gradients = step.gradients(weights, compute_loss)
    after = _read(weights.state)
    _assign(moved, [*_perturbed(settings, values, gradients), *before])
    _, _, gradients = step.gradients(weights, compute_loss)
    _assign(moved, [*values, *after])
    decay, _, decay_gradients = step.gradients(weights, lambda: (decay_loss(), None))
    weights.apply([_sum(pair) for pair in zip(gradients, decay_gradients)])
    return loss + decay, extra


def _perturbed(settings, weights, gradients):
    """Returns w + e; a weight that the loss does not reach stays as it is."""
    reached = [i for i, gradient in enumerate(gradients) if gradient is not None]
    ascent = [tf.convert_to_tensor(gradients[i]) for i in reached]
    if settings.norm == "global":
        ascent = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, ascent)
    perturbed = list(weights)
    for i, e in zip(reached, settings.perturbation([weights[i] for i in reached], ascent)):
        perturbed[i] = weights[i] + e
    return perturbed


def _read(variables):
    return [tf.identity(v) for v in variables]


def _assign(variables, values):
    """Gives this replica's copy of each variable its value, which may differ between replicas.

    A mirrored variable refuses that in replica context, so it is done across them, as Keras'
    optimizers do it.
    """

    def assign(variable, value):
        variable.assign(value)

    def update(strategy, variables, values):
        for variable, value in zip(variables, values):
            strategy.extended.update(variable, assign, args=(value,))

    tf.__internal__.distribute.interim.maybe_merge_call(
        update, tf.distribute.get_strategy(), variables, values
    )


def _sum(gradients):
    present = [gradient for gradient in gradients if gradient is not None]
    return tf.add_n(present) if present else None
