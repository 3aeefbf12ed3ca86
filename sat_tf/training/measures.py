"""What an AdversarialModel reports: its own means, and the metrics that were compiled with it.

measures = Measures(["loss", "clean_accuracy"], metrics=["accuracy", top2], weighted=[])
measures.add_mean("loss", loss, weight=batch_size)
measures.add_predictions("adversarial_", labels, predictions, sample_weight)

Every compiled metric is there twice: under its own name on the images as they are, and with
`adversarial_` before its name on the perturbed ones.
"""

import tensorflow as tf

ADVERSARIAL = "adversarial_"

# Names that Keras resolves by the shapes of labels and outputs; here those are always the same.
_BY_SHAPE = {
    "accuracy": tf.keras.metrics.SparseCategoricalAccuracy,
    "acc": tf.keras.metrics.SparseCategoricalAccuracy,
    "crossentropy": tf.keras.metrics.SparseCategoricalCrossentropy,
    "ce": tf.keras.metrics.SparseCategoricalCrossentropy,
}


class Measures:
    """Keras metrics by name; made in the strategy's scope.

    Args:
      means: names of the model's own.
      metrics, weighted: as Keras' `compile` takes `metrics` and `weighted_metrics` for a model with
        one output.
      from_logits: whether predictions are logits; decides on cross-entropy by its short name.
    Raises: ValueError for two metrics of one name.
    """

    def __init__(self, means, *, metrics=None, weighted=None, from_logits=True):
        self._means = {name: tf.keras.metrics.Mean(name) for name in means}
        self._compiled = {}
        for is_weighted, given in ((False, metrics), (True, weighted)):
            for metric in tf.nest.flatten([] if given is None else given):
                self._compile(_resolved(metric, from_logits), is_weighted)

    def _compile(self, metric, is_weighted):
        attacked = ADVERSARIAL + metric.name
        if metric.name in self._means or metric.name in self._compiled:
            raise ValueError(
                f"metrics: there is a metric {metric.name!r} already: give this one another name"
            )
        self._compiled[metric.name] = metric, "", is_weighted
        is_own = isinstance(metric, tf.keras.metrics.SparseCategoricalAccuracy) and not is_weighted
        if attacked in self._means and not is_own:
            raise ValueError(
                f"metrics: {metric.name!r} under attack would be {attacked!r}, which the model "
                "reports itself: give it another name"
            )
        if attacked not in self._means:
            self._compiled[attacked] = _copy(metric, attacked), ADVERSARIAL, is_weighted

    @property
    def all(self) -> list:
        return [*self._means.values(), *(metric for metric, *_ in self._compiled.values())]

    def add_mean(self, name, value, *, weight=None):
        """Adds to one of the model's own means."""
        self._means[name].update_state(value, weight)

    def add_predictions(self, prefix, labels, predictions, sample_weight) -> list:
        """Adds a batch to the compiled metrics of plain or of perturbed images.

        Args:
          prefix: ADVERSARIAL or "".
          labels: int32 [batch].
          predictions: float32 [batch, num_classes], as the classifier gives them.
          sample_weight: float32 [batch] or None; of the weighted metrics only.
        Returns: the metrics' names.
        """
        added = []
        for name, (metric, of, is_weighted) in self._compiled.items():
            if of == prefix:
                metric.update_state(labels, predictions, sample_weight if is_weighted else None)
                added.append(name)
        return added

    def results(self, names) -> dict:
        """Returns {name: value so far}."""
        known = {metric.name: metric for metric in self.all}
        return {name: known[name].result() for name in names}


def _resolved(metric, from_logits):
    """Returns what Keras' `compile` accepts as a Metric."""
    if isinstance(metric, str) and metric in _BY_SHAPE:
        kind = _BY_SHAPE[metric]
        is_entropy = kind is tf.keras.metrics.SparseCategoricalCrossentropy
        return kind(name=metric, **({"from_logits": from_logits} if is_entropy else {}))
    found = tf.keras.metrics.get(metric)
    if isinstance(found, tf.keras.metrics.Metric):
        return found
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", "metric")
    return tf.keras.metrics.MeanMetricWrapper(found, name=name)


def _copy(metric, name):
    return type(metric).from_config({**metric.get_config(), "name": name})
