"""Smooth Adversarial Training (Xie et al., arXiv 2006.14536) in TensorFlow and Keras.

    import sat_tf
    classifier = sat_tf.models.create("resnet20", activation="swish", num_classes=10, image_size=32)
    print(sat_tf.evaluate(classifier, (images, labels), "pgd-20", epsilon=8 / 255))

The public names:

    evaluate           how accurate and how robust a classifier is, with the reasons to doubt it
    AdversarialModel   trains a Keras classifier on perturbed images, by Keras' compile and fit
    models             networks by name                  create, register, MODELS
    activations        smooth activations by name        create, register, ACTIVATIONS
    attacks            attacks by name and as functions  create, register, pgd, apgd, ATTACKS
    training           training methods by name          create, register, METHODS
    data               data sets by name, as batches     load, register, SOURCES
    evaluation         what is around evaluate           Evaluator, Result, checks, diagnostics
    saved_models       networks as SavedModels           export, load

The code is written against the Keras 2 API.  TensorFlow 2.16 and later serve Keras 3 as
`tf.keras` unless `TF_USE_LEGACY_KERAS=1` is set before Keras is first touched, so importing
this package sets it, where the `tf-keras` package is installed to honour it.
"""

import importlib.util
import os
import sys

__version__ = "0.1.0"  # a literal above TensorFlow's import: what builds the package only parses it

if importlib.util.find_spec("tf_keras"):
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

if sys.argv[:1] == [
    "-m"
]:  # `python -m` a module of ours, a command: TensorFlow's log is not for it
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402  (the variables above must be set first)

if tf.keras.Model.__module__.startswith("keras.src.models"):
    raise ImportError(
        "sat_tf needs the Keras 2 API, but tf.keras is Keras 3 here: install tf-keras, import "
        "sat_tf before other users of tf.keras, and do not set TF_USE_LEGACY_KERAS=0"
    )

from sat_tf import activations, attacks, data, evaluation, models, saved_models, training  # noqa: E402
from sat_tf.evaluation import evaluate  # noqa: E402
from sat_tf.training import AdversarialModel  # noqa: E402

__all__ = [
    "AdversarialModel",
    "activations",
    "attacks",
    "data",
    "evaluate",
    "evaluation",
    "models",
    "saved_models",
    "training",
]
