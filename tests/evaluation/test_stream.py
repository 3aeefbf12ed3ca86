"""A reading that differs from the first one is recognised, within an evaluation and across two."""

import greys
import numpy as np
import pytest
import tensorflow as tf

from sat_tf import attacks
from sat_tf.errors import UserError
from sat_tf.evaluation import Evaluator, StateFile
from sat_tf.evaluation.stream import Order, Stream

pytestmark = pytest.mark.smoke

FGSM = {"fgsm": attacks.create("fgsm", epsilon=greys.EPSILON)}
BOTH = (greys.IMAGES, greys.LABELS)


class Changing:
    """Batches that are other ones at each reading: `readings` are arrays, or None for the first."""

    def __init__(self, *readings):
        self._readings, self._count = readings, 0

    def __iter__(self):
        arrays = self._readings[min(self._count, len(self._readings) - 1)]
        self._count += 1
        return iter([tuple(array[at : at + 4] for array in arrays) for at in range(0, 12, 4)])


def evaluator(named=None):
    return Evaluator(greys.threshold, FGSM if named is None else named, seed=0)


def brightened(by):
    images = greys.IMAGES.copy()
    images[6, 0, 0, 0] += by
    return images


OTHER = {
    "another order": tuple(array[::-1] for array in BOTH),
    "two have changed places": tuple(array[[1, 0, *range(2, 10)]] for array in BOTH),
    "another image": (brightened(1e-3), greys.LABELS),
    "another label": (greys.IMAGES, np.where(np.arange(10) == 9, 0, greys.LABELS)),
    "fewer": tuple(array[:7] for array in BOTH),
    "more": tuple(np.concatenate([array, array[:1]]) for array in BOTH),
}


@pytest.mark.parametrize("what", OTHER)
def test_a_second_reading_that_differs_is_refused(what):
    with pytest.raises(UserError, match="data: .* when the data is read again.*shuffle=False") as e:
        evaluator()(Changing(BOTH, OTHER[what]))
    assert "\n" not in str(e.value)
    number = {"another image": 6, "another label": 9}.get(what)
    assert number is None or f"example {number} is another one" in str(e.value)


def test_a_data_set_that_shuffles_anew_is_refused_and_one_that_does_not_is_right():
    data = tf.data.Dataset.from_tensor_slices(BOTH)
    anew = data.shuffle(10, seed=1, reshuffle_each_iteration=True).batch(4)
    with pytest.raises(UserError, match="example .* is another one when the data is read again"):
        evaluator()(anew)
    once = data.shuffle(10, seed=1, reshuffle_each_iteration=False).batch(4)
    assert evaluator()(once).correct == {"clean": greys.CLEAN, "fgsm": greys.ROBUST}


def test_a_single_reading_may_have_any_order():
    anew = tf.data.Dataset.from_tensor_slices(BOTH).shuffle(10).batch(4)
    assert evaluator({})(anew).correct == {"clean": greys.CLEAN}


@pytest.mark.parametrize("sizes", [(1, 9), (3, 4, 3), (0, 10), (10,)])
def test_batches_may_differ_in_size(sizes):
    ends = np.cumsum(sizes)
    batches = [tuple(array[end - size : end] for array in BOTH) for size, end in zip(sizes, ends)]
    result = evaluator()(batches)
    assert result.correct == {"clean": greys.CLEAN, "fgsm": greys.ROBUST}
    assert result.outcomes["clean"].broken.tolist() == [False] * 6 + [True] * 2 + [False] * 2


@pytest.mark.parametrize("cut_in", ["clean", "fgsm"])
@pytest.mark.parametrize("what", ["another order", "fewer", "more"])
def test_an_evaluation_that_is_gone_on_with_recognises_its_data(tmp_path, cut_in, what):
    path, evaluate = str(tmp_path / "state.npz"), evaluator()

    def cut(name, done, total):
        if name == cut_in and done > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(Changing(BOTH), on_batch=cut, state=StateFile(path, "same"))
    if (cut_in, what) == ("clean", "more"):  # how many there are is not known yet
        assert evaluate(Changing(OTHER[what]), state=StateFile(path, "same")).examples == 11
        return
    with pytest.raises(UserError, match="when the data is read again"):
        evaluate(Changing(OTHER[what]), state=StateFile(path, "same"))
    result = evaluate(Changing(BOTH), state=StateFile(path, "same"))
    assert result.correct == {"clean": greys.CLEAN, "fgsm": greys.ROBUST}


def test_a_state_without_checksums_is_of_no_use(tmp_path):
    path = str(tmp_path / "state.npz")
    StateFile(path, "same").save({"clean/over": np.array(True), "clean/broken": np.ones(3, bool)})
    result = evaluator({})(Changing(BOTH), state=StateFile(path, "same"))
    assert result.correct == {"clean": greys.CLEAN}


def test_a_stream_gives_what_is_wanted_in_order_and_leaves_out_what_was_taken():
    wanted = np.arange(10) % 2 == 0
    stream = Stream(Changing(BOTH), wanted, taken=1)
    assert stream.batch_size == 4
    rows = [stream.take(3), stream.take(3)]
    assert [row["number"].tolist() for row in rows] == [[2, 4, 6], [8]]
    np.testing.assert_array_equal(rows[0]["images"], greys.IMAGES[[2, 4, 6]])
    assert rows[1]["labels"].tolist() == [0] and stream.taken == 5
    assert stream.take(3) == {} and stream.take(0) == {}


def test_images_of_two_sizes_are_refused():
    large = (np.zeros((1, 3, 3, 3), "float32"), [0])
    with pytest.raises(UserError, match=r"images have shapes \(2, 2, 3\) and \(3, 3, 3\)"):
        evaluator()([BOTH, large])


def test_padding_has_no_part_in_what_is_recognised():
    order = Order()
    for padding in (0.0, 1.0):
        images = np.concatenate([greys.IMAGES[:3], np.full((1, 2, 2, 3), padding, "float32")])
        batch = (images, greys.LABELS[:4], np.array([True, True, True, False]))
        rows = Stream([batch], order=order).take(9)
        assert rows["number"].tolist() == [0, 1, 2]
    assert len(order.digests) == 3
