"""Pickles as records: pickle itself is the oracle for honest files; of hostile ones nothing may run."""

import builtins
import collections
import copyreg
import io
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
from portable_nn.readers.pickles import Record, described, interpret, read_arrays, read_records

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
    monkeypatch.setattr(buffers, "MAX_EXTRA", 200_000)
    refused(write(b"N" * 2000 + b"."), "it promises more than 202001 bytes")
    monkeypatch.setattr(pickles, "MAX_BYTES", 1000)
    refused(write(pickle.dumps({"a": np.zeros(1000)})), "the limit is 1000")
    assert buffers.MAX_BYTES == 2**30


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**100), 2**100)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(-(2**59), 2**59), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(content=plain, protocol=st.sampled_from(PROTOCOLS))
@settings(deadline=None)
def test_plain_objects(write, content, protocol):
    ours = read_records(write(pickle.dumps(content, protocol)))
    assert ours == content
    assert repr(ours) == repr(content)


class Thing:
    def __init__(self, **attributes):
        self.__dict__ |= attributes


class Bag(dict):
    pass


class Queue(list):
    pass


class WithArguments:
    def __getnewargs_ex__(self):
        return (1, 2), {"c": 3}

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)


def name_of(kind):
    return f"{kind.__module__}.{kind.__qualname__}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_objects(write, protocol):
    shared = Thing(a=1, b=[2])
    content = {
        "shared": [shared, shared],
        "bag": Bag(x=1),
        "queue": Queue([1, 2]),
        "ordered": collections.OrderedDict([("z", 1), ("a", 2)]),
        "set": {5},
        "class": Thing,
        "function": os.system,
        "counts": collections.defaultdict(list, {"k": [1]}),
    }
    ours = read_records(write(pickle.dumps(content, protocol)))
    first, second = ours["shared"]
    assert first is second
    assert (first.name, first.args, first.state, first.items) == (name_of(Thing), (), {"a": 1, "b": [2]}, ())
    if protocol < 2:
        assert (ours["bag"].args, ours["queue"].args) == (({"x": 1},), ([1, 2],))
    else:
        assert (ours["bag"].items, ours["queue"].items) == ([("x", 1)], [1, 2])
    assert list(ours["ordered"].items()) == [("z", 1), ("a", 2)]
    assert ours["set"].name == "builtins.set"
    assert [5] in (list(ours["set"].items), *ours["set"].args)
    assert (ours["class"].name, ours["class"].args) == (name_of(Thing), None)
    assert (ours["function"].name, ours["function"].args) == (name_of(os.system), None)
    assert ours["counts"].name == "collections.defaultdict"
    assert list(ours["counts"].items) == [("k", [1])]
    assert [argument.name for argument in ours["counts"].args] == ["builtins.list"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_keywords_of_a_class(write, protocol):
    record = read_records(write(pickle.dumps(WithArguments(), protocol)))
    if protocol < 4:
        assert (record.name, record.args) == ("functools.partial()", ())
    else:
        assert (record.name, record.args) == (name_of(WithArguments), ((1, 2), {"c": 3}))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    named({
        "strings": np.array(["a", "bcd", "é€😀"]),
        "bytes": np.array([b"a", b"bcd"]),
        "objects": np.array(["a", None, 3.5, [1]], dtype=object).reshape(2, 2),
        "columns of objects": np.asfortranarray(np.array(["a", "b", "c", "d"], object).reshape(2, 2)),
        "booleans": np.array([[True, False]]),
        "other byte order": np.arange(3, dtype=">f8"),
        "strings of other byte order": np.array(["a", "bcd"], ">U3"),
        "other axes": np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "none": np.zeros((0, 3)),
    }),
)  # fmt: skip
def test_arrays(write, protocol, array):
    for ours in read_records(write(pickle.dumps([array, array], protocol))):
        assert isinstance(ours, np.ndarray)
        assert ours.dtype == array.dtype
        np.testing.assert_array_equal(ours, array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shared_arrays_are_one(write, protocol):
    array, objects = np.arange(3.0), np.array(["a", None])
    first, second, third, fourth = read_records(write(pickle.dumps([array, objects, array, objects], protocol)))
    assert first is third
    assert second is fourth


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "scalar", [np.float32(1.5), np.int64(-3), np.bool_(True), np.float64(0.1), np.str_("ab")]
)
def test_scalars(write, protocol, scalar):
    ours = read_records(write(pickle.dumps({"x": scalar, "y": [scalar]}, protocol)))
    assert ours == {"x": scalar, "y": [scalar]}
    assert type(ours["x"]) is type(scalar)


@pytest.mark.parametrize("dtype", ["complex128", "M8[D]", "longdouble"])
def test_arrays_of_other_dtypes_are_records(write, dtype):
    if np.dtype(dtype).itemsize == 8 and dtype == "longdouble":
        pytest.skip("there is no wider float here")
    record = read_records(write(pickle.dumps(np.zeros(2, dtype), 4)))
    assert record.name.endswith("._reconstruct")


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_arrays_of_other_dtypes_and_other_axes_are_records(write, dtype):
    record = read_records(write(pickle.dumps(np.zeros((2, 3, 4), dtype).transpose(1, 0, 2), 5)))
    assert (record.name, record.args[-1]) == ("numpy._core.numeric._frombuffer", (1, 0, 2))


