"""ONNX files that no exporter would write so, and what exporters write seldom: ONNX Runtime is the oracle."""

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.errors import FormatError
from portable_nn.layers import Graph

onnx = pytest.importorskip("onnx", reason="pip install onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
helper, T = onnx.helper, onnx.TensorProto
N = helper.make_node

RNG = np.random.default_rng(77)


def f(*shape):
    return RNG.normal(size=shape).astype(np.float32)


X = f(5, 6)
ONE = [("x", T.FLOAT, ["n", 6])]


def model_of(nodes, constants, outputs, inputs=ONE, ir_version=9):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=ir_version)


MODELS = {
    "an output is an input": ([N("MatMul", ["x", "w"], ["y"])], {"w": f(6, 6)}, ["x", "y"]),
    "one value is two outputs": (
        [N("Tanh", ["x"], ["t"]), N("Identity", ["t"], ["a"]), N("Identity", ["t"], ["b"])], {}, ["a", "b"]
    ),
    "one value is two outputs of a graph": (
        [N("Tanh", ["x"], ["t"]), N("Add", ["x", "t"], ["s"]), N("Identity", ["s"], ["a"])], {}, ["s", "a"]
    ),
    "the mask of dropout": (
        [N("Dropout", ["x"], ["d", "m"]), N("MatMul", ["d", "w"], ["y"])], {"w": f(6, 6)}, ["y", "m"]
    ),
    "dropout that does not train": (
        [N("Dropout", ["x", "r", "no"], ["d"]), N("MatMul", ["d", "w"], ["y"])],
        {"w": f(6, 6), "r": np.float32(0.5), "no": np.array(False)},
        ["y"],
    ),
    "integers before a product": (
        [N("Cast", ["x"], ["i"], to=T.INT64), N("Cast", ["i"], ["k"], to=T.FLOAT),
         N("MatMul", ["k", "w"], ["y"])],
        {"w": f(6, 3)},
        ["y"],
    ),
    "integers before a factor": (
        [N("Cast", ["x"], ["i"], to=T.INT32), N("Cast", ["i"], ["k"], to=T.FLOAT), N("Mul", ["k", "w"], ["y"])],
        {"w": f(6)},
        ["y"],
    ),
    "truths before a product": (
        [N("Greater", ["x", "z"], ["i"]), N("Cast", ["i"], ["k"], to=T.FLOAT), N("MatMul", ["k", "w"], ["y"])],
        {"w": f(6, 3), "z": np.float32(0)},
        ["y"],
    ),
    "a mean of integers": (
        [
            N("Cast", ["x"], ["i"], to=T.INT64),
            N("ReduceMean", ["i", "axes"], ["m"]),
            N("Cast", ["m"], ["k"], to=T.FLOAT),
            N("Add", ["k", "x"], ["y"]),
        ],
        {"axes": np.array([1])},
        ["y"],
    ),
    "constants with the names of this package": (
        [N("MatMul", ["x", "w"], ["m"]), N("Add", ["m", "b"], ["h"]), N("Mul", ["h", "h.bias"], ["k"]),
         N("Gemm", ["k", "v", "b"], ["g"], transB=1), N("Mul", ["g", "g.weight"], ["l"]),
         N("Add", ["l", "x"], ["y"])],
        {"w": f(6, 6), "b": f(6), "h.bias": f(6), "v": f(6, 6), "g.weight": f(6)},
        ["y"],
    ),
    "constants with reserved names": (
        [N("MatMul", ["x", "nodes"], ["h"]), N("Mul", ["h", "nodes_"], ["u"]), N("Mul", ["u", "self"], ["v"]),
         N("Mul", ["v", "h"], ["y"])],
        {"nodes": f(6, 6), "nodes_": f(6), "self": f(6)},
        ["y"],
    ),
    "a label beside other values": (
        [N("MatMul", ["x", "w"], ["s"]), N("ArgMax", ["s"], ["label"], axis=1, keepdims=0),
         N("MatMul", ["x", "v"], ["value"])],
        {"w": f(6, 3), "v": f(6, 4)},
        ["label", "value"],
    ),
    "a label of other scores": (
        [N("Relu", ["x"], ["r"]), N("ArgMax", ["r"], ["label"], axis=1), N("Mul", ["r", "c"], ["value"])],
        {"c": -np.abs(f(6))},
        ["label", "value"],
    ),
    "values added in a product": (
        [N("Gemm", ["x", "w", "x"], ["g"]), N("Add", ["g", "x"], ["y"])], {"w": f(6, 6)}, ["y"]
    ),
    "a swish by 1": (
        [N("Mul", ["x", "c"], ["a"]), N("Sigmoid", ["a"], ["s"]), N("Mul", ["x", "s"], ["y"])],
        {"c": np.float32(1)},
        ["y"],
    ),
    "a softplus by 0": (
        [N("Mul", ["x", "c"], ["a"]), N("Softplus", ["a"], ["s"]), N("Mul", ["s", "k"], ["y"])],
        {"c": np.float32(0), "k": np.float32(2)},
        ["y"],
    ),
    "divided by one number a feature": (
        [N("MatMul", ["x", "w"], ["h"]), N("Div", ["h", "c"], ["y"])], {"w": f(6, 6), "c": f(6)}, ["y"]
    ),
    "large constants": (
        [N("Mul", ["w", "scale"], ["a"]), N("Mul", ["a", "mask"], ["b"]), N("Concat", ["b", "b"], ["c"], axis=1),
         N("MatMul", ["c", "v"], ["d"]), N("MatMul", ["x", "d"], ["y"])],
        {"w": f(6, 9000), "scale": f(9000), "mask": f(6, 9000), "v": f(18000, 3) / 100},
        ["y"],
    ),
    "what is known before the data": (
        [N("Shape", ["x"], ["n"]), N("Expand", ["row", "n"], ["k"]), N("ConstantOfShape", ["n"], ["zeros"]),
         N("Tanh", ["x"], ["y"])],
        {"row": f(6)},
        ["k", "zeros", "y"],
    ),
    "odd names": (
        [N("MatMul", ["x", "w é.\n"], ["h'\""]), N("Tanh", ["h'\""], ["t/:0"]),
         N("Add", ["t/:0", "h'\""], ["über"])],
        {"w é.\n": f(6, 6)},
        ["über"],
    ),
    "an optional input that is left out": (
        [N("Clip", ["x", "", "high"], ["y"])], {"high": np.float32(0.3)}, ["y"]
    ),
    "parts of no size": (
        [N("Slice", ["x", "zero", "zero", "one"], ["e"]), N("Concat", ["e", "x", "e"], ["y"], axis=1)],
        {"zero": np.array([0]), "one": np.array([1])},
        ["y"],
    ),
    "several outputs of a node": (
        [N("Split", ["x", "lengths"], ["a", "unread", "b"], axis=1), N("Exp", ["b"], ["c"])],
        {"lengths": np.array([1, 2, 3])},
        ["a", "c", "b"],
    ),
}  # fmt: skip


