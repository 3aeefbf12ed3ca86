"""Names that the font of the pictures has no letters for."""

import warnings

import numpy as np
import pytest

from sat_tf.reports import letters, plots, summaries
from sat_tf.reports.adversarial_files import contact_sheet

NAMES = ("日本", "caf\udce9", "line\nbreak", "$x^$", "plain")


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_what_the_font_lacks_is_spelled():
    assert letters.drawable("µ ✓ ü_$") == "µ ✓ ü_$"
    assert letters.drawable("日/caf\udce9\n") == r"\u65e5/caf\udce9\n"


def test_a_class_that_cannot_be_drawn_is_given_by_its_index():
    shown = [letters.shortened(index, NAMES) for index in range(6)]
    assert shown == ["0", "1", "2", "$x^$", "plain", "5"]


def test_pictures_take_every_name():
    images, numbers = np.zeros((5, 8, 8, 3), np.float32), np.arange(5)
    grid = summaries.render_grid(images, images, numbers, numbers, numbers, NAMES)
    by_index = summaries.render_grid(
        images, images, numbers, numbers, numbers, ("0", "1", "2", "$x^$", "plain")
    )
    np.testing.assert_array_equal(grid, by_index)
    sheet = contact_sheet(
        images=images,
        adversarial=images,
        labels=numbers,
        predicted=numbers,
        adversarial_predicted=numbers,
        class_names=NAMES,
    )
    assert np.ptp(sheet) > 0


def test_a_legend_names_every_line():
    def picture(*names):
        lines = [plots.Line(name, [0, 1], [0, 1]) for name in names]
        return plots.draw([plots.Panel("", "step", lines)])

    spelled = picture("plain", r"\u65e5\u672c", r"caf\udce9")
    np.testing.assert_array_equal(picture("plain", "日本", "caf\udce9"), spelled)
    for odd in ("_hidden", "$x^$"):
        assert (picture("plain", odd) != picture("plain", "")).any()
