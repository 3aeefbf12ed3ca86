"""The code of README and guides runs, their commands parse, and their tables are true."""

import pathlib
import re
import shlex

import pytest
import tensorflow as tf

from flags import definitions, to_config
from flags.help import help_text
from sat_tf import data, models, saved_models, training

ROOT = pathlib.Path(__file__).parents[1]
PAGES = ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
TEXTS = {page: (ROOT / page).read_text() for page in PAGES}
METHODS = TEXTS["docs/methods.md"]
PYTHON = {
    page: re.findall(r"```python\n(.*?)```", TEXTS[page], re.DOTALL)
    for page in ("README.md", "docs/library.md")
}
COMMANDS = list(
    dict.fromkeys(
        line.split("#")[0].strip()
        for text in TEXTS.values()
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    )
)
ON_DISK = (
    "--dataset=tfrecord:",
    "--dataset=folder:",
    "--init_checkpoint=",
    "--sparta_from=",
)  # not here


@pytest.mark.slow
@pytest.mark.smoke
@pytest.mark.parametrize("page, blocks", [("README.md", 3), ("docs/library.md", 4)])
def test_the_code_runs(page, blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = data.load("digits")
    images, labels = next(
        iter(data.training_batches(source, batch_size=32, image_size=8, augment="none", seed=0))
    )
    saved_models.export(
        models.create("resnet20", num_classes=10, image_size=8),
        "runs/resnet20-swish-digits-pgd/saved_model",
        image_size=8,
    )
    names = dict(
        images=images,
        labels=labels,
        uint8_images=source.eval.images[:2],
        png_or_jpeg_files=tf.stack([tf.io.encode_png(source.eval.images[0])]),
    )
    assert len(PYTHON[page]) == blocks
    for block in PYTHON[page]:
        exec(compile(block, page, "exec"), names)
    assert bool(tf.reduce_all(tf.math.is_finite(names["logits"])))
    if page == "docs/library.md":
        assert tape_gradient_is_finite(names)
        assert isinstance(tf.keras.models.load_model("robust.keras"), tf.keras.Model)
    assert 0 <= names["result"].robust_accuracy["pgd-20"] <= names["result"].clean_accuracy <= 1
    assert float(tf.reduce_max(tf.abs(names["adversarial"] - images))) <= 8 / 255 + 1e-6


def tape_gradient_is_finite(names):
    gradient = names["tape"].gradient(names["logits"], names["images"])
    return bool(tf.reduce_all(tf.math.is_finite(gradient)))


def test_examples_are_under_ten_lines():
    assert all(
        len(block.strip().splitlines()) < 10 for blocks in PYTHON.values() for block in blocks
    )


def test_the_readme_is_short():
    assert len(TEXTS["README.md"].split()) < 1000


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("python main.py")])
def test_the_commands_parse(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    flags = definitions.define()
    arguments = shlex.split(command)[1:]
    if any(argument.startswith("--help") for argument in arguments):
        assert "--epsilon" in help_text(flags)
        return
    definitions.parse(flags, arguments)
    if not any(argument.startswith(ON_DISK) for argument in arguments):
        assert to_config.to_config(flags)


def test_the_page_of_methods_lists_each_with_its_passes():
    rows = dict(re.findall(r"^\|[^|]*\| `--method=(\w+)` \| ([^|]+) \|", METHODS, re.MULTILINE))
    assert {name: row.passes(7) for name, row in training.METHODS.items()} == {
        name: 7 * ("K + " in passes) + float(passes.replace("K + ", ""))
        for name, passes in rows.items()
    }


def test_every_method_has_a_command():
    commands = " ".join(c for c in COMMANDS if c in METHODS)
    assert all(f"--method={name} " in commands + " " for name in training.METHODS)


def test_the_page_of_methods_names_flags_and_their_defaults():
    flags = definitions.define()
    names = re.findall(r"`--(\w+)", METHODS)
    assert len(names) > 30 and set(names) <= set(flags)
    defaults = re.findall(r"^\| `--(\w+)` \| (true|false|[\w.-]+) \|", METHODS, re.MULTILINE)
    assert len(defaults) > 15
    for name, stated in defaults:
        if flags[name].default is not None:
            assert str(flags[name].default).lower() in (stated, f"{stated}.0"), name


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md"])
def test_links_between_files_lead_somewhere(page):
    """Files, and headings of pages, by GitHub's rule for their names."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        path, _, heading = target.partition("#")
        linked = (ROOT / page).parent / path if path else ROOT / page
        assert linked.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert heading in [
                re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles
            ], target
