"""torchattacks (https://github.com/Harry24k/adversarial-attacks-pytorch): the authors' AutoAttack.

That package has the files of https://github.com/fra31/auto-attack, changed in little but their
interface; the code itself is not on the package index.  Two defaults matter: torchattacks makes 10
steps for the authors' 100, and stretches Square's schedule of window sizes over the queries.  Its
own AutoAttack has them too, so here the four attacks are made one by one, with the authors' values,
each on all images: AutoAttack has broken what one of them has.

The network stays in TensorFlow: PyTorch gets its logits, and their derivative times a vector.

Ours departs by design in what `sat_tf.attacks.apgd_search` says of the first iterate, in what
`sat_tf.attacks.square` says of windows and tiles, and in that an example is done with FAB as soon
as it is broken within epsilon.
"""

import importlib.metadata

import numpy as np
import tensorflow as tf
import torch
import torchattacks

NAME, VERSION = "torchattacks", importlib.metadata.version("torchattacks")
_NORMS = {"linf": "Linf", "l2": "L2"}


class _Differentiable(torch.autograd.Function):
    """TensorFlow's logits of PyTorch's images, with a derivative."""

    @staticmethod
    def forward(context, images, network):
        context.network = network
        context.save_for_backward(images)
        return _to_torch(network.logits_fn(_to_tensorflow(images)))

    @staticmethod
    def backward(context, upstream):
        (images,) = context.saved_tensors
        gradient = context.network.gradient_fn(
            _to_tensorflow(images), tf.constant(upstream.detach().numpy())
        )
        return _to_torch(gradient).permute(0, 3, 1, 2).contiguous(), None


class _Network(torch.nn.Module):
    """float32 [N, C, H, W] -> logits [N, classes], by a function of TensorFlow's layout."""

    def __init__(self, logits_fn, shape):
        super().__init__()
        self.device_of = torch.nn.Parameter(torch.zeros(1))  # torchattacks asks for one
        images = tf.TensorSpec([None, *shape])
        self.logits_fn = tf.function(logits_fn, input_signature=[images])

        @tf.function(input_signature=[images, tf.TensorSpec([None, None])])
        def gradient_fn(images, upstream):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(images)
                logits = logits_fn(images)
            return tape.gradient(logits, images, output_gradients=upstream)

        self.gradient_fn = gradient_fn

    def forward(self, images):
        return _Differentiable.apply(images, self)


def _to_tensorflow(images):
    return tf.constant(images.detach().permute(0, 2, 3, 1).contiguous().numpy())


def _to_torch(values):
    return torch.from_numpy(np.array(values))


def _apgd(network, norm, epsilon, classes, loss):
    return torchattacks.APGD(network, norm=norm, eps=epsilon, steps=100, loss=loss)


def _apgd_t(network, norm, epsilon, classes):
    return torchattacks.APGDT(network, norm=norm, eps=epsilon, steps=100, n_classes=classes)


def _fab_t(network, norm, epsilon, classes):
    return torchattacks.FAB(
        network, norm=norm, eps=epsilon, steps=100, multi_targeted=True, n_classes=classes
    )


def _square(network, norm, epsilon, classes):
    return torchattacks.Square(network, norm=norm, eps=epsilon, n_queries=5000, resc_schedule=False)


ATTACKS = {
    "apgd-ce": lambda *arguments: _apgd(*arguments, loss="ce"),
    "apgd-dlr": lambda *arguments: _apgd(*arguments, loss="dlr"),
    "apgd-t": _apgd_t,
    "fab-t": _fab_t,
    "square": _square,
}


def offers(setting) -> bool:
    """Returns whether there is such an attack."""
    return setting.algorithm in ATTACKS


def run(logits_fn, images, labels, setting):
    """Returns what the attack makes of the images, an array like them.

    The arguments are those of `agreement.judged`.
    """
    classes = int(logits_fn(tf.constant(images[:1])).shape[-1])
    network = _Network(logits_fn, images.shape[1:])
    attack = ATTACKS[setting.algorithm](network, _NORMS[setting.norm], setting.epsilon, classes)
    adversarial = attack(
        torch.from_numpy(np.transpose(images, (0, 3, 1, 2)).copy()),
        torch.from_numpy(labels.astype(np.int64)),
    )
    return np.transpose(adversarial.detach().numpy(), (0, 2, 3, 1))
