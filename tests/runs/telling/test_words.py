"""Times, rates and sizes as they are written."""

import pytest

from sat_tf.runs.telling import words


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (75, "1 min 15 s"),
        (3600, "1 h"),
        (29520, "8 h 12 min"),
        (90000, "1 day 1 h"),
        (4 * 86400 + 59, "4 days"),
    ],
)
def test_a_time_has_its_two_largest_units(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    "value, text",
    [
        (0, "0"),
        (float("nan"), "0"),
        (0.0471, "0.047"),
        (0.5, "0.50"),
        (3.14159, "3.1"),
        (9.96, "10"),
        (12345.6, "12,346"),
    ],
)
def test_a_rate_has_digits_that_mean_something(value, text):
    assert words.rate(value) == text


@pytest.mark.parametrize(
    "num_bytes, text",
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1500, "1.5 kB"),
        (1_234_567_890, "1.2 GB"),
        (31e12, "31 TB"),
    ],
)
def test_a_size_has_its_unit(num_bytes, text):
    assert words.size(num_bytes) == text


@pytest.mark.parametrize(
    "epsilon, text", [(4 / 255, "4/255"), (0.5, "0.5"), (0, "0"), (1.0, "1"), (2.0, "2")]
)
def test_a_radius_is_written_as_after_a_flag(epsilon, text):
    assert words.radius(epsilon) == text
