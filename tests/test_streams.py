"""Batches of any source."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import portable_nn as pnn
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
