"""Batches are a function of (seed, step), whole, masked where filled up, and may be distributed."""

import dataclasses
import time

import daily
import numpy as np
import pytest
import tensorflow as tf

from sat_tf import data

pytestmark = pytest.mark.smoke


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def numbered():
    """Ten training and seven evaluation images, each as grey as its label says."""
    examples = [
        data.Examples(
            np.repeat(np.arange(n, dtype=np.uint8), 48).reshape(n, 4, 4, 3),
            np.arange(n, dtype=np.int32),
        )
        for n in (10, 7)
    ]
    description = data.Description(
        name="numbered",
        num_classes=10,
        image_size=4,
        train_examples=10,
        eval_examples=7,
        class_names=(),
        crop_padding=0,
        flip=False,
    )
    return data.Source(description, *examples)


def labels_of(dataset, number):
    return [tuple(labels.numpy()) for _, labels in dataset.take(number)]


def train(source, **options):
    settings = dict(batch_size=3, image_size=source.description.image_size, augment="none", seed=5)
    return data.training_batches(source, **{**settings, **options})


def test_an_epoch_is_whole_batches_of_different_examples(numbered):
    assert data.steps_per_epoch(10, 3) == 3
    batches = labels_of(train(numbered), 30)
    epochs = [sum(batches[start : start + 3], ()) for start in range(0, 30, 3)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert len(set(epochs)) == 10  # every epoch has its own order
    assert set().union(*epochs) == set(range(10))  # and leaves out others


def test_images_stay_with_their_labels(numbered):
    for images, labels in train(numbered).take(4):
        np.testing.assert_array_equal(
            images, np.float32(labels.numpy() / 255)[:, None, None, None] * np.ones((4, 4, 3), "f")
        )


@pytest.mark.parametrize("augment", daily.only(["none", "basic"], data.AUGMENTATIONS))
def test_a_run_that_goes_on_sees_what_the_uninterrupted_one_would(digits, augment):
    options = dict(batch_size=128, image_size=8, augment=augment, seed=2**31 + 7)
    whole = list(data.training_batches(digits, **options).take(30))
    for start_step in (1, 11, 12, 27):  # 11 steps make an epoch
        resumed = data.training_batches(digits, **options, start_step=start_step)
        for (images, labels), again in zip(whole[start_step:], resumed.take(3)):
            images_again, labels_again = again
            np.testing.assert_array_equal(images, images_again)
            np.testing.assert_array_equal(labels, labels_again)


@pytest.mark.parametrize("augment", daily.only(["none", "basic"], data.AUGMENTATIONS))
def test_every_augmentation_keeps_the_contract(digits, augment):
    batches = train(digits, batch_size=64, augment=augment)
    assert batches.element_spec == (
        tf.TensorSpec([64, 8, 8, 3], tf.float32),
        tf.TensorSpec([64], tf.int32),
    )
    (images, _), (other_images, _) = (
        batches.take(1).get_single_element(),
        train(digits, batch_size=64, augment=augment, seed=6).take(1).get_single_element(),
    )
    assert 0 <= images.numpy().min() and images.numpy().max() <= 1
    assert not np.array_equal(images, other_images)


def test_basic_augmentation_differs_from_epoch_to_epoch_and_mirrors_only_where_allowed(digits):
    one = data.Examples(digits.train.images[:1], digits.train.labels[:1])
    padded = np.pad(one.images[0] / 255, ((1, 1), (1, 1), (0, 0))).astype(np.float32)
    shifts = {
        padded[row : row + 8, column : column + 8].tobytes()
        for row in range(3)
        for column in range(3)
    }
    mirrored = {np.frombuffer(shift, "f").reshape(8, 8, 3)[:, ::-1].tobytes() for shift in shifts}
    for flip, wanted in ((False, shifts), (True, shifts | mirrored)):
        source = data.Source(dataclasses.replace(digits.description, flip=flip), one, one)
        batches = train(source, batch_size=1, augment="basic").take(200)
        assert {images.numpy().tobytes() for images, _ in batches} == wanted


def test_caps_take_the_first_examples(numbered):
    assert set(sum(labels_of(train(numbered, num_examples=4), 8), ())) == {0, 1, 2, 3}
    batches = data.evaluation_batches(numbered, batch_size=4, image_size=4, num_examples=3)
    assert [labels[mask].numpy().tolist() for _, labels, mask in batches] == [[0, 1, 2]]


def test_other_image_sizes_are_resized(digits):
    assert train(digits, image_size=12).element_spec[0].shape == (3, 12, 12, 3)
    images, _, _ = next(iter(data.evaluation_batches(digits, batch_size=4, image_size=6)))
    assert images.shape == (4, 6, 6, 3)


def test_evaluation_counts_every_example_once(digits):
    batches = list(data.evaluation_batches(digits, batch_size=128, image_size=8))
    assert [images.shape[0] for images, _, _ in batches] == [128, 128, 128]
    assert [mask.numpy().sum() for _, _, mask in batches] == [128, 128, 104]
    images, labels, mask = (np.concatenate(parts) for parts in zip(*batches))
    np.testing.assert_array_equal(labels[mask], digits.eval.labels)
    np.testing.assert_array_equal(images[mask], np.float32(digits.eval.images / 255))
    assert mask.dtype == bool and labels.dtype == np.int32


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(augment="rotate"), "--augment=rotate: .*none, basic, autoaugment, randaugment"),
        (dict(num_workers=2), "--batch_size=3: not divisible by the 2 workers"),
        (dict(batch_size=11), "--batch_size=11: .*at most 10"),
        (dict(num_examples=11), "--train_examples=11: .*10"),
        (dict(num_examples=0), "--train_examples=0: .*10"),
    ],
)
def test_mistakes_are_refused(numbered, options, message):
    with pytest.raises(ValueError, match=message):
        train(numbered, **options)


