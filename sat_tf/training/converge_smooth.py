"""ConvergeSmooth: single-step adversarial training that keeps its clean loss from jumping.

    method = converge_smooth(epsilon=16/255, boundaries=(0, 100, 105, 110))
    model = AdversarialModel(classifier, method)    # begins its epochs and keeps its state

Catastrophic overfitting comes with outliers in the loss curve (Zhao et al., 2023,
https://arxiv.org/abs/2308.12857), so the loss of a batch on clean images, the benign loss, is held
near its mean over the epoch before.  This is their FGSM-RS-CS.  Not built: FGSM-MEP-CS, which
stores a perturbation for every training image; the two regularisers that their code has off by
default; and weight centralisation, which their code lacks and whose formula we could not read.
"""

import contextlib
import dataclasses
import itertools
import math
import threading

import tensorflow as tf

from sat_tf import attacks
from sat_tf.training.methods import Method, cross_entropy, is_correct


def _counter(dtype=tf.float32, **kwargs):
    return tf.Variable(tf.zeros([], dtype), trainable=False, **kwargs)


def _shared(dtype=tf.float32):
    return _counter(dtype, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)


def _summed():
    """A sum to which every replica adds its part."""
    return _counter(
        synchronization=tf.VariableSynchronization.ON_READ, aggregation=tf.VariableAggregation.SUM
    )


class State(tf.Module):
    """Mean benign losses of past epochs, and the sum of this one's; part of the training state.

    `build` makes the variables, in the strategy's scope, for one model; `begin_epoch` is called at
    an epoch's start, again where an interrupted one goes on; in replica context, a step's loss is
    asked for within `step`, and `update` called after it.

    Args:
      threshold: the authors' gamma: how far a batch's loss may be from the last epoch's mean.
      ratio: the threshold follows the last change of that mean, but stays from threshold / ratio to
        threshold; at 1, as in their code, it is constant.
      stride: the authors' convergence stride: epochs left alone at both ends of each segment.
      boundaries: epochs at which the learning rate jumps, with the first and the last of training.
    """

    def __init__(self, *, threshold, ratio, stride, boundaries):
        super().__init__(name="converge_smooth")
        self._threshold, self._ratio, self._stride = threshold, ratio, stride
        self._boundaries = tuple(boundaries)
        self._within_step = threading.local()  # replicas are traced in threads of their own

    def build(self):
        """Raises: ValueError for a second model, which would share and confuse the sums."""
        if hasattr(self, "epoch"):
            raise ValueError(
                "a ConvergeSmooth method belongs to one model: make another for this one"
            )
        self.epoch = _shared(tf.int64)
        self.active = _shared(tf.bool)
        self.means = [_shared(), _shared()]  # of the last epoch, and of the one before
        self.total, self.count = _summed(), _summed()

    def begin_epoch(self, epoch: int):
        """Closes the epoch before, unless `epoch` is the one that is going on."""
        if epoch != int(self.epoch.numpy()):
            self._close_epoch()
            self.epoch.assign(epoch)
        self.active.assign(self.is_active(epoch))

    def _close_epoch(self):
        total, count = (float(v.read_value().numpy()) for v in (self.total, self.count))
        if count:
            self.means[1].assign(self.means[0].read_value())
            self.means[0].assign(total / count)
        for variable in (self.total, self.count):
            variable.assign(0.0)

    def is_active(self, epoch: int) -> bool:
        """Whether `epoch` (from 0) is more than the stride away from its segment's two ends."""
        return any(
            first + self._stride < epoch < last - self._stride
            for first, last in itertools.pairwise(self._boundaries)
        )

    def update(self, measured):
        """Adds a step's losses: what the method's loss has measured, of this replica's examples."""
        losses = measured["benign_loss"]
        self.total.assign_add(tf.reduce_sum(losses))
        self.count.assign_add(tf.cast(tf.size(losses), tf.float32))

    @contextlib.contextmanager
    def step(self):
        """Within it, what `direction` says first holds: SAM's second pass has the first one's."""
        self._within_step.direction = None
        try:
            yield
        finally:
            del self._within_step.direction

    def direction(self, benign_losses):
        """Returns whether the global batch's mean loss is to fall (1), to rise (-1) or neither (0).

        Args:
          benign_losses: float32 [batch], those of this replica.
        """
        decided = getattr(self._within_step, "direction", None)
        if decided is None:
            decided = self._direction(benign_losses)
            if hasattr(self._within_step, "direction"):
                self._within_step.direction = decided
        return decided

    def _direction(self, benign_losses):
        mean = tf.reduce_mean(tf.stop_gradient(benign_losses))
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, mean)
        last, before = (tf.convert_to_tensor(mean) for mean in self.means)
        lowest = self._threshold / self._ratio
        threshold = tf.clip_by_value(last - before, lowest, self._threshold)
        is_outlier = tf.abs(mean - last) > threshold
        return tf.where(tf.convert_to_tensor(self.active) & is_outlier, tf.sign(mean - last), 0.0)


