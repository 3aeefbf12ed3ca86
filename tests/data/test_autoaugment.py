"""The rows of OPERATIONS against twins of their own, and the choices the policies make."""

import collections
import time

import numpy as np
import pytest
import tensorflow as tf
from daily import only
from image_twins import blend, dull_pixels, grey_square, nearest, pillow, random_pixels, rotation
from PIL import ImageEnhance, ImageOps

from sat_tf.data import autoaugment as module
from sat_tf.data.autoaugment import (
    AUTOAUGMENT_REACH,
    OPERATIONS,
    POLICY_V0,
    RANDAUGMENT_REACH,
    autoaugment,
    randaugment,
)

pytestmark = pytest.mark.smoke

POLICIES = {
    "autoaugment": autoaugment,
    "randaugment": lambda image, seed: randaugment(image, seed, layers=2, magnitude=10),
}


def enhanced(enhancer):
    return lambda pixels: pillow(pixels, lambda image: enhancer(image).enhance(0.82))


# Every row: its argument at the levels 0, 4 and 10 on 224 pixels, and what it does to a 224 x 224
# image at level 4, with the chances 1/4 and 3/4.  The reach is that of RandAugment.  Pillow's
# Color and Sharpness round their grey and their mean, hence a tolerance of one level.
CASES = {
    "AutoContrast": ((0, 0, 0), lambda pixels: pillow(pixels, ImageOps.autocontrast), 0),
    "Equalize": ((0, 0, 0), lambda pixels: pillow(pixels, ImageOps.equalize), 0),
    "Invert": ((0, 0, 0), lambda pixels: 255 - pixels, 0),
    "Rotate": ((0, 12, 30), lambda pixels: nearest(pixels, rotation(224, 224, 12)), 0),
    "Posterize": ((1, 1, 4), lambda pixels: pillow(pixels, ImageOps.posterize, 1), 0),
    "Solarize": ((0, 102, 0), lambda pixels: pillow(pixels, ImageOps.solarize, 102), 0),
    "SolarizeAdd": ((0, 44, 110), lambda pixels: pixels + 44, 0),
    "Color": ((0.1, 0.82, 1.9), enhanced(ImageEnhance.Color), 1),
    "Contrast": ((0.1, 0.82, 1.9), lambda pixels: blend(196, pixels, 0.82), 0),
    "Brightness": ((0.1, 0.82, 1.9), enhanced(ImageEnhance.Brightness), 0),
    "Sharpness": ((0.1, 0.82, 1.9), enhanced(ImageEnhance.Sharpness), 1),
    "ShearX": ((0, 0.12, 0.3), lambda pixels: nearest(pixels, [[1, 0.12, 0], [0, 1, 0]]), 0),
    "ShearY": ((0, 0.12, 0.3), lambda pixels: nearest(pixels, [[1, 0, 0], [0.12, 1, 0]]), 0),
    "TranslateX": ((0, 40, 100), lambda pixels: nearest(pixels, [[1, 0, 40], [0, 1, 0]]), 0),
    "TranslateY": ((0, 40, 100), lambda pixels: nearest(pixels, [[1, 0, 0], [0, 1, 40]]), 0),
    "Cutout": ((0, 16, 40), lambda pixels: grey_square(pixels, 16, 56, 168), 0),
}

GEOMETRY = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")


def applied(name, pixels, level, chance=(0.25, 0.75), reach=RANDAUGMENT_REACH):
    image, operation = tf.constant(pixels), OPERATIONS[name]
    argument = tf.constant(operation.argument(level, reach.on(image)), tf.float32)
    return operation.apply(image, argument, tf.constant(chance)).numpy()


def test_every_operation_has_its_case():
    assert set(CASES) == set(OPERATIONS)


@pytest.mark.parametrize("name", CASES)
def test_levels_become_the_arguments_of_the_release(name):
    reach = RANDAUGMENT_REACH.on(tf.zeros([300, 224, 3], tf.uint8))
    arguments = [OPERATIONS[name].argument(level, reach) for level in (0, 4, 10)]
    assert arguments == pytest.approx(CASES[name][0])


@pytest.mark.parametrize("name", CASES)
def test_operations_do_what_their_twins_do(name):
    pixels = dull_pixels(224, 224)
    _, twin, tolerance = CASES[name]
    result, wanted = applied(name, pixels, 4), twin(pixels)
    np.testing.assert_allclose(result, wanted.astype(int), atol=tolerance)
    assert not np.array_equal(result, pixels)