def test_too_many_evaluation_examples_are_refused(numbered):
    with pytest.raises(ValueError, match="--eval_examples=8: .*7"):
        data.evaluation_batches(numbered, batch_size=2, image_size=4, num_examples=8)


@pytest.mark.parametrize("augment", daily.only(["none", "basic"], data.AUGMENTATIONS))
def test_workers_share_each_global_batch(digits, augment):
    """Each has other images; together they have those of one worker, where crops are not random."""
    options = dict(batch_size=8, augment=augment)
    whole = train(digits, **options).take(3)
    shares = [train(digits, **options, worker=worker, num_workers=2).take(3) for worker in (0, 1)]
    for (images, labels), first, second in zip(whole, *shares):
        np.testing.assert_array_equal(labels, np.concatenate([first[1], second[1]]))
        if augment == "none":
            np.testing.assert_array_equal(images, np.concatenate([first[0], second[0]]))


def test_the_shifts_of_two_workers_differ(digits):
    one = data.Examples(*(np.repeat(array[:1], 8, 0) for array in digits.train))
    source = data.Source(digits.description, one, one)
    shares = [
        train(source, batch_size=8, augment="basic", worker=worker, num_workers=2)
        .take(1)
        .get_single_element()[0]
        for worker in (0, 1)
    ]
    assert not np.array_equal(*shares)


def test_policies_see_every_image_with_a_seed_of_its_own(digits):
    one = data.Examples(*(np.repeat(array[:1], 32, 0) for array in digits.train))
    source = data.Source(digits.description, one, one)
    images, _ = (
        train(source, batch_size=32, augment="randaugment", randaugment_magnitude=10)
        .take(1)
        .get_single_element()
    )
    assert len({image.numpy().tobytes() for image in images}) > 20


