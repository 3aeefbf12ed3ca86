"""Every self-check is explained in docs/evaluation.md."""

import pathlib
import re

from sat_tf.evaluation.checks.network import CHECKS

PAGE = (pathlib.Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()


def test_the_page_explains_every_check_under_its_name():
    assert set(re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE)) == set(CHECKS)
    for section in PAGE.split("\n### ")[1:]:
        assert "**Measured:**" in section and "**Then:**" in section, section[:40]


def test_the_page_and_the_code_name_the_same_refusals():
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| (warning|refusal) \|", PAGE, re.MULTILINE))
    assert set(rows) == set(CHECKS)
    assert {name for name, kind in rows.items() if kind == "refusal"} == {
        "batch_dependence",
        "gradient_mismatch",
        "outside_ball",
    }
