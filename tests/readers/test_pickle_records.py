"""Pickles as records: pickle itself is the oracle for honest files; of hostile ones nothing may run."""

import collections
import io
import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pickled import PROTOCOLS, Call, Thing, name_of, named, reconstructed, writing

from portable_nn.errors import FormatError
from portable_nn.readers.pickles import Record, described, interpret, read_records

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


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    return writing(tmp_path_factory.mktemp("pickles") / "weights.pkl")


@given(content=plain, protocol=st.sampled_from(PROTOCOLS))
@settings(deadline=None)
def test_plain_objects(write, content, protocol):
    ours = read_records(write(pickle.dumps(content, protocol)))
    assert ours == content
    assert repr(ours) == repr(content)


class Bag(dict):
    pass


class Queue(list):
    pass


class WithArguments:
    def __getnewargs_ex__(self):
        return (1, 2), {"c": 3}

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)


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
