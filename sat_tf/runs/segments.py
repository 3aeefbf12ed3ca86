"""The calls of `fit` that a training is made of."""


def epoch_segments(start: int, stop: int, steps_per_epoch: int):
    """Yields (initial_epoch, epochs, steps_per_epoch) of the `fit` calls from `start` to `stop`.

    Whole epochs go into one call; an epoch begun before an interruption, or cut by the end of
    training, gets one of its own.
    """
    while start < stop:
        epoch, offset = divmod(start, steps_per_epoch)
        whole = (stop - start) // steps_per_epoch
        if offset or not whole:
            steps = min(steps_per_epoch - offset, stop - start)
            yield epoch, epoch + 1, steps
            start += steps
        else:
            yield epoch, epoch + whole, steps_per_epoch
            start += whole * steps_per_epoch
