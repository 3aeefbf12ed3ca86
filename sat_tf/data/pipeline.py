"""Batches for training and evaluation, the same ones every time they are asked for.

    batches = training_batches(source, batch_size=128, image_size=8, augment="basic", seed=0)

Training batch number k is a pure function of (seed, start_step + k): a run that stopped after
step s goes on with `start_step=s`, and nothing about the data needs to be in a checkpoint (under
a strategy it could not be: distributed iterators cannot be saved).  Batches are global ones, to
be handed to `strategy.experimental_distribute_dataset`.
"""

import tensorflow as tf

from sat_tf import seeds
from sat_tf.data import preprocessing
from sat_tf.errors import UserError


def _augment_none(images, seed, description):
    del seed, description
    return images


def _augment_basic(images, seed, description):
    return preprocessing.augment_basic(
        images, seed, padding=images.shape[1] // 8, flip=description.flip)


AUGMENTATIONS = {          # (float32 [B, S, S, 3] in [0, 1], seed [2], Description) -> the same
    "none": _augment_none,
    "basic": _augment_basic,
}


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """Returns how many whole batches an epoch has; what is left over waits for other epochs."""
    return num_examples // batch_size


def training_batches(source, *, batch_size, image_size, augment, seed, start_step=0,
                     num_examples=None) -> tf.data.Dataset:
    """Returns the endless stream of training batches from step `start_step` on.

    Every epoch has its own order, shuffled over the whole of the examples in use, and consists of
    whole batches only.

    Args:
      source: a `sat_tf.data.Source`.
      batch_size: the global batch, at most the number of examples in use.
      image_size: side of the images in pixels; other stored sizes are resized.
      augment: a name in AUGMENTATIONS.
      seed: integer; decides order and augmentation.
      start_step: number of batches that earlier parts of the run have used.
      num_examples: use only the first so many of the training examples; None for all.
    Returns: a dataset of (images float32 [B, S, S, 3] in [0, 1], labels int32 [B]).
    Raises: UserError for an unknown augmentation, too many examples or too large a batch.
    """
    if augment not in AUGMENTATIONS:
        raise UserError(f"--augment={augment}: unknown; give one of {', '.join(AUGMENTATIONS)}")
    num_examples = _checked_number("train_examples", num_examples, source.train)
    steps = steps_per_epoch(num_examples, batch_size)
    if not steps:
        raise UserError(f"--batch_size={batch_size}: larger than the training set in use; "
                        f"give at most {num_examples}")

    def epoch_of_batches(epoch):
        order = tf.random.experimental.stateless_shuffle(
            tf.range(num_examples), seeds.stream_seed(seed, seeds.ORDER, epoch))
        batches = tf.reshape(order[:steps * batch_size], [steps, batch_size])
        numbers = epoch * steps + tf.range(steps, dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices((numbers, batches))

    fetch = _fetcher(source.train)

    def batch_at(step, indices):
        images, labels = fetch(indices)
        images = preprocessing.evaluation_crop(images, image_size, crop_padding=0)
        images = AUGMENTATIONS[augment](
            images, seeds.stream_seed(seed, seeds.AUGMENTATION, step), source.description)
        return images, labels

    first_epoch, first_batch = divmod(start_step, steps)
    batches = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(epoch_of_batches)
    return _finish(batches.skip(first_batch), batch_at)


def evaluation_batches(source, *, batch_size, image_size, num_examples=None) -> tf.data.Dataset:
    """Returns the evaluation examples, in their order, in batches of one constant size.

    The last batch is filled up with copies of the last example, which the mask leaves out: a
    sum over masked values counts every example exactly once.

    Args:
      source: a `sat_tf.data.Source`.
      batch_size: the global batch.
      image_size: side of the images in pixels; they get the evaluation crop of the data set.
      num_examples: use only the first so many of the evaluation examples; None for all.
    Returns: a dataset of (images float32 [B, S, S, 3] in [0, 1], labels int32 [B], mask bool [B]).
    Raises: UserError if there are fewer examples than asked for.
    """
    num_examples = _checked_number("eval_examples", num_examples, source.eval)
    num_batches = -(-num_examples // batch_size)
    fetch = _fetcher(source.eval)

    def batch_at(number):
        places = tf.cast(number, tf.int32) * batch_size + tf.range(batch_size)
        images, labels = fetch(tf.minimum(places, num_examples - 1))
        images = preprocessing.evaluation_crop(
            images, image_size, source.description.crop_padding)
        return images, labels, places < num_examples

    return _finish(tf.data.Dataset.range(num_batches), batch_at)


def _checked_number(flag, asked, examples):
    available = len(examples.labels)
    if asked is None:
        return available
    if not 1 <= asked <= available:
        raise UserError(f"--{flag}={asked}: give a number from 1 to {available}, "
                        "the size of this part of the data set")
    return asked


def _fetcher(examples):
    """Returns indices int32 [B] -> (images uint8 [B, H, W, 3], labels int32 [B])."""
    with tf.device("/CPU:0"):  # where tf.data gathers; on an accelerator they would be in the way
        images, labels = tf.constant(examples.images), tf.constant(examples.labels)
    return lambda indices: (tf.gather(images, indices), tf.gather(labels, indices))


def _finish(dataset, batch_at):
    """Makes the batches in parallel, in order, ahead of their use."""
    dataset = dataset.map(batch_at, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    options = tf.data.Options()
    options.deterministic = True
    # One in-memory source, no files to deal out: every worker makes the global batches and keeps
    # its own share of each.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)
