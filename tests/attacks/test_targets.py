import numpy as np
import pytest
import tensorflow as tf

from sat_tf.attacks.targets import nth_class

LOGITS = np.array([[0.0, 3.0, 1.0, 2.0], [5.0, 5.0, -1.0, 7.0]], "float32")


@pytest.mark.parametrize(
    "rank, classes",
    [(1, [1, 3]), (2, [3, 0]), (3, [2, 1]), (4, [0, 2]), (9, [0, 2]), ([2, 3], [3, 1])],
)
def test_the_class_of_a_rank(rank, classes):
    chosen = nth_class(tf.constant(LOGITS), tf.constant(rank))
    assert chosen.dtype == tf.int32
    np.testing.assert_array_equal(chosen, classes)