def converge_smooth(
    *,
    epsilon,
    step_size=None,
    threshold=0.03,
    ratio=1.0,
    weight=1.0,
    stride=1,
    project=True,
    boundaries=(),
    label_smoothing=0.0,
    norm="linf",
    bounds=(0.0, 1.0),
    compiled="none",
    loss_scale=1.0,
) -> Method:
    """Returns FGSM with a random start, under the ConvergeSmooth loss.  Three passes.

    The loss is the cross-entropy on the perturbed images, plus `weight` times the benign loss where
    that of the batch is over the last epoch's mean by more than the threshold, minus it where it is
    under.  The benign loss is that of the clean images, as the paper's name for it says (the
    authors' script takes it at the noisy start of the attack); it costs a training pass also while
    it is not in use, since its mean is needed.  Clean images go first through the network,
    then perturbed ones, and both move the batch-norm statistics.  As in all methods here, batch
    norm is in inference mode while attacking; in the authors' code in training mode.

    Args:
      epsilon, step_size: in the units of `bounds`; step_size None means epsilon, as in their code.
      threshold, ratio, stride, boundaries: see `State`; stride 1, threshold 0.03 and ratio 1 are
        theirs.  Without boundaries the loss is never active.
      weight: their w2, >= 0.
      project: whether the step ends inside the ball.  In their code it does not, so that a
        perturbation can reach epsilon + step_size.
      label_smoothing: of both losses; theirs, in which the true class has 0.6, is 4/9 for ten
        classes.
      norm, bounds, compiled, loss_scale: see `attacks.pgd`.
    Raises: ValueError for a ratio below 1.
    """
    if not ratio >= 1:
        raise ValueError(f"ratio={ratio}: give a number of at least 1")
    state = State(threshold=threshold, ratio=ratio, stride=stride, boundaries=boundaries)
    perturb = _perturb(
        attacks.ThreatModel(norm, epsilon=epsilon, bounds=bounds),
        epsilon if step_size is None else step_size,
        project,
        compiled=compiled,
        loss_scale=loss_scale,
    )

    def loss(logits_fn, images, adversarial, labels):
        clean, attacked = logits_fn(images), logits_fn(adversarial)
        benign, harmed = (
            cross_entropy(logits, labels, label_smoothing=label_smoothing)
            for logits in (clean, attacked)
        )
        total = harmed + weight * state.direction(benign) * benign
        return total, {
            "clean_accuracy": is_correct(clean, labels),
            "adversarial_accuracy": is_correct(attacked, labels),
            "benign_loss": benign,
        }

    return Method(
        perturb, loss, ("clean_accuracy", "adversarial_accuracy", "benign_loss"), bounds, state
    )


def _perturb(threat, step_size, project, **settings):
    reached = threat
    if not project:  # a ball that the step cannot leave: the pixel range is the only limit
        low, high = threat.bounds
        widest = high - low if threat.norm == "linf" else math.inf
        reached = dataclasses.replace(threat, epsilon=min(threat.epsilon + step_size, widest))

    def perturb(logits_fn, images, labels, seed):
        start = threat.project(images, images + threat.random_start(images, attacks.as_seed(seed)))
        return attacks.ascend(
            logits_fn,
            start,
            images,
            labels,
            threat=reached,
            num_steps=1,
            step_size=step_size,
            **settings,
        )

    return perturb
