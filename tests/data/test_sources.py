"""The table of data sets, and the embedded digits pixel by pixel."""

import collections
import io
import zlib

import numpy as np
import pytest
from PIL import Image

from sat_tf import data


@pytest.mark.parametrize("name", ["digits"])
def test_an_embedded_source_is_what_its_description_says(name):
    description, source = data.describe(name), data.load(name)
    assert source.description == description and description.name == name
    assert len(description.class_names) in (0, description.num_classes)
    for part, size in (
        (source.train, description.train_examples),
        (source.eval, description.eval_examples),
    ):
        side = description.image_size
        assert part.images.shape == (size, side, side, 3) and part.images.dtype == np.uint8
        assert part.labels.shape == (size,) and part.labels.dtype == np.int32
        assert set(part.labels) == set(range(description.num_classes))


def test_unknown_names_are_refused_with_the_known_ones():
    for call in (data.describe, data.load):
        with pytest.raises(
            ValueError,
            match="--dataset=mnits: no such data set; did you mean mnist.*digits, cifar10",
        ):
            call("mnits")


def test_digits_split_is_the_same_everywhere():
    source = data.load("digits")
    checksums = [zlib.crc32(array.tobytes()) for array in (*source.train, *source.eval)]
    assert checksums == [2996642487, 1580442645, 2448337030, 2033482067]


def test_digits_split_is_a_stratified_partition_of_the_bundled_images():
    from sklearn import datasets

    bunch, source = datasets.load_digits(), data.load("digits")
    grey = np.concatenate([source.train.images, source.eval.images])[..., 0]
    split, bundled = (
        collections.Counter(image.tobytes() for image in images)
        for images in (np.rint(grey / 255 * 16), bunch.images)
    )
    assert split == bundled
    share = np.bincount(source.eval.labels) / np.bincount(bunch.target)
    np.testing.assert_allclose(share, 360 / 1797, atol=0.005)


def test_digits_survive_a_png():
    image = data.load("digits").eval.images[0]
    assert image.min() == 0 and image.max() == 255 and (image == image[..., :1]).all()
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    np.testing.assert_array_equal(np.asarray(Image.open(file)), image)
