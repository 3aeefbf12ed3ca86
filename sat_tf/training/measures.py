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
_ACCURACY, _ENTROPY = ("accuracy", "acc"), ("crossentropy", "ce")


class Measures:
    """Keras metrics by name; made in the strategy's scope.

    Args:
      means: names of the model's own.
      metrics, weighted: as Keras' `compile` takes `metrics` and `weighted_metrics` for a model with
        one output.
      from_logits: whether predictions are logits; decides on cross-entropy by its short name.
      kinds: the module of the metrics, that of tf.keras or of Keras 3.
    Raises: ValueError for two metrics of one name, and for those of another Keras.
    """

    def __init__(
        self, means, *, metrics=None, weighted=None, from_logits=True, kinds=tf.keras.metrics
    ):
        self._kinds = kinds
        self._means = {name: kinds.Mean(name) for name in means}
        self._compiled = {}
        for is_weighted, given in ((False, metrics), (True, weighted)):
            for metric in tf.nest.flatten([] if given is None else given):
                self._compile(_resolved(metric, from_logits, kinds), is_weighted)

    def _compile(self, metric, is_weighted):
        attacked = ADVERSARIAL + metric.name
        if metric.name in self._means or metric.name in self._compiled:
            raise ValueError(
                f"metrics: there is a metric {metric.name!r} already: give this one another name"
            )
        self._compiled[metric.name] = metric, "", is_weighted
        is_accuracy = isinstance(metric, self._kinds.SparseCategoricalAccuracy)
        if attacked in self._means and (is_weighted or not is_accuracy):
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


def _resolved(metric, from_logits, kinds):
    """Returns what Keras' `compile` accepts as a Metric."""
    if isinstance(metric, str) and metric in _ACCURACY:
        return kinds.SparseCategoricalAccuracy(name=metric)
    if isinstance(metric, str) and metric in _ENTROPY:
        return kinds.SparseCategoricalCrossentropy(name=metric, from_logits=from_logits)
    if _is_of_another_keras(metric, kinds):  # which would pass for a function
        raise ValueError(
            f"metrics: {metric.name!r} is a metric of {type(metric).__module__.split('.')[0]}, and "
            "the classifier is of another Keras: give a metric of that one"
        )
    found = kinds.get(metric)
    if isinstance(found, kinds.Metric):
        return found
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", "metric")
    return kinds.MeanMetricWrapper(found, name=name)


def _is_of_another_keras(metric, kinds):
    is_metric = any(base.__name__ == "Metric" for base in type(metric).__mro__)
    return is_metric and not isinstance(metric, kinds.Metric)


def _copy(metric, name):
    return type(metric).from_config({**metric.get_config(), "name": name})