def in_runtime(model, feeds):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return dict(zip([value.name for value in session.get_outputs()], session.run(None, feeds), strict=True))


def alike(found, wanted):
    found = found if isinstance(found, dict) else dict.fromkeys(wanted, found)
    assert list(found) == list(wanted)
    for name, y in wanted.items():
        np.testing.assert_allclose(found[name], y, rtol=1e-4, atol=1e-5)
        assert np.asarray(found[name]).dtype.kind == y.dtype.kind


def loaded(tmp_path, model):
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    return pnn.load(tmp_path / "net.onnx")


@pytest.mark.parametrize("name", MODELS)
def test_as_in_onnx_runtime(tmp_path, torch, name):
    model = model_of(*MODELS[name])
    net, wanted = loaded(tmp_path, model), in_runtime(model, {"x": 3 * X})
    alike(net(3 * X), wanted)
    assert net.dtype == "float32"
    found = net(torch.from_numpy(3 * X))
    found = found if isinstance(found, dict) else {"": found}
    alike(
        {key: y.numpy() for key, y in found.items()} if len(found) > 1 else found[""].numpy(),
        wanted,
    )
    pnn.save(net, tmp_path / "again.npz")
    alike(pnn.load(tmp_path / "again.npz")(3 * X), wanted)
    pnn.save(net, tmp_path / "again.onnx")
    alike(pnn.load(tmp_path / "again.onnx")(3 * X), wanted)
    again = in_runtime(onnx.load(tmp_path / "again.onnx"), {"input": 3 * X})
    alike(again if len(wanted) > 1 else next(iter(again.values())), wanted)


@pytest.mark.parametrize(
    ("inputs", "feeds", "nodes"),
    [
        ([*ONE, ("u", T.FLOAT, ["n", 2])], {"x": X, "u": f(5, 2)}, [N("Tanh", ["x"], ["y"])]),
        ([*ONE, ("k", T.BOOL, ["n", 6])], {"x": X, "k": X > 0}, [N("Where", ["k", "x", "c"], ["y"])]),
        ([*ONE, ("k", T.INT64, ["n"])], {"x": X, "k": np.arange(5)}, [N("Gather", ["w", "k"], ["y"])]),
        ([*ONE, ("c", T.FLOAT, [6])], {"x": X}, [N("Add", ["x", "c"], ["y"])]),
        (
            [*ONE, ("u", T.FLOAT, ["n", 6])],
            {"x": X, "u": f(5, 6)},
            [N("Identity", ["u"], ["v"]), N("Sub", ["x", "v"], ["y"])],
        ),
    ],
    ids=["one that is not read", "of booleans", "of places", "a constant that may be given", "two"],
)
def test_several_inputs(tmp_path, inputs, feeds, nodes):
    model = model_of(nodes, {"w": f(5, 6), "c": f(6)}, ["y"], inputs)
    net = loaded(tmp_path, model)
    alike(net(feeds if len(feeds) > 1 else X), in_runtime(model, feeds))


