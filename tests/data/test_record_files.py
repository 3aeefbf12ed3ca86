"""TFRecord files read in any order, and what is left of damaged ones."""

import gzip
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import small_data
import tensorflow as tf

from sat_tf.data import record_files

pytestmark = pytest.mark.smoke


@pytest.fixture
def paths(tmp_path):
    """Two files with the records b"0" * 10 .. b"6" * 70."""
    found = []
    for name, numbers in (("a", range(4)), ("b", range(4, 7))):
        found.append(f"{tmp_path}/{name}")
        small_data.write_records(found[-1], [b"%d" % i * (10 * i + 10) for i in numbers])
    return found


def test_records_are_read_in_any_order_in_eager_and_in_graphs(paths):
    files = record_files.RecordFiles(paths)
    assert files.size == 7
    for read in (files.read, tf.function(files.read)):
        for index in (5, 0, 6, 3, 4):
            assert read(tf.constant(index)) == b"%d" % index * (10 * index + 10)
    assert [files.where(index) for index in (0, 3, 4, 6)] == [
        f"{paths[0]}, record 0",
        f"{paths[0]}, record 3",
        f"{paths[1]}, record 0",
        f"{paths[1]}, record 2",
    ]


def test_offsets_agree_with_tensorflows_own_reader(paths):
    offsets, cut_off = record_files.record_offsets(paths[0])
    lengths = [len(record.numpy()) + 16 for record in tf.data.TFRecordDataset(paths[0])]
    np.testing.assert_array_equal(offsets, np.cumsum([0] + lengths[:-1]))
    assert not cut_off and sum(lengths) == os.path.getsize(paths[0])


def test_a_damaged_record_fails_alone(paths):
    offsets, _ = record_files.record_offsets(paths[0])
    content = bytearray(open(paths[0], "rb").read())
    content[offsets[1] + 15] ^= 1
    open(paths[0], "wb").write(content)
    files = record_files.RecordFiles(paths)
    with pytest.raises(tf.errors.DataLossError):
        files.read(tf.constant(1))
    assert files.read(tf.constant(2)) == b"2" * 30


@pytest.mark.parametrize("left", [1, 5, 11, 13, 20])
def test_a_file_that_is_cut_off_keeps_its_whole_records(paths, left):
    """`left` bytes of the last record: of its header, then of its data."""
    offsets, _ = record_files.record_offsets(paths[0])
    os.truncate(paths[0], offsets[-1] + left)
    files = record_files.RecordFiles(paths)
    assert files.size == 7
    assert files.read(tf.constant(2)) == b"2" * 30 and files.read(tf.constant(4)) == b"4" * 50
    with pytest.raises(tf.errors.OpError):
        files.read(tf.constant(3))
    assert "record 3 (the file ends in the middle of it" in files.where(3)
    assert "ends" not in files.where(2)


@pytest.mark.parametrize(
    "content, problem",
    [(b"", "is empty"), (gzip.compress(b"0" * 500), "has no whole record: it is compressed")],
    ids=["empty", "compressed"],
)
def test_files_without_a_record_are_named(paths, content, problem):
    with open(paths[1], "wb") as file:
        file.write(content)
    with pytest.raises(ValueError, match=f"/b {problem}"):
        record_files.RecordFiles(paths)


@pytest.mark.slow
def test_counting_makes_no_tensor(paths):
    """As logical devices can only be made before the first; so in a process of its own."""
    program = (
        "import tensorflow as tf; from sat_tf import distribution; "
        "from sat_tf.data.record_files import RecordFiles; "
        f"files = RecordFiles({paths!r}); distribution.split_cpu(2); print(files.size)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=pathlib.Path(__file__).parents[2],
        timeout=120,
    )
    assert done.stdout == "7\n", done.stderr
