"""Compiled models that train a tiny network adversarially."""

import tiny

from sat_tf.training import AdversarialModel, create, create_optimizer

PGD = dict(epsilon=0.05, num_steps=2)


def model_of(name="pgd", settings=None, *, learning_rate=0.1, **kwargs):
    settings = PGD if settings is None and name == "pgd" else settings or {}
    network = kwargs.pop("network", None) or tiny.network()
    model = AdversarialModel(network, create(name, **settings), **kwargs)
    model.compile(create_optimizer("sgd", learning_rate))
    return model


def weights_of(model):
    return [w.numpy() for w in model.classifier.weights]
