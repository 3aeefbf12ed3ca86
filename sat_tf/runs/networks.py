"""What a command measures, exports or classifies with, wherever its weights are from.

    network = Classifier(config, strategy, description)
    network.load(weights.Initial("runs/example"), flag="model_dir", chosen="best")
    logits = network.logits_fn(images)   # float32 [N, H, W, 3] in [0, 1] -> float32 [N, classes]

Every kind of network has
  logits_fn: the function above, in inference mode; its variables are read at each call;
  checkpoint: the path that its weights are from, and step, that of their training, 0 for none;
  differentiable: whether attacks have a gradient to follow;
  class_names: what to call its classes, in label order, or ();
  versions: {"best": …, "last": …}, the checkpoints of a run that keeps both, and take(name);
  evaluated(): a context within which the weights are those that are evaluated;
  facts(): what results.json says of it beside its numbers;
  shown(config): the settings that the page shows of it;
  fingerprint(settings): a text that is another one for other weights or settings.
"""

import contextlib
import functools
from typing import NamedTuple

import tensorflow as tf

from sat_tf import evaluation, models, saved_models, training
from sat_tf.errors import UserError
from sat_tf.runs import checkpoints, weights
from sat_tf.runs.telling import phase
from sat_tf.training import Stop


class _Loaded(NamedTuple):
    """Weights that were read from a checkpoint, and why their training had ended early."""

    checkpoint: str
    stop: Stop | None

    def evaluated_weights(self):
        """Those that are there."""
        return contextlib.nullcontext()


class Classifier:
    """A network of `sat_tf.models`, built in the strategy's scope on first use.

    So what cannot work is refused before minutes of building.  Its weights are a checkpoint's,
    after `load`, or those of a Training, after `follow`.

    Args:
      config: the Config.
      strategy: where it runs.
      description: of the data, whose names its classes have.
    """

    differentiable = True

    def __init__(self, config, strategy, description):
        self._config, self._strategy = config, strategy
        self.class_names = class_names(description, config.model.num_classes)
        self.versions = {}
        self._origin = _Loaded("", None)

    @functools.cached_property
    def classifier(self) -> tf.keras.Model:
        """The Keras model."""
        with phase("building the network") as building, self._strategy.scope():
            model = models.build(self._config.model, seed=self._config.seed)
            building.found = f"{model.count_params():,} parameters"
        return model

    def logits_fn(self, images):
        """Returns the logits, see the module."""
        return tf.cast(self.classifier(images, training=False), tf.float32)

    def load(self, initial: weights.Initial, *, flag: str, chosen: str):
        """Takes a checkpoint's weights, averaged ones where training has kept them.

        Args:
          initial: what to read; of a run that keeps its best checkpoint, `versions` has both.
          flag: named in errors.
          chosen: "best" or "last", for such a run.
        Raises: UserError where there is no such checkpoint, or it does not fit.
        """
        self.versions = checkpoints.kept_of(initial.path)
        if not self.versions and chosen == "best" and checkpoints.is_run(initial.path):
            raise UserError(
                f"--eval_checkpoint=best: {initial.path} has none yet; train on, or "
                "give --eval_checkpoint=last"
            )
        initial = initial._replace(path=checkpoints.resolve(initial.path, flag, chosen))
        prefix = weights.load_initial(self.classifier, initial, flag)
        self._origin = _Loaded(prefix, checkpoints.stop_of(self.versions.get("last", prefix)))

    def take(self, version: str):
        """Takes the weights of one of `versions`."""
        initial = weights.Initial(self.versions[version])
        prefix = weights.load_initial(self.classifier, initial, "model_dir")
        self._origin = _Loaded(prefix, self._origin.stop)

    def follow(self, trainer):
        """Has from now on the weights of a `runs.training.Training` of it, as they are."""
        self.versions, self._origin = {}, trainer

    @property
    def checkpoint(self) -> str:
        return self._origin.checkpoint

    @property
    def step(self) -> int:
        return training.checkpoints.step_of(self.checkpoint or "")

    def fingerprint(self, settings) -> str:
        return evaluation.fingerprint(settings, self.classifier.variables)

    def evaluated(self):
        return self._origin.evaluated_weights()

    def facts(self) -> dict:
        stop = self._origin.stop
        return {"stopped": stop._asdict()} if stop else {}

    def shown(self, config) -> dict:
        return config.to_dict()


class Saved:
    """A function of a SavedModel, which has its own weights.

    Args:
      saved: the `saved_models.SavedClassifier`.
      description: of the data, whose names its classes have.
    """

    step = 0

    def __init__(self, saved: saved_models.SavedClassifier, description):
        self.class_names = class_names(description, saved.num_classes)
        self.versions = {}
        self.logits_fn = saved.logits_fn
        self.checkpoint = saved.path
        self.differentiable = saved.differentiable
        self._files = saved.fingerprint

    def evaluated(self):
        return contextlib.nullcontext()

    def fingerprint(self, settings) -> str:
        return evaluation.fingerprint([*settings, self._files], variables=())

    def facts(self) -> dict:
        return {}

    def shown(self, config) -> dict:
        """All but the settings of a training that there was not."""
        parts = ("model", "data", "distribution", "evaluation", "seed")
        return {part: config.to_dict()[part] for part in parts}


def class_names(description, num_classes: int) -> tuple:
    """Returns the data set's names, unless the network has another number of classes."""
    names = description.class_names
    return names if len(names) == num_classes else ()
