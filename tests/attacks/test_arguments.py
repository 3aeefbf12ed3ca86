"""Labels and logits that would give wrong numbers: each is right or refused, by every attack."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from attacked import EPSILON, IMAGES, LABELS, linear

from sat_tf import attacks
from sat_tf.errors import UserError

pytestmark = pytest.mark.smoke

NAMES = (
    "fgsm",
    "pgd-1",
    "pgd-1x2",
    "apgd-ce-1",
    "apgd-dlr-1",
    "apgd-t-1",
    "fab-1",
    "fab-t-1",
    "square-1",
    "autoattack",
)


def ascend(logits_fn, images, labels, seed):
    threat = attacks.ThreatModel(epsilon=EPSILON)
    return attacks.ascend(logits_fn, images, images, labels, threat=threat, num_steps=1)


ENTRIES = {
    **{
        name: attacks.create(name, epsilon=EPSILON, num_classes=4, version="apgd-ce-1,square-1")
        for name in NAMES
    },
    "pgd": functools.partial(attacks.pgd, epsilon=EPSILON, num_steps=1),
    "ascend": ascend,
    "judge": lambda logits_fn, images, labels, seed: attacks.judge(logits_fn, images, labels),
}
every_entry = pytest.mark.parametrize("entry", ENTRIES)


@every_entry
@pytest.mark.parametrize(
    "labels, message",
    [
        (LABELS.astype("float32"), r"labels are float32 of shape \(6,\): give integer class ind"),
        (np.eye(4, dtype="float32")[LABELS], r"labels are float32 .* as tf.argmax\(labels, -1\)"),
        (np.eye(4, dtype="int32")[LABELS], r"labels have shape \(6, 4\): .* tf.argmax"),
        (LABELS[:, None, None], r"labels have shape \(6, 1, 1\): .*tf.reshape\(labels, \[-1\]\)"),
        (LABELS[:1], "labels are 1 for 6 images: give one class index for each image"),
        (np.append(LABELS, 0), "labels are 7 for 6 images"),
        (np.int32(1), r"labels have shape \(\): give class indices \[batch\], one for each image"),
        (LABELS + 1, "labels are from 1 to 4 for 4 logits: .* from 0 to 3; subtract 1 from labels"),
        (LABELS - 1, "labels are from -1 to 2: give class indices from 0"),
        (LABELS.astype("int64") + 2**32, "labels are from 4294967296 to 4294967299"),
        (["cat"] * 6, "labels are string"),
        ([[0], [1, 2]], "labels do not make a tensor"),
    ],
    ids=str,
)
def test_labels_that_name_no_class_of_each_image_are_refused(entry, labels, message):
    with pytest.raises(UserError, match=message) as caught:
        ENTRIES[entry](linear, IMAGES, labels, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_class_indices_are_flat_int32(dtype, shape):
    given = np.array([0, 2, 1], dtype).reshape(shape)
    for labels in (
        attacks.class_indices(given),
        attacks.class_indices(given.tolist()),
        attacks.checked_labels(given, IMAGES[:3], 3),
    ):
        assert labels.dtype == tf.int32
        np.testing.assert_array_equal(labels, [0, 2, 1])


def test_labels_in_a_column_are_attacked_as_labels_in_a_row():
    row, column = (
        attacks.pgd(linear, IMAGES, labels, 0, epsilon=EPSILON, num_steps=1).numpy()
        for labels in (LABELS, LABELS.astype("uint8")[:, None])
    )
    np.testing.assert_array_equal(row, column)


def test_no_examples_are_no_mistake():
    assert attacks.checked_labels(np.zeros(0, "int32"), IMAGES[:0], 4).shape == [0]


# In a graph, where only the run can tell.


def in_graph(entry, **settings):
    return tf.function(
        lambda images, labels: ENTRIES[entry](linear, images, labels, 0),
        input_signature=[tf.TensorSpec([None, 8, 8, 3]), tf.TensorSpec([None], tf.int32)],
        **settings,
    )


@pytest.mark.parametrize("entry", ["pgd-1", "apgd-ce-1", "fab-t-1", "square-1", "ascend"])
def test_a_graph_asserts_what_it_cannot_know_when_traced(entry):
    attack = in_graph(entry)
    assert attack(IMAGES, LABELS).shape == IMAGES.shape
    with pytest.raises(tf.errors.InvalidArgumentError, match="one class index for each image"):
        attack(IMAGES, LABELS[:1])
    for wrong in (LABELS + 1, LABELS - 1):
        with pytest.raises(tf.errors.InvalidArgumentError, match="class indices from 0 to"):
            attack(IMAGES, wrong)


def test_labels_of_a_graph_that_are_constants_are_compared_when_traced():
    attack = tf.function(lambda: ENTRIES["pgd"](linear, IMAGES, LABELS + 1, 0))
    with pytest.raises(UserError, match="^labels are from 1 to 4 for 4 logits"):
        attack.get_concrete_function()


@pytest.mark.parametrize("compiled", attacks.COMPILED_FORMS)
def test_the_assertion_is_outside_of_what_xla_compiles(compiled):
    attack = tf.function(
        lambda labels: attacks.pgd(
            linear, IMAGES, labels, 0, epsilon=EPSILON, num_steps=1, compiled=compiled
        )
    )
    attack(tf.constant(LABELS))
    with pytest.raises(tf.errors.InvalidArgumentError, match="class indices from 0 to 3"):
        attack(tf.constant(LABELS + 1))


def test_a_network_seen_through_another_is_the_one_whose_classes_count():
    attack = ENTRIES["pgd-1"].through(lambda logits_fn: lambda images: linear(images)[:, :3])
    with pytest.raises(UserError, match="labels are from 0 to 3 for 3 logits"):
        attack(linear, IMAGES, LABELS, 0)


def test_a_verdict_tells_which_labels_are_classes():
    verdict = in_graph("judge")(IMAGES, np.array([0, 3, 4, -1, 1, 7], "int32"))
    assert verdict.known.numpy().tolist() == [True, True, False, False, True, False]
    assert attacks.judge(linear, IMAGES, LABELS).known.numpy().all()


# What logits_fn returns.


@every_entry
@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda z: z[:, :1],
            r"\(6, 1\), one output: .* 2 classes; .*tf.concat\(\[tf.zeros_like\(z",
        ),
        (lambda z: z[:, 0], r"\(6,\), one output: .*z\[:, None\].*leave the sigmoid out"),
        (lambda z: z[:, :0], r"\(6, 0\): attacks need at least 2 classes"),
        (lambda z: z[:, None, None], r"\(6, 1, 1, 4\): .*Flatten"),
        (lambda z: [z, z], r"a list of 2 outputs: give the logits alone, .*\[0\]"),
        (lambda z: (z,), "a tuple of 1 outputs"),
        (lambda z: {"logits": z, "features": z}, r"a dict of 2 outputs: .*\['logits'\]"),
        (lambda z: tf.cast(z, tf.int32), "int32: give floating logits"),
        (lambda z: z[:1], r"\(1, 4\) for 6 images: give one row of logits for each image"),
        (lambda z: None, "NoneType: give a tensor"),
    ],
)
def test_what_is_not_a_row_of_logits_for_each_image_is_refused(entry, change, message):
    with pytest.raises(UserError, match=f"logits_fn returns .*{message}") as caught:
        ENTRIES[entry](lambda images: change(linear(images)), IMAGES, LABELS, 0)
    assert "\n" not in str(caught.value)


def test_logits_whose_shape_a_graph_does_not_know_are_asserted():
    @functools.partial(tf.function, input_signature=[tf.TensorSpec([None, None])])
    def checked(logits):
        unknown = tf.numpy_function(lambda values: values, [logits], tf.float32)
        return attacks.checked_logits(unknown, IMAGES)

    assert checked(tf.zeros([6, 4])).shape == [6, 4]
    with pytest.raises(tf.errors.InvalidArgumentError, match="one row of logits for each image"):
        checked(tf.zeros([5, 4]))


def test_classes_whose_number_a_graph_does_not_know_are_compared_when_run():
    def unknown(images):
        return tf.numpy_function(lambda x: x.reshape(6, -1)[:, :4], [images], tf.float32)

    attack = tf.function(lambda labels: ENTRIES["square-1"](unknown, IMAGES, labels, 0))
    attack(tf.constant(LABELS))
    with pytest.raises(tf.errors.InvalidArgumentError, match="subtract 1"):
        attack(tf.constant(LABELS + 1))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_logits_keep_their_precision(dtype):
    logits = attacks.checked_logits(np.zeros([6, 2], dtype), IMAGES)
    assert tf.is_tensor(logits) and logits.dtype == dtype
