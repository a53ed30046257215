"""Networks written as ONNX: checked by `onnx`, computed by ONNX Runtime, and read back."""

import numpy as np
import pytest
from helpers import EPSILON

import portable_nn as pnn
from portable_nn.activations import ACTIVATIONS, parameters_of
from portable_nn.errors import FormatError, NetworkError
from portable_nn.exporting import exported
from portable_nn.formats.onnx_writing import onnx_model
from portable_nn.layers import Graph, Node, Value
from portable_nn.nodes import as_nodes

onnx = pytest.importorskip("onnx", reason="pip install onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")

RNG = np.random.default_rng(21)


def f(*shape):
    return RNG.normal(size=shape).astype(np.float32)


X = f(9, 6) * np.float32(3)

UNWRITTEN = {"sparsemax", "glu"}
GIVEN = {"low": -0.5, "high": 0.25, "slope": f(6), "threshold": 0.5, "value": -2.0, "alpha": f(6), "beta": f(6)}
WIDE = np.abs(f(6)) + np.float32(0.1)
OTHERS = {
    "leaky_relu": [{"negative_slope": 0.3}, {"negative_slope": f(6)}],
    "elu": [{"alpha": 0.7}, {"alpha": f(6)}],
    "celu": [{"alpha": 0.7}, {"alpha": WIDE}],
    "silu": [{"beta": 1.7}, {"beta": f(6)}],
    "softplus": [{"beta": 2.0, "threshold": 5.0}, {"beta": WIDE}],
    "hard_sigmoid": [{"slope": 0.2}, {"slope": f(6), "offset": f(6)}],
    "hard_tanh": [{"high": 2.0}, {"low": -WIDE, "high": 2.0}],
    "softshrink": [{"width": 0.3}, {"width": WIDE}],
    "hardshrink": [{"width": 0.3}, {"width": WIDE}],
    "squareplus": [{"b": 2.0}, {"b": WIDE}],
    "clipped_relu": [{"max_value": 1.5, "negative_slope": 0.2, "threshold": 0.5}, {"negative_slope": f(6)}],
    "clip": [{"low": -WIDE, "high": WIDE}],
    "threshold": [{"threshold": f(6), "value": f(6)}],
}


def networks():
    """One for each activation, by its name, and with other parameters than its own; and layers of all kinds."""
    for name in ACTIVATIONS.keys() - UNWRITTEN:
        needed = {key: GIVEN[key] for key, default in parameters_of(name).items() if default is None}
        yield name, [pnn.Activation(name, **needed)]
        for i, others in enumerate(OTHERS.get(name, [])):
            yield f"{name} of others {i}", [pnn.Activation(name, **others)]
    yield (
        "dense",
        [pnn.Rescaling(0.5, -1.0), pnn.Dense(f(6, 4), f(4), "tanh"), pnn.Dense(f(4, 1), None, "sigmoid")],
    )
    yield (
        "norms",
        [pnn.Normalize(f(6), f(6), 1e-3), pnn.Rescaling(f(6), f(6)), pnn.Normalize(f(6), centred=False)],
    )
    yield "norms alone", [pnn.Normalize(), pnn.Dense(f(6, 4), f(4))]
    yield "linear", [pnn.Rescaling(1.0)]


OTHERWISE = {
    *("learned_swish", "threshold", "clip of others 0", "threshold of others 0", "linear", "norms alone"),
    *("silu of others 0", "softplus of others 0", "hard_tanh of others 0"),
    *("clipped_relu of others 0", *(f"{name} of others 1" for name in OTHERS)),
}
"""What comes back as other layers that compute the same."""

NETWORKS = dict(sorted(networks()))


