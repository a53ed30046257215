"""Batches of any source, and .npy files that grow and survive a kill."""

import gzip
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn.results import NpyWriter
from portable_nn.sources import opened
from portable_nn.streams import batches


def joined(data, size, start=0):
    parts = list(batches(data, size, start))
    assert all(len(part) <= size for part in parts)
    return np.concatenate(parts) if parts else np.empty((0, 3))


@given(
    lengths=st.lists(st.integers(0, 9), max_size=6),
    size=st.integers(1, 12),
    start=st.integers(0, 30),
)
def test_batches_give_every_sample_once_and_in_order(lengths, size, start):
    whole = np.arange(3 * sum(lengths)).reshape(-1, 3)
    pieces = np.split(whole, np.cumsum(lengths)[:-1]) if lengths else []
    np.testing.assert_array_equal(joined(whole, size, start), whole[start:])
    np.testing.assert_array_equal(joined(iter(pieces), size, start), whole[start:])


def test_no_samples_are_one_empty_batch():
    assert [part.shape for part in batches(np.empty((0, 3)), 10)] == [(0, 3)]


def test_an_iterable_of_numbers_is_refused():
    with pytest.raises(pnn.InputError, match="got int: convert it first"):
        list(batches([1, 2, 3], 10))
    with pytest.raises(pnn.ShapeError, match="samples along their first axis, got one number"):
        list(batches(iter(np.arange(3.0)), 10))


def test_npy_files_are_mapped(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(6).reshape(2, 3))
    data = opened(tmp_path / "x.npy")
    assert isinstance(data, np.memmap)
    np.testing.assert_array_equal(data, [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("compressed", [False, True])
def test_idx_files_are_opened(tmp_path, compressed):
    content = bytes([0, 0, 0x0B, 2]) + struct.pack(">2I4h", 2, 2, 1, 2, 3, -4)
    path = tmp_path / "x-idx2-short"
    path.write_bytes(gzip.compress(content) if compressed else content)
    (batch,) = batches(opened(path), 10)
    assert batch.dtype.newbyteorder("=") == np.dtype("int16")
    np.testing.assert_array_equal(batch, [[1, 2], [3, -4]])


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array at all", b"\x93NUMPY\x01\x00\x04\x00nope"])
def test_a_broken_npy_file_is_refused(tmp_path, content):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(pnn.FormatError, match=r"x\.npy"):
        opened(tmp_path / "x.npy")


def test_a_pickled_npy_file_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object))
    with pytest.raises(pnn.FormatError, match=r"x\.npy"):
        opened(tmp_path / "x.npy")


@pytest.mark.parametrize("name", ["x.npy", "x-idx3-ubyte"])
def test_a_missing_file_is_refused(tmp_path, name):
    with pytest.raises(pnn.FormatError, match="cannot be read"):
        opened(tmp_path / name)


def test_a_writer_leaves_a_whole_npy_file(tmp_path):
    with NpyWriter(tmp_path / "y.npy", "work") as writer:
        writer.append(np.array([[1.5, 2.5]], dtype=np.float32))
        writer.append(np.array([[3.5, 4.5]], dtype=np.float32))
        assert not (tmp_path / "y.npy").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["y.npy"]
    found = np.load(tmp_path / "y.npy")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[1.5, 2.5], [3.5, 4.5]])


class KilledError(Exception):
    pass


def killed_after(path, rows, torn):
    """Write some rows and stop as a kill would, in the middle of a row."""
    with suppress(KilledError), NpyWriter(path, "work") as writer:
        writer.append(np.arange(rows))
        raise KilledError
    (partial,) = path.parent.glob("*.partial")
    with partial.open("ab") as file:
        file.write(b"\x07" * torn)
    return partial


@pytest.mark.parametrize("torn", [0, 1, 7])
def test_a_writer_goes_on_after_the_last_whole_row(tmp_path, torn):
    path = tmp_path / "y.npy"
    killed_after(path, 5, torn)
    assert not path.exists()
    with NpyWriter(path, "work") as writer:
        assert writer.rows == 4  # the last one is written again, to prove those before
        writer.append(np.arange(4, 8))
    np.testing.assert_array_equal(np.load(path), np.arange(8))


def test_other_work_starts_anew(tmp_path):
    path = tmp_path / "y.npy"
    killed_after(path, 5, 0)
    with NpyWriter(path, "other work") as writer:
        assert writer.rows == 0
        writer.append(np.arange(2))
    np.testing.assert_array_equal(np.load(path), [0, 1])


@pytest.mark.parametrize("length", [0, 5, 100])
def test_a_header_that_was_cut_short_starts_anew(tmp_path, length):
    path = tmp_path / "y.npy"
    partial = killed_after(path, 5, 0)
    partial.write_bytes(partial.read_bytes()[:length])
    with NpyWriter(path, "work") as writer:
        assert writer.rows == 0
        writer.append(np.arange(3))
    np.testing.assert_array_equal(np.load(path), np.arange(3))


def test_an_older_result_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "y.npy"
    np.save(path, np.arange(2))
    killed_after(path, 5, 0)
    np.testing.assert_array_equal(np.load(path), [0, 1])


def completed(path):
    """The eight rows of the work, some of which may be there already."""
    with NpyWriter(path, "work") as writer:
        writer.append(np.arange(writer.rows, 8))
    return np.load(path)


@pytest.mark.parametrize("n", range(128 + 5 * 8))
def test_a_partial_file_cut_anywhere_is_completed(tmp_path, n):
    partial = killed_after(tmp_path / "y.npy", 5, 0)
    partial.write_bytes(partial.read_bytes()[:n])
    np.testing.assert_array_equal(completed(tmp_path / "y.npy"), np.arange(8))


@given(position=st.integers(0, 127), flip=st.integers(1, 255))
@settings(deadline=None, max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_partial_file_with_a_damaged_header_is_refused(tmp_path, position, flip):
    path = tmp_path / "y.npy"
    partial = killed_after(path, 5, 0)
    data = bytearray(partial.read_bytes())
    data[position] ^= flip
    partial.write_bytes(data)
    with suppress(pnn.FormatError):
        np.testing.assert_array_equal(completed(path), np.arange(8))
    path.unlink(missing_ok=True)
    partial.unlink(missing_ok=True)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(5, dtype="<i4"),
        np.arange(5, dtype=">i8"),
        np.arange(10).reshape(5, 2),
        np.asfortranarray(np.arange(10).reshape(5, 2)),
        np.array(7),
        np.empty((5, 0), int),
        np.zeros(5, "M8[s]"),
        np.zeros(5, [("a", "i8")]),
    ],
    ids=lambda array: f"{array.dtype.str}{array.shape}",
)
def test_a_partial_file_of_other_results_is_refused(tmp_path, array):
    partial = killed_after(tmp_path / "y.npy", 5, 0)
    with partial.open("wb") as file:
        np.lib.format.write_array(file, array)
    with pytest.raises(pnn.FormatError, match="delete it, and begin anew"):
        completed(tmp_path / "y.npy")
    assert not (tmp_path / "y.npy").exists()
