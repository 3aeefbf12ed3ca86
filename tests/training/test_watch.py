"""What is decided from a sequence of accuracies, and that the state for it is all there is."""

import pytest
import tensorflow as tf

from sat_tf.training.watch import Watch

pytestmark = pytest.mark.smoke


def _validated(accuracies, clean_epochs=0, watch=None, first=0):
    """Notes one accuracy an epoch of ten steps; returns the Watch."""
    watch = watch or Watch()
    for epoch, accuracy in enumerate(accuracies, first):
        watch.note_validation(accuracy, step=10 * (epoch + 1), counts=epoch >= clean_epochs)
    return watch


@pytest.mark.parametrize(
    "accuracies, clean_epochs, best_step, since",
    [
        ([0.0], 0, 10, 0),
        ([0.1, 0.3, 0.2], 0, 20, 1),
        ([0.3, 0.3, 0.3], 0, 10, 2),  # the first of equals
        ([0.3, 0.1, 0.1, 0.1], 2, 10, 2),  # clean epochs use up no patience,
        ([0.3, 0.1, 0.4, 0.1], 2, 30, 1),  # and may be the best
        ([0.3, 0.2, 0.1, 0.4], 0, 40, 0),
    ],
)
def test_the_best_and_the_epochs_since(accuracies, clean_epochs, best_step, since):
    watch = _validated(accuracies, clean_epochs)
    assert int(watch.best_step) == best_step
    assert float(watch.best_accuracy) == max(accuracies)
    assert int(watch.epochs_since_best) == since
    assert int(watch.validated_step) == 10 * len(accuracies)


def test_patience_ends_training_unless_it_is_0():
    watch = _validated([0.5, 0.4, 0.4])
    assert watch.stop(0, at_end=False) is None and watch.stop(3, at_end=False) is None
    stop = watch.stop(2, at_end=False)
    assert stop.by == "patience"
    assert "2 epochs" in stop.reason and "50.0 % at step 10" in stop.reason


def test_patience_has_not_ended_what_took_all_its_steps():
    watch = _validated([0.5, 0.4, 0.4])
    assert watch.stop(2, at_end=True) is None
    watch.note_collapse(0.1)  # which is undone, so that the last step is not taken
    assert watch.stop(2, at_end=True).by == "catastrophic_drop"


@pytest.mark.parametrize(
    "before, after, drop, expected",
    [
        (None, 0.0, 0.2, False),  # nothing to compare with
        (0.9, 0.7, 0.2, False),  # the drop itself, though 0.9 - 0.7 > 0.2 in floats
        (0.5, 0.29, 0.2, True),
        (0.5, 0.9, 0.2, False),
        (0.3, 0.0, 0.2, True),
        (0.0, 0.0, 0.2, False),
    ],
)
def test_a_collapse_is_a_fall_by_more_than_the_drop(before, after, drop, expected):
    watch = Watch()
    if before is not None:
        watch.note_batch(before, step=7)
    assert watch.is_collapse(after, drop=drop) is expected
    if expected:
        watch.note_collapse(after)
        stop = watch.stop(0, at_end=False)
        assert stop.by == "catastrophic_drop"
        assert f"from {100 * before:.1f} % to {100 * after:.1f} %" in stop.reason


def test_a_restored_watch_decides_as_the_old_one(tmp_path):
    accuracies = [0.1, 0.3, 0.3, 0.2, 0.25]
    for cut in range(1, 5):
        first = _validated(accuracies[:cut])
        first.note_batch(0.4, step=10 * cut)
        prefix = tf.train.Checkpoint(watch=first).save(str(tmp_path / str(cut)))
        again = Watch()
        tf.train.Checkpoint(watch=again).restore(prefix).assert_consumed()
        assert again.is_collapse(0.1, drop=0.2)
        _validated(accuracies[cut:], watch=again, first=cut)
        stops = [each.stop(3, at_end=False) for each in (again, _validated(accuracies))]
        assert stops[0] == stops[1] is not None
