"""Pickles that are damaged, or ask for much: errors of this package, memory of their own size."""

import os
import pickle
import pickletools
import struct
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pickled import ADMITTED, PROTOCOLS, PYTHON_2, WEIGHTS, Thing, named, reconstructed, refused, text, writing

from portable_nn.errors import FormatError
from portable_nn.readers import buffers, pickles
from portable_nn.readers.pickles import read_arrays, read_records


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    return writing(tmp_path_factory.mktemp("pickles") / "weights.pkl")


@pytest.mark.parametrize(
    "data",
    named({
        "memo index": b"Nr\xff\xff\xff\xff0.",
        "bytes": b"\x8e" + struct.pack("<Q", 2**62) + b".",
        "bytearray": b"\x96" + struct.pack("<Q", 2**40) + b".",
        "string": b"\x8d" + struct.pack("<Q", 2**40) + b".",
        "frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
        "depth": b")" + b"\x85" * 20_000 + b".",
        "depth of a global": b"N)" + b"\x85" * 20_000 + b"\x93.",
        "doublings of a global": b"N)" + b"q\x00h\x00\x86" * 64 + b"\x93.",
        "depth of a key": b"})" + b"\x85" * 20_000 + b"Ns.",
    }),
)  # fmt: skip
def test_a_claim_costs_nothing(write, data):
    assert refused(write(data)) < 5_000_000


def test_one_string_of_bytes_under_many_names(write):
    array = np.zeros(100_000)
    data = pickle.dumps({str(i): array for i in range(1000)})
    assert refused(write(data), "it promises more than 67916921 bytes") < 5_000_000


def test_limits(write, monkeypatch):
    monkeypatch.setattr(buffers, "MAX_EXTRA", 200_000)
    refused(write(b"N" * 2000 + b"."), "it promises more than 202001 bytes")
    monkeypatch.setattr(pickles, "MAX_BYTES", 1000)
    refused(write(pickle.dumps({"a": np.zeros(1000)})), "the limit is 1000")
    assert buffers.MAX_BYTES == 2**30


def doublings(n):
    return b"]" + b"".join(b"q%c]h%ch%ce".replace(b"]h", b"](h") % (i, i, i) for i in range(n)) + b"."


@pytest.mark.parametrize("data", named({
    "doublings": doublings(60),
    "depth of tuples": b")" + b"\x85" * 50_000 + b".",
    "depth of lists": b"](" * 50_000 + b"]" + b"e" * 50_000 + b".",
    "depth of calls": b"c\na\n" + b")R" * 50_000 + b".",
    "depth of arguments": b")" + b"q\x000c\na\nh\x00R\x85" * 10_000 + b".",
    "itself": b"]q\x00h\x00a.",
}))  # fmt: skip
def test_shared_and_nested_objects_cost_what_the_file_has_of_them(write, data):
    path = write(data)
    tracemalloc.start()
    try:
        read_records(path)
        assert tracemalloc.get_traced_memory()[1] < 200 * len(data) + 1_000_000
    finally:
        tracemalloc.stop()


def long(n):
    data = n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(data)) + data


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"}" + long(2**61 - 1) + b"Ns.", "a key of type int"),
        (b"}" + text("a" * 200) + b"\x85\x85Ns.", "a key of type tuple"),
        (b"}]Ns.", "a key of type list"),
        (b"}\x8d" + struct.pack("<Q", 20_000) + b"a" * 20_000 + b"Ns.", "a key of type str"),
        (long(2**5000) + b".", "an integer of more than 4096 bits"),
        (b"\x8d" + struct.pack("<Q", 2**24 + 1) + b"a" * (2**24 + 1) + b".", "too much text"),
        (b"V" + b"a" * 11_000 + b"\nV\n\x93.", "by something that is no name"),
        (b"]]\x93.", "by something that is no name"),
        (b"]]R.", "a call of what is no name"),
        (b"cos\nsystem\n]R.", "a call of what is no name"),
        (b"cos\nsystem\n}b.", "a state to what has none"),
        (b"\x97.", "NEXT_BUFFER"),
        (b"N\x98.", "READONLY_BUFFER"),
        (b"t.", "it is damaged"),
        (b"\x85.", "it is damaged"),
        (b"}Ns.", "it is damaged"),
        (b"N0.", "it is damaged"),
        (b"0.", "it is damaged"),
        (b"h\x01.", "it is damaged"),
        (b"NNa.", "it is damaged"),
        (b"}(NNNu.", "it is damaged"),
    ],
)  # fmt: skip
def test_refusals_say_why(write, data, match):
    with pytest.raises(FormatError, match=match):
        read_records(write(data))


