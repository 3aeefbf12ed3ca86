"""What killed processes leave goes, and nobody else's files do."""

from sat_tf.files import replacing
from sat_tf.runs.disk import leftovers

LEFT = (
    "tmpab12_xyz.part",
    "checkpoints/checkpoint-at-step-9_temp/part-00000-of-00001.index",
    "checkpoints/checkpoint-undecided-at-step-9.data-00000-of-00001",
    "checkpoints/checkpoint.tmp0123456789abcdef",
    "checkpoints/best/checkpoint-at-step-4_temp/part-00000-of-00001.data-00000-of-00001",
    "evaluation_state/tmpab12_xyz.part",
    "saved_model.partial/model/saved_model.pb",
)
KEPT = (
    "notes.part",
    "results.json.part",
    "checkpoints/thesis.part",
    "checkpoints/mine_temp/file",
    "mine_temp/file",
    "config.json",
    "checkpoints/checkpoint",
    "checkpoints/checkpoint-at-step-3.index",
    "checkpoints/checkpoint-at-step-3.data-00000-of-00001",
    "saved_model/saved_model.pb",
    "tensorboard/train/events",
)


def _write(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def _files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_unfinished_files_go(tmp_path):
    _write(tmp_path, (*LEFT, *KEPT))
    leftovers.remove(str(tmp_path))
    assert _files(tmp_path) == set(KEPT)
    assert not list(tmp_path.rglob("*at-step*_temp"))
    leftovers.remove(str(tmp_path / "nothing there"))


def test_an_export_that_had_stepped_aside_comes_back(tmp_path):
    _write(tmp_path, ("saved_model.earlier/saved_model.pb",))
    leftovers.remove(str(tmp_path))
    assert _files(tmp_path) == {"saved_model/saved_model.pb"}
    _write(tmp_path, ("saved_model.earlier/saved_model.pb",))
    leftovers.remove(str(tmp_path))
    assert _files(tmp_path) == {"saved_model/saved_model.pb"}


def test_the_names_are_those_of_files_being_written(tmp_path):
    class Killed(BaseException):
        pass

    with replacing(str(tmp_path / "results.json")) as file:
        (path,) = tmp_path.iterdir()
        assert leftovers._is_left(str(tmp_path), path.name, is_own=False)
        file.write(b"{}")
