"""Batches for training and evaluation, the same ones every time they are asked for.

    batches = training_batches(source, batch_size=128, image_size=8, augment="basic", seed=0)

Training batch number k is a pure function of (seed, start_step + k): a run that stopped after
step s goes on with `start_step=s`, and nothing about the data needs to be in a checkpoint (under
a strategy it could not be: distributed iterators cannot be saved).

With `held_out=N`, N of the training examples, which ones being a function of the seed, are left to
`validation_batches`.  They are drawn at random, since on disk the examples may be sorted by class.
"""

import tensorflow as tf

from sat_tf import seeds
from sat_tf.data import augmentation, encoded
from sat_tf.data.description import Source
from sat_tf.errors import UserError


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """Returns how many whole batches an epoch has; what is left over waits for other epochs."""
    return num_examples // batch_size


def training_batches(
    source: Source,
    *,
    batch_size: int,
    image_size: int,
    augment: str | augmentation.Row,
    seed: int,
    start_step: int = 0,
    num_examples: int | None = None,
    held_out: int = 0,
    worker: int = 0,
    num_workers: int = 1,
    randaugment_layers: int = 2,
    randaugment_magnitude: float = 9.0,
) -> tf.data.Dataset:
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
      held_out: how many of those are not trained on.
      worker, num_workers: of each global batch only this worker's share is read and returned.
      randaugment_layers, randaugment_magnitude: see `autoaugment.randaugment`.
    Returns: a dataset of (images float32 [B, S, S, 3] in [0, 1], labels int32 [B]), where B is
      batch_size / num_workers.  Where an example is unreadable, and that is allowed, another of
      its batch stands in for it.
    Raises: UserError for an unknown augmentation, too many examples, too large a batch, or one
      that cannot be dealt out evenly.
    """
    recipe = augmentation.training_recipe(
        augment,
        source.description,
        image_size=image_size,
        seed=seed,
        randaugment_layers=randaugment_layers,
        randaugment_magnitude=randaugment_magnitude,
    )
    num_examples = _checked_number("train_examples", num_examples, source.train)
    _, indices = _split(num_examples, held_out, seed)
    steps = steps_per_epoch(num_examples - held_out, batch_size)
    if not steps:
        raise UserError(
            f"--batch_size={batch_size}: larger than the training set in use; "
            f"give at most {num_examples - held_out}"
        )
    if batch_size % num_workers:
        raise UserError(
            f"--batch_size={batch_size}: not divisible by the {num_workers} workers; "
            "give a multiple"
        )
    share = batch_size // num_workers
    positions = worker * share + tf.range(share)

    def epoch_of_batches(epoch):
        order = tf.random.experimental.stateless_shuffle(
            indices, seeds.stream_seed(seed, seeds.ORDER, epoch)
        )
        batches = tf.reshape(order[: steps * batch_size], [steps, batch_size])
        batches = batches[:, worker * share : (worker + 1) * share]
        numbers = epoch * steps + tf.range(steps, dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices((numbers, batches)).map(
            lambda step, indices: (step, positions, tf.ensure_shape(indices, [share]))
        )

    first_epoch, first_batch = divmod(start_step, steps)
    batches = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(epoch_of_batches)
    prepared = source.train.prepared(batches.skip(first_batch), recipe)
    if source.bad_examples is None:
        return _finish(prepared.map(lambda images, labels, readable: (images, labels)))
    return _finish(
        prepared.map(
            lambda images, labels, readable: encoded.cover_unreadable(
                images, labels, readable, source.bad_examples
            )
        )
    )


def evaluation_batches(
    source: Source, *, batch_size: int, image_size: int, num_examples: int | None = None
) -> tf.data.Dataset:
    """Returns the evaluation examples, in their order, in batches of one constant size.

    The last batch is filled up with copies of the last example, which the mask leaves out: a
    sum over masked values counts every example exactly once.  It leaves out unreadable ones too.

    Args:
      source: a `sat_tf.data.Source`.
      batch_size: the global batch.
      image_size: side of the images in pixels; they get the evaluation crop of the data set.
      num_examples: use only the first so many of the evaluation examples; None for all.
    Returns: a dataset of (images float32 [B, S, S, 3] in [0, 1], labels int32 [B], mask bool [B]).
    Raises: UserError if there are fewer examples than asked for.
    """
    num_examples = _checked_number("eval_examples", num_examples, source.eval)
    recipe = augmentation.evaluation_recipe(source.description, image_size=image_size)
    return _masked_batches(source.eval, tf.range(num_examples), recipe, batch_size)


def validation_batches(
    source: Source,
    *,
    batch_size: int,
    image_size: int,
    seed: int,
    held_out: int,
    num_examples: int | None = None,
) -> tf.data.Dataset:
    """Returns the training examples that `training_batches` leaves out, as evaluation batches.

    They get the evaluation crop, no augmentation, and the mask of `evaluation_batches`.

    Args:
      source, seed, num_examples, held_out: as for `training_batches`; at least one is held out.
      batch_size, image_size: as for `evaluation_batches`.
    Returns: a dataset of (images float32 [B, S, S, 3] in [0, 1], labels int32 [B], mask bool [B]).
    Raises: UserError where more are held out than there are, or none.
    """
    num_examples = _checked_number("train_examples", num_examples, source.train)
    indices, _ = _split(num_examples, held_out, seed)
    if not held_out:
        raise UserError("--validation_examples=0: none are held out; give at least 1")
    recipe = augmentation.evaluation_recipe(source.description, image_size=image_size)
    return _masked_batches(source.train, indices, recipe, batch_size)


def _split(num_examples, held_out, seed):
    """Returns the indices int32 that are held out and those that are trained on."""
    if not 0 <= held_out < num_examples:
        raise UserError(
            f"--validation_examples={held_out}: give a number from 0 to "
            f"{num_examples - 1}, so that some of the training examples are left"
        )
    if not held_out:
        return tf.range(0), tf.range(num_examples)
    shuffled = tf.random.experimental.stateless_shuffle(
        tf.range(num_examples), seeds.stream_seed(seed, seeds.HELD_OUT, 0)
    )
    return tf.sort(shuffled[:held_out]), tf.sort(shuffled[held_out:])


def _masked_batches(part, indices, recipe, batch_size):
    """Returns (images, labels, mask) of the examples at `indices`, in their order."""
    num_examples = indices.shape[0]
    num_batches = -(-num_examples // batch_size)

    def places(number):
        return tf.cast(number, tf.int32) * batch_size + tf.range(batch_size)

    numbers = tf.data.Dataset.range(num_batches)
    prepared = part.prepared(
        numbers.map(
            lambda number: (
                number,
                tf.range(batch_size),
                tf.gather(indices, tf.minimum(places(number), num_examples - 1)),
            )
        ),
        recipe,
    )

    def masked(number, batch):
        images, labels, readable = batch
        return images, labels, readable & (places(number) < num_examples)

    batches = tf.data.Dataset.zip((numbers, prepared)).map(masked)
    return _finish(batches.apply(tf.data.experimental.assert_cardinality(num_batches)))


def _checked_number(flag, asked, part):
    if asked is None:
        return part.size
    if not 1 <= asked <= part.size:
        raise UserError(
            f"--{flag}={asked}: give a number from 1 to {part.size}, "
            "the size of this part of the data set"
        )
    return asked


def _finish(dataset):
    """Makes the batches in order and ahead of their use."""
    options = tf.data.Options()
    options.deterministic = True
    # Whoever distributes whole global batches has every worker make them and keep its own share.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)
