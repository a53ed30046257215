"""Files of joblib: joblib is the oracle for honest ones; of hostile ones nothing may run or grow."""

import bz2
import gzip
import lzma
import os
import pickle
import struct
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from portable_nn.errors import FormatError
from portable_nn.readers import joblib as joblib_files
from portable_nn.readers.joblib import read_joblib
from portable_nn.readers.pickles import Record

pytest.importorskip("joblib", reason="it writes the files: pip install joblib")
import joblib

COMPRESSIONS = [0, 3, *(("zlib", 9), ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3))]
CONTENT = {
    "matrix": np.arange(12, dtype=np.float32).reshape(3, 4),
    "column order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(20)[::3],
    "strings": np.array(["setosa", "virginica"]),
    "objects": np.array(["width", "height", None], object),
    "truth": np.array([True, False]),
    "number": np.array(2.5),
    "nothing": np.zeros((0, 3)),
    "other order": np.arange(3, dtype=">i4"),
    "list": [np.ones(2), (np.zeros(1), 3)],
    "scalar": np.float64(0.5),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("joblib") / "content.joblib"


def assert_same(ours, theirs):
    match theirs:
        case dict():
            assert list(ours) == list(theirs)
            for name, value in theirs.items():
                assert_same(ours[name], value)
        case list() | tuple():
            assert type(ours) is type(theirs)
            for a, b in zip(ours, theirs, strict=True):
                assert_same(a, b)
        case np.ndarray():
            assert ours.dtype.newbyteorder("=") == theirs.dtype.newbyteorder("=")
            np.testing.assert_array_equal(ours, theirs)
        case _:
            assert ours == theirs


@pytest.mark.parametrize("compress", COMPRESSIONS, ids=str)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_compression_and_protocol(path, compress, protocol):
    joblib.dump(CONTENT, path, compress=compress, protocol=protocol)
    assert_same(read_joblib(path), CONTENT)


any_array = hnp.arrays(
    st.sampled_from(["<f2", ">f4", "<f8", "<i8", "|u1", "|b1", "<U3"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)


@given(
    arrays=st.dictionaries(st.text(max_size=20), any_array, max_size=4),
    compress=st.sampled_from(COMPRESSIONS),
    fortran=st.booleans(),
)
@settings(deadline=None, max_examples=100)
def test_any_arrays(path, arrays, compress, fortran):
    if fortran:
        arrays = {name: np.asfortranarray(array) for name, array in arrays.items()}
    joblib.dump(arrays, path, compress=compress)
    assert_same(read_joblib(path), arrays)


def test_one_array_under_two_names(path):
    shared = np.arange(3.0)
    joblib.dump({"a": shared, "b": shared, "c": [shared]}, path)
    assert_same(read_joblib(path), joblib.load(path))


def test_before_padding(path):
    """Joblib before 1.2 had no padding, and not the attribute that tells its alignment."""
    joblib.dump({"a": np.arange(3.0), "b": np.ones(2)}, path, protocol=2)
    data = path.read_bytes()
    path.write_bytes(without_padding(data, [np.arange(3.0), np.ones(2)]))
    assert_same(read_joblib(path), {"a": np.arange(3.0), "b": np.ones(2)})


def without_padding(data, arrays):
    for array in arrays:
        start = data.index(array.tobytes())
        built = data.rindex(b"b", 0, start - 1)
        data = data[: built + 1] + data[start:]
    attribute = b"X" + struct.pack("<I", 27) + b"numpy_array_alignment_bytes"
    start = data.index(attribute)
    end = start + len(attribute)
    assert data[end : end + 1] == b"q"  # its place in the memo
    return data.replace(data[start : end + 2] + b"K\x10", b"X\x01\x00\x00\x00x" + data[end : end + 2] + b"K\x10")


def test_a_plain_pickle(path):
    path.write_bytes(pickle.dumps(CONTENT))
    assert_same(read_joblib(path), CONTENT)


def test_objects_are_records(path):
    joblib.dump({"when": slice(1, 2), "which": os.path.join}, path)
    found = read_joblib(path)
    assert isinstance(found["which"], Record)
    assert found["which"].name == "posixpath.join"


class Call:
    """Pickles as the call of a function."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("compress", [0, 3])
def test_nothing_is_run(path, tmp_path, compress):
    harm = Call(os.mkdir, str(tmp_path / "harm"))
    joblib.dump([harm, np.array([harm], object), np.ones(2)], path, compress=compress)
    read_joblib(path)
    assert not (tmp_path / "harm").exists()


def refused(path, data, match):
    """The peak of memory while the file is refused."""
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=match):
            read_joblib(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


BOMB = pickle.dumps(np.zeros(9_000_000))
COMPRESS = [
    zlib.compress,
    gzip.compress,
    bz2.compress,
    lzma.compress,
    lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
]


@pytest.mark.parametrize("compress", COMPRESS)
def test_bombs(path, compress):
    assert (
        refused(path, compress(BOMB), "it promises more than") < 2**26 + 2**24
    )  # the dictionary of LZMA besides


def test_a_dictionary_of_three_gigabytes(path):
    header = b"\x5d" + struct.pack("<I", 3 * 2**30) + b"\xff" * 8
    assert refused(path, header + bytes(30), "its compression is damaged .*limit") < 2**20


@pytest.mark.parametrize(("size", "match"), [(2**27, "damaged .*limit"), (2**26, "cut short")])
def test_dictionaries_of_the_highest_preset_are_the_largest(path, size, match):
    start = lzma.compress(pickle.dumps(1), lzma.FORMAT_ALONE)[13:-8]
    refused(path, b"\x5d" + struct.pack("<I", size) + b"\xff" * 8 + start, match)


@pytest.mark.parametrize("compress", COMPRESS)
def test_what_is_cut_short(path, compress):
    data = compress(pickle.dumps(np.arange(100.0)))
    assert refused(path, data[: len(data) // 2], "cut short|damaged") < 2**24
    refused(path, data[:-1], "cut short|damaged")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "is not a file of joblib or a pickle"),
        (b"\x04\x22\x4d\x18" + bytes(20), "compressed by LZ4, which takes a package .*compress='zlib'"),
        (b"ZF" + bytes(20), "joblib before 0.10 wrote it"),
        (b"x\x9cnonsense", "its compression is damaged"),
        (b"BZnonsense", "its compression is damaged"),
    ],
)
def test_what_cannot_be_read(path, data, match):
    refused(path, data, match)


def test_files_beyond_the_limit_are_refused(path, monkeypatch):
    joblib.dump(CONTENT, path)
    monkeypatch.setattr(joblib_files, "MAX_BYTES", path.stat().st_size)
    read_joblib(path)
    monkeypatch.setattr(joblib_files, "MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(FormatError, match=f"the limit is {path.stat().st_size - 1}"):
        read_joblib(path)


def test_what_the_system_refuses(tmp_path):
    with pytest.raises(FormatError, match=r"none.joblib cannot be read: No such file"):
        read_joblib(tmp_path / "none.joblib")
    with pytest.raises(FormatError, match="cannot be read: Is a directory"):
        read_joblib(tmp_path)


@pytest.fixture(scope="module")
def honest(path):
    def dumped(**arrays):
        joblib.dump(arrays, path, protocol=2)
        return path.read_bytes()

    return dumped


@pytest.mark.parametrize(
    "shape",
    [
        b"M\xff\xff\x85",
        b"J\xff\xff\xff\xff\x85",
        b"N\x85",
        b"\x8a\x09" + b"\xff" * 8 + b"\0\x85",
        b"K\x03K\x7f\x86",
    ],
)
def test_shapes_that_do_not_fit(path, honest, shape):
    data = honest(a=np.zeros(3, np.uint8))
    assert refused(path, data.replace(b"K\x03\x85", shape, 1), "shape") < 2**20


def test_padding_that_leads_nowhere(path, honest):
    data = honest(a=np.full(3, 7.0))
    start = data.index(np.full(3, 7.0).tobytes())
    padding = data.rindex(b"b", 0, start) + 1
    refused(path, data[:padding] + b"\xff" + data[padding + 1 :], "takes no")
    refused(path, data[:padding], "damaged")


@pytest.mark.parametrize("dtype", ["c8", "M8[s]", "V3"])
def test_other_dtypes(path, honest, dtype):
    refused(path, honest(a=np.zeros(2, dtype)), "neither numbers nor strings nor objects")


@pytest.mark.parametrize("write", [joblib.dump, lambda array, path: path.write_bytes(pickle.dumps(array))])
def test_arrays_of_records_are_mere_bytes(path, write):
    array = np.array([(1.5, 7), (2.5, 8)], "f4,i4")
    write([array, np.ones(2)], path)
    found, other = read_joblib(path)
    assert (found.shape, found.dtype, found.tobytes()) == ((2,), "V8", array.tobytes())
    np.testing.assert_array_equal(other, np.ones(2))


def test_many_pickles_within_share_a_budget(path):
    names = np.array([f"feature {i}" for i in range(2000)], object)
    joblib.dump([names.copy() for _ in range(200)], path)
    assert refused(path, path.read_bytes(), "the most for its length") < 2**27


@given(
    compress=st.sampled_from([0, 3]), start=st.integers(0), length=st.integers(0, 4), new=st.binary(max_size=4)
)
@settings(deadline=None, max_examples=300)
def test_damage(path, compress, start, length, new):
    joblib.dump(CONTENT, path, compress=compress)
    data = path.read_bytes()
    start %= len(data)
    path.write_bytes(data[:start] + new + data[start + length :])
    with suppress(FormatError):
        read_joblib(path)
