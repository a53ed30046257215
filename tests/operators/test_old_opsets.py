"""Operators whose parameters are attributes, as older opsets and classical machine learning have them.

ONNX Runtime is the oracle.
"""

import numpy as np
import pytest

import portable_nn as pnn

onnx = pytest.importorskip("onnx", reason="pip install onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
N, ML = onnx.helper.make_node, {"domain": "ai.onnx.ml"}
X = np.random.default_rng(5).normal(size=(5, 6)).astype(np.float32)
HOLED = np.where(np.abs(X) < 0.4, np.nan, X).astype(np.float32)
FEATURES = [0.5, -1.0, 0.25, 2.0, -0.75, 1.5]
WHOLE = np.array([[3, 0, 7], [7, 1, 3]])


def learned(operator, outputs=("y",), inputs=("x",), **attributes):
    return N(operator, inputs, outputs, **ML, **attributes)


def clipped(**limits):
    return [N("Exp", ["x"], ["e"]), N("Clip", ["e"], ["c"], **limits), N("Add", ["x", "c"], ["y"])]


NODES = {
    "Clip": (7, X, clipped(min=0.5, max=1.5)),
    "Clip below": (7, X, clipped(min=1.5)),
    "Split": (7, X, [N("Split", ["x"], ["a", "b", "c"], axis=1, split=[1, 3, 2])]),
    "Split evenly": (7, X, [N("Split", ["x"], ["a", "b"], axis=1)]),
    "Slice": (7, X, [N("Slice", ["x"], ["y"], axes=[1], starts=[1], ends=[-2])]),
    "Slice of all axes": (7, X, [N("Slice", ["x"], ["y"], starts=[0, 2], ends=[10**6, 4])]),
    "Pad": (7, X, [N("Pad", ["x"], ["y"], pads=[0, 2, 0, 1], value=-1.5)]),
    "Pad, reflected": (7, X, [N("Pad", ["x"], ["y"], mode="reflect", pads=[0, 2, 0, 1])]),
    "TopK": (7, X, [N("TopK", ["x"], ["y", "i"], k=4)]),
    "TopK of another axis": (7, X.reshape(5, 3, 2), [N("TopK", ["x"], ["y", "i"], k=2, axis=1)]),
    "Cast to truths": (13, np.round(X), [N("Cast", ["x"], ["y"], to=9)]),
    "LpNormalization": (13, X, [N("LpNormalization", ["x"], ["y"], axis=1, p=1)]),
    "ReduceL2 of integers": (
        13, 9 * X, [N("Cast", ["x"], ["k"], to=6), N("ReduceL2", ["k"], ["y"], axes=[1], keepdims=1)]
    ),
    "Gather nothing": (
        13, X, [N("Constant", [], ["k"], value=onnx.numpy_helper.from_array(np.empty(0, np.int64))),
                N("Gather", ["x", "k"], ["g"], axis=1),
                N("Concat", ["g", "x"], ["y"], axis=1)]
    ),
    "Imputer": (
        13, HOLED, [learned("Imputer", imputed_value_floats=FEATURES, replaced_value_float=np.nan)]
    ),
    "Imputer of one value": (
        13, np.round(X), [learned("Imputer", imputed_value_floats=[7.5], replaced_value_float=1.0)]
    ),
    "Imputer of integers": (
        13, WHOLE, [learned("Imputer", imputed_value_int64s=[9, 8, 6], replaced_value_int64=7)]
    ),
    "OneHotEncoder": (13, WHOLE, [learned("OneHotEncoder", cats_int64s=[7, 0, 1])]),
    "FeatureVectorizer": (
        13, X, [N("Tanh", ["x"], ["t"]), learned("FeatureVectorizer", inputs=["x", "t"], inputdimensions=[6, 6])]
    ),
    "ArrayFeatureExtractor": (
        13, X, [N("Constant", [], ["k"], value_ints=[4, 0]), learned("ArrayFeatureExtractor", inputs=["x", "k"])]
    ),
    "LinearRegressor": (
        13, X, [learned("LinearRegressor", coefficients=FEATURES + FEATURES[::-1], targets=2,
                        intercepts=[1.0, -1.0], post_transform="SOFTMAX")]
    ),
    "LinearClassifier": (
        13, X, [learned("LinearClassifier", ("k", "s"), coefficients=FEATURES + FEATURES[::-1] + [0.0] * 6,
                        intercepts=[1.0, 0.0, -1.0], classlabels_ints=[4, 2, 9], post_transform="SOFTMAX"),
                N("Concat", ["s", "x"], ["y"], axis=1)]
    ),
    "LinearClassifier of two": (
        13, X, [learned("LinearClassifier", ("k", "s"), coefficients=FEATURES, intercepts=[0.25],
                        classlabels_ints=[4, 2], post_transform="LOGISTIC"),
                N("Concat", ["s", "x"], ["y"], axis=1)]
    ),
}  # fmt: skip


def of_onnxruntime(opset, x, nodes):
    """The outputs of a graph, by name."""
    read = {name for node in nodes for name in node.input}
    names = [name for node in nodes for name in node.output if name not in read]
    kind = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", kind, ["n", *x.shape[1:]])],
        [onnx.helper.make_empty_tensor_value_info(name) for name in names],
    )
    opsets = [onnx.helper.make_opsetid("", opset), onnx.helper.make_opsetid("ai.onnx.ml", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return model, dict(zip(names, session.run(names, {"x": x}), strict=True))


@pytest.mark.parametrize("name", NODES)
def test_attributes(tmp_path, name):
    model, wanted = of_onnxruntime(*NODES[name])
    path = tmp_path / "net.onnx"
    path.write_bytes(model)
    net, x = pnn.load(path), NODES[name][1]
    found = net(x)
    found = found if isinstance(found, dict) else dict.fromkeys(wanted, found)
    assert list(found) == list(wanted)
    for output, exact in wanted.items():
        np.testing.assert_allclose(found[output], exact, rtol=1e-5, atol=1e-6, err_msg=output)
