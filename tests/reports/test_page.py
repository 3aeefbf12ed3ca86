"""The report's HTML: what it says, what it leaves out, and that nothing in it is taken for markup.

How it looks in a browser is in test_report_rendered.py.
"""

import base64
import html.parser
import re

import numpy as np
import pytest
import report_samples as samples
import tensorflow as tf

from sat_tf.reports import numbers as report_numbers
from sat_tf.reports import page as report

pytestmark = pytest.mark.smoke


class Page(html.parser.HTMLParser):
    """The text, the tags with their attributes, and the tables' rows of an HTML page."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.tags, self.rows, self._in_style = [], [], [], False
        self.feed(text)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._in_style = tag == "style"
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
        self._in_cell = tag in ("th", "td") or (tag in ("span", "code") and self._in_cell)

    def handle_endtag(self, tag):
        self._in_style = False
        self._in_cell = self._in_cell and tag not in ("th", "td")

    _in_cell = False

    def handle_data(self, data):
        if self._in_style:
            return
        self.texts.append(data)
        if self._in_cell:
            self.rows[-1][-1] += data

    def headings(self):
        """Returns the ids of the sections."""
        return [attributes["id"] for tag, attributes in self.tags if tag == "h2"]


@pytest.fixture(scope="module")
def everything():
    """The text of a page with all there can be on one."""
    return report.render(**samples.everything())


def page_of(**arguments):
    return Page(report.render(**{"config": None, **arguments}))


def test_every_number_is_there(everything):
    page = Page(everything)
    assert "resnet20 with swish" in page.text
    assert "data set digits · method trades · step 360" in page.text
    for text in (
        "98.89 %",
        "81.67 %",
        "81.94 %",
        "360 examples",
        "Linf epsilon 0.2 (51/255)",
        "judged at the attack's last iterate",
        "right clean and after 4 attacks",
    ):
        assert text in page.text, text
    for row in (
        ["clean", "98.89 %", "–", "–", "–"],
        ["fgsm", "88.61 %", "356", "37", "0.4"],
        ["pgd-20", "85.00 %", "356", "50", "3.2"],
        ["autoattack", "81.94 %", "356", "61", "80.1"],
        ["apgd-ce", "83.61 %", "356", "55", "11.2"],
        ["apgd-t", "81.94 %", "301", "6", "41.5"],
        ["square", "81.94 %", "295", "0", "7.8"],
        ["pgd-20:parametric_softplus", "86.11 %", "–", "–", "–"],
        ["pgd-20", "0.0627451", "78.75 %", "98.75 %"],  # of the curves
        ["pgd", "100", "80.10 %", "98.75 %"],
        ["num_steps", "3"],
        ["random_start", "true"],
        ["seed", "7"],
        ["init_checkpoint", "none"],
        ["tensorflow", "2.15.1"],
        ["git commit", "0123abcd"],
    ):
        assert row in page.rows, row


def test_warnings_come_before_the_tables_and_say_where_they_are_explained():
    page = page_of(results=samples.results())
    assert page.headings()[0] == "warnings"
    assert (
        "37 gradients are exactly zero. Explained in docs/evaluation.md, section zero_gradients"
    ) in page.text
    checked = page_of(results=samples.results(warnings=[]))
    assert "warnings" not in checked.headings() and "found nothing to warn of" in checked.text
    assert "found nothing to warn of" not in page_of(results=samples.old_results()).text


def test_names_of_users_are_text_and_not_markup(everything):
    assert "<script" not in everything and everything.count("&lt;script&gt;alert(") == 2
    config = {**samples.config(), "model": {"name": samples.HOSTILE}}
    curve = {**samples.curves()[-1], "attack": 'x" onerror="alert(1)'}  # goes to an alt text
    page = page_of(config=config, curves=[curve], results=samples.old_results())
    assert samples.HOSTILE in page.text and any(
        curve["attack"] in attributes.get("alt", "") for _, attributes in page.tags
    )
    for tag, attributes in page.tags:
        assert tag != "script" and not any(name.startswith("on") for name in attributes)


def test_nothing_is_loaded_from_anywhere(everything):
    assert not re.search(r"https?:|@import|url\(", everything)
    for tag, attributes in Page(everything).tags:
        for name in ("src", "srcset", "href", "action", "data"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, name)
    assert any(
        attributes.get("content", "").startswith("default-src 'none'")
        for tag, attributes in Page(everything).tags
        if tag == "meta"
    )


def test_what_there_is_nothing_of_has_no_section(everything):
    assert Page(everything).headings() == [
        "warnings",
        "attacks",
        "curves",
        "examples",
        "training",
        "configuration",
        "versions",
    ]
    assert page_of(results=samples.old_results()).headings() == ["attacks", "configuration"]
    only_clean = {**samples.old_results(), "robust_accuracy": {}}
    assert ["clean", "97.50 %"] in page_of(results=only_clean).rows
    one_epoch = page_of(results=samples.old_results(), metrics=samples.metrics()[:1])
    assert "training" not in one_epoch.headings()  # a point is no curve


def test_earlier_results_and_a_saved_model():
    page = page_of(results=samples.old_results())
    assert "Robustness evaluation" in page.text and "runs/mine/checkpoints/at-20" in page.text
    assert "Robust accuracy 72.50 % pgd-20 40 examples · Linf epsilon 0.03137 (8/255)" in page.text
    assert ["pgd-20", "72.50 %"] in page.rows  # no columns of costs
    several = {**samples.old_results(), "robust_accuracy": {"fgsm": 0.75, "pgd-20": 0.7}}
    assert "70.00 % pgd-20, the lowest" in page_of(results=several).text
    in_l2 = page_of(results={**samples.old_results(), "norm": "l2", "epsilon": 0.5}).text
    assert "L2 epsilon 0.5" in in_l2 and "/255" not in in_l2


def test_two_checkpoints_are_side_by_side_and_the_chosen_one_is_named():
    page = page_of(results=samples.results_of_two())
    assert page.headings() == ["checkpoints", "configuration"]
    assert ["Attack", "best, step 323", "last, step 360"] in page.rows
    assert ["clean", "98.25 %", "99.25 %"] in page.rows
    assert ["pgd-20", "76.75 %", "74.25 %"] in page.rows
    assert "best is the one reported above" in page.text
    assert "Training ended early ( patience ): no better for 5 epochs" in page.text


def test_two_checkpoints_with_costs_have_a_table_each_and_warnings_name_theirs():
    best, last = samples.results(checkpoint="b", step=1), samples.results(checkpoint="l", step=2)
    best["warnings"].append({"name": "of_one", "text": "only here"})
    page = page_of(results={**last, "checkpoints": {"best": best, "last": last}})
    captions = [
        attributes["aria-label"]
        for tag, attributes in page.tags
        if attributes.get("aria-label", "").startswith("Attacks")
    ]
    assert captions == ["Attacks, last checkpoint", "Attacks, best checkpoint"]
    assert page.text.count("37 gradients are exactly zero.") == 1
    assert "zero_gradients (last, best)" in page.text and "of_one (best)" in page.text
    assert ["worst case", "81.67 %", "81.67 %"] in page.rows


def test_a_stage_has_an_accuracy_only_where_it_attacks_what_is_left():
    results = samples.results()
    results["attacks"]["autoattack"]["stages"]["fab-t"]["attacked"] = 300
    (table,) = report_numbers.attack_tables(results)
    accuracies = {row["name"]: row["accuracy"] for row in table["rows"] if row["is_stage"]}
    assert accuracies == {"apgd-ce": 301 / 360, "apgd-t": 295 / 360, "fab-t": None, "square": None}


def test_pictures_are_whole_described_and_in_both_schemes(everything):
    page = Page(everything)
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 6  # 3 curves, 1 grid, 2
    assert all(len(picture["alt"]) > 40 for picture in pictures)
    assert "pgd-20: 98.75 % at epsilon 0, 35.00 % at 0.2;" in pictures[0]["alt"]
    assert pictures[4]["alt"] == "Line chart. loss: 2.5 at epoch 1, 0.625 at 4."
    for tag, attributes in page.tags:
        source = attributes.get("src") or attributes.get("srcset")
        if source:
            png = base64.b64decode(source.split(",", 1)[1], validate=True)
            assert min(tf.io.decode_png(png).shape[:2]) > 400, tag
    assert sum(tag == "source" for tag, _ in page.tags) == 5
    grid = base64.b64decode(pictures[3]["src"].split(",", 1)[1])
    np.testing.assert_array_equal(tf.io.decode_png(grid), samples.exhibits())


def test_training_curves_are_those_of_the_rows():
    loss, accuracy = report.training_panels(samples.metrics())
    assert loss.lines[0].x == (1, 2, 3, 4) and loss.lines[0].y[-1] == 0.625
    assert {line.name: line.y[1] for line in accuracy.lines} == {
        "training, clean": 2 / 5,
        "training, attacked": 2 / 8,
        "held out, clean": 2 / 6,
        "held out, pgd-10": 2 / 9,
    }
    again = [{**samples.old_results(), "kind": "eval", "epoch": epoch} for epoch in range(3)]
    assert [line.name for line in report.training_panels(again)[0].lines] == [
        "evaluation, clean",
        "evaluation, pgd-20",
    ]
    assert report.training_panels(again[:2]) == []


def test_long_lists_are_counted():
    assert report_numbers.setting_text([1.5, None, True]) == "1.5, none, true"
    text = report_numbers.setting_text(list(range(1000)))
    assert text.startswith("0, 1, 2,") and text.endswith("19, … (1000 in all)")


def test_a_path_that_is_no_text_does_not_cost_the_page(tmp_path):
    results = {**samples.old_results(), "checkpoint": "runs/caf\udce9/at-20"}
    report.write(tmp_path / "report.html", config=None, results=results)
    written = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert written == report.render(config=None, results=results).replace("\udce9", "?")


@pytest.mark.parametrize(
    "attack, said",
    [
        ("pgd-20", "judged at the attack&#39;s last iterate"),
        ("cw-10:transfer", "judged at the attack&#39;s last iterate"),
        ("fgsm", "judged after its one step"),
        ("autoattack", "broken by any iterate of any of its attacks"),
        ("apgd-ce-50", "broken by any of the attack&#39;s iterates"),
        ("fab-t:transfer", "broken by any of the attack&#39;s iterates"),
        ("square-1000", "broken by any of the attack&#39;s queries"),
        ("mine", "judged at what the attack returns"),
    ],
)
def test_each_attack_has_its_own_criterion(attack, said):
    results = {**samples.results(), "robust_accuracy": {attack: 0.5}, "attacks": {}}
    page = report.render(config=None, results=results)
    assert said in page
    criteria = re.findall(r'class="criterion">([^<]*)<', page)
    assert criteria == [said]


def test_the_attack_is_named_above_the_images():
    page = report.render(
        config=None, results=samples.results(), exhibits=samples.exhibits(), exhibited="square-99"
    )
    assert "Made by square-99" in page
