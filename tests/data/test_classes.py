"""Labels by the names of their classes."""

import dataclasses
import shutil

import numpy as np
import pytest
import small_data

from sat_tf import data
from sat_tf.errors import UserError

KNOWN = ("ant", "bee", "cat")


def _described(*names, **others):
    return dataclasses.replace(
        data.describe("digits"), name="here", class_names=names, num_classes=len(names), **others
    )


def test_a_part_of_the_classes_is_put_in_the_networks_order():
    description = data.aligned(_described("cat", "bee"), KNOWN)
    assert description.class_names == KNOWN and description.num_classes == 3
    assert description.eval_lacks == ("ant",)


def test_what_has_no_image_to_measure_on_is_kept():
    description = data.aligned(_described("cat", "bee", "ant", eval_lacks=("bee",)), KNOWN)
    assert description.eval_lacks == ("bee",)


@pytest.mark.parametrize("names, known", [((), KNOWN), (("ant", "dog"), ()), (KNOWN, KNOWN)])
def test_without_names_on_both_sides_labels_stay(names, known):
    description = _described(*names)
    assert data.aligned(description, known) is description
    assert data.order_of(names, known) is None


@pytest.mark.parametrize(
    "names, message",
    [
        (("ant", "cow"), "has the class cow, which the network was not trained on; it knows ant, "),
        (("cow", "ape", "ant"), "has the classes cow, ape, which"),
        (("ant", "bee", "bee"), "the class bee there are two of"),
    ],
)
def test_unknown_classes_are_refused_by_name(names, message):
    with pytest.raises(UserError, match=message):
        data.aligned(_described(*names), KNOWN)


@pytest.mark.parametrize("part", ["train", "eval"])
def test_labels_follow_the_names(tmp_path, part):
    """Of images on disk and of those in memory, in both parts."""
    small_data.write_folder(tmp_path, ("bee", "cat"), side=16)
    source = data.with_classes(data.load(f"folder:{tmp_path}"), KNOWN)
    examples = data.Examples(np.zeros([4, 8, 8, 3], np.uint8), np.array([1, 0, 0, 1], np.int32))
    in_memory = data.with_classes(data.Source(_described("cat", "bee"), examples, examples), KNOWN)
    assert source.description.class_names == in_memory.description.class_names == KNOWN
    for here, expected in ((source, [1, 1, 2, 2]), (in_memory, [1, 1, 2, 2])):
        if part == "eval":
            batches = data.evaluation_batches(here, batch_size=4, image_size=16)
        else:
            batches = data.training_batches(
                here, batch_size=4, image_size=16, augment="none", seed=0
            ).take(1)
        ((_, labels, *_),) = batches
        assert {*labels.numpy()} <= {1, 2}
        if part == "eval":
            assert sorted(labels.numpy()) == expected


def test_a_folder_to_measure_on_may_have_one_class(tmp_path):
    small_data.write_folder(tmp_path, ("cat", "dog"))
    shutil.rmtree(tmp_path / "val/dog")
    assert data.describe(f"folder:{tmp_path}").eval_lacks == ("dog",)
    shutil.rmtree(tmp_path / "train")
    description = data.describe(f"folder:{tmp_path}", eval_only=True)
    assert description.class_names == ("cat",)
