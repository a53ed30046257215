"""Networks written as ONNX: checked by `onnx`, computed by ONNX Runtime, and read back."""

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.activations import ACTIVATIONS, parameters_of
from portable_nn.errors import FormatError
from portable_nn.formats.onnx_writing import onnx_model

onnx = pytest.importorskip("onnx", reason="pip install onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")

RNG = np.random.default_rng(21)


def f(*shape):
    return RNG.normal(size=shape).astype(np.float32)


X = f(9, 6) * np.float32(3)

UNWRITTEN = {
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "glu",
    "clipped_relu",
    "ndtr",
    "erfc",
    "expm1",
    "log1p",
}
GIVEN = {"low": -0.5, "high": 0.25, "slope": f(6), "threshold": 0.5, "value": -2.0, "alpha": f(6), "beta": f(6)}
OTHERS = {
    "leaky_relu": {"negative_slope": 0.3}, "elu": {"alpha": 0.7}, "celu": {"alpha": 0.7}, "silu": {"beta": 1.7},
    "softplus": {"beta": 2.0, "threshold": 5.0}, "hard_sigmoid": {"slope": 0.2}, "hard_tanh": {"high": 2.0},
    "softshrink": {"width": 0.3}, "hardshrink": {"width": 0.3}, "squareplus": {"b": 2.0},
}  # fmt: skip


def networks():
    """One for each activation, by its name, and with other parameters than its own; and layers of all kinds."""
    for name in ACTIVATIONS.keys() - UNWRITTEN:
        needed = {key: GIVEN[key] for key, default in parameters_of(name).items() if default is None}
        yield name, [pnn.Activation(name, **needed)]
        if name in OTHERS:
            yield f"{name} of others", [pnn.Activation(name, **OTHERS[name])]
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
    "learned_swish", "squareplus", "step", "threshold", "log10", "softplus", "silu", "clip", "hard_tanh",
    "linear", "norms alone",
}  # fmt: skip
"""What comes back as other layers that compute the same."""

NETWORKS = dict(sorted(networks()))


def in_runtime(path, x):
    session = onnxruntime.InferenceSession(path)
    (given,) = session.get_inputs()
    return dict(zip([y.name for y in session.get_outputs()], session.run(None, {given.name: x}), strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_gives_the_same_and_it_reads_back(tmp_path, name):
    positive = name in ("log", "log10", "sqrt", "reciprocal")
    x = np.abs(X) if positive else X
    net = pnn.Network(NETWORKS[name])
    pnn.save(net, tmp_path / "net.onnx")
    for some in (x, x[:1]):
        np.testing.assert_allclose(
            in_runtime(tmp_path / "net.onnx", some)["output"], net(some), rtol=2e-5, atol=2e-6
        )
    again = pnn.load(tmp_path / "net.onnx")
    np.testing.assert_allclose(again(x), net(x), rtol=2e-6, atol=1e-6)
    assert again.same_architecture(net) or name.removesuffix(" of others") in OTHERWISE


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
    np.testing.assert_allclose(found, net(X.astype(float)), rtol=1e-10)


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


def test_what_is_not_written_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"sparsemax.*no counterpart"):
        pnn.save(pnn.Network([pnn.Activation("sparsemax")]), tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


def test_what_onnx_itself_refuses_is_told(tmp_path):
    net = pnn.Network([pnn.Dense(np.eye(4), None, "celu")])
    with pytest.raises(FormatError, match="ONNX has no such network in float64"):
        pnn.save(net, tmp_path / "net.onnx")
