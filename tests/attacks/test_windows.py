"""Where the Square Attack puts its windows, and the pattern in them."""

import numpy as np
import pytest
from square_twin import reference_eta

from sat_tf.attacks.windows import draw_queries, eta, window_sides

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize(
    "norm, size, expected",
    [
        ("linf", (32, 32), [29, 20, 14, 10, 7, 5, 4, 3, 2, 1]),
        ("linf", (8, 8), [7, 5, 4, 3, 2, 1, 1, 1, 1, 1]),
        ("linf", (4, 9), [4, 4, 3, 2, 1, 1, 1, 1, 1, 1]),
        ("l2", (32, 32), [29, 21, 15, 11, 7, 5, 5, 3, 3, 3]),
        ("l2", (8, 8), [7, 5, 5, 3, 3, 3, 3, 3, 3, 3]),
        ("l2", (4, 9), [4, 4, 3, 3, 3, 3, 3, 3, 3, 3]),
        ("l2", (2, 5), [2] * 10),
    ],
)
def test_sides_follow_the_schedule_which_no_number_of_queries_moves(norm, size, expected):
    firsts = [0, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001]
    lasts = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000, 9999]
    sides = window_sides(norm, 10000, *size)
    assert list(sides[firsts]) == list(sides[lasts]) == expected
    np.testing.assert_array_equal(window_sides(norm, 60, *size), sides[:60])
    assert window_sides("linf", 20, 32, 32, p_init=0.2)[10] == 14


def test_windows_lie_anywhere_with_the_same_chance():
    queries = draw_queries(np.full(9000, 3), 1, 5, 4, 3, 0)
    for corner in (queries.corner, queries.second_corner):
        places, counts = np.unique(corner, axis=0, return_counts=True)
        assert places.tolist() == [[top, left] for top in range(3) for left in range(2)]
        assert np.abs(counts / 9000 - 1 / 6).max() < 0.02  # 5 standard deviations
    rates = [queries.turned.mean(), *(queries.signs == 1).mean(0)]
    assert set(np.unique(queries.signs)) == {-1, 1} and np.abs(np.subtract(rates, 0.5)).max() < 0.03


def test_windows_are_those_of_the_seed_and_differ_between_runs():
    one = draw_queries(np.full(50, 2), 1, 9, 9, 3, 7)
    more = draw_queries(np.full(80, 2), 2, 9, 9, 3, 7)
    for few, many in zip(one, more):
        np.testing.assert_array_equal(few, many[:50])
    assert (more.corner[:80] != more.corner[80:]).any()
    assert (one.corner != draw_queries(np.full(50, 2), 1, 9, 9, 3, 8).corner).any()


def test_the_table_of_windows_is_the_same_in_every_numpy():
    queries = draw_queries(np.array([3, 2]), 1, 8, 8, 3, 0)
    assert queries.corner.tolist() == [[3, 4], [6, 2]]  # from 0.5488, 0.7152; 0.9637, 0.3834
    assert queries.second_corner.tolist() == [[3, 3], [5, 3]]
    assert queries.turned.tolist() == [True, False]
    assert queries.signs.tolist() == [[1, -1, 1], [1, -1, -1]]


@pytest.mark.parametrize("side", range(2, 10))
def test_the_pattern_is_the_authors(side):
    np.testing.assert_allclose(eta(side), reference_eta(side), atol=1e-12)


def test_the_pattern_of_one_pixel_is_one():
    assert eta(1).tolist() == [[-1]]
