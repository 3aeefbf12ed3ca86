"""Curves: their file gives the same rows, and their charts have the right lines and axes."""

import re

import numpy as np
import pytest
import report_samples as samples
import tensorflow as tf

from sat_tf.reports import curves, plots

ROWS = samples.curves()


def of(*kinds):
    return [row for row in ROWS if row["curve"] in kinds]


def test_a_file_gives_the_same_rows(tmp_path):
    path = tmp_path / "curves.csv"
    curves.write_csv(path, ROWS)
    assert curves.read_csv(path) == ROWS
    assert {(row["curve"], type(row["x"])) for row in curves.read_csv(path)} == {
        ("epsilon", float),
        ("steps", int),
        ("restarts", int),
    }
    first, second = path.read_text().splitlines()[:2]
    assert first == "curve,attack,x,robust_accuracy,clean_accuracy,examples"
    assert second == "epsilon,pgd-20,0.0,0.9875,0.9875,360"


def test_numbers_of_arrays_are_numbers(tmp_path):
    row = {**ROWS[-1], "x": np.float32(5), "robust_accuracy": np.float64(0.1)}
    curves.write_csv(tmp_path / "curves.csv", [row])
    (read,) = curves.read_csv(tmp_path / "curves.csv")
    assert read == {**ROWS[-1], "x": 5, "robust_accuracy": 0.1}


def test_other_rows_are_refused_and_leave_the_file(tmp_path):
    path = tmp_path / "curves.csv"
    curves.write_csv(path, ROWS)
    with pytest.raises(ValueError, match="unknown curve 'radius'; known: epsilon, steps, restarts"):
        curves.write_csv(path, [{**ROWS[0], "curve": "radius"}])
    with pytest.raises(ValueError, match="a row has .*seconds; it must have curve, attack"):
        curves.write_csv(path, [{**ROWS[0], "seconds": 3}])
    with pytest.raises(ValueError, match="2.5 steps are not a whole number"):
        curves.write_csv(path, [{**of("steps")[0], "x": 2.5}])
    assert curves.read_csv(path) == ROWS


@pytest.mark.parametrize(
    "line, problem",
    [
        ("steps,pgd,2,0.5,0.9", "line 3: "),
        ("steps,pgd,2.5,0.5,0.9,360", "line 3: .*2.5"),
        ("depth,pgd,2,0.5,0.9,360", "line 3: unknown curve 'depth'"),
        ("steps,pgd,2,a lot,0.9,360", "line 3: .*a lot"),
    ],
)
def test_a_damaged_file_names_its_line(tmp_path, line, problem):
    path = tmp_path / "curves.csv"
    curves.write_csv(path, ROWS[:1])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}, {problem}"):
        curves.read_csv(path)


def test_another_table_is_refused(tmp_path):
    (tmp_path / "curves.csv").write_text("file,class,probability\n")
    with pytest.raises(ValueError, match="its columns are not curve,attack,x"):
        curves.read_csv(tmp_path / "curves.csv")


def test_there_is_a_chart_for_each_kind_with_a_line_for_each_attack_and_the_clean_one():
    panels = curves.panels(ROWS[::-1])  # in any order of the rows
    assert list(panels) == ["epsilon", "steps", "restarts"]
    epsilon = {line.name: line for line in panels["epsilon"].lines}
    assert set(epsilon) == {"pgd-20", "autoattack", "clean"}
    assert epsilon["pgd-20"].x == (0, 8 / 255, 16 / 255, 51 / 255)
    np.testing.assert_allclose(epsilon["pgd-20"].y, [0.9875, 0.8875, 0.7875, 0.35])
    assert epsilon["clean"].reference and epsilon["clean"].y == (0.9875,) * 4
    assert list(curves.panels(of("steps"))) == ["steps"]


def axes_of(panel):
    """Returns the axes of a chart as `plots.draw` labels them."""
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    plots._draw_lines(axes, panel, plots.LIGHT)
    plots._label(axes, panel, plots.LIGHT)
    axes.figure.draw_without_rendering()
    return axes


def test_axes_are_in_per_cent_in_pixel_units_and_in_255ths():
    panels = curves.panels(ROWS)
    axes = axes_of(panels["epsilon"])
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "0 %",
        "20 %",
        "40 %",
        "60 %",
        "80 %",
        "100 %",
    ]
    assert axes.get_ylim()[0] < 0 and axes.get_ylim()[1] > 100  # lines along an edge are whole
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [98.75, 88.75, 78.75, 35])
    assert axes.get_xlabel() == "epsilon, Linf, pixels in [0, 1]"
    (top,) = axes.child_axes
    assert "20/255" in [text.get_text() for text in top.get_xticklabels()]
    in_l2 = axes_of(curves.panels(ROWS, norm="l2")["epsilon"])
    assert in_l2.get_xlabel() == "epsilon, L2, pixels in [0, 1]" and not in_l2.child_axes


def test_steps_over_several_sizes_are_on_a_logarithmic_axis_and_marked_where_measured():
    axes = axes_of(curves.panels(ROWS)["steps"])
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "5", "20", "100"]
    assert axes_of(curves.panels(ROWS)["restarts"]).get_xscale() == "linear"


def test_the_picture_has_its_colours_and_is_wider_for_more_kinds(tmp_path):
    one, three = curves.plot(of("steps")), curves.plot(ROWS)
    assert one.dtype == three.dtype == np.uint8 and one.shape[2] == 3
    assert abs(three.shape[1] - 3 * one.shape[1]) < 4 and three.shape[0] == one.shape[0]
    assert (one == (9, 105, 218)).all(-1).sum() > 100 and (one == 255).all(-1).mean() > 0.5
    curves.write_plot(tmp_path / "curves.png", of("steps"))
    np.testing.assert_array_equal(tf.io.decode_png((tmp_path / "curves.png").read_bytes()), one)


@pytest.mark.parametrize("theme", [plots.LIGHT, plots.DARK])
def test_one_measurement_can_be_seen(theme):
    picture = plots.draw(curves.panels(of("restarts")[:1]).values(), theme=theme)
    ground, line = (
        tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
        for colour in (theme.ground, theme.lines[0])
    )
    assert (picture[0, 0] == ground).all() and (picture == line).all(-1).sum() > 100
