"""Pickles of arrays: pickle itself is the oracle for honest files; of hostile ones nothing may run."""

import builtins
import copyreg
import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pickled import ADMITTED, PROTOCOLS, PYTHON_2, WEIGHTS, Call, named, refused, text, writing

from portable_nn.datasets import book_weights
from portable_nn.datasets._fetch import fetch
from portable_nn.errors import FormatError
from portable_nn.readers.pickles import read_arrays

any_array = hnp.arrays(
    hnp.floating_dtypes(endianness="?")
    | hnp.integer_dtypes(endianness="?")
    | hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    return writing(tmp_path_factory.mktemp("pickles") / "weights.pkl")


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert ours[name].dtype == array.dtype.newbyteorder("=")
        assert ours[name].dtype.isnative
        assert ours[name].flags.writeable
        np.testing.assert_array_equal(ours[name], array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(arrays=st.dictionaries(st.text(max_size=5), any_array, max_size=3), fortran=st.booleans())
@settings(deadline=None, max_examples=30)
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


def test_what_the_system_refuses(tmp_path):
    with pytest.raises(FormatError, match=r"none.pkl cannot be read: No such file"):
        read_arrays(tmp_path / "none.pkl")
    with pytest.raises(FormatError, match="cannot be read: Is a directory"):
        read_arrays(tmp_path)
