"""Operators: the ONNX project's node tests are the oracle, on every library."""

import tomllib
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.errors import FormatError, NetworkError
from portable_nn.layers import Graph
from portable_nn.operators import OPERATORS, find
from portable_nn.operators.own import OWN
from portable_nn.readers.onnx import Node, Value, read_model

onnx = pytest.importorskip("onnx", reason="pip install onnx")
loader = pytest.importorskip("onnx.backend.test.loader", reason="pip install onnx")

LIST = tomllib.loads(Path(__file__).with_name("not_passed.toml").read_text("utf-8"))["case"]

UNSIGNED = {"uint16", "uint32", "uint64"}
"""With which PyTorch does next to nothing."""


@cache
def cases(folder):
    """The node tests of operators that are here, on dtypes that are read: name, model, data, tolerances."""
    found = []
    for case in loader.load_model_tests(kind="node"):
        path = folder / "case.onnx"
        path.write_bytes(case.model.SerializeToString())
        with suppress(FormatError):
            model = read_model(path)
            values = (*model.graph.inputs, *model.graph.outputs)
            here = all(node.operator in OPERATORS for node in model.graph.nodes)
            if here and not any(value.dtype in ("", "str") for value in values):
                sets = [[list(map(in_numpy, side)) for side in data] for data in case.data_sets]
                found.append((case.name, model, sets, case.rtol, case.atol))
    return found


def in_numpy(value):
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("nodes")


def listed(name, backend):
    return next(
        (
            entry
            for entry in LIST
            if any(fnmatch(name, pattern) for pattern in entry["names"])
            and backend.name in entry.get("backends", [backend.name])
        ),
        None,
    )


def computed(backend, model, inputs):
    """The outputs of a graph on a backend, in NumPy."""
    values = [replace(value, shape=None) for value in model.graph.inputs]
    graph = Graph(model.graph.nodes, values, [value.name for value in model.graph.outputs], model.opsets)
    placed = {value.name: backend.place(x) for value, x in zip(values, inputs, strict=True)}
    found = backend.entered(lambda x: graph(x, backend.xp))(placed)
    found = list(found.values()) if isinstance(found, dict) else [found]
    if backend.name == "numpy":
        assert all(np.ndim(y) == 0 or y.flags.writeable for y in found)
        assert not any(np.may_share_memory(y, x) for y in found for x in placed.values()), "not declared a View"
    return [np.asarray(y) if isinstance(y, np.ndarray) else backend.to_numpy(y) for y in found]


def check_close(found, wanted, rtol, atol):
    """Check values and shape, and whether they are floating, integers or booleans: floats have one dtype here."""
    assert found.shape == wanted.shape
    kind = "f" if wanted.dtype.name == "bfloat16" else wanted.dtype.kind
    assert found.dtype.kind.replace("u", "i") == kind.replace("u", "i")
    coarser = {"bfloat16": 2**-7, "float16": 2**-9}.get(wanted.dtype.name, rtol)
    np.testing.assert_allclose(
        found.astype(np.float64), wanted.astype(np.float64), rtol=max(rtol, coarser), atol=atol
    )


def applying(backend, folder):
    """The cases that are meant for a backend, each with its entry in the list of what does not pass."""
    for case in cases(folder):
        name, model, *_ = case
        dtypes = {value.dtype for value in (*model.graph.inputs, *model.graph.outputs)}
        if backend.name == "torch" and dtypes & UNSIGNED:
            continue
        if "bfloat16" in dtypes or ("float16" in dtypes and backend.name == "array_api_strict"):
            continue  # NumPy, which brings the data, has no bfloat16
        entry = listed(name, backend)
        if entry is None or entry.get("applies", True):
            yield *case, entry


def with_every_operator(found):
    """The smallest graphs, as many as it takes to have every operator in one."""
    seen = set()
    for case in sorted(found, key=lambda case: len(case[1].graph.nodes)):
        operators = {node.operator for node in case[1].graph.nodes}
        if not operators <= seen:
            seen |= operators
            yield case


def check_cases(backend, found):
    passed, wrong = 0, []
    for name, model, sets, rtol, atol, entry in found:
        try:
            for inputs, outputs in sets:
                for y, wanted in zip(computed(backend, model, inputs), outputs, strict=True):
                    check_close(y, wanted, rtol, atol)
        except Exception as error:
            if entry is None:
                wrong.append(f"{name}: {type(error).__name__} {str(error).strip()[:200]}")
            continue
        passed += 1
        if entry is not None:
            wrong.append(f"{name} passes: take it from the list")
    assert wrong == []
    assert passed >= 0.98 * len(found)


of_infinite_values = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@of_infinite_values
def test_node_tests(backend, folder):
    if backend.name == "array_api_strict" and str(backend) != "array_api_strict:device1":
        pytest.skip("one device of it is enough: the others differ in dtypes")
    found = [*applying(backend, folder)]
    assert len(found) > 800
    if backend.name in ("dask", "jax"):  # Dask makes a graph and XLA a program of each operator for each shape
        found = [*with_every_operator(found)]
        assert len(found) > 100
        found = found[::3]  # slow tests have all cases
    check_cases(backend, found)