ENCODE = b"c_codecs\nencode\nq\x00V" + b"a" * 100_000 + b"\nVlatin1\n\x86q\x01"
OBJECTS = b"]q\x00(" + b"N" * 50_000 + b"e0"


@pytest.mark.parametrize(
    "data",
    named({
        "text": ENCODE + b"h\x00h\x01R" * 2000 + b".",
        "objects": OBJECTS + reconstructed("(I50000\nt", "O8", b"h\x00")[:-1] * 200 + b".",
    }),
)  # fmt: skip
def test_what_is_made_of_shared_data_is_bounded(write, data, monkeypatch):
    monkeypatch.setattr(buffers, "MAX_EXTRA", 2**21)
    assert refused(write(data), "it promises more than") < 2**21 + 30 * len(data)


@pytest.mark.parametrize("opcode", ["T", "X"])
def test_texts_are_bounded_together(write, opcode, monkeypatch):
    monkeypatch.setattr(pickles, "MAX_TEXT", 1000)
    half = opcode.encode() + struct.pack("<i", 400) + b"a" * 400
    assert read_records(write(half + half + b"\x86.")) == ("a" * 400, "a" * 400)
    with pytest.raises(FormatError, match="too much text"):
        read_records(write(half * 3 + b"\x87."))


def test_texts_of_16_mebibytes_are_the_longest(write):
    def of(n):
        return b"X" + struct.pack("<I", n) + b"a" * n + b"."

    assert read_records(write(of(2**24))) == "a" * 2**24
    with pytest.raises(FormatError, match="too much text"):
        read_records(write(of(2**24 + 1)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_arrays_take_no_more_memory_than_the_file(write, protocol, dtype):
    path = write(pickle.dumps({"x": np.zeros(2_000_000 // dtype().itemsize, dtype)}, protocol))
    tracemalloc.start()
    try:
        read_records(path)
        assert tracemalloc.get_traced_memory()[1] < 2_200_000
    finally:
        tracemalloc.stop()


TINY = {
    "dicts": b"}",
    "lists": b"]",
    "marks": b"(",
    "sets": b"\x8f",
    "frozen sets": b"(\x91",
    "tuples": b"N\x85",
    "items": b"}NNs",
    "memo": b"N\x94",
    "names": b"c\n\n",
    "calls": b"c\n\n)R",
    "instances": b"(i\n\n",
    "objects with items": b"c\n\n)RNNs",
    "persistent ids": b"P\n",
    "text": b"\x8c\x03" + "€".encode(),
    "numbers": b"G12345678",
    "memo of lists": b"]\x94",
    "memo of names": b"c\n\n\x94",
}


@pytest.mark.parametrize("piece", named(TINY))
def test_memory_of_the_smallest_opcodes(write, piece, monkeypatch):
    monkeypatch.setattr(buffers, "MAX_EXTRA", 2**21)
    path = write(piece * 20_000 + b".")
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="it promises more than"):
            read_records(path)
        assert tracemalloc.get_traced_memory()[1] < 2**21 + os.path.getsize(path)
    finally:
        tracemalloc.stop()


@given(data=st.binary(max_size=200))
@settings(deadline=None, max_examples=300)
def test_any_bytes(write, data):
    with suppress(FormatError):
        assert read_arrays(write(data)) == {}


opcodes = [opcode.code.encode("latin1") for opcode in pickletools.opcodes]
pieces = st.sampled_from(opcodes) | st.binary(max_size=4) | st.sampled_from([ADMITTED, PYTHON_2[:-1], text("a")])


@given(data=st.lists(pieces, max_size=30).map(b"".join))
@settings(deadline=None, max_examples=300)
def test_any_opcodes(write, data):
    path = write(data + b".")
    with suppress(FormatError):
        read_records(path)
    with suppress(FormatError):
        assert all(isinstance(array, np.ndarray) for array in read_arrays(path).values())


@given(
    protocol=st.sampled_from(PROTOCOLS),
    start=st.integers(0),
    length=st.integers(0, 4),
    new=st.binary(max_size=4),
)
@settings(deadline=None, max_examples=300)
def test_damage(write, protocol, start, length, new):
    data = pickle.dumps(WEIGHTS | {"x": [Thing(a=1), np.array(["a", None]), np.float32(1)]}, protocol)
    start %= len(data)
    with suppress(FormatError):
        read_records(write(data[:start] + new + data[start + length :]))
    with suppress(FormatError):
        arrays = read_arrays(write(data[:start] + new + data[start + length :]))
        assert all(array.dtype.kind in "fiu" for array in arrays.values())
