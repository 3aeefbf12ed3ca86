"""Clean and robust accuracy, as exact counts over a whole data set.

    logits_fn = lambda images: model(images, training=False)
    attacks = {"pgd-20": sat_tf.attacks.create("pgd-20", epsilon=4 / 255)}
    result = evaluate(logits_fn, batches, attacks, seed=0)
    print(result.clean_accuracy, result.robust_accuracy["pgd-20"])    # fractions

`batches` is read once for the clean accuracy and once more for every attack.  To evaluate a
model again and again, as after each epoch, keep one `Evaluator`: it traces only once.
"""

import dataclasses
from typing import Dict

import tensorflow as tf

from sat_tf import seeds
from sat_tf.attacks import class_indices
from sat_tf.errors import NonFinite


@dataclasses.dataclass(frozen=True)
class Result:
    """What an evaluation counted.

    Attributes:
      examples: number of examples, padding left out.
      correct: attack name -> examples classified correctly, clean and after that attack;
        "clean" always among them, and first.
    """
    examples: int
    correct: Dict[str, int]

    @property
    def clean_accuracy(self) -> float:
        """Fraction of the examples classified correctly as they are."""
        return self.correct["clean"] / self.examples

    @property
    def robust_accuracy(self) -> Dict[str, float]:
        """Attack name -> fraction of the examples that it leaves classified correctly."""
        return {name: count / self.examples
                for name, count in self.correct.items() if name != "clean"}


class Evaluator:
    """Counts the examples classified correctly, before and after each attack.

    An example is robust if it is correct both clean and on the attack's result, which is the
    last iterate or, with restarts, a misclassified last iterate where there is one.  The noise
    of a batch comes from (seed, batch index, replica id): every attack gets the same, and
    results with random starts depend on the batch size and the number of replicas.

    There is one graph for each attack, traced on the first batch and kept.  (TensorFlow never
    frees a graph that holds a custom gradient, as swish has: tracing anew for every evaluation
    would cost memory as well as time.)  Variables are read when a batch runs.
    """

    def __init__(self, logits_fn, attacks, *, seed, strategy=None):
        """Prepares to attack one model.

        Args:
          logits_fn: float32 [batch, height, width, channels] -> floating [batch, num_classes].
          attacks: name -> attack, or None for "clean", which is counted in any case.
          seed: integer.
          strategy: the tf.distribute strategy that runs it; None means the current one.
        Raises: ValueError for an attack that is None but not called "clean".
        """
        attacks = {"clean": None, **attacks}
        for name, attack in attacks.items():
            if (attack is None) != (name == "clean"):
                raise ValueError(f"attack {name!r} is {attack!r}: None and 'clean' go together")
        self._strategy = strategy or tf.distribute.get_strategy()
        self._counters = {name: _counter(logits_fn, attack, seed, self._strategy)
                          for name, attack in attacks.items()}

    def __call__(self, batches, *, on_batch=None) -> Result:
        """Evaluates over a data set.

        Args:
          batches: tf.data.Dataset of (images float32, labels integer [batch], mask bool
            [batch]) with one batch size; the mask is False on examples that pad the last one.
          on_batch: called after every batch as on_batch(attack_name, done, total), `total` None
            while it is not known; what it raises ends the evaluation.
        Raises: ValueError for no examples, and for logits that are not finite.
        """
        # In its scope wherever the caller is: the scope is a part of what decides on a retrace.
        with self._strategy.scope():
            return self._count(batches, on_batch)

    def _count(self, batches, on_batch):
        distributed = self._strategy.experimental_distribute_dataset(batches)
        total, correct = _length(batches), {}
        for name, count_batch in self._counters.items():
            counts, done = [0, 0, 0], 0
            for batch in distributed:
                new = count_batch(*batch, tf.constant(done, tf.int64)).numpy().tolist()
                counts = [old + more for old, more in zip(counts, new)]
                done += 1
                if on_batch:
                    on_batch(name, done, total)
            examples, correct[name], not_finite = counts
            if not examples:
                raise ValueError("no examples to evaluate")
            if not_finite:
                raise NonFinite(f"the logits of {not_finite} of {examples} examples are not "
                                 f"finite ({name}): there is no accuracy to report")
            total = done
        return Result(examples, correct)


def evaluate(logits_fn, batches, attacks, *, seed, strategy=None, on_batch=None) -> Result:
    """Evaluates once; the arguments are those of `Evaluator` and of its call."""
    evaluator = Evaluator(logits_fn, attacks, seed=seed, strategy=strategy)
    return evaluator(batches, on_batch=on_batch)


def _counter(logits_fn, attack, seed, strategy):
    """Returns (images, labels, mask, batch index) -> int64 [examples, correct, not finite]."""
    def count(images, labels, mask, index):
        labels = class_indices(labels)
        is_correct, is_finite = _judge(logits_fn(images), labels)
        if attack is not None:
            replica_seed = seeds.replica_seed(seed, seeds.EVALUATION_ATTACK, index)
            attacked = attack(logits_fn, images, labels, replica_seed)
            still_correct, still_finite = _judge(logits_fn(attacked), labels)
            is_correct, is_finite = is_correct & still_correct, is_finite & still_finite
        return tf.stack([tf.math.count_nonzero(mask & condition, dtype=tf.int64)
                         for condition in (mask, is_correct, ~is_finite)])

    @tf.function(autograph=False)
    def count_batch(images, labels, mask, index):
        per_replica = strategy.run(count, (images, labels, mask, index))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)

    return count_batch


def _judge(logits, labels):
    """Whether each example is classified correctly, and whether its logits are finite."""
    logits = tf.cast(logits, tf.float32)
    return (tf.argmax(logits, -1, tf.int32) == labels,
            tf.reduce_all(tf.math.is_finite(logits), -1))


def _length(batches):
    try:
        return len(batches)
    except TypeError:  # not known before the first pass
        return None