@pytest.mark.slow
@of_infinite_values
@pytest.mark.parametrize("name", ["dask", "jax"])
def test_all_node_tests(name, folder):
    pytest.importorskip(name, reason=f"pip install {name}")
    backend = pnn.backends.get(name)
    check_cases(backend, [*applying(backend, folder)])


@pytest.mark.parametrize("name", sorted(OPERATORS.keys() - OWN.keys()))
def test_the_opsets_are_those_of_onnx(name):
    domain, _, short = name.rpartition(".")
    oldest = 1 if domain else 7
    latest = onnx.defs.get_schema(short, 10**6, domain)
    for since in OPERATORS[name]:
        schema = onnx.defs.get_schema(short, since, domain)
        assert since in (schema.since_version, oldest)
        operator = find(name, {domain: since})
        if operator.attributes is not None:
            assert operator.attributes <= schema.attributes.keys() | latest.attributes.keys()
            assert operator.needed >= {key for key, each in schema.attributes.items() if each.required}


@pytest.mark.parametrize(
    ("node", "opsets", "match"),
    [
        (Node("Conv", ("x", "w"), ("y",), {}, "first"), {"": 20}, "Conv 'first': operator Conv is not computed"),
        (Node("Relu", ("x",), ("y",)), {"": 6}, "opset 6: opsets from 7 on are read"),
        (Node("Gelu", ("x",), ("y",)), {"": 19}, "Gelu of opset 19: it is there from 20 on"),
        (Node("ai.onnx.ml.Scaler", ("x",), ("y",)), {"": 20}, "no opset of its domain 'ai.onnx.ml'"),
        (Node("Relu", ("x", "x"), ("y",)), {"": 20}, "takes 1 to 1 inputs, got 2"),
        (Node("Gemm", ("x",), ("y",)), {"": 20}, "takes 2 to 3 inputs, got 1"),
        (Node("Relu", ("x",), ("y",), {"alpha": 1.0}), {"": 20}, "attribute alpha is none"),
        (Node("Concat", ("x", "x"), ("y",)), {"": 20}, "needs the attribute axis"),
        (Node("Relu", ("z",), ("y",)), {"": 20}, "reads 'z', which no node before it makes"),
        (Node("Relu", ("x",), ("x",)), {"": 20}, "makes 'x', which is there already"),
        (Node("Relu", ("x",), ("z",)), {"": 20}, "gives 'y', which no node makes"),
        (Node("Relu", ("x",), ()), {"": 20}, "has no output"),
    ],
)
def test_refusals_name_the_node(node, opsets, match):
    with pytest.raises(NetworkError, match=match):
        Graph([node], [Value("x", "float32", (3,))], ["y"], opsets)


def constant(name, *shape, dtype=np.float32):
    return Node("Constant", (), (name,), {"value": np.zeros(shape, dtype)})


PLACES, OF_TWO = Node("Constant", (), ("k",), {"value_ints": (0, 6)}), {"coefficients": (1.0,) * 6}


@pytest.mark.parametrize(
    ("nodes", "match"),
    [
        (
            [Node("Split", ("x",), ("y", "z"), {"axis": 1, "split": (1, 3)})],
            r"6 values does not split into \(1, 3\)",
        ),
        ([PLACES, Node("Gather", ("x", "k"), ("y",), {"axis": 1})], r"6 values has no places \(0, 6\)"),
        ([Node("LpNormalization", ("x",), ("y",), {"p": 3})], "p = 3: 1 or 2 is computed"),
        (
            [constant("w", 6), Node("BatchNormalization", ("x", *"wwww"), ("y",), {"spatial": 0})],
            "in training mode, or not per feature, it is not computed",
        ),
        ([Node("Cast", ("x",), ("y",), {"to": 8})], "Cast to type 8 of ONNX, which is not computed in"),
        (
            [Node("ai.onnx.ml.LinearRegressor", ("x",), ("y",), OF_TWO | {"post_transform": "PROBIT"})],
            "'PROBIT' is none of NONE, LOGISTIC and SOFTMAX",
        ),
        (
            [constant("a", 2**13 + 1, 1), constant("b", 2**13), Node("Add", ("a", "b"), ("y",))],
            "Add that makes y: it combines constants alone, and large ones: fold them before",
        ),
        (
            [constant("a", 2), constant("b", 3), Node("Add", ("a", "b"), ("y",))],
            "Add that makes y: it does not take what it is given: .*shape",
        ),
    ],
    ids=lambda value: value[-1].operator if isinstance(value, list) else "",
)
def test_what_is_not_computed_is_refused(nodes, match):
    with pytest.raises(NetworkError, match=match):
        Graph(nodes, [Value("x", "float32", (6,))], ["y"], {"": 12, "ai.onnx.ml": 1})