@pytest.mark.parametrize("name", GEOMETRY)
def test_half_of_the_chances_go_the_other_way(name):
    pixels = random_pixels(224, 224)
    one, other = (applied(name, pixels, 4, chance=(chance, 0.0)) for chance in (0.49, 0.5))
    assert not np.array_equal(one, other)
    negative = OPERATIONS[name].apply(
        tf.constant(pixels), tf.constant(-CASES[name][0][1], tf.float32), tf.constant([0.0, 0.0])
    )
    np.testing.assert_array_equal(other, negative)


def test_levels_that_overflow_in_the_release_do_what_they_do_there():
    levels = (0, 2, 4, 5, 10, 20, 22, 22.5, 30)
    bits, thresholds = (
        [OPERATIONS[name].argument(level, RANDAUGMENT_REACH) for level in levels]
        for name in ("Posterize", "Solarize")
    )
    assert bits == [1, 1, 1, 2, 4, 8, 8, 1, 1]
    assert thresholds == [0, 51, 102, 128, 0, 0, 51, 64, 0]


@pytest.mark.parametrize(
    "shape, shift, half",
    [
        ((224, 224), 250, 100),
        ((300, 600), 250, 100),
        ((112, 500), 125, 50),
        ((40, 60), 44.6, 17),
        ((8, 8), 8.93, 3),
    ],
)
def test_pixels_are_counted_on_images_of_224(shape, shift, half):
    reach = AUTOAUGMENT_REACH.on(tf.zeros([*shape, 3], tf.uint8))
    assert OPERATIONS["TranslateX"].argument(10, reach) == pytest.approx(shift, rel=1e-3)
    assert OPERATIONS["TranslateY"].argument(5, reach) == pytest.approx(shift / 2, rel=1e-3)
    assert OPERATIONS["Cutout"].argument(10, reach) == half


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("level", [0, 10, 30])
def test_extreme_levels_and_constant_images(name, level):
    for pixels in (
        np.zeros((8, 12, 3), np.uint8),
        np.full((8, 12, 3), 255, np.uint8),
        random_pixels(40, 60),
    ):
        for chance in ((0.0, 0.0), (1 - 2**-23, 1 - 2**-23)):
            result = applied(name, pixels, level, chance)
            assert result.shape == pixels.shape and result.dtype == np.uint8
            if level == 0 and name in (*GEOMETRY, "Cutout"):
                np.testing.assert_array_equal(result, pixels)


def test_policy_v0_is_a_table_of_25_pairs():
    assert len(POLICY_V0) == 25 and len(set(POLICY_V0)) == 25
    for sub_policy in POLICY_V0:
        assert len(sub_policy) == 2
        for name, probability, level in sub_policy:
            assert name in OPERATIONS and 0 <= probability <= 1 and level in range(11)
    names = collections.Counter(name for pair in POLICY_V0 for name, _, _ in pair)
    assert names == {
        "Equalize": 12,
        "Color": 9,
        "Rotate": 7,
        "Solarize": 8,
        "ShearY": 4,
        "SolarizeAdd": 2,
        "ShearX": 2,
        "Invert": 1,
        "Posterize": 2,
        "AutoContrast": 2,
        "TranslateY": 1,
    }


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_is_a_function_of_its_seed_in_graphs_eagerly_and_in_parallel_maps(policy):
    function, image = POLICIES[policy], tf.constant(random_pixels(32, 32))
    seeds = tf.stack([tf.fill([24], 7), tf.range(24)], axis=1)
    eager = [function(image, seed).numpy() for seed in seeds]
    graph = tf.function(function)
    mapped = tf.data.Dataset.from_tensor_slices(seeds).map(
        lambda seed: function(image, seed), num_parallel_calls=4, deterministic=True
    )
    assert mapped.element_spec == tf.TensorSpec([32, 32, 3], tf.uint8)
    for one, seed, other in zip(eager, seeds, mapped):
        np.testing.assert_array_equal(one, graph(image, seed))
        np.testing.assert_array_equal(one, graph(image, tf.cast(seed, tf.int64)))
        np.testing.assert_array_equal(one, other)
    assert len({one.tobytes() for one in eager}) > 6


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("shape", only([(32, 32)], [(32, 32), (40, 60), (224, 224)]))
def test_shape_and_dtype_are_kept_and_a_batch_is_made_in_time(policy, shape):
    image = tf.constant(random_pixels(*shape))
    dataset = tf.data.Dataset.range(8).map(
        lambda number: POLICIES[policy](image, tf.stack([number, 5])), num_parallel_calls=2
    )
    assert dataset.element_spec == tf.TensorSpec([*shape, 3], tf.uint8)
    batches = dataset.batch(8, drop_remainder=True)
    assert [batch.shape for batch in batches] == [(8, *shape, 3)]
    start = time.perf_counter()
    list(batches)
    assert time.perf_counter() - start < 5  # some 0.1 s, and a machine that is busy


