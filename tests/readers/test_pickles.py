"""Pickled arrays: pickle itself is the oracle for honest files; of hostile ones nothing may run."""

import builtins
import copyreg
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
from hypothesis.extra import numpy as hnp

from portable_nn.datasets import book_weights
from portable_nn.datasets._fetch import fetch
from portable_nn.errors import FormatError
from portable_nn.readers import buffers, pickles
from portable_nn.readers.pickles import read_arrays

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
WEIGHTS = {"W1": np.arange(6, dtype=np.float32).reshape(2, 3), "b1": np.arange(3.0)}

PYTHON_2 = (  # cPickle.dumps({"a": numpy.array([1, -1.5], "f4")}, 2) of Python 2.7
    b"\x80\x02}q\x01U\x01acnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04"
    b"(K\x01K\x02\x85cnumpy\ndtype\nq\x05U\x02f4K\x00K\x01\x87Rq\x06(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
    b"K\x00tb\x89U\x08\x00\x00\x80?\x00\x00\xc0\xbftbs."
)

any_array = hnp.arrays(
    hnp.floating_dtypes(endianness="?")
    | hnp.integer_dtypes(endianness="?")
    | hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    path = tmp_path_factory.mktemp("pickles") / "weights.pkl"

    def written(data):
        path.write_bytes(data)
        return path

    return written


def refused(path, match=None):
    """The peak of memory while the file is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=match):
            read_arrays(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert ours[name].dtype == array.dtype.newbyteorder("=")
        assert ours[name].dtype.isnative
        assert ours[name].flags.writeable
        np.testing.assert_array_equal(ours[name], array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(arrays=st.dictionaries(st.text(max_size=5), any_array, max_size=3), fortran=st.booleans())
@settings(deadline=None)
def test_every_protocol(write, protocol, arrays, fortran):
    if fortran:
        arrays = {name: np.asfortranarray(array) for name, array in arrays.items()}
    assert_same(read_arrays(write(pickle.dumps(arrays, protocol))), arrays)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_pickler_written_in_python(write, protocol):
    assert_same(read_arrays(write(pickle._dumps(WEIGHTS, protocol))), WEIGHTS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shared_and_strided_arrays(write, protocol):
    strided = WEIGHTS["W1"][:, ::2]
    arrays = {"a": strided, "b": strided, "c": WEIGHTS["W1"].T}
    assert_same(read_arrays(write(pickle.dumps(arrays, protocol))), arrays)


def test_the_paths_of_numpy_1(write):
    old = pickle.dumps(WEIGHTS, 3).replace(b"numpy._core.", b"numpy.core.")
    assert_same(read_arrays(write(old)), WEIGHTS)


def test_python_2(write):
    assert_same(read_arrays(write(PYTHON_2)), {"a": np.array([1, -1.5], np.float32)})


@pytest.mark.skipif(
    not os.environ.get("PORTABLE_NN_DATA_DIR"),
    reason="set PORTABLE_NN_DATA_DIR to a folder that holds sample_weight.pkl",
)
def test_the_book():
    with fetch("sample_weight.pkl").open("rb") as file:
        theirs = pickle.load(file)
    assert {name: array.shape for name, array in theirs.items()} == {
        "W1": (784, 50), "b1": (50,), "W2": (50, 100), "b2": (100,), "W3": (100, 10), "b3": (10,),
    }  # fmt: skip
    assert_same(book_weights(), theirs)


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("function", [os.system, builtins.eval, builtins.exec, getattr, np.load, os.mkdir])
def test_calls_are_refused(write, tmp_path, protocol, function):
    mark = tmp_path / "ran"
    argument = {os.system: f"mkdir {mark}", os.mkdir: str(mark)}.get(
        function, f"__import__('os').mkdir({str(mark)!r})"
    )
    for content in (
        Call(function, argument),
        {"W1": Call(function, argument)},
        {**WEIGHTS, "x": [Call(function, argument)]},
    ):
        refused(write(pickle.dumps(content, protocol)))
    assert not mark.exists()


def named(cases):
    return [pytest.param(case, id=name) for name, case in cases.items()]


def text(value):
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy", "load"),
        ("numpy", "ndarray.__class__"),
        ("numpy", "dtype.__class__.__subclasses__"),
        ("numpy.core", "multiarray._reconstruct"),
        ("numpy ", "dtype"),
        ("numpy", " dtype"),
        ("", "numpy dtype"),
        ("numpy\ndtype", ""),
        ("numpy", "object_"),
        ("numpy._core.multiarray", "scalar"),
        ("_codecs", "decode"),
        ("builtins", "getattr"),
        ("portable_nn.readers.pickles", "_Array"),
    ],
)
def test_globals_off_the_list(write, module, name):
    refused(write(b"\x80\x04" + text(module) + text(name) + b"\x93."), r"nothing was run")
    if "\n" not in module:
        refused(write(f"c{module}\n{name}\n.".encode()), r"nothing was run")


ADMITTED = b"\x80\x04" + text("numpy") + text("dtype") + b"\x93"


@pytest.mark.parametrize(
    "data",
    named({
        "object dtype": pickle.dumps({"W1": np.array([{}, None])}),
        "object dtype, protocol 0": pickle.dumps({"W1": np.array([os.system])}, 0),
        "structured": pickle.dumps({"W1": np.zeros(2, "f4,i4")}),
        "complex": pickle.dumps({"W1": np.zeros(2, complex)}),
        "text": pickle.dumps({"W1": np.array(["a"])}),
        "dates": pickle.dumps({"W1": np.array(["2000-01-01"], "M8[D]")}),
        "matrix": pickle.dumps({"W1": np.ma.masked_array([1.0])}),
        "scalar": pickle.dumps({"W1": np.float32(1)}),
        "list": pickle.dumps([np.zeros(2)]),
        "array alone": pickle.dumps(np.zeros(2)),
        "number": pickle.dumps({"W1": 1.0}),
        "number as key": pickle.dumps({1: np.zeros(2)}),
        "nested": pickle.dumps({"W1": {"W1": np.zeros(2)}}),
        "class": pickle.dumps({"W1": np.ndarray}),
        "empty": b"",
        "no end": pickle.dumps(WEIGHTS)[:-1],
        "end alone": b".",
        "instance": b"(S'true'\nios\nsystem\n.",
        "object": b"(cos\nsystem\nS'true'\no.",
        "class made anew": ADMITTED + b")\x81.",
        "state of a class": ADMITTED + b"}b.",
        "attributes of a class": ADMITTED + b"N}" + text("__doc__") + text("x") + b"s\x86b.",
        "persistent id": b"Pid\n.",
        "mark without start": b"t.",
        "memo without entry": b"h\x07.",
        "item of no dict": b"N" + text("a") + b"Ns.",
        "bad escape": b"S'\\q'\n.",
        "another encoding": b"c_codecs\nencode\n(Va\nVzlib\ntR.",
        "itself": b"}q\x00" + text("a") + b"h\x00s.",
    }),
)  # fmt: skip
def test_what_is_no_dict_of_real_arrays(write, data):
    refused(write(data))


def test_the_registry_of_extensions_is_no_way_round(write):
    copyreg.add_extension("os", "system", 240)
    try:
        refused(write(b"\x82\xf0."), "EXT1")
    finally:
        copyreg.remove_extension("os", "system", 240)


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


def test_shape_that_does_not_fit_the_bytes(write):
    honest = pickle.dumps({"a": np.zeros(3, np.uint8)}, 3)
    lengths = [
        b"K\x04\x85",
        b"J\xff\xff\xff\xff\x85",
        b"K\x00\x85",
        b"N\x85",
        b"\x8a\x09" + b"\xff" * 8 + b"\0\x85",
    ]
    for shape in [
        *lengths,
        b"(" + 65 * b"K\x01" + b"t",
        b"(" + 200_000 * b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f" + b"t",
    ]:
        refused(write(honest.replace(b"K\x03\x85", shape, 1)), "shape")


def test_one_string_of_bytes_under_many_names(write):
    array = np.zeros(100_000)
    data = pickle.dumps({str(i): array for i in range(1000)})
    assert refused(write(data), "it promises more than 67916921 bytes") < 5_000_000


def test_limits(write, monkeypatch):
    monkeypatch.setattr(pickles, "MAX_OPCODES", 1000)
    refused(write(b"N" * 2000 + b"."), "more than 1000 opcodes")
    monkeypatch.setattr(pickles, "MAX_BYTES", 1000)
    refused(write(pickle.dumps({"a": np.zeros(1000)})), "the limit is 1000")
    assert buffers.MAX_BYTES == 2**30


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
    with suppress(FormatError):
        assert all(isinstance(array, np.ndarray) for array in read_arrays(write(data + b".")).values())


@given(
    protocol=st.sampled_from(PROTOCOLS),
    start=st.integers(0),
    length=st.integers(0, 4),
    new=st.binary(max_size=4),
)
@settings(deadline=None, max_examples=300)
def test_damage(write, protocol, start, length, new):
    data = pickle.dumps(WEIGHTS, protocol)
    start %= len(data)
    with suppress(FormatError):
        arrays = read_arrays(write(data[:start] + new + data[start + length :]))
        assert all(array.dtype.kind in "fiu" for array in arrays.values())


def test_what_the_system_refuses(tmp_path):
    with pytest.raises(FormatError, match=r"none.pkl cannot be read: No such file"):
        read_arrays(tmp_path / "none.pkl")
    with pytest.raises(FormatError, match="cannot be read: Is a directory"):
        read_arrays(tmp_path)
