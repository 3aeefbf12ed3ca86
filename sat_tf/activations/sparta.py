"""Sparta, an activation that attends to the neighbourhood of each position: OUR READING of it.

    from sat_tf import activations
    make_activation = activations.create("sparta", kernel_size=3, shared=False, gain=1.0)
    features = make_activation(name="conv0_activation")(features)

Reference: Guo et al., 2021, https://arxiv.org/abs/2105.08269.  We had the abstract only, and found
no code of the authors.  It says that relu is the same at all positions and for all inputs, that
Sparta attends to space and is learnt in adversarial training, and that it is related to swish and
to feature denoising.  Hence our reading: relu is X times a mask of X, and Sparta has for the mask
a small convolution of X with a sigmoid.  Of one position alone, that is swish; of several, what a
feature's neighbours say decides on how much of it is let through.  The paper's formula may differ.
"""

import math

import tensorflow as tf

from sat_tf.activations import derivatives, elementwise


def sparta(x, taps, bias, gain=1.0):
    """gain x sigmoid(convolution of x with `taps`, each channel by itself, + bias).

    It is computed in float32 where x is float16 or bfloat16 and rounded once at the end, because a
    sum of neighbours overflows float16 well before the features do.

    Args:
      x: floating-point [batch, height, width, channels].
      taps: float32 [k, k, channels, 1] or, the same for all channels, [k, k, 1, 1]; SAME padding.
      bias: float32 [channels] or [1].
      gain: factor on the attention, above 0; at 2 the slope at 0 is 1.
    Returns: like x; gradients flow to x, taps and bias.
    """
    x = tf.convert_to_tensor(x)
    wide = elementwise.widen(x)
    taps = tf.cast(taps, wide.dtype)
    if taps.shape[2] != x.shape[3]:
        taps = tf.tile(taps, [1, 1, x.shape[3], 1])
    evidence = tf.nn.depthwise_conv2d(wide, taps, [1, 1, 1, 1], "SAME") + tf.cast(bias, wide.dtype)
    return tf.cast(gain * wide * tf.sigmoid(evidence), x.dtype)


def _centre_tap(shape, dtype=None, **unused):
    """Returns zeros with ones in the middle of the k x k taps."""
    middle = tf.one_hot(shape[0] ** 2 // 2, shape[0] ** 2, dtype=dtype or tf.float32)
    return tf.tile(tf.reshape(middle, [shape[0], shape[0], 1, 1]), [1, 1, shape[2], 1])


@tf.keras.utils.register_keras_serializable(package="sat_tf")
class Sparta(derivatives.ActivationLayer):
    """`sparta` with its own taps and bias at each place: our reading, see above.

    [batch, height, width, channels] -> same shape and dtype.  The weights `attention_taps` and
    `attention_bias` start as the centre tap and 0, so that the layer starts as gain times swish.
    They stay float32 under every precision policy, and weight decay leaves them alone.

    Args:
      kernel_size: side of the taps in pixels, odd.
      shared: one set of taps for all channels, which then fits maps of any width.
      gain: as in `sparta`.
    Raises: ValueError for other options, and for inputs that are not feature maps.
    """

    def __init__(self, activation_name="sparta", kernel_size=3, shared=False, gain=1.0, **kwargs):
        self.check_options(kernel_size=kernel_size, gain=gain)
        super().__init__(activation_name, **kwargs)
        self.kernel_size, self.shared, self.gain = int(kernel_size), bool(shared), float(gain)

    @staticmethod
    def check_options(*, kernel_size=3, shared=False, gain=1.0):
        """Raises ValueError unless the kernel has a centre and the gain is positive."""
        del shared  # anything that is true or false
        if kernel_size < 1 or kernel_size % 2 != 1:
            raise ValueError(
                f"kernel_size is {kernel_size}: give an odd number, so that the kernel has a centre"
            )
        if not 0 < gain < math.inf:
            raise ValueError(f"gain is {gain}: give a number above 0")

    def build(self, input_shape):
        shape = tf.TensorShape(input_shape)
        if shape.rank != 4 or shape[3] is None:
            raise ValueError(
                f"{self.name}: sparta needs feature maps [batch, height, width, "
                f"channels], these are {shape}"
            )
        channels = 1 if self.shared else shape[3]
        self.attention_taps = self.add_weight(
            name="attention_taps",
            shape=[self.kernel_size, self.kernel_size, channels, 1],
            dtype=tf.float32,
            experimental_autocast=False,
            initializer=_centre_tap,
        )
        self.attention_bias = self.add_weight(
            name="attention_bias",
            shape=[channels],
            dtype=tf.float32,
            experimental_autocast=False,
            initializer="zeros",
        )
        super().build(input_shape)

    def value(self, inputs):
        return sparta(
            inputs,
            tf.convert_to_tensor(self.attention_taps),
            tf.convert_to_tensor(self.attention_bias),
            self.gain,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "shared": self.shared,
            "gain": self.gain,
        }
