"""Clean and robust accuracy, as exact counts over a whole data set.

    logits_fn = lambda images: model(images, training=False)
    attacks = {"pgd-20": sat_tf.attacks.create("pgd-20", epsilon=4 / 255)}
    result = Evaluator(logits_fn, attacks, seed=0)(batches)
    print(result.clean_accuracy, result.robust_accuracy["pgd-20"])    # fractions

`batches` is read once for the clean accuracy and once more for every attack.  To evaluate a
model again and again, as after each epoch, keep one `Evaluator`: it traces only once.  It is the
engine of `evaluate`, without the checks of `evaluation.checks`.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from sat_tf import distribution
from sat_tf.attacks import Ensemble, Search, held_to
from sat_tf.errors import UserError
from sat_tf.evaluation.lanes import Lanes
from sat_tf.evaluation.progress import Progress, StateFile
from sat_tf.evaluation.result import Outcome, Result
from sat_tf.evaluation.stream import Order, Stream
from sat_tf.evaluation.work import Account


class Evaluator:
    """Counts the examples classified correctly, before and after each attack.

    An example is robust if it is correct both clean and on the attack's result, which of several
    runs (restarts, targets) is a misclassified one where there is one.  Examples misclassified when
    clean are not attacked; of the others each leaves an attack as soon as it is broken, and its
    place is taken by another.  An example's noise comes from (seed, its place in the data set): it
    depends on neither the batch size, nor the replicas, nor what became of other examples.

    Graphs are traced on first use and kept.  (TensorFlow never frees a graph that holds a custom
    gradient, as swish has: tracing anew for every evaluation would cost memory as well as time.)
    Variables are read when a batch runs.
    """

    def __init__(
        self,
        logits_fn: Callable,
        attacks: dict[str, Callable | None],
        *,
        seed: int,
        strategy: tf.distribute.Strategy | None = None,
        drop: bool = True,
        keep: int = 0,
        bounds: tuple[float, float] | None = None,
    ):
        """Prepares to attack one model.

        Args:
          logits_fn: float32 [batch, height, width, channels] -> floating [batch, num_classes].
          attacks: name -> attack, or None for "clean", which is counted in any case.  A Search, an
            Ensemble, or any function of (logits_fn, images, labels, seed [batch, 2]).  Stages of
            ensembles are attacks of their names: what both ask for is done once.
          seed: integer.
          strategy: the tf.distribute strategy that runs it; None means the current one.
          drop: False goes on attacking what is broken, to show what that costs; the counts are the
            same.
          keep: of how many first examples the result holds images and adversarial images.
          bounds: lowest and highest pixel that images may have; None means those of the attacks'
            ThreatModels, and any where no attack has one.
        Raises: ValueError for an attack that is None but not called "clean", for a targeted one,
          and where two attacks or stages have one name.
        """
        self._attacks = {"clean": None, **attacks}
        for name, attack in self._attacks.items():
            if (attack is None) != (name == "clean"):
                raise ValueError(f"attack {name!r} is {attack!r}: None and 'clean' go together")
        self._logits_fn, self._seed, self._drop, self._keep = logits_fn, seed, drop, keep
        self._strategy, self._bounds = strategy or tf.distribute.get_strategy(), bounds
        self._searches, self._lanes = _searches(self._attacks), {}

    def __call__(
        self,
        batches: Iterable,
        *,
        on_batch: Callable | None = None,
        on_work: Callable | None = None,
        state: StateFile | None = None,
        order: Order | None = None,
    ) -> Result:
        """Evaluates over a data set.

        Args:
          batches: tf.data.Dataset, or another iterable that begins anew each time, of (images
            floating [batch, height, width, channels], labels integer [batch]) or of these and a
            mask, bool [batch], False on examples that are padding.  Every reading has to have the
            same examples in the same order.  As many are run at a time as the first batch has.
          on_batch: called again and again as on_batch(attack_name, done, total), in examples,
            `total` None while it is not known; what it raises ends the evaluation.
          on_work: called before each `on_batch` as on_work(work), with the `work.Work` that tells
            how much there is left.
          state: an `progress.StateFile`, from which an evaluation that was cut short
            goes on, and which its owner removes when the numbers are safe; or None.
          order: the stream.Order of what the caller has read of the data before; or None.
        Raises: ValueError for no examples, and for logits that are not finite; UserError for
          images outside the bounds of the attacks, for labels that are no classes, and for data
          that differs between two readings.
        """
        progress = Progress(on_batch, state, self._keep, order)
        account = Account(self._attacks)
        run = functools.partial(self._attack, batches, progress, account, on_work)
        clean = run("clean", "clean", None)
        if not len(clean.broken):
            raise ValueError("no examples to evaluate")
        account.count_clean(int((~clean.broken).sum()))
        outcomes = {"clean": clean}
        for name, attack in self._attacks.items():
            if isinstance(attack, Ensemble):
                outcomes[name] = self._ensemble(attack, functools.partial(run, name), clean)
            elif attack is not None:
                outcomes[name] = run(name, name, ~clean.broken)
        progress.finish()
        correct = {
            name: int((~clean.broken & ~outcome.broken).sum()) for name, outcome in outcomes.items()
        }
        kept = {what: progress.kept("clean", what) for what in ("images", "labels")}
        return Result(
            len(clean.broken),
            correct,
            outcomes,
            **{
                what: None if values is None else values[: len(clean.broken)]
                for what, values in kept.items()
            },
            adversarial=_kept(outcomes, progress),
        )

    def _ensemble(self, ensemble, run, clean):
        standing = ~clean.broken
        stages, loss, predicted = {}, np.full(len(standing), np.nan, np.float32), clean.predicted
        for name in ensemble.stages:
            asked = standing if self._drop else ~clean.broken
            stage = run(name, asked)
            stages[name] = dataclasses.replace(
                stage, attacked=stage.attacked & asked, broken=stage.broken & asked
            )
            further = standing & ~(stage.loss <= loss)  # where there is no loss yet, any is further
            loss = np.where(further, stage.loss, loss)
            predicted = np.where(standing, stage.predicted, predicted)
            standing = standing & ~stage.broken
        runs = sum(np.where(stage.attacked, stage.runs, 0) for stage in stages.values())
        return Outcome(
            ~clean.broken,
            ~clean.broken & ~standing,
            loss,
            predicted,
            runs,
            sum(stage.seconds for stage in stages.values()),
            stages,
        )

    def _attack(self, batches, progress, account, on_work, attack, name, wanted):
        """Runs one attack, or stage of one, on the examples wanted that it was not yet run on.

        Of several workers each runs it on its share of them, and has the outcome of all.
        """
        share = None if wanted is None else distribution.share_of(self._strategy, len(wanted))
        left, taken, snapshot = progress.begin(name, wanted, share)
        if left is None or left.any():
            stream = Stream(
                batches, left, taken, order=progress.order, bounds=self._bounds_of(name)
            )
            lanes = self._lanes_of(name, stream.batch_size)
            counts = left is not None and on_work is not None  # else the number is not known
            if counts:
                broken = progress.columns(name)["broken"] & wanted
                account.begin(
                    attack,
                    name,
                    self._searches[name],
                    int(left.sum()) - taken,
                    int((wanted & ~broken & share).sum()),
                    snapshot,
                )
            # Closed here, so that what `on_batch` raises leaves the strategy's scope as well.
            with contextlib.closing(lanes.run(stream, snapshot)) as rows:
                for finished in rows:
                    if counts:
                        on_work(account.add(lanes, finished, int(left.sum()) - stream.taken))
                    progress.add(name, finished, stream.taken, lanes.snapshot)
        # Not by the share, which may be everything for one of them alone.
        if share is not None and distribution.worker_of(self._strategy).count > 1:
            progress.exchange(name, share, functools.partial(distribution.summed, self._strategy))
        progress.end(name)
        columns = progress.columns(name)
        return Outcome(
            columns["attacked"].copy(),
            columns["broken"].copy(),
            columns["loss"].copy(),
            np.where(
                columns["attacked"], columns["predicted"], progress.columns("clean")["predicted"]
            ),
            columns["runs"].copy(),
            columns["seconds"],
        )

    def _bounds_of(self, name):
        """Returns the range that an attack's images are held to, the clean ones to that of any."""
        searches = (self._searches[name], *self._searches.values())
        limits = [search.threat.bounds for search in searches if search.threat is not None]
        return self._bounds or next(iter(limits), None)

    def _lanes_of(self, name, size):
        if name not in self._lanes:
            replicas = distribution.local_replicas(self._strategy)
            self._lanes[name] = Lanes(
                self._searches[name],
                self._logits_fn,
                seed=self._seed,
                strategy=self._strategy,
                size=-(-size // replicas) * replicas,
                drop=self._drop,
            )
        return self._lanes[name]


def _searches(attacks):
    """Returns {name: Search} of all attacks and stages."""
    found = {}
    for name, attack in attacks.items():
        for stage, search in (
            attack.stages if isinstance(attack, Ensemble) else {name: attack}
        ).items():
            if not isinstance(search, Search):  # a function, or None for the images as they are
                search = held_to(None, stage, search or _no_attack)
            if search.targeted:
                raise UserError(
                    f"attack {stage!r} is targeted, towards the classes that its labels name: an "
                    "evaluation gives it the true ones, and counts what is misclassified; leave "
                    "out targeted=True"
                )
            known = found.setdefault(stage, search)
            if (known.threat, known.num_steps, known.runs) != (
                search.threat,
                search.num_steps,
                search.runs,
            ):
                raise ValueError(f"two different attacks are called {stage!r}")
    return found


def _no_attack(logits_fn, images, labels, seed):
    return images


def _kept(outcomes, progress):
    """Returns {attack: its results on the examples that are kept}; {} where none are."""
    images = progress.kept("clean", "images")
    if images is None:
        return {}
    kept = {}
    for name, outcome in outcomes.items():
        results = progress.kept(name, "adversarial")
        kept[name] = (images if results is None else results)[: len(outcome.broken)].copy()
        for stage, part in outcome.stages.items():  # whoever has broken an example shows it
            results = progress.kept(stage, "adversarial")
            shown = (
                part.broken[: len(kept[name])]
                | (part.attacked & ~outcome.broken)[: len(kept[name])]
            )
            if results is not None:
                kept[name][shown] = results[: len(kept[name])][shown]
    return kept