def journals(policy, monkeypatch, count):
    """Runs a policy whose operations only note who they are; returns what ran, for each seed.

    Each takes the journal, an image one pixel high, and puts its number (the names of OPERATIONS
    counted from 1) and the level it was given at the end.
    """
    runs = []
    for number, name in enumerate(OPERATIONS, start=1):

        def apply(journal, level, chance, number=number):
            note = tf.numpy_function(
                lambda level: runs.append(number) or np.array([number, level, 0], np.uint8),
                [level],
                tf.uint8,
            )
            return tf.concat([journal[:, 1:], tf.reshape(note, [1, 1, 3])], axis=1)

        monkeypatch.setitem(OPERATIONS, name, module.Operation(apply, lambda level, reach: level))
    empty = tf.zeros([1, 2, 3], tf.uint8)
    dataset = tf.data.Dataset.range(count).map(lambda seed: policy(empty, tf.stack([seed, 11])))
    names = [None, *OPERATIONS]
    notes = [
        tuple((names[number], level) for number, level, _ in journal[0] if number)
        for journal in dataset.as_numpy_iterator()
    ]
    assert len(runs) == sum(len(note) for note in notes)  # what was not chosen did not run
    return collections.Counter(notes)


def check_frequencies(counts, probabilities):
    """Every outcome is within five standard deviations, and none is impossible."""
    total = sum(counts.values())
    assert set(counts) <= {outcome for outcome, p in probabilities.items() if p > 0}
    for outcome, p in probabilities.items():
        assert abs(counts[outcome] - total * p) < 5 * np.sqrt(total * p * (1 - p)) + 1, outcome


@pytest.mark.slow
def test_autoaugment_chooses_sub_policies_equally_and_applies_by_probability(monkeypatch):
    probabilities = collections.Counter()
    for (first, p, level), (second, q, other_level) in POLICY_V0:
        for does, p_of_it in ((True, p), (False, 1 - p)):
            for does_too, q_of_it in ((True, q), (False, 1 - q)):
                outcome = ((first, level),) * does + ((second, other_level),) * does_too
                probabilities[outcome] += p_of_it * q_of_it / 25
    check_frequencies(journals(autoaugment, monkeypatch, 5000), probabilities)


@pytest.mark.slow
def test_randaugment_chooses_among_all_operations_equally_and_applies_every_one(monkeypatch):
    outcomes = [((one, 9), (other, 9)) for one in OPERATIONS for other in OPERATIONS]
    counts = journals(
        lambda image, seed: randaugment(image, seed, layers=2, magnitude=9), monkeypatch, 5000
    )
    check_frequencies(counts, dict.fromkeys(outcomes, 1 / len(outcomes)))


@pytest.mark.parametrize("layers, magnitude", [(0, 5), (2, -1), (2, 30.1), (-1, 5)])
def test_randaugment_refuses_what_is_out_of_range(layers, magnitude):
    with pytest.raises(ValueError, match=f"layers={layers}, magnitude={magnitude}"):
        randaugment(tf.zeros([8, 8, 3], tf.uint8), [1, 2], layers=layers, magnitude=magnitude)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 1), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
    ],
)
def test_other_images_are_refused(policy, image):
    with pytest.raises(ValueError, match=image.dtype.name):
        POLICIES[policy](image, [1, 2])


def test_an_image_of_unknown_size_is_refused():
    sizes = tf.TensorSpec([None, None, 3], tf.uint8)
    with pytest.raises(ValueError, match="static shape"):
        tf.function(lambda image: autoaugment(image, [1, 2])).get_concrete_function(sizes)
