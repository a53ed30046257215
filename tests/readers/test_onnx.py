"""ONNX model files: the `onnx` package is the oracle for honest ones, damage of every kind the adversary."""

import os
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portable_nn.errors import FormatError
from portable_nn.readers import onnx as onnx_files
from portable_nn.readers.onnx import Graph, read_model

onnx = pytest.importorskip("onnx", reason="pip install onnx")
loader = pytest.importorskip("onnx.backend.test.loader", reason="pip install onnx")
helper, TensorProto = onnx.helper, onnx.TensorProto

DTYPES = {
    "float16", "float32", "float64", "bool",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
}  # fmt: skip


def varint(value):
    out = b""
    while value >= 128:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def held(number, content):
    """A field of that number with those bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def model_of(nodes=(), constants=(), inputs=("x",), outputs=("y",)):
    values = [[helper.make_tensor_value_info(name, 1, ["n", 3]) for name in names] for names in (inputs, outputs)]
    graph = helper.make_graph(list(nodes), "g", *values, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"

    def written(model):
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        return path

    return written


def check_same(found, wanted):
    """Check a graph, field by field, against what `onnx` reads."""
    names = {constant.name for constant in wanted.initializer}
    assert [value.name for value in found.inputs] == [v.name for v in wanted.input if v.name not in names]
    assert [value.name for value in found.outputs] == [value.name for value in wanted.output]
    for value, theirs in zip(found.outputs, wanted.output, strict=True):
        tensor = theirs.type.tensor_type
        if tensor.HasField("shape"):
            lengths = [
                getattr(d, d.WhichOneof("value")) if d.WhichOneof("value") else None for d in tensor.shape.dim
            ]
            assert value.shape == tuple(lengths)
        if value.dtype in DTYPES:
            assert helper.tensor_dtype_to_np_dtype(tensor.elem_type) == value.dtype
    assert found.constants.keys() == names
    for constant in wanted.initializer:
        check_tensor(found.constants[constant.name], constant)
    assert len(found.nodes) == len(wanted.node)
    for node, theirs in zip(found.nodes, wanted.node, strict=True):
        assert node.operator == (f"{theirs.domain}." if theirs.domain else "") + theirs.op_type
        assert (node.inputs, node.outputs) == (tuple(theirs.input), tuple(theirs.output))
        assert node.attributes.keys() == {attribute.name for attribute in theirs.attribute}
        for attribute in theirs.attribute:
            check_attribute(node.attributes[attribute.name], helper.get_attribute_value(attribute))


def check_attribute(found, wanted):
    match wanted:
        case onnx.GraphProto():
            check_same(found, wanted)
        case onnx.TensorProto():
            check_tensor(found, wanted)
        case bytes():
            assert found == wanted.decode()
        case [bytes(), *_]:
            assert found == tuple(text.decode() for text in wanted)
        case float():
            assert np.float32(found) == np.float32(wanted)
        case [float(), *_]:
            np.testing.assert_array_equal(np.float32(found), np.float32(wanted))
        case int():
            assert found == wanted
        case _:
            assert found == tuple(wanted)


def check_tensor(found, proto):
    wanted = onnx.numpy_helper.to_array(proto)
    if proto.data_type == TensorProto.BFLOAT16:
        wanted = wanted.astype(np.float32)
    if proto.data_type == TensorProto.STRING:
        assert found.tolist() == wanted.astype(str).tolist()
    else:
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    assert found.shape == wanted.shape


def test_the_models_of_the_onnx_project_read_as_onnx_reads_them(write):
    read = 0
    for case in loader.load_model_tests(kind="pytorch-converted"):
        path = os.path.join(case.model_dir, "model.onnx")
        check_same(read_model(path).graph, onnx.load(path).graph)
        read += 1
    assert read > 50


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_node_tests_read_as_onnx_reads_them(write):
    read = 0
    for case in loader.load_model_tests(kind="node"):
        with suppress(FormatError):  # float8 and smaller, sequences and the like
            found = read_model(write(case.model))
            check_same(found.graph, case.model.graph)
            assert found.opsets == {entry.domain: entry.version for entry in case.model.opset_import}
            read += 1
    assert read > 1800


@pytest.mark.parametrize("dtype", sorted(DTYPES | {"bfloat16"}))
@pytest.mark.parametrize("raw", [False, True])
def test_tensors_of_every_dtype(write, dtype, raw):
    number = getattr(TensorProto, {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype, dtype.upper()))
    values = np.array([[0, 1, 1.5], [2, 0, 100]])
    values = values.astype(helper.tensor_dtype_to_np_dtype(number))
    if raw:
        tensor = onnx.numpy_helper.from_array(values, "w")
        assert tensor.HasField("raw_data")
    else:
        tensor = helper.make_tensor("w", number, values.shape, values.ravel().tolist())
        assert not tensor.HasField("raw_data")
    check_tensor(read_model(write(model_of(constants=[tensor]))).graph.constants["w"], tensor)


def test_strings_and_unpacked_numbers(write):
    tensor = helper.make_tensor("w", TensorProto.STRING, [2], [b"cat", "hält".encode()])
    assert read_model(write(model_of(constants=[tensor]))).graph.constants["w"].tolist() == ["cat", "hält"]
    unpacked = b"\x08\x02\x10\x07" + b"\x38\x05" + b"\x38" + b"\xff" * 9 + b"\x01" + held(8, b"w")
    data = held(7, held(5, unpacked)) + held(8, b"\x10\x14")
    np.testing.assert_array_equal(read_model(write(data)).graph.constants["w"], [5, -1])


def test_external_data(write, tmp_path):
    values = np.arange(500.0).reshape(5, 100)
    model = model_of(constants=[onnx.numpy_helper.from_array(values, name) for name in "ab"])
    path = tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    found = read_model(path)
    assert found.graph.constants.keys() == {"a", "b"}
    np.testing.assert_array_equal(found.graph.constants["b"], values)


def external(location, **entries):
    tensor = TensorProto(name="w", dims=[2], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in ({"location": location} | entries).items():
        tensor.external_data.add(key=key, value=str(value))
    return model_of(constants=[tensor])


@pytest.mark.parametrize(
    ("location", "entries", "match"),
    [
        ("", {}, "no file beside"),
        ("..", {}, "no file beside"),
        ("../w.data", {}, "no file beside"),
        ("sub/w.data", {}, "no file beside"),
        ("/etc/hosts", {}, "no file beside"),
        ("c:w.data", {}, "no file beside"),
        ("..\\w.data", {}, "no file beside"),
        ("none.data", {}, "No such file"),
        ("link.data", {}, "link"),
        ("hard.data", {}, "a link"),
        ("pipe.data", {}, "device"),
        ("folder", {}, "device|directory"),
        ("w.data", {"offset": 4}, "takes 8 bytes, its file 'w.data' has 8"),
        ("w.data", {"offset": -4}, "not 8 from -4"),
        ("w.data", {"length": 4}, "not 4 from 0"),
        ("w.data", {"length": "much"}, "invalid literal"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="links and pipes are made as POSIX makes them")
def test_external_data_are_refused_but_of_a_plain_file_beside_the_model(tmp_path, location, entries, match):
    (tmp_path / "net").mkdir()
    folder = tmp_path / "net"
    for path in (tmp_path / "w.data", folder / "w.data", folder / "twice.data"):
        path.write_bytes(bytes(8))
    (folder / "link.data").symlink_to(folder / "w.data")
    (folder / "hard.data").hardlink_to(folder / "twice.data")
    os.mkfifo(folder / "pipe.data")
    (folder / "folder").mkdir()
    (folder / "net.onnx").write_bytes(external(location, **entries).SerializeToString())
    with pytest.raises(FormatError, match=match):
        read_model(folder / "net.onnx")


def test_tensors_cannot_share_external_data_to_take_more_memory_than_there_is(tmp_path):
    tensor = external("w.data").graph.initializer[0]
    again = TensorProto()
    again.CopyFrom(tensor)
    again.name = "again"
    (tmp_path / "w.data").write_bytes(bytes(8))
    (tmp_path / "net.onnx").write_bytes(model_of(constants=[tensor, again]).SerializeToString())
    with pytest.raises(FormatError, match="has 8 for all"):
        read_model(tmp_path / "net.onnx")


def tensor(**fields):
    return model_of(constants=[TensorProto(name="w", **fields)])


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (b"", "no graph"),
        (held(7, b""), "names no opset"),
        (held(7, held(15, b"")) + held(8, b"\x10\x14"), "it has sparse tensors"),
        (b"no model at all", "wire type|cut off"),
        (b"\xff" * 11, "more than 10 bytes"),
        (b"\xff", "cut off"),
        (b"\x3a\x05\x00", "5 bytes is cut off"),
        (b"\x3b\x3c", "wire type 3 is none"),
        (b"\x38\x01", "graph has wire type 0"),
        (held(7, b"") * 2, "graph is there twice"),
        (held(7, held(5, held(4, bytes(5)))), "buffer size must be a multiple of element size"),
        (held(7, held(1, held(1, b"\xff"))), "decode byte"),
        (tensor(data_type=17), "values of type 17"),
        (tensor(data_type=14), "values of type 14"),
        (tensor(data_type=1, dims=[2], raw_data=bytes(7)), "takes 8 bytes, 7 came"),
        (tensor(data_type=1, dims=[2], float_data=[1.0]), "takes 2 values, 1 came"),
        (tensor(data_type=1, dims=[-1], float_data=[1.0]), "at most 64 lengths"),
        (tensor(data_type=1, dims=[1] * 65, float_data=[1.0]), "at most 64 lengths"),
        (tensor(data_type=1, dims=[2**40, 2**40]), "takes 1208925819614629174706176 values, 0 came"),
        (tensor(data_type=3, dims=[1], int32_data=[200]), "beyond int8"),
        (tensor(data_type=8, dims=[2], string_data=[b"one"]), "reshape"),
        (model_of(constants=[helper.make_tensor("w", 1, [0], [])] * 2), "constant 'w' twice"),
    ],
)
def test_refusals_say_why(write, model, match):
    with pytest.raises(FormatError, match=match):
        read_model(write(model))


def test_files_beyond_the_size_of_a_protocol_buffer_are_refused(write, monkeypatch):
    path = write(model_of())
    monkeypatch.setattr(onnx_files, "LARGEST", path.stat().st_size)
    read_model(path)
    monkeypatch.setattr(onnx_files, "LARGEST", path.stat().st_size - 1)
    with pytest.raises(FormatError, match="keep weights as external data"):
        read_model(path)


def test_a_nest_is_refused(write):
    data = b""
    for _ in range(10_000):
        data = held(1, held(5, held(6, data)))
    with pytest.raises(FormatError, match="nest deeper"):
        read_model(write(held(7, data)))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(held(7, b"\x0a\x00" * 500_000), id="nodes"),
        pytest.param(held(7, held(1, b"\x0a\x00" * 500_000)), id="names"),
        pytest.param(held(7, held(5, held(7, bytes(500_000)))), id="packed numbers"),
        pytest.param(held(7, held(5, b"\x38\x00" * 500_000)), id="numbers"),
        pytest.param(held(14, b"") * 500_000, id="metadata"),
    ],
)
def test_memory_is_bounded(write, data):
    path = write(data)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="take more than 48 MiB"):
            read_model(path)
        assert tracemalloc.get_traced_memory()[1] < len(data) + 64 * 2**20
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def honest():
    branch = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["z"])], "b", [], [helper.make_empty_tensor_value_info("z")]
    )
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], transB=1, alpha=0.5, name="first"),
        helper.make_node(
            "LabelEncoder", ["h"], ["i"], domain="ai.onnx.ml", keys_strings=["a", "b"], values_int64s=[1, 2]
        ),
        helper.make_node("Constant", [], ["c"], value=helper.make_tensor("", 9, [2], [True, False])),
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.ones((3, 3), np.float32), "w"),
        helper.make_tensor("b", TensorProto.DOUBLE, [3], [1.0, 2.0, 3.0]),
    ]
    model = model_of(nodes, constants)
    model.metadata_props.add(key="author", value="me")
    return model.SerializeToString()


def test_every_truncation_is_refused_or_shorter(write, honest):
    for n in range(len(honest)):
        with suppress(FormatError):
            assert read_model(write(honest[:n])).graph.nodes


@given(data=st.data())
@settings(deadline=None, max_examples=1000)
def test_mutations_raise_only_errors_of_this_package(write, honest, data):
    mutated = bytearray(honest)
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    with suppress(FormatError):
        assert isinstance(read_model(write(bytes(mutated))).graph, Graph)


def test_what_the_system_refuses(tmp_path):
    with pytest.raises(FormatError, match=r"none.onnx cannot be read: No such file"):
        read_model(tmp_path / "none.onnx")
    with pytest.raises(FormatError, match="cannot be read: Is a directory"):
        read_model(tmp_path)
