"""The IDX reader: NumPy and the standard library are the oracles, bytes of any kind the adversary."""

import gzip
import struct
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from portable_nn.datasets.embedded import embedded
from portable_nn.errors import FormatError
from portable_nn.readers import buffers
from portable_nn.readers.idx import open_idx, read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}

any_array = st.sampled_from(sorted(CODES)).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(max_dims=4, min_side=0, max_side=4))
)


def idx(array):
    code = CODES[array.dtype.str[1:]]
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def claim(*shape, code=0x08):
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape)


SIX = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    path = tmp_path_factory.mktemp("idx") / "file"

    def written(data):
        path.write_bytes(data)
        return path

    return written


def peak_of_refusal(path, match):
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=match):
            read_idx(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@given(array=any_array)
@settings(deadline=None)
def test_round_trip(write, pack, array):
    read = read_idx(write(pack(idx(array))))
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array)


def test_mnist_as_the_standard_library_reads_it():
    path = embedded("t10k-images-idx3-ubyte.gz")
    with gzip.open(path) as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16)
    np.testing.assert_array_equal(read_idx(path), pixels.reshape(10_000, 28, 28))


def test_content_and_not_the_name_tells_gzip(tmp_path):
    plain, zipped = tmp_path / "plain.gz", tmp_path / "zipped"
    plain.write_bytes(SIX)
    zipped.write_bytes(gzip.compress(SIX))
    np.testing.assert_array_equal(read_idx(plain), read_idx(str(zipped)))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@given(data=st.binary(max_size=64) | st.binary(max_size=64).map(lambda rest: b"\0\0\x08\1" + rest))
@settings(deadline=None)
def test_any_bytes(write, pack, data):
    with suppress(FormatError):
        assert read_idx(write(pack(data))).nbytes < len(data)


@given(data=st.binary(max_size=64))
@settings(deadline=None)
def test_any_bytes_after_the_magic_of_gzip(write, data):
    with pytest.raises(FormatError):
        read_idx(write(b"\x1f\x8b" + data))


@given(position=st.integers(0, 11), flip=st.integers(1, 255))
@settings(deadline=None)
def test_every_flipped_bit_of_the_header_is_seen(write, position, flip):
    data = bytearray(SIX)
    data[position] ^= flip
    if position == 2 and data[position] == CODES["i1"]:
        assert read_idx(write(data)).dtype == np.int8
    else:
        with pytest.raises(FormatError):
            read_idx(write(data))


@given(position=st.integers(0), flip=st.integers(1, 255))
@settings(deadline=None)
def test_a_damaged_gzip_is_refused_or_whole(write, position, flip):
    data = bytearray(gzip.compress(SIX, mtime=0))
    data[position % len(data)] ^= flip
    with suppress(FormatError):
        np.testing.assert_array_equal(read_idx(write(data)).ravel(), range(6))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_length(write, pack):
    for n in range(len(SIX)):
        with pytest.raises(FormatError, match="not a whole IDX file"):
            read_idx(write(pack(SIX[:n])))
        with pytest.raises(FormatError, match="not a whole IDX file"):
            read_idx(write(pack(SIX)[: n - len(SIX)]))
    with pytest.raises(FormatError, match=r"shape \(2, 3\) takes"):
        read_idx(write(pack(SIX + b"\0")))


def test_damaged_checksum(write):
    data = bytearray(gzip.compress(SIX))
    data[-8] ^= 1
    with pytest.raises(FormatError, match="CRC"):
        read_idx(write(data))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "4 bytes early"),
        (b"\0\1\x08\1\0\0\0\0", "starts with 00 01 08 01"),
        (claim(0, code=0x0A), "a type among 08, 09"),
        (claim(), "01 to 40 dimensions"),
        (claim(*[1] * 65), "01 to 40 dimensions"),
        (claim(0, 2**32 - 1, 2**32 - 1, 2**32 - 1), "too big"),
        (claim(3) + b"ab", "takes 3 bytes, 2 follow"),
    ],
)
def test_refusals_say_why(write, data, match):
    with pytest.raises(FormatError, match=match):
        read_idx(write(data))


@pytest.mark.parametrize("shape", [(0,), (0, 28, 28), (3, 0)])
def test_an_array_of_nothing_is_mapped(write, shape):
    found = open_idx(write(claim(*shape)))
    assert (type(found), found.shape, found.dtype) == (np.memmap, shape, np.uint8)


def test_64_dimensions(write):
    assert read_idx(write(claim(*[1] * 64) + b"\7")).shape == (1,) * 64


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_promise_is_refused_before_it_costs_memory(write, pack):
    path = write(pack(claim(2**32 - 1, 2**10) + bytes(1000)))
    assert peak_of_refusal(path, "takes 4398046510080 bytes") < 1_000_000


def test_a_gzip_bomb_is_not_inflated(write):
    path = write(gzip.compress(claim(10) + bytes(50_000_000)))
    assert peak_of_refusal(path, "more bytes follow the 10") < 1_000_000


def test_a_gzip_may_not_hold_more_than_the_limit(write, monkeypatch):
    monkeypatch.setattr(buffers, "MAX_BYTES", 5_000_000)
    path = write(gzip.compress(claim(50_000_000) + bytes(50_000_000)))
    assert peak_of_refusal(path, "may hold 5000000") < 1_000_000


def test_what_the_system_refuses(tmp_path):
    with pytest.raises(FormatError, match=r"none-idx1-ubyte cannot be read: No such file"):
        read_idx(tmp_path / "none-idx1-ubyte")
    with pytest.raises(FormatError, match="cannot be read: Is a directory"):
        read_idx(tmp_path)
