""".npy files: NumPy is the oracle for honest ones, damage of every kind the adversary."""

import io
import struct
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from portable_nn.errors import FormatError
from portable_nn.readers import npy as npy_files
from portable_nn.readers.npy import open_npy, read_npy

any_array = hnp.arrays(
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)) | hnp.integer_dtypes(endianness="?") | st.just("?"),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
)
FOUR = np.arange(4, dtype="<i4").reshape(2, 2)
BYTES = FOUR.tobytes()


def npy(array, version=None):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def claim(words, content=b"", version=1):
    """A file whose header has those words."""
    words = words if isinstance(words, bytes) else words.encode("latin1")
    length = struct.pack("<H" if version == 1 else "<I", len(words))
    return b"\x93NUMPY" + bytes([version, 0]) + length + words + content


def described(descr="'<i4'", shape="(2, 2)", content=BYTES):
    return claim(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}", content)


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    path = tmp_path_factory.mktemp("npy") / "x.npy"

    def written(data):
        path.unlink(missing_ok=True)  # it may be mapped still
        path.write_bytes(data)
        return path

    return written


@given(array=any_array.filter(lambda array: array.dtype != bool) | hnp.arrays("U3", hnp.array_shapes()))
@settings(deadline=None)
def test_what_numpy_writes_is_read(write, array):
    found = read_npy(write(npy(array)))
    assert found.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array)


@given(array=any_array, fortran=st.booleans(), version=st.sampled_from([None, (1, 0), (2, 0)]))
@settings(deadline=None)
def test_what_numpy_writes_is_mapped(write, array, fortran, version):
    array = np.asfortranarray(array) if fortran else array
    found = open_npy(write(npy(array, version)))
    assert isinstance(found, np.memmap)
    assert found.dtype == array.dtype
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "magic string"),
        (b"no array at all", "magic string"),
        (claim("", version=3), r"version \(3, 0\)"),
        (b"\x93NUMPY\1", "magic string"),
        (b"\x93NUMPY\1\0", "header cannot be read"),
        (described(descr="'|O'", content=bytes(32)), "dtype 'O'"),
        (described(descr="[('a', '<i4')]"), "dtype 'V4'"),
        (described(descr="'<c8'", content=bytes(32)), "dtype 'c8'"),
        (described(descr="'<M8[s]'", content=bytes(32)), "dtype 'M8"),
        (described(descr="'<U4'", content=bytes(64)), "dtype 'U4'"),
        (described(descr="'|V0'", content=b""), "dtype 'V"),
        (described(shape="(-2, -2)"), "at most 64 lengths"),
        (described(shape=f"({2**64}, 0)", content=b""), "at most 64 lengths"),
        (described(shape=f"({'1,' * 65})", content=bytes(4)), "at most 64 lengths"),
        (described(shape=f"({2**40}, {2**40})"), "bytes, 16 follow"),
        (described(shape="(2, 3)"), "takes 24 bytes, 16 follow"),
        (described(shape="(2, 1)"), "takes 8 bytes, 16 follow"),
        (described(shape="2"), "header cannot be read"),
        (described(shape="__import__('os')"), "header cannot be read"),
        (claim("(" * 9000), "header cannot be read"),
        (claim(" " * 10_001, version=2), "header takes 10001 bytes, the limit is 10000"),
        (claim("{}"), "header cannot be read"),
    ],
)
def test_refusals_say_why(write, data, match):
    with pytest.raises(FormatError, match=match):
        open_npy(write(data))


def test_what_is_read_whole_is_not_too_large(write, monkeypatch):
    path = write(npy(FOUR))
    monkeypatch.setattr(npy_files, "MAX_BYTES", path.stat().st_size)
    np.testing.assert_array_equal(read_npy(path), FOUR)
    monkeypatch.setattr(npy_files, "MAX_BYTES", 100)
    with pytest.raises(FormatError, match=f"it has {path.stat().st_size} bytes, the limit is 100"):
        read_npy(path)


@pytest.mark.parametrize(
    ("extra", "match"), [(b"", "takes 16 bytes, 15 came"), (b"ab", "takes 16 bytes, 17 came")]
)
def test_values_that_are_not_as_many_as_the_header_says(write, extra, match):
    with pytest.raises(FormatError, match=match):
        read_npy(write(npy(FOUR)[:-1] + extra))


def test_a_header_of_four_gigabytes_costs_no_memory(write):
    path = write(b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(10_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="header takes 4294967295 bytes"):
            open_npy(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_pickled_object_is_not_run(write, tmp_path):
    class Touch:
        def __reduce__(self):
            return open, (str(tmp_path / "touched"), "w")

    with pytest.raises(FormatError, match="dtype 'O'"):
        open_npy(write(npy(np.array([Touch()], dtype=object))))
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("n", range(len(npy(FOUR))))
def test_every_truncation_is_refused(write, n):
    with pytest.raises(FormatError):
        open_npy(write(npy(FOUR)[:n]))


@given(position=st.integers(0, len(npy(FOUR)) - FOUR.nbytes - 1), flip=st.integers(1, 255))
@settings(deadline=None, max_examples=1000)
def test_a_flipped_byte_of_the_header_is_refused_or_leaves_real_numbers(write, position, flip):
    data = bytearray(npy(FOUR))
    data[position] ^= flip
    with suppress(FormatError):
        found = open_npy(write(data))
        assert found.nbytes == FOUR.nbytes
        assert found.dtype.kind in "biuf"


@given(words=st.binary(max_size=100) | st.sampled_from([b"-" * 9000 + b"1", b"{" * 9000, b"'\\d'", b"\0"]))
@settings(deadline=None, max_examples=300)
def test_any_header(write, words):
    with pytest.raises(FormatError):
        open_npy(write(claim(words, BYTES)))


def test_what_the_system_refuses(tmp_path):
    with pytest.raises(FormatError, match=r"none.npy cannot be read: No such file"):
        open_npy(tmp_path / "none.npy")
    with pytest.raises(FormatError, match="cannot be read: Is a directory"):
        open_npy(tmp_path)
