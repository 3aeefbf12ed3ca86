"""Random numbers of an attack, as pure functions of a seed.

    seed = as_seed(7)                       # one for a batch, [2]
    seed = as_seed(seeds_of_examples)       # or one for each of its examples, [batch, 2]
    noise = uniform(images, fold_in(seed, restart), -1.0, 1.0)

With a seed for each example, what an example draws depends on neither its batch nor its place in
it: an evaluation may then drop and regroup examples without changing anybody's numbers.
"""

import tensorflow as tf
from tensorflow.types.experimental import TensorLike


def as_seed(seed: int | TensorLike) -> tf.Tensor:
    """Returns a seed of an attack as an integer tensor, [2] or [batch, 2].

    Args:
      seed: one integer, two of them, or two for each example.
    Raises: ValueError for anything else.
    """
    refusal = ValueError(f"seed={seed}: give an integer, two of them, or two for each example")
    try:
        seed = tf.convert_to_tensor(seed, None if tf.is_tensor(seed) else tf.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise refusal from error
    if (
        not seed.dtype.is_integer
        or seed.shape.rank not in (0, 1, 2)
        or (seed.shape.rank and seed.shape[-1] != 2)
    ):
        raise refusal
    return tf.stack([tf.zeros_like(seed), seed]) if seed.shape.rank == 0 else seed


def fold_in(seed, number):
    """Returns another seed of the same shape, a function of `seed` and `number`.

    Args:
      seed: integer [2] or [batch, 2].
      number: integer scalar; or, with a seed for each example, integer [batch].
    """
    number = tf.cast(number, tf.int64)
    if seed.shape.rank == 1:
        return tf.random.experimental.stateless_fold_in(seed, number)
    numbers = tf.broadcast_to(number, tf.shape(seed)[:1])
    return tf.map_fn(
        lambda pair: tf.random.experimental.stateless_fold_in(*pair),
        (seed, numbers),
        fn_output_signature=tf.TensorSpec([2], number.dtype),
    )


def split(seed):
    """Returns two independent seeds of the same shape, functions of `seed`."""
    if seed.shape.rank == 1:
        return tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    return fold_in(seed, 0), fold_in(seed, 1)


def uniform(like, seed, low, high):
    """Returns numbers from [low, high).

    Args:
      like: float32 [batch, ...]; the numbers have its shape and dtype.
      seed: integer [2] or [batch, 2].
      low, high: Python numbers.
    """
    return _drawn(
        like,
        seed,
        lambda shape, one: tf.random.stateless_uniform(shape, one, low, high, like.dtype),
    )


def normal(like, seed):
    """Returns numbers from the standard normal distribution; arguments as for `uniform`."""
    return _drawn(
        like, seed, lambda shape, one: tf.random.stateless_normal(shape, one, dtype=like.dtype)
    )


def _drawn(like, seed, draw):
    if seed.shape.rank == 1:
        return tf.ensure_shape(draw(tf.shape(like), seed), like.shape)
    drawn = tf.map_fn(
        lambda one: draw(tf.shape(like)[1:], one),
        seed,
        fn_output_signature=tf.TensorSpec(like.shape[1:], like.dtype),
    )
    return tf.ensure_shape(drawn, like.shape)
