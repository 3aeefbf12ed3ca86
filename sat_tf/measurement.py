"""What a run measures of its network, again and again: accuracies, and a gallery of attacks.

The graphs are traced once and kept, so that evaluating every epoch costs neither time nor memory
for another one.
"""

import tensorflow as tf

from sat_tf import activations, attacks, data, distribution, evaluation, seeds, summaries

GALLERY_IMAGES = summaries.MAX_ROWS


def attack_form(config, strategy) -> dict:
    """Returns `compiled` and `loss_scale` of `attacks.pgd`, by the hardware and the precision."""
    return {
        "compiled": attacks.compiled_form(
            config.distribution.xla, distribution.device_type(strategy)),
        # The release's factor where float16 would round small input gradients to zero.
        "loss_scale": 128.0 if config.distribution.precision == "float16" else 1.0}


class Measurement:
    """Clean and robust accuracy on a source's evaluation part, and the gallery for TensorBoard.

    Where the run replaces the activations' derivative in attack or update, every attack is run
    with the exact derivative under its own name, and once more for each replaced one, as in
    `pgd-20:parametric_softplus`.  Any of them may be the strongest; only the attack's own gradient
    differs between them.

    Args:
      config: the run's Config.
      strategy: where it runs.
      source: the loaded data.
      logits_fn: the network in inference mode; its variables are read at each call.
      compiled, loss_scale: see `attacks.pgd`.
    """

    def __init__(self, config, strategy, source, logits_fn, *, compiled, loss_scale):
        self._config = config
        self._strategy = strategy
        self._source = source
        self._logits_fn = logits_fn
        self._attacks = {name: attacks.create(
            name, epsilon=config.attack.epsilon, step_size=config.evaluation.step_size,
            compiled=compiled, loss_scale=loss_scale) for name in config.evaluation.attacks}
        self._evaluator = evaluation.Evaluator(
            logits_fn, under_each_derivative(self._attacks, config), seed=config.seed,
            strategy=strategy)
        self._exhibit = tf.function(self._exhibit_on_replica)

    def accuracies(self, *, on_batch=None) -> evaluation.Result:
        """Returns the counts over the evaluation examples in use."""
        return self._evaluator(self._batches(self._config.evaluation.batch_size),
                               on_batch=on_batch)

    def exhibits(self):
        """Returns the first images under the last of the attacks, or None where there is none.

        Returns: NumPy (images, adversarial, their two predicted classes, labels), as
          `summaries.write_grid` takes them.
        """
        if not any(self._attacks.values()):
            return None
        images, labels, mask = next(iter(self._batches(GALLERY_IMAGES)))
        with self._strategy.scope():  # as in the Evaluator, so that the caller's causes no retrace
            results = self._strategy.run(self._exhibit, args=(images, labels))
        adversarial, clean_classes, adversarial_classes = (
            self._strategy.experimental_local_results(result)[0] for result in results)
        count = int(tf.reduce_sum(tf.cast(mask, tf.int32)))
        return [value.numpy()[:count] for value in (
            images, adversarial, clean_classes, adversarial_classes, labels)]

    def _exhibit_on_replica(self, images, labels):
        attack = [attack for attack in self._attacks.values() if attack is not None][-1]
        seed = seeds.stream_seed(self._config.seed, seeds.EVALUATION_ATTACK, 0)
        adversarial = attack(self._logits_fn, images, labels, seed)
        classes = [tf.argmax(self._logits_fn(x), -1) for x in (images, adversarial)]
        return adversarial, *classes

    def _batches(self, batch_size):
        return data.evaluation_batches(
            self._source, batch_size=batch_size, image_size=self._config.model.image_size,
            num_examples=self._config.data.eval_examples)


def under_each_derivative(by_name, config) -> dict:
    """Returns the attacks, and after them each under every derivative that the run replaces.

    Args:
      by_name: {name: attack}, None for "clean".
      config: the run's Config.
    Returns: {name: attack}; the new names are such as `pgd-20:parametric_softplus`.
    """
    asked = (config.attack.attack_gradient, config.method.update_gradient)
    return {**by_name, **{
        f"{name}:{gradient}": _under(gradient, attack)
        for gradient in dict.fromkeys(filter(None, asked))
        for name, attack in by_name.items() if attack is not None}}


def _under(gradient, attack):
    """Returns the attack with the activations differentiated as `gradient` is."""
    def attack_under(logits_fn, images, labels, seed):
        return attack(
            activations.differentiated_as(gradient, logits_fn), images, labels, seed)

    return attack_under