REFUSED = {
    "a number for each sample, added in a product": (
        [N("Gemm", ["x", "w", "c"], ["y"])],
        {"w": f(6, 5), "c": f(5, 1)},  # of five samples, and five features
        "Gemm that makes y: it does not take what it is given",
    ),
    "and in one that is read twice": (
        [N("Gemm", ["x", "w", "c"], ["g"]), N("Exp", ["g"], ["e"]), N("Add", ["g", "e"], ["y"])],
        {"w": f(6, 5), "c": f(5, 1)},
        "Gemm that makes g: it does not take what it is given",
    ),
    "dropout that trains": (
        [N("Dropout", ["x", "r", "yes"], ["y"])],
        {"r": np.float32(0.5), "yes": np.array(True)},
        "Dropout that makes y: in training mode it is not computed",
    ),
    "a mean over samples": (
        [N("ReduceMean", ["x", "axes"], ["m"]), N("Sub", ["x", "m"], ["y"])],
        {"axes": np.array([0])},
        "depend on the samples beside it",
    ),
    "a sum that goes on from sample to sample": (
        [N("CumSum", ["x", "axis"], ["y"])],
        {"axis": np.array(0)},
        "depend on the samples beside it",
    ),
    "products of samples": (
        [N("Transpose", ["x"], ["t"]), N("MatMul", ["x", "t"], ["y"])],
        {},
        "depend on the samples beside it",
    ),
    "a sum that goes back from sample to sample": (
        [N("CumSum", ["x", "axis"], ["y"], reverse=1)],
        {"axis": np.array(0)},
        "depend on the samples beside it",
    ),
    "nothing": ([N("Identity", ["x"], ["y"])], {}, None),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(tmp_path, name):
    nodes, constants, match = REFUSED[name]
    model = model_of(nodes, constants, ["y"])
    if match is None:
        np.testing.assert_array_equal(loaded(tmp_path, model)(X), X)
        return
    with pytest.raises(FormatError, match=match):
        loaded(tmp_path, model)


def test_a_label_of_the_scores_that_probabilities_are_made_of(tmp_path):
    nodes = [N("MatMul", ["x", "w"], ["s"]), N("ArgMax", ["s"], ["label"], axis=1, keepdims=0)]
    nodes.append(N("Softmax", ["s"], ["p"], axis=-1))
    model = model_of(nodes, {"w": f(6, 3)}, ["label", "p"])
    net, wanted = loaded(tmp_path, model), in_runtime(model, {"x": X})
    assert net.task == "classification"
    np.testing.assert_allclose(net(X), wanted["p"], rtol=1e-5)
    np.testing.assert_array_equal(net.predict(X), wanted["label"])


def test_batch_normalization_of_rows(tmp_path):
    """It goes by the first axis of a sample, and not by the last one as of vectors."""
    constants = {"s": f(6), "b": f(6), "m": f(6), "v": f(6) ** 2 + 0.1}
    nodes = [N("BatchNormalization", ["x", *constants], ["y"])]
    model = model_of(nodes, constants, ["y"], [("x", T.FLOAT, ["n", 6, 6])])
    x = f(5, 6, 6)
    alike(loaded(tmp_path, model)(x), in_runtime(model, {"x": x}))


def test_inputs_of_any_length_are_saved_without_samples(tmp_path):
    inputs = [(name, T.FLOAT, ["n", "k"]) for name in "xu"]
    model = model_of([N("Sub", ["x", "u"], ["y"])], {}, ["y"], inputs)
    pnn.save(loaded(tmp_path, model), tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as arrays:
        assert not any(name.startswith("samples") for name in arrays)
    feeds = {"x": X, "u": f(5, 6)}
    alike(pnn.load(tmp_path / "net.npz")(feeds), in_runtime(model, feeds))


def test_outputs_that_are_inputs_among_several(tmp_path):
    nodes = [N("Add", ["x", "u"], ["s"])]
    model = model_of(nodes, {}, ["u", "s", "x"], [*ONE, ("u", T.FLOAT, ["n", 6])])
    net, feeds = loaded(tmp_path, model), {"x": X, "u": f(5, 6)}
    wanted = in_runtime(model, feeds)
    alike(net(feeds), wanted)
    pnn.save(net, tmp_path / "again.onnx")
    alike(pnn.load(tmp_path / "again.onnx")(feeds), wanted)
    alike(in_runtime(onnx.load(tmp_path / "again.onnx"), feeds), wanted)


def test_a_constant_product_to_which_the_input_is_added(tmp_path):
    model = model_of([N("Gemm", ["a", "w", "x"], ["y"])], {"a": f(1, 6), "w": f(6, 6)}, ["y"], [("x", 1, [1, 6])])
    net = loaded(tmp_path, model)
    assert isinstance(net.layers[0], Graph)
    alike(net(X[:1]), in_runtime(model, {"x": X[:1]}))


def test_a_fixed_number_of_samples_is_told(tmp_path):
    nodes = [N("Reshape", ["x", "shape"], ["r"]), N("Tanh", ["r"], ["t"]), N("Exp", ["t"], ["y"])]
    model = model_of(nodes, {"shape": np.array([1, 2, 3])}, ["y"], [("x", 1, [1, 6])])
    with pytest.raises(FormatError, match="'x' has a fixed number of samples: export it for any"):
        loaded(tmp_path, model)