def test_two_replicas_share_each_global_batch(numbered, mirrored):
    strategy = mirrored

    def gathered(values):
        parts = strategy.experimental_local_results(values)
        return np.concatenate([local.numpy() for local in parts])

    batches = train(numbered, batch_size=4, start_step=1)
    distributed = iter(strategy.experimental_distribute_dataset(batches))
    for wanted in labels_of(batches, 3):
        images, labels = next(distributed)
        assert [local.shape[0] for local in strategy.experimental_local_results(images)] == [2, 2]
        assert tuple(gathered(labels)) == wanted
    evaluation = data.evaluation_batches(numbered, batch_size=4, image_size=4)
    parts = [
        (gathered(labels), gathered(mask))
        for _, labels, mask in strategy.experimental_distribute_dataset(evaluation)
    ]
    labels, mask = (np.concatenate(column) for column in zip(*parts))
    assert labels[mask].tolist() == list(range(7)) and len(mask) == 8


def test_an_epoch_of_digits_takes_no_time(digits):
    batches = iter(train(digits, batch_size=128, augment="basic"))
    next(batches)
    fastest = min(_seconds(batches, 11) for _ in range(5))
    assert fastest < 0.05


def _seconds(batches, number):
    start = time.perf_counter()
    for _ in range(number):
        next(batches)
    return time.perf_counter() - start


def test_what_is_held_out_and_what_is_trained_on_are_the_training_set(numbered):
    options = dict(seed=5, num_examples=9, held_out=4)
    validation = data.validation_batches(numbered, batch_size=3, image_size=4, **options)
    assert [mask.numpy().sum() for _, _, mask in validation] == [3, 1] and len(validation) == 2
    held_out = [label for _, labels, mask in validation for label in labels[mask].numpy()]
    trained = sum(labels_of(train(numbered, batch_size=5, **options), 4), ())
    assert len(held_out) == len(set(held_out)) == 4
    assert set(trained) == set(range(9)) - set(
        held_out
    )  # never the tenth, which the cap leaves out
    for images, labels, _ in validation:
        np.testing.assert_array_equal(images[:, 0, 0, 0], np.float32(labels / 255))


def test_the_held_out_part_is_a_random_one_of_the_seed(digits):
    def labels(seed):
        batches = data.validation_batches(
            digits, batch_size=100, image_size=8, seed=seed, held_out=100
        )
        return batches.get_single_element()[1].numpy().tolist()

    assert labels(5) == labels(5) != labels(6)
    assert set(labels(5)) == set(range(10))


@pytest.mark.parametrize("augment", ["none", "basic"])
def test_a_held_out_part_stays_so_under_resuming_and_workers(digits, augment):
    options = dict(batch_size=64, held_out=500, augment=augment)
    whole = train(digits, **options).skip(20)
    resumed = train(digits, **options, start_step=20)
    for (images, labels), (images_again, labels_again) in zip(whole.take(2), resumed.take(2)):
        np.testing.assert_array_equal(images, images_again)
        np.testing.assert_array_equal(labels, labels_again)
    shares = [train(digits, **options, worker=worker, num_workers=2) for worker in (0, 1)]
    for (_, labels), first, second in zip(train(digits, **options).take(2), *shares):
        np.testing.assert_array_equal(labels, np.concatenate([first[1], second[1]]))


def test_nothing_held_out_changes_no_batch(numbered):
    """Orders from before there was such a setting."""
    assert labels_of(train(numbered), 4) == [(0, 5, 2), (9, 7, 8), (3, 1, 4), (8, 4, 5)]


@pytest.mark.parametrize("held_out", [-1, 10])
def test_holding_out_all_is_refused(numbered, held_out):
    with pytest.raises(ValueError, match=f"--validation_examples={held_out}: .*0 to 9"):
        train(numbered, held_out=held_out)


def test_a_batch_larger_than_what_is_left_is_refused(numbered):
    with pytest.raises(ValueError, match="--batch_size=7: .*at most 6"):
        train(numbered, batch_size=7, held_out=4)
