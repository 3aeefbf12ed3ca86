"""Runs a search over a stream of examples, a fixed number of them at a time.

    lanes = Lanes(attacks.create("apgd-ce", epsilon=8 / 255), logits_fn, seed=0, size=128)
    for finished in lanes.run(stream):
        print(finished["number"], finished["broken"])

An example takes a lane until it is broken or all its runs are over; the next one of the stream then
takes its place, so that no pass of the network is spent on what is decided.  The arrays that go to
the devices have one of three sizes, whatever is left, so that nothing is traced again.  Since a
search treats each example by itself, its result is the one that it has in a plain loop.

Between calls of the devices everything is in NumPy arrays: `snapshot` is all there is to go on
from, to the same lanes and so to the same numbers.
"""

import functools

import numpy as np
import tensorflow as tf

from sat_tf import attacks, distribution, seeds
from sat_tf.evaluation import checks
from sat_tf.evaluation.batches import check_classes
from sat_tf.evaluation.stream import divided, joined, length

_CARRIED = (
    "number",
    "images",
    "labels",
    "run",
    "kept",
    "kept_loss",
    "kept_broken",
    "predicted",
    "finite",
)


class Lanes:
    """One search on one network; traced on the first use of each size and kept.

    Args:
      search: the attacks.Search.
      logits_fn: float32 [batch, height, width, channels] -> floating [batch, num_classes].
      seed: integer; an example draws from it and its own number.
      size: examples at a time, over all replicas of this worker; others have their own.
      strategy: where it runs; None means the current tf.distribute strategy.
      drop: whether an example that is broken leaves its lane at once.  False is the plain loop, for
        comparison: a whole batch makes all runs, and all steps that one of it makes.
    """

    def __init__(self, search, logits_fn, *, seed, size, strategy=None, drop=True):
        self._search, self._drop = search, drop
        self._strategy = strategy or tf.distribute.get_strategy()
        replicas = distribution.local_replicas(self._strategy)
        shares = (4, 2, 1) if drop and (search.stops or search.runs > 1) else (1,)
        self._sizes = sorted({-(-size // (share * replicas)) * replicas for share in shares})
        # Long enough that the way to the devices and back is nothing beside it.
        self._count = max(10, search.num_steps // 100) if search.stops else search.num_steps

        def begin(rows):
            noise = seeds.example_seeds(seed, seeds.EVALUATION_ATTACK, rows["number"])
            return search.begin(logits_fn, rows["images"], rows["labels"], noise, rows["run"])

        def advance(rows, state):
            return search.advance(
                logits_fn, rows["images"], rows["labels"], state, rows["index"], self._count
            )

        def seen(images):
            logits = tf.convert_to_tensor(logits_fn(images))
            self._num_classes = logits.shape[-1] if logits.shape.rank else None
            return logits

        def judge(rows):
            return attacks.judge(seen, rows["adversarial"], rows["labels"])._asdict()

        self._begin, self._advance, self._judge = map(self._on_devices, (begin, advance, judge))
        self._num_classes = None  # until it is traced, and where the graph does not tell
        self.snapshot = {}
        self.steps_made = self.judged = 0  # in this `run`, each for one example

    def run(self, stream, begun=None):
        """Yields examples as they are finished.

        Args:
          stream: a Stream.
          begun: a `snapshot` to go on from; the stream is then to be after what was taken.
        Yields: rows, {name: array}, or {} where none is finished: "number" of the example,
          "images", "labels", "broken", "finite" whether its logits were, "loss" (cross-entropy) and
          "predicted" class of the result "adversarial", and "runs", how many were made.
        Raises: NotTrustworthy for a result that the threat model does not allow; UserError for a
          label that is no class of the network.
        """
        self.steps_made = self.judged = 0
        # In its scope wherever the caller is: the scope is a part of what decides on a retrace.
        with self._strategy.scope():
            going, waiting = (_parts(begun or {}, part) for part in ("going", "waiting"))
            while True:
                room = self._sizes[-1] - length(going) - length(waiting)
                waiting = joined(waiting, self._newcomers(stream.take(room)))
                if waiting:
                    state = self._begin(
                        {name: waiting[name] for name in ("number", "images", "labels", "run")}
                    )
                    begun_now = {
                        **waiting,
                        "index": np.zeros(length(waiting), np.int32),
                        **{f"state/{name}": value for name, value in state.items()},
                    }
                    going, waiting = joined(going, begun_now), {}
                if not going:
                    return
                going = self._advanced(going)
                over, going = divided(going, self._over(going))
                waiting, finished = self._settled(over) if over else ({}, {})
                self.snapshot = {**_named("going", going), **_named("waiting", waiting)}
                yield finished

    def _newcomers(self, examples):
        if not examples:
            return {}
        count = length(examples)
        return {
            **examples,
            "run": np.zeros(count, np.int32),
            "kept": examples["images"],
            "kept_loss": np.full(count, -np.inf, np.float32),
            "kept_broken": np.zeros(count, bool),
            "predicted": np.full(count, -1, np.int32),
            "finite": np.ones(count, bool),
        }

    def _advanced(self, going):
        if not self._search.num_steps:
            return going
        state, index = self._advance(
            {name: going[name] for name in ("images", "labels", "index")}, _parts(going, "state")
        )
        self.steps_made += int((index - going["index"]).sum())
        return {**going, "index": index, **_named("state", state)}

    def _over(self, going):
        over = going["index"] >= self._search.num_steps
        if self._search.stops:
            over |= going["state/broken"]
        return over if self._drop else np.full_like(over, over.all())

    def _settled(self, over):
        """Judges examples whose run is over; returns those that begin another, and the others."""
        verdict = self._judge(
            {
                "images": over["images"],
                "labels": over["labels"],
                "adversarial": over["state/adversarial"],
            }
        )
        self.judged += length(over)
        if self._num_classes is not None:
            check_classes(over["labels"], self._num_classes)
        if self._search.threat:
            checks.check_inside(self._search.threat, over["images"], over["state/adversarial"])
        better = ~over["kept_broken"] & (
            verdict["broken"] | (verdict["loss"] > over["kept_loss"]) | ~(over["predicted"] >= 0)
        )
        kept = {
            "kept": over["state/adversarial"],
            "kept_loss": verdict["loss"],
            "kept_broken": verdict["broken"],
            "predicted": verdict["predicted"],
        }
        rows = {
            **{name: over[name] for name in _CARRIED},
            **{name: _where(better, new, over[name]) for name, new in kept.items()},
            "finite": over["finite"] & verdict["finite"],
            "run": over["run"] + 1,
        }
        done = rows["run"] >= self._search.runs
        if self._drop:
            done |= rows["kept_broken"]
        finished, again = divided(rows, done)
        return again, {
            **{name: finished[name] for name in ("number", "images", "labels", "finite")},
            "broken": finished["kept_broken"],
            "loss": finished["kept_loss"],
            "predicted": finished["predicted"],
            "adversarial": finished["kept"],
            "runs": finished["run"],
        } if finished else {}

    def _on_devices(self, function):
        """Returns `function` of rows, run on all replicas at one of the sizes."""
        strategy = self._strategy
        replicas = distribution.local_replicas(strategy)
        # TensorFlow counts the traces of each partial by itself, those of a lambda made for every
        # Lanes together, and would warn.
        traced = tf.function(functools.partial(_run, strategy, function), autograph=False)

        def call(*parts):
            count = length(parts[0])
            size = next(size for size in self._sizes if size >= count)
            padded = [
                {name: _padded(value, size) for name, value in part.items()} for part in parts
            ]
            if replicas == 1:
                results = tf.nest.map_structure(lambda value: value.numpy(), traced(*padded))
            else:
                each = size // replicas
                split = strategy.experimental_distribute_values_from_function(
                    lambda context: [
                        {
                            name: tf.constant(value[each * at : each * (at + 1)])
                            for name, value in part.items()
                        }
                        for part in padded
                        for at in [context.replica_id_in_sync_group % replicas]
                    ]
                )
                results = tf.nest.map_structure(
                    lambda value: np.concatenate(strategy.experimental_local_results(value)),
                    traced(*split),
                )
            return tf.nest.map_structure(lambda value: value[:count], results)

        return call


def _run(strategy, function, *parts):
    return strategy.run(function, parts)


def _where(condition, chosen, other):
    return np.where(condition.reshape([-1] + [1] * (other.ndim - 1)), chosen, other)


def _padded(value, size):
    return np.concatenate([value, np.repeat(value[:1], size - len(value), axis=0)])


def _named(part, rows):
    return {f"{part}/{name}": value for name, value in rows.items()}


def _parts(rows, part):
    start = len(part) + 1
    return {name[start:]: value for name, value in rows.items() if name.startswith(f"{part}/")}