def in_runtime(path, x):
    session = onnxruntime.InferenceSession(path)
    (given,) = session.get_inputs()
    return dict(zip([y.name for y in session.get_outputs()], session.run(None, {given.name: x}), strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_gives_the_same_and_it_reads_back(tmp_path, name):
    x = np.abs(X) if name in POSITIVE else X
    net = pnn.Network(NETWORKS[name])
    pnn.save(net, tmp_path / "net.onnx")
    for some in (x, x[:1]):
        np.testing.assert_allclose(
            in_runtime(tmp_path / "net.onnx", some)["output"], net(some), rtol=2e-5, atol=2e-6
        )
    again = pnn.load(tmp_path / "net.onnx")
    np.testing.assert_allclose(again(x), net(x), rtol=2e-6, atol=1e-6)
    assert again.same_architecture(net) or name in OTHERWISE


POSITIVE = ("log", "log10", "sqrt", "reciprocal", "log1p")


@pytest.mark.parametrize("dtype", ["float64", "float16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_in_another_dtype(tmp_path, name, dtype):
    """Attributes are of float32 in any file, and ONNX Runtime has no kernels of float64 for many operators."""
    net = pnn.Network(NETWORKS[name]).astype(dtype)
    x = X.astype(dtype) / 2
    x = np.abs(x) if name in POSITIVE else x
    pnn.save(net, tmp_path / "net.onnx")
    found, again = in_runtime(tmp_path / "net.onnx", x)["output"], pnn.load(tmp_path / "net.onnx")
    assert found.dtype == x.dtype
    norms = "norms" in name  # whose epsilon is an attribute
    close = {"rtol": 1e-9} if norms and dtype == "float64" else {"rtol": 8 * EPSILON[dtype]}
    np.testing.assert_allclose(found, net(x), **close, atol=16 * EPSILON[dtype])
    np.testing.assert_allclose(again(x), net(x), **close, atol=16 * EPSILON[dtype])
    usual = "of others" not in name and name not in OTHERWISE | {"prelu"}
    assert again.same_architecture(net) or not usual


@pytest.mark.parametrize(
    ("layer", "opset", "version", "operators"),
    [
        (pnn.Activation("gelu"), 20, 9, ["Gelu"]),
        (pnn.Normalize(f(6), centred=False), 23, 11, ["RMSNormalization"]),
        (pnn.Activation("softplus", threshold=20.0), 20, 9, ["Softplus", "Greater", "Where"]),
        (pnn.Activation("silu"), 20, 9, ["Sigmoid", "Mul"]),
        (pnn.Rescaling(1.0, 2.0), 20, 9, ["Add"]),
        (pnn.Rescaling(2.0), 20, 9, ["Mul"]),
    ],
)
def test_no_newer_opset_and_no_more_operators_than_needed(layer, opset, version, operators):
    model = onnx_model(pnn.Network([layer]))
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert model.ir_version == version
    assert [node.op_type for node in model.graph.node] == operators


def test_graphs_that_name_their_values_alike(tmp_path):
    net = pnn.Network([branched(["s"]), branched(["s"]), pnn.Activation("tanh"), branched(["g"])])
    pnn.save(net, tmp_path / "net.onnx")
    np.testing.assert_allclose(in_runtime(tmp_path / "net.onnx", X)["output"], net(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_a_softmax_of_samples_of_two_axes(tmp_path, name):
    value = pnn.layers.Value("x", "float32", (2, 3))
    graph = pnn.layers.Graph([pnn.layers.Node("Sin", ("x",), ("y",))], [value], ["y"], {"": 20})
    net = pnn.Network([graph, pnn.Activation(name)])
    pnn.save(net, tmp_path / "net.onnx")
    x = X.reshape(9, 2, 3)
    np.testing.assert_allclose(in_runtime(tmp_path / "net.onnx", x)["output"], net(x), rtol=1e-5, atol=1e-6)


def test_the_reference_network_and_what_it_means(tmp_path):
    net = pnn.load("mnist").described(classes=[f"digit {i}" for i in range(10)], input_range=(0, 255))
    images, _ = pnn.datasets.mnist("test")
    pnn.save(net, tmp_path / "net.onnx")
    found = in_runtime(tmp_path / "net.onnx", images[:100].astype(np.float32))["output"]
    np.testing.assert_allclose(found, net(images[:100]), atol=1e-6)
    again = pnn.load(tmp_path / "net.onnx")
    assert again.same_architecture(net)
    assert again.meaning == net.meaning


def test_double_precision(tmp_path):
    net = pnn.Network([pnn.Dense(f(6, 4).astype(float), None, "sigmoid")])
    pnn.save(net, tmp_path / "net.onnx")
    found = in_runtime(tmp_path / "net.onnx", X.astype(float))["output"]
    np.testing.assert_allclose(
        found, net(X.astype(float)), rtol=1e-10, atol=1e-15
    )  # far below, ONNX Runtime has fewer digits


def test_samples_of_several_dimensions(tmp_path):
    net = pnn.Network([pnn.Flatten((2, 3)), pnn.Dense(f(6, 4))])
    pnn.save(net, tmp_path / "net.onnx")
    x = X.reshape(9, 2, 3)
    np.testing.assert_allclose(in_runtime(tmp_path / "net.onnx", x)["output"], net(x), rtol=1e-5)
    assert pnn.load(tmp_path / "net.onnx").same_architecture(net)


def branched(outputs):
    nodes = [
        pnn.layers.Node("Gemm", ("x", "w"), ("h",)),
        pnn.layers.Node("Add", ("x", "h"), ("s",)),
        pnn.layers.Node("Constant", (), ("i",), {"value_ints": (0, 2)}),
        pnn.layers.Node("Gather", ("s", "i"), ("g",), {"axis": 1}),
    ]
    return pnn.layers.Graph(nodes, [pnn.layers.Value("x", "float32", (6,))], outputs, {"": 17}, w=f(6, 6))


def test_a_graph_between_layers(tmp_path):
    net = pnn.Network([pnn.Dense(f(6, 6), None, "gelu"), branched(["g"]), pnn.Dense(f(2, 3), None, "softmax")])
    with pytest.raises(FormatError, match="Gelu of opset 17"):
        onnx_model(net)
    net = pnn.Network([pnn.Dense(f(6, 6), None, "silu"), *net.layers[1:]])
    pnn.save(net, tmp_path / "net.onnx")
    np.testing.assert_allclose(in_runtime(tmp_path / "net.onnx", X)["output"], net(X), rtol=1e-5, atol=1e-6)
    again = pnn.load(tmp_path / "net.onnx")
    np.testing.assert_array_equal(again(X), net(X))
    pnn.save(again, tmp_path / "again.onnx")


def test_a_graph_has_nodes_of_its_own():
    with pytest.raises(NetworkError, match="a Graph has nodes of its own"):
        as_nodes(lambda *_: "y", "x", branched(["s"]))


def newer(dtype="float32"):
    node = pnn.layers.Node("Add", ("x", "x"), ("y",))
    return pnn.layers.Graph([node], [pnn.layers.Value("x", dtype, (6,))], ["y"], {"": 20})


@pytest.mark.parametrize(
    ("layers", "match"),
    [
        ([branched(["s"]), newer()], "graphs of one opset, from 13 on, are written, these are of"),
        ([pnn.Normalize()], "Normalize of samples of an unknown size is not written: give it a scale of ones"),
    ],
)
def test_what_cannot_be_written_as_it_is(tmp_path, layers, match):
    with pytest.raises(FormatError, match=match):
        pnn.save(pnn.Network(layers), tmp_path / "net.onnx")


def test_integers_are_taken_by_the_first_layer():
    with pytest.raises(FormatError, match="a graph that takes x is written where it is the first layer"):
        exported((pnn.Rescaling(2.0), newer("int64")), "float32")


def test_what_is_not_written_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"sparsemax.*no counterpart"):
        pnn.save(pnn.Network([pnn.Activation("sparsemax")]), tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


def test_what_onnx_itself_refuses_is_told(tmp_path):
    unit = Graph(
        [Node("ai.onnx.ml.Normalizer", ("x",), ("y",))],
        [Value("x", "float32", (6,))],
        ["y"],
        {"": 20, "ai.onnx.ml": 3},
    )
    with pytest.raises(FormatError, match="ONNX has no such network in float64"):
        pnn.save(pnn.Network([unit]).astype("float64"), tmp_path / "net.onnx")  # it gives float32 alone


def test_operators_of_a_graph_in_float64(tmp_path):
    """Those that ONNX Runtime has not are written as what they are, as activations of layers are."""
    names = ("Elu", "Gelu", "Mish", "Softplus", "Erf", "LeakyRelu", "HardSwish", "Selu", "Shrink", "Softsign")
    nodes = [Node(name, ("x",), (name,), {"alpha": 0.3} if name == "LeakyRelu" else {}) for name in names]
    nodes.append(Node("PRelu", ("x", "slope"), ("PRelu",)))
    nodes.append(Node("Mean", (*names, "PRelu"), ("mean",)))
    outputs = [*names, "mean"]
    net = pnn.Network([Graph(nodes, [Value("x", "float32", (6,))], outputs, {"": 20}, slope=f(6).astype(float))])
    pnn.save(net, tmp_path / "net.onnx")
    x = X.astype(float)
    made, found = in_runtime(tmp_path / "net.onnx", x), pnn.load(tmp_path / "net.onnx")(x)
    for name, wanted in net(x).items():
        np.testing.assert_allclose(made[name], wanted, rtol=1e-14, atol=1e-15)
        np.testing.assert_allclose(found[name], wanted, rtol=1e-14, atol=1e-15)


PARAMETERS = {
    "celu": {"alpha": 0.7},
    "clipped_relu": {"max_value": 1.7, "negative_slope": 0.3, "threshold": 0.4},
    "elu": {"alpha": 0.7},
    "hardshrink": {"width": 0.3},
    "leaky_relu": {"negative_slope": 0.3},
    "learned_swish": {"alpha": np.array([0.7, -0.2, 1.1]), "beta": np.array([0.1, 0.2, 1.3])},
    "silu": {"beta": np.array([1.3, 0.5, -2.0])},
    "softplus": {"beta": 1.3, "threshold": 7.0},
    "softshrink": {"width": 0.3},
    "threshold": {"threshold": 0.4, "value": -0.2},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_read_back(tmp_path, name, dtype):
    """Also of activations that are several nodes, with constants made of their parameters."""
    before = pnn.Activation(name, **PARAMETERS[name])
    pnn.save(pnn.Network([pnn.Dense(np.eye(3, dtype=dtype)), before]), tmp_path / "net.onnx")
    after = pnn.load(tmp_path / "net.onnx").layers[1]
    assert (type(after), getattr(after, "name", "")) == (pnn.Activation, name)
    for key, value in before.parameters.items():
        np.testing.assert_allclose(after.parameters[key], value, rtol=2 * EPSILON[dtype])


@pytest.mark.parametrize("changed", ["alpha", "one"])
def test_nearly_an_activation_is_none(tmp_path, changed):
    """One of the places of a parameter, or another constant, has another value."""
    pnn.save(pnn.Network([pnn.Dense(np.eye(3)), pnn.Activation("celu", alpha=0.7)]), tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    wanted = {"alpha": 0.7, "one": 1.0}[changed]
    constants = [x for x in model.graph.initializer if np.all(onnx.numpy_helper.to_array(x) == wanted)]
    assert len(constants) > 1
    constants[-1].CopyFrom(onnx.numpy_helper.from_array(np.float64(0.9), constants[-1].name))
    onnx.save(model, tmp_path / "net.onnx")
    net = pnn.load(tmp_path / "net.onnx")
    assert isinstance(net.layers[1], Graph)
    x = np.array([[-2.0, 0.0, 3.0]])
    (name,) = (value.name for value in model.graph.input)
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {name: x})
    np.testing.assert_allclose(net(x), found, rtol=1e-14)
