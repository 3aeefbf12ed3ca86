"""How an image is prepared: the recipes of training and evaluation, and the table of augmentations.

recipe = training_recipe("basic", description, image_size=224, seed=0)
image = recipe.of_bytes(tf.io.read_file("cat.jpg"), step=7, position=0)
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from sat_tf import seeds
from sat_tf.data import autoaugment, preprocessing
from sat_tf.errors import UserError, look_up

Policy = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # uint8 [S, S, 3], seed [2] -> uint8 [S, S, 3]


class Row(NamedTuple):
    """One augmentation: whether crops are random, and what is done to the cropped image.

    `policy` maps the keyword arguments `layers` and `magnitude` (randaugment's) to a Policy.
    """

    random_crop: bool
    policy: Callable[..., Policy | None] = lambda **unused: None


AUGMENTATIONS = {
    "none": Row(random_crop=False),
    "basic": Row(random_crop=True),
    "autoaugment": Row(random_crop=True, policy=lambda **unused: autoaugment.autoaugment),
    "randaugment": Row(
        random_crop=True,
        policy=lambda **settings: functools.partial(autoaugment.randaugment, **settings),
    ),
}


@dataclasses.dataclass(frozen=True)
class EvaluationRecipe:
    """The evaluation crop: the same for the same image, always."""

    image_size: int
    crop_padding: int

    def of_pixels(self, images, unused_step, unused_positions):
        """Returns float32 [B, S, S, 3] in [0, 1] of uint8 [B, H, W, 3]."""
        return preprocessing.evaluation_crop(images, self.image_size, self.crop_padding)

    def of_bytes(self, image_bytes, unused_step, unused_position):
        """Returns float32 [S, S, 3] in [0, 1] of an encoded image."""
        return preprocessing.evaluation_crop_of_bytes(
            image_bytes, self.image_size, self.crop_padding
        )


@dataclasses.dataclass(frozen=True)
class TrainingRecipe:
    """A crop, random or not, then a policy or none; random by (seed, step, position in the batch).

    Attributes:
      resized_crops: whether random crops are parts of any size, resized, as for photographs;
        else shifts by up to an eighth of the side, as for images of one size up to 64 pixels.
      policy: what is done to the cropped image, or None.
    """

    image_size: int
    crop_padding: int
    flip: bool
    random_crop: bool
    resized_crops: bool
    policy: Policy | None
    seed: int

    def of_pixels(self, images, step, positions):
        """Returns float32 [B, S, S, 3] in [0, 1] of uint8 [B, H, W, 3]."""
        images = preprocessing.evaluation_crop(images, self.image_size, crop_padding=0)
        seed = seeds.stream_seed(self.seed, seeds.AUGMENTATION, step)
        if self.random_crop:
            # The first position tells the shares of several workers apart.
            of_share = tf.cond(positions[0] == 0, lambda: seed, lambda: _fold(seed, positions[0]))
            images = self._shift(images, of_share)
        if self.policy is not None:
            images = tf.map_fn(
                lambda pair: self._apply_policy(pair[0], _fold(seed, pair[1])),
                (images, positions),
                fn_output_signature=tf.TensorSpec(images.shape[1:], tf.float32),
            )
        return images

    def of_bytes(self, image_bytes, step, position):
        """Returns float32 [S, S, 3] in [0, 1] of an encoded image."""
        seed = _fold(seeds.stream_seed(self.seed, seeds.AUGMENTATION, step), position)
        if not (self.random_crop and self.resized_crops):
            image = preprocessing.evaluation_crop_of_bytes(image_bytes, self.image_size, 0)
            if self.random_crop:
                image = self._shift(image[tf.newaxis], _fold(seed, 0))[0]
        else:
            image = preprocessing.random_resized_crop(
                image_bytes, self.image_size, _fold(seed, 0), crop_padding=self.crop_padding
            )
            if self.flip:
                image = preprocessing.random_flip(image, _fold(seed, 1))
        return image if self.policy is None else self._apply_policy(image, seed)

    def _shift(self, images, seed):
        return preprocessing.augment_basic(
            images, seed, padding=self.image_size // 8, flip=self.flip
        )

    def _apply_policy(self, image, seed):
        levels = tf.cast(tf.round(image * 255.0), tf.uint8)
        return preprocessing.to_float(self.policy(levels, _fold(seed, 2)))


def _fold(seed, number):
    return tf.random.experimental.stateless_fold_in(seed, tf.cast(number, tf.int64))


def training_recipe(
    name, description, *, image_size, seed, randaugment_layers=2, randaugment_magnitude=9.0
) -> TrainingRecipe:
    """Returns the recipe of an augmentation for a data set.

    Args:
      name: a name in AUGMENTATIONS.
      description: of the data set.
      image_size: side of the result in pixels.
      seed: the run's.
      randaugment_layers, randaugment_magnitude: see `autoaugment.randaugment`; the other rows take
        no notice of them.
    Raises: UserError for an unknown name.
    """
    try:
        row = name if isinstance(name, Row) else look_up(AUGMENTATIONS, "augmentation", name)
    except ValueError as error:
        raise UserError(f"--augment={name}: {error}") from error
    return TrainingRecipe(
        image_size=image_size,
        crop_padding=description.crop_padding,
        flip=description.flip,
        random_crop=row.random_crop,
        resized_crops=not _is_small(description),
        policy=row.policy(layers=randaugment_layers, magnitude=randaugment_magnitude),
        seed=seed,
    )


def _is_small(description):
    return description.image_size is not None and description.image_size <= 64


def evaluation_recipe(description, *, image_size) -> EvaluationRecipe:
    """Returns the evaluation crop of a data set at `image_size` pixels."""
    return EvaluationRecipe(image_size, description.crop_padding)