def test_arrays_of_fields_are_mere_bytes(write):
    array = np.array([(1.5, 2), (2.5, 3)], "f4,i4")
    found = read_records(write(pickle.dumps(array, 4)))
    assert (found.dtype, found.tobytes()) == (np.dtype("V8"), array.tobytes())


def test_what_follows_a_pickle_is_left():
    file = io.BytesIO(b"before" + pickle.dumps([1]) + pickle.dumps({"b": 2}, 0) + b"after")
    file.seek(6)
    assert interpret(file) == [1]
    assert interpret(file) == {"b": 2}
    assert file.read() == b"after"


def test_bytes_between_opcodes_take_the_place_of_a_record():
    first, second = pickle._dumps([Thing(n=3), 7], 2), b"xyz"
    middle = first.index(b"b", first.index(b"K\x03")) + 1
    file = io.BytesIO(first[:middle] + second + first[middle:])

    def built(record):
        return file.read(record.state["n"])

    assert interpret(file, built=built) == [b"xyz", 7]
    shared = pickle.dumps([*[Thing(n=1)] * 2], 2)
    assert interpret(io.BytesIO(shared), built=lambda record: record.state["n"]) == [1, 1]


def test_persistent_ids(write):
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", value.name) if isinstance(value, io.BytesIO) else None

    file = io.BytesIO()
    inside = io.BytesIO()
    inside.name = "x"
    Pickler(file, 2).dump([inside])
    (record,) = read_records(write(file.getvalue()))
    assert (record.name, record.args) == ("persistent_id", (("storage", "x"),))
    file.seek(0)
    assert interpret(file, persistent=lambda key: key[1]) == ["x"]


def test_words():
    assert described(Record("os.system", ("ls",))) == "a call of os.system"
    assert described(Record("os.system")) == "os.system"
    assert described([]) == "a list"
    assert len(repr(Record("x" * 10_000))) < 200


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_run(write, tmp_path, protocol):
    mark = tmp_path / "ran"
    ours = read_records(write(pickle.dumps([Call(os.mkdir, str(mark)), os.mkdir], protocol)))
    assert [(record.name, record.args) for record in ours] == [
        (name_of(os.mkdir), (str(mark),)),
        (name_of(os.mkdir), None),
    ]
    assert not mark.exists()


@pytest.mark.parametrize(
    "data",
    named({
        "instance": b"(S'%s'\nios\nmkdir\n.",
        "object": b"(cos\nmkdir\nS'%s'\no.",
        "class made anew": b"cos\nmkdir\n(S'%s'\nt\x81.",
        "with keywords": b"cos\nmkdir\n(S'%s'\nt}\x92.",
        "made by name": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93(S'%s'\ntR.",
        "copyreg": b"ccopy_reg\n__newobj__\n(cos\nmkdir\nS'%s'\ntR.",
    }),
)  # fmt: skip
def test_no_way_of_calling_runs(write, tmp_path, data):
    mark = tmp_path / "ran"
    record = read_records(write(data.replace(b"%s", str(mark).encode())))
    assert record.name == "os.mkdir"
    assert str(mark) in repr(record.args)
    assert not mark.exists()


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


def reconstructed(shape, code, data):
    dtype = f"cnumpy\ndtype\n(V{code}\nI0\nI1\ntR(I3\nV<\nNNNI-1\nI-1\nI0\ntb"
    start = "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"
    return f"{start}(I1\n{shape}{dtype}I0\n".encode() + data + b"tb."


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (reconstructed("(I4\nt", "f8", b"C\x08" + bytes(8)), "shape"),
        (reconstructed("(I-1\nt", "f8", b"C\x08" + bytes(8)), "shape"),
        (reconstructed("(I1\nt", "U2", b"C\x08" + b"\xff" * 8), "characters that there are not"),
        (reconstructed("(I3\nt", "O8", b"]"), "cannot reshape"),
        (reconstructed("(L1000000000000L\nt", "O8", b"]"), "cannot reshape"),
    ],
)
def test_arrays_that_are_none(write, data, match):
    with pytest.raises(FormatError, match=match):
        read_records(write(data))


@pytest.mark.parametrize("code", ["V8", "f3", "U0", "f8,f8", "S99999999999", "O3", "float64", "M8[s]"])
def test_unusual_dtypes_are_records(write, code):
    assert isinstance(read_records(write(reconstructed("(I1\nt", code, b"C\x08" + bytes(8)))), Record)


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


def test_what_the_system_refuses(tmp_path):
    with pytest.raises(FormatError, match=r"none.pkl cannot be read: No such file"):
        read_arrays(tmp_path / "none.pkl")
    with pytest.raises(FormatError, match="cannot be read: Is a directory"):
        read_arrays(tmp_path)
