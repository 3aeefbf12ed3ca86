"""An AdversarialModel as Keras copies it, saves it as a whole, and loads it to train on.

tf.keras.models.save_model(model, "training.keras")
model = tf.keras.models.load_model("training.keras")    # after `import sat_tf`
"""

import dataclasses

from sat_tf.training import sam as sharpness
from sat_tf.training.method_table import create


class Saved:
    """What `tf.keras.models.save_model`, `clone_model` and `copy.deepcopy` ask an AdversarialModel.

    `save` is another matter: it saves the bare classifier.  `_keras` of the class is the Keras of
    its classifiers.
    """

    def get_config(self):
        """Returns what `from_config` makes the same model of, with other weights.

        Raises: ValueError where the method was not made by its name.
        """
        if self.method.config is None:
            raise ValueError(
                "an AdversarialModel can be copied and saved as a whole only if its method was "
                'given by name, as in AdversarialModel(classifier, "pgd", epsilon=8/255); '
                "save() saves the bare classifier"
            )
        return {
            "classifier": self._keras.saving.serialize_keras_object(self.classifier),
            "method": dict(self.method.config),
            "seed": self._seed,
            "weight_decay": self._weight_decay,
            "weight_decay_on": self._weight_decay_on,
            "ema_decay": self.average.decay if self.average is not None else 0.0,
            "clean_epochs": self.clean_epochs,
            "sam": self.sam and dataclasses.asdict(self.sam),
            "from_logits": self._from_logits,
            "attack_gradient": self._attack_gradient,
            "update_gradient": self._update_gradient,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        classifier = cls._keras.saving.deserialize_keras_object(config.pop("classifier"))
        method = create(**config.pop("method"))
        sam = config.pop("sam")
        return cls(classifier, method, sam=sam and sharpness.SAM(**sam), **config)

    def get_compile_config(self):
        config = super().get_compile_config()
        return config and {**config, **self._keras.saving.serialize_keras_object(self._compiled)}

    def compile_from_config(self, config):
        self.compile(**self._keras.saving.deserialize_keras_object(config))

    def _own_values(self):
        """Returns the variables that are nobody else's to save."""
        average = [] if self.average is None else self.average.averages
        state = [] if self.method.state is None else self.method.state.variables
        return [self.global_step, self.attacking, self.epochs, *average, *state]

    def save_own_variables(self, store):
        for index, variable in enumerate(self._own_values()):
            store[str(index)] = variable.read_value().numpy()

    def load_own_variables(self, store):
        for index, variable in enumerate(self._own_values()):
            variable.assign(store[str(index)])
