"""The shortest move onto a hyperplane: against slow solvers, and where nothing is to be gained."""

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from sat_tf.attacks.hyperplane import distance, shortest_move
from sat_tf.attacks.threat import NORMS

pytestmark = pytest.mark.smoke

SHAPE = (2, 2, 3)


def problems(count=60, seed=0, bounds=(0.0, 1.0)):
    """Points, normals with zeros in them, and offsets, about 3 of 4 of them within reach."""
    random = np.random.default_rng(seed)
    low, high = bounds
    points = random.uniform(low, high, (count, *SHAPE)).astype("float32")
    points[random.random(points.shape) < 0.3] = high
    normals = random.normal(size=points.shape).astype("float32") ** 3
    normals[random.random(points.shape) < 0.2] = 0
    signs = random.choice([-1, 1], count)
    room = np.where(signs[:, None, None, None] * normals > 0, high - points, points - low)
    most = (np.abs(normals) * room).sum((1, 2, 3))
    return points, normals, (signs * most * random.uniform(0, 1.3, count)).astype("float32"), most


def move_onto(points, normals, offsets, **settings):
    return shortest_move(*map(tf.constant, (points, normals, offsets)), **settings).numpy()


def by_linear_program(point, normal, offset, bounds):
    """The size of the smallest L-infinity move, as a linear program in the move and its size."""
    d = point.size
    below = np.block([[np.eye(d), -np.ones((d, 1))], [-np.eye(d), -np.ones((d, 1))]])
    solved = scipy.optimize.linprog(
        np.append(np.zeros(d), 1),
        A_ub=below,
        b_ub=np.zeros(2 * d),
        A_eq=np.append(normal, 0)[None],
        b_eq=[offset],
        bounds=[(bounds[0] - x, bounds[1] - x) for x in point] + [(0, None)],
    )
    return solved.x[-1] if solved.status == 0 else None


def by_quadratic_program(point, normal, offset, bounds):
    """The size of the smallest L2 move, by a general solver."""
    solved = scipy.optimize.minimize(
        lambda move: (move**2).sum(),
        np.zeros(point.size),
        jac=lambda move: 2 * move,
        method="SLSQP",
        bounds=[(bounds[0] - x, bounds[1] - x) for x in point],
        constraints={
            "type": "eq",
            "fun": lambda move: normal @ move - offset,
            "jac": lambda move: normal,
        },
        options={"ftol": 1e-12, "maxiter": 500},
    )
    return np.sqrt(solved.fun) if solved.success else None


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-2.0, 3.0)])
@pytest.mark.parametrize(
    "norm, solver, size",
    [
        ("linf", by_linear_program, lambda move: np.abs(move).max()),
        ("l2", by_quadratic_program, lambda move: np.sqrt((move**2).sum())),
    ],
)
def test_the_move_is_feasible_and_no_solver_finds_a_shorter_one(norm, solver, size, bounds):
    points, normals, offsets, most = problems(bounds=bounds)
    moves = move_onto(points, normals, offsets, norm=norm, bounds=bounds)
    assert bounds[0] - 1e-6 <= (points + moves).min() and (points + moves).max() <= bounds[1] + 1e-6
    assert not moves[normals == 0].any()
    reached = (normals * moves).sum((1, 2, 3))
    solved = 0
    for number in range(len(points)):
        if abs(offsets[number]) >= most[number]:
            # The corner of the box that comes closest.
            assert abs(reached[number]) == pytest.approx(most[number], rel=1e-5, abs=1e-6)
            continue
        assert reached[number] == pytest.approx(offsets[number], rel=1e-5, abs=1e-6)
        expected = solver(
            *(values[number].ravel().astype("float64") for values in (points, normals)),
            float(offsets[number]),
            bounds,
        )
        if expected is not None:
            solved += 1
            assert size(moves[number]) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert solved > 35 and (np.abs(offsets) > most).sum() > 5


@pytest.mark.parametrize("norm", NORMS)
def test_without_bounds_in_the_way_the_move_has_the_closed_form_and_the_dual_distance(norm):
    _, normals, offsets, _ = problems()
    moves = move_onto(np.zeros_like(normals), normals, offsets, norm=norm, bounds=(-1e6, 1e6))
    dual = (
        np.abs(normals).sum((1, 2, 3)) if norm == "linf" else np.sqrt((normals**2).sum((1, 2, 3)))
    )
    along = np.sign(normals) if norm == "linf" else normals / dual[:, None, None, None]
    np.testing.assert_allclose(
        moves, along * (offsets / dual)[:, None, None, None], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        distance(tf.constant(normals), offsets, norm=norm), np.abs(offsets) / dual, rtol=1e-5
    )


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_where_there_is_nothing_to_do_there_is_no_move_and_no_nan(norm, compiled):
    points, normals, _, _ = problems(4)
    normals[0], normals[1] = 0, 0  # no hyperplane; and an offset that no move reaches
    points[3], normals[3] = 1, np.abs(normals[3])  # no room
    offsets = np.array([0, 1, 0, 1], "float32")
    move = tf.function(
        lambda *problem: shortest_move(*problem, norm=norm, bounds=(0.0, 1.0)), jit_compile=compiled
    )
    np.testing.assert_array_equal(move(points, normals, offsets), np.zeros_like(points))
    assert np.isfinite(distance(tf.constant(normals), offsets, norm=norm)).all()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("norm", NORMS)
def test_the_scale_of_the_normal_does_not_matter(norm, scale):
    """Not even where the squares of its parts would vanish, or be infinite."""
    points, normals, offsets, _ = problems(8)
    settings = dict(norm=norm, bounds=(0.0, 1.0))
    np.testing.assert_allclose(
        move_onto(points, np.float32(scale) * normals, np.float32(scale) * offsets, **settings),
        move_onto(points, normals, offsets, **settings),
        atol=1e-5,
    )


@pytest.mark.parametrize("norm", NORMS)
def test_a_move_of_a_large_image_reaches_its_offset(norm):
    """Where running sums in float32 would be 1e-5 off."""
    random = np.random.default_rng(0)
    points = random.random((2, 224, 224, 3), "float32")
    normals = random.normal(size=points.shape).astype("float32")
    offsets = np.array([500.0, -40000.0], "float32")
    moves = move_onto(points, normals, offsets, norm=norm, bounds=(0.0, 1.0))
    reached = (normals.astype("float64") * moves).sum((1, 2, 3))
    np.testing.assert_allclose(reached, offsets, rtol=2e-6)


def test_normals_of_a_wide_range_of_sizes_are_solved_all_the_same():
    """The worst case for Newton's method: bounds that are met one by one."""
    sizes = 2.0 ** -np.arange(24).astype("float32").reshape(1, 2, 4, 3)
    for share in (0.3, 0.7, 1 - 1e-3):
        offset = share * sizes.sum().astype("float32").reshape(1)
        move = move_onto(np.zeros_like(sizes), sizes, offset, norm="l2", bounds=(0.0, 1.0))
        np.testing.assert_allclose((sizes * move).sum(), offset, rtol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_the_move_of_an_example_depends_on_no_other(norm):
    points, normals, offsets, _ = problems(20)
    settings = dict(norm=norm, bounds=(0.0, 1.0))
    whole = move_onto(points, normals, offsets, **settings)
    for number in (0, 7, 19):
        one = slice(number, number + 1)
        alone = move_onto(points[one], normals[one], offsets[one], **settings)
        np.testing.assert_allclose(alone, whole[one], rtol=1e-6, atol=1e-7)
