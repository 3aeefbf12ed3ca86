"""Commands with --plugin: rows of the user's own in a run, and what becomes of it without them."""

import json

import pytest
from command_line import SHORT, run, weights

from sat_tf import activations, attacks, training
from sat_tf.runs import plugins

ROWS = """
import tensorflow as tf
from sat_tf import activations, attacks, training

activations.register("doubled", lambda x: 2 * tf.nn.relu(x))
attacks.register("brighter", lambda logits_fn, images, labels, seed, epsilon:
                 tf.clip_by_value(images + epsilon, 0.0, 1.0), needs_gradient=False)
training.register("half", training.Row(
    lambda epsilon, **others: training.create("pgd", epsilon=epsilon / 2, **others),
    training.METHODS["pgd"].passes, training.METHODS["pgd"].attack_settings))
"""
COMMAND = (*SHORT, "--activation=doubled", "--method=half", "--eval_attacks=brighter")


@pytest.fixture(autouse=True)
def as_in_a_new_process(monkeypatch):
    """Returns a function that forgets what was loaded."""
    tables = (activations.ACTIVATIONS, attacks.ATTACKS, training.METHODS)
    before = [dict(table) for table in tables]

    def forget():
        monkeypatch.setattr(plugins, "_loaded", set())
        for table, rows in zip(tables, before):
            table.clear()
            table.update(rows)

    forget()
    yield forget
    forget()


@pytest.mark.slow
@pytest.mark.usefixtures("small_networks")
def test_a_run_with_rows_of_ones_own_goes_on_with_the_same_content_only(
    tmp_path, as_in_a_new_process, capsys
):
    file, folder = tmp_path / "rows.py", tmp_path / "run"
    file.write_text(ROWS)
    command = (*COMMAND, f"--model_dir={folder}")
    assert run(*command, "--train_steps=1") == 2
    assert "error: --method=half: unknown method" in capsys.readouterr().err
    assert not folder.exists()
    assert run(*command, f"--plugin={file}", "--train_steps=1", "--mode=train") == 0
    (recorded,) = json.loads((folder / "config.json").read_text())["plugin"]["files"]
    assert recorded[0] == str(file) and len(recorded[1]) == 64
    trained = weights(folder)

    as_in_a_new_process()  # the recorded file is found where it is
    assert run("--mode=eval", f"--model_dir={folder}") == 0
    results = json.loads((folder / "results.json").read_text())
    assert set(results["robust_accuracy"]) == {"brighter"}

    as_in_a_new_process()
    file.write_text(ROWS.replace("2 * tf", "3 * tf"))
    for again in (command, ("--mode=eval", f"--model_dir={folder}")):
        for plugin in ((), (f"--plugin={file}",)):
            assert run(*again, *plugin) == 2
            error = capsys.readouterr().err
            assert error.startswith(f"error: --plugin={file}: the run of --model_dir was begun")
            assert error.count("\n") == 1
            as_in_a_new_process()
    assert all((weights(folder)[name] == value).all() for name, value in trained.items())

    moved = tmp_path / "elsewhere.py"
    moved.write_text(ROWS)
    assert run(*command, f"--plugin={moved}", "--train_steps=2", "--mode=train") == 0
