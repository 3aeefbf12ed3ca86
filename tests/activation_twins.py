"""Every activation in NumPy and float64, where to compare the two, and how closely."""

import math

import numpy as np


def _softplus(x):
    return np.logaddexp(0.0, x)


def _sigmoid(x):
    return np.exp(-_softplus(-x))


def _gelu_exact(x):
    return x * 0.5 * np.vectorize(math.erfc)(-x / math.sqrt(2.0))


def _gelu(x):
    near = np.clip(x, -30.0, 30.0)
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (near + 0.044715 * near**3)))


def _smoothrelu(x, alpha=400.0):
    positive = np.maximum(x, 0.0)
    return positive - np.log1p(alpha * positive) / alpha


TWINS = {
    "relu": lambda x: np.maximum(x, 0.0),
    "relu6": lambda x: np.clip(x, 0.0, 6.0),
    "softplus": _softplus,
    "parametric_softplus": lambda x, alpha=10.0: _softplus(alpha * x) / alpha,
    "swish": lambda x: x * _sigmoid(x),
    "silu": lambda x: x * _sigmoid(x),
    "gelu": _gelu,
    "gelu_exact": _gelu_exact,
    "elu": lambda x, alpha=1.0: np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0.0))),
    "celu": lambda x, alpha=1.0: np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0.0) / alpha)),
    "selu": lambda x: (
        1.0507009873554805 * np.where(x >= 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0.0)))
    ),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "smoothrelu": _smoothrelu,
    "sparta": lambda x: x * _sigmoid(x),  # as it starts; test_sparta.py has the rest
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0.0, 1.0),
}
KINKS = {"relu": [0.0], "relu6": [0.0, 6.0], "selu": [0.0], "hard_sigmoid": [-2.5, 2.5]}
TAKES_ALPHA = ("parametric_softplus", "celu", "elu", "smoothrelu")

# At 0, around it, moderate, and far out (still inside float16).
POINTS = np.array(
    [0.0, 1e-3, 0.01, 0.1, 0.5, 1.0, 2.0, 4.0, 7.0, 12.0, 20.0, 90.0, 3000.0, 60000.0]
)
POINTS = np.concatenate([-POINTS[:0:-1], POINTS])
# Relative and absolute tolerance: some roundings of each format.
TOLERANCES = {"float32": (2e-6, 1e-6), "float16": (4e-3, 1e-3), "bfloat16": (2e-2, 8e-3)}


def differences(twin, x):
    step = 1e-8 * np.maximum(1.0, np.abs(x))
    return (twin(x + step) - twin(x - step)) / (2 * step)


def away_from_kinks(name, x):
    return np.all([np.abs(x - kink) > 1e-5 for kink in KINKS.get(name, [])] + [x == x], axis=0)
