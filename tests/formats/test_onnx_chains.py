"""Operators of ONNX that are layers, and those that stay a graph: ONNX Runtime says what both compute."""

import numpy as np
import pytest

from portable_nn.errors import FormatError, NetworkError
from portable_nn.formats.onnx import read_onnx
from portable_nn.formats.onnx_graph import Body
from portable_nn.formats.onnx_layers import layers_of
from portable_nn.readers.onnx import Value

onnx = pytest.importorskip("onnx", reason="pip install onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
node = onnx.helper.make_node

RNG = np.random.default_rng(41)


def f(*shape):
    return RNG.normal(size=shape).astype(np.float32)


X = f(7, 6)
ROW = f(6)
WEIGHT = np.stack([-ROW, ROW])


@pytest.fixture
def write(tmp_path):
    """A function that writes a model of one input of six features, of its last node's first outputs."""

    def written(nodes, constants=(), outputs=("y",), opset=17, dtype=1, **model):
        graph = onnx.helper.make_graph(
            nodes,
            "g",
            [onnx.helper.make_tensor_value_info("x", dtype, ["n", 6])],
            [onnx.helper.make_empty_tensor_value_info(name) for name in outputs],
            [onnx.numpy_helper.from_array(value, name) for name, value in dict(constants).items()],
        )
        opsets = [onnx.helper.make_opsetid("", opset), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
        whole = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9, **model)
        (tmp_path / "net.onnx").write_bytes(whole.SerializeToString())
        return tmp_path / "net.onnx"

    return written


def in_runtime(path, at=0):
    return onnxruntime.InferenceSession(path).run(None, {"x": X})[at]


def linear(weight, bias, transform, **classes):
    return node(
        "LinearClassifier",
        ["x"],
        ["label", "y"],
        domain="ai.onnx.ml",
        coefficients=weight.ravel().tolist(),
        intercepts=bias,
        post_transform=transform,
        **classes or {"classlabels_ints": [3, 4]},
    )


def soft(limit):
    return [
        node("Softplus", ["x"], ["p"]),
        node("Greater", ["x", limit], ["g"]),
        node("Where", ["g", "x", "p"], ["y"]),
    ]


def scaler(offset, scale):
    return node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=offset, scale=scale)


def regressor(weight, bias, targets):
    given = {"coefficients": weight.ravel().tolist(), "targets": targets} | ({"intercepts": bias} if bias else {})
    return node("LinearRegressor", ["x"], ["y"], domain="ai.onnx.ml", **given)


def two_classes(*after, one="one", order=("q", "p")):
    """The probabilities of two classes from that of the second."""
    before = [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["z"]), node("Sigmoid", ["z"], ["p"])]
    return [*before, node("Sub", [one, "p"], ["q"]), node("Concat", order, ["y"], axis=1), *after]


def normalizer(name, norm):
    return node("Normalizer", [name], ["y"], domain="ai.onnx.ml", norm=norm)


NUMBERS = {"c": ROW, "row": ROW[None], "w": f(6, 1), "b": f(1), "one": np.ones(1, np.float32)}
OTHERS = {
    "zero": np.float32(0), "half": np.float32([0.5]), "limit": np.float32(20),
    "whole": np.float32([1, 2, 3, 2, 1, 0]), "positive": np.abs(ROW), "three": np.array([-1, 2, 3]),
    "matrix": f(2, 3),
}  # fmt: skip
BATCH = {"scale": f(6), "offset": f(6), "mean": f(6), "variance": f(6) ** 2}

CHAINS = [
    *(("Rescaling", [node(kind, order, ["y"])])
      for kind in ("Add", "Sub", "Mul") for order in (["x", "c"], ["c", "x"])),
    ("Rescaling", [node("Div", ["x", "c"], ["y"])]),
    ("Rescaling", [node("Mul", ["x", "c"], ["h"]), node("Add", ["h", "row"], ["y"])]),
    ("Activation tanh, Rescaling",
     [node("Tanh", ["x"], ["t"]), node("Mul", ["t", "c"], ["h"]), node("Add", ["h", "row"], ["y"])]),
    ("Rescaling",
     [node("BatchNormalization", ["x", "scale", "offset", "mean", "variance"], ["y"], epsilon=0.5)]),
    ("Dense softmax", [linear(WEIGHT, [-0.5, 0.5], "LOGISTIC")]),
    ("Dense softmax", [linear(f(2, 6), [-0.5, 0.3], "SOFTMAX")]),
    ("Dense sigmoid", [linear(WEIGHT, [0.5, 0.5], "LOGISTIC")]),
    ("Dense sigmoid", [linear(WEIGHT, [0.5, -0.3], "LOGISTIC")]),
    ("Dense sigmoid", [linear(f(2, 6), [-0.5, 0.5], "LOGISTIC")]),
    ("Dense softmax", two_classes()),
    ("Dense sigmoid, Graph", two_classes(one="b")),
    ("Dense sigmoid, Graph", two_classes(order=("p", "q"))),
    ("Dense identity, Graph",
     [node("MatMul", ["x", "w"], ["z"]), node("Relu", ["z"], ["r"]), node("Concat", ["r", "z"], ["y"], axis=1)]),
    ("Activation softmax", [node("Softmax", ["x"], ["p"]), normalizer("p", "L1")]),
    ("Activation softmax, Graph", [node("Softmax", ["x"], ["p"]), normalizer("p", "L2")]),
    ("Activation tanh, Graph", [node("Tanh", ["x"], ["p"]), normalizer("p", "L1")]),
    ("Activation sine, Graph",
     [node("Sin", ["x"], ["h"]), node("Add", ["h", "row"], ["d"]), node("Add", ["d", "c"], ["e"]),
      node("Mul", ["e", "h"], ["y"])]),
    ("Activation sine, Graph",
     [node("Sin", ["x"], ["h"]), node("MatMul", ["h", "c"], ["m"]), node("Mul", ["m", "m"], ["y"])]),
    ("Activation relu", [node("Clip", ["x", "zero"], ["y"])]),
    ("Activation clip", [node("Clip", ["x", "", "one"], ["y"])]),
    ("Activation hard_swish",
     [node("HardSigmoid", ["x"], ["s"], alpha=1 / 6), node("Mul", ["s", "x"], ["y"])]),
    ("Graph", [node("HardSigmoid", ["x"], ["s"]), node("Mul", ["s", "x"], ["y"])]),
    ("Graph", [node("Div", ["c", "x"], ["y"])]),
    ("Activation softplus", soft("limit")),
    ("Activation softplus", soft("one")),
    ("Rescaling, Activation softmax", [node("Neg", ["x"], ["n"]), node("Softmax", ["n"], ["y"], axis=1)]),
    ("Activation softmin", [node("Neg", ["x"], ["n"]), node("Softmax", ["n"], ["y"])]),
    ("Graph", [node("Pow", ["x", "whole"], ["y"])]),
    ("Graph", [node("Pow", ["positive", "x"], ["y"])]),
    ("Graph, Rescaling, Rescaling",
     [node("ArgMax", ["x"], ["k"], axis=1), node("Cast", ["k"], ["h"], to=1), node("Mul", ["h", "one"], ["m"]),
      node("Div", ["m", "half"], ["y"])]),
    ("Graph",
     [node("Reshape", ["x", "three"], ["h"]), node("LayerNormalization", ["h", "matrix"], ["y"], axis=1)]),
    ("Activation sine, Dense identity, Graph", [node("Sin", ["x"], ["h"]), node("MatMul", ["h", "w"], ["m"]),
                                node("Mul", ["m", "m"], ["y"])]),
    ("Normalize", [node("LayerNormalization", ["x", "c", "offset"], ["y"], axis=1)]),
    ("Rescaling, Rescaling", [scaler([0.5] * 6, [1.0, 0.0, 2.0, 3.0, -1.0, 0.5])]),
    ("Rescaling", [scaler([0.5] * 6, [1.0, 4.0, 2.0, 3.0, -1.0, 0.5])]),
    ("Rescaling", [scaler([0.5], [4.0])]),
    ("Dense identity", [linear(f(2, 6), [-0.5, 0.3], "NONE")]),
    ("Dense identity", [regressor(f(3, 6), [0.5, 1.0, -2.0], 3)]),
    ("Dense identity", [regressor(f(1, 6), [], 1)]),
    ("Activation sine, Graph",
     [node("Sin", ["x"], ["h"]), node("Gemm", ["h", "w"], ["a"], alpha=0.5), node("Gemm", ["h", "w", "b"], ["d"]),
      node("Gemm", ["h", "w", "half"], ["e"], beta=3.0), node("Sum", ["a", "d", "e"], ["s"]),
      node("Mul", ["s", "s"], ["y"])]),
]  # fmt: skip
"""The layers of a file, and its nodes."""


def told(layer):
    name = getattr(layer, "activation", getattr(layer, "name", ""))
    return f"{type(layer).__name__} {name}".strip()


def check(path, wanted, at=0):
    net = read_onnx(path)
    assert ", ".join(map(told, net.layers)) == wanted
    np.testing.assert_allclose(net(X), in_runtime(path, at), rtol=1e-4, atol=1e-6)
    return net


@pytest.mark.parametrize(("wanted", "nodes"), CHAINS, ids=range(len(CHAINS)))
def test_layers(write, wanted, nodes):
    classifies = nodes[0].op_type == "LinearClassifier"
    path = write(nodes, NUMBERS | OTHERS | BATCH, ("label", "y") if classifies else ("y",))
    net = check(path, wanted, int(classifies))
    assert net.classes == ((3, 4) if classifies else None)


SCORES = node("MatMul", ["x", "four"], ["y"])
FOUR = {"four": f(6, 4), "one": np.ones(1, np.int64), "column": np.array([-1, 1]), "flat": np.array([0, -1])}


@pytest.mark.parametrize("axis", [1, -1])
def test_labels_beside_scores_are_left_out(write, axis):
    path = write([SCORES, node("ArgMax", ["y"], ["k"], axis=axis, keepdims=0)], FOUR, ("k", "y"))
    net = check(path, "Dense identity", 1)
    assert net.task == "classification"


@pytest.mark.parametrize(
    "last", [[], [node("Sub", ["one", "k"], ["less"])], [node("Add", ["k", "one"], ["more"])]]
)
def test_integers_that_are_no_labels_of_scores_stay(write, last):
    nodes = [SCORES, node("ArgMax", ["y"], ["k"], axis=1, keepdims=0), *last]
    path = write(nodes, FOUR, nodes[-1].output)
    found, wanted = read_onnx(path)(X), in_runtime(path)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)
    if last:
        path = write(nodes, FOUR, (*last[0].output, "y"))
        np.testing.assert_array_equal(read_onnx(path)(X)[last[0].output[0]], in_runtime(path))


def test_one_column_of_all_values_is_undone_where_skl2onnx_puts_them_so(write):
    nodes = [SCORES, node("Reshape", ["y", "column"], ["z"])]
    net = read_onnx(write(nodes, FOUR, ("z",), producer_name="skl2onnx"))
    np.testing.assert_allclose(net(X), X @ FOUR["four"], rtol=1e-5, atol=1e-5)
    with pytest.raises(FormatError, match="one number of samples"):
        read_onnx(write(nodes, FOUR, ("z",), producer_name="another"))


def test_other_reshapes_of_skl2onnx_stay(write):
    three = {"three": np.array([-1, 2, 3])}
    nodes = [
        node("Reshape", ["x", "three"], ["h"]),
        node("Tanh", ["h"], ["t"]),
        node("Reshape", ["t", "flat"], ["y"]),
    ]
    path = write(nodes, FOUR | three, producer_name="skl2onnx")
    np.testing.assert_allclose(read_onnx(path)(X), in_runtime(path), rtol=1e-5, atol=1e-6)
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Tanh", ["h"], ["t"])]
    columns = [node("Reshape", [name, "column"], [f"{name}1"]) for name in "ht"]
    path = write([*nodes, *columns], FOUR | NUMBERS, ("h1", "t1"), producer_name="skl2onnx")
    found = read_onnx(path)(X)
    for i, name in enumerate(("h1", "t1")):
        np.testing.assert_allclose(found[name], in_runtime(path, i), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "outputs", "match"),
    [
        ((), {"y": "y"}, "needs inputs and outputs"),
        ((Value("x"),), {}, "needs inputs and outputs"),
    ],
)
def test_a_graph_of_nothing_is_refused(inputs, outputs, match):
    with pytest.raises(NetworkError, match=match):
        layers_of(Body((), {}, inputs, outputs, {"": 20}))


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Gemm", ["x", "six"], ["y"], transA=1)],
        [node("Gemm", ["x", "six", "eight"], ["y"])],
        [node("Flatten", ["x"], ["y"], axis=0)],
        [node("Flatten", ["x"], ["y"], axis=2)],
        [node("Reshape", ["x", "flat"], ["y"], allowzero=1)],
        [node("Add", ["x", "rows"], ["y"])],
        [SCORES, node("MatMul", ["y", "six"], ["z"])],
        [node("Sin", ["x"], ["h"]), node("Gemm", ["h", "six"], ["y"], transA=1)],
        [node("Sin", ["x"], ["h"]), node("Gemm", ["h", "six", "eight"], ["y"])],
        [scaler([0.5] * 5, [1.0] * 5)],
        [linear(f(1, 5), [0.5, 0.5], "NONE")],
        [linear(f(2, 6), [-0.5, 0.3], "SOFTMAX_ZERO")],
        [regressor(f(1, 5), [], 2)],
        [regressor(f(1, 6), [], 0)],
    ],
    ids=lambda nodes: nodes[-1].op_type,
)
def test_what_is_no_network_of_samples_of_six_features_is_refused(write, nodes):
    constants = FOUR | {"six": f(6, 6), "eight": f(8), "rows": f(1, 1, 6), "one": np.float32(1)}
    with pytest.raises(FormatError):
        read_onnx(write(nodes, constants, nodes[-1].output))


@pytest.mark.parametrize("opset", [12, 17])
@pytest.mark.parametrize("given", [{}, {"axis": -1}, {"axis": 1}, {"axis": 2}], ids=str)
def test_before_opset_13_a_softmax_was_of_all_axes_from_one_on(write, opset, given):
    nodes = [
        node("Reshape", ["x", "three"], ["h"]),
        node("Neg", ["h"], ["n"]),
        node("Softmax", ["n"], ["y"], **given),
    ]
    path = write(nodes, OTHERS, opset=opset)
    np.testing.assert_allclose(read_onnx(path)(X), in_runtime(path), rtol=1e-5, atol=1e-6)


def test_limits_of_data_are_a_graph(write):
    """No ONNX file has them, and what it would mean is plain."""
    net = read_onnx(write([node("Clip", ["one", "x"], ["y"])], {"one": np.float32(1)}))
    np.testing.assert_array_equal(net(X), np.maximum(1, X))


GELU = {
    "two": 2.0**0.5,
    "less": 0.5**0.5,
    "unit": 1.0,
    "third": 3.0,
    "cube": 0.044715,
    "root": (2 / np.pi) ** 0.5,
}
ERF = [
    [node(kind, ["x", name], ["a"]), node("Erf", ["a"], ["e"]), node("Add", ["e", "unit"], ["f"])]
    for kind, name in (("Div", "two"), ("Mul", "less"))
]
CUBES = [node("Pow", ["x", "third"], ["c"])], [node("Mul", ["x", "x"], ["b"]), node("Mul", ["x", "b"], ["c"])]
TANH = [
    [*cube, node("Mul", ["c", "cube"], ["d"]), node("Add", ["x", "d"], ["s"]), node("Mul", ["s", "root"], ["r"]),
     node("Tanh", ["r"], ["t"]), node("Add", ["unit", "t"], ["f"])]
    for cube in CUBES
]  # fmt: skip
WRITTEN = [*(("gelu", nodes) for nodes in ERF), *(("gelu_tanh", nodes) for nodes in TANH)]


@pytest.mark.parametrize("factors", [("x", "f", "h"), ("x", "h", "f"), ("h", "f", "x")])
@pytest.mark.parametrize(
    ("name", "before"), [("gelu", ERF[0]), ("gelu", ERF[1]), ("gelu_tanh", TANH[0]), ("gelu_tanh", TANH[1])]
)
def test_gelu_as_exporters_write_it(write, name, before, factors):
    one, other, last = factors
    nodes = [*before, node("Mul", [one, other], ["g"]), node("Mul", [last, "g"], ["y"])]
    numbers = {key: np.float32(value) for key, value in GELU.items()}
    check(write(nodes, numbers | {"h": np.float32(0.5)}), f"Activation {name}")
    check(write(nodes, numbers | {"h": np.float32([0.6])}), "Graph, Rescaling" if last == "h" else "Graph")
    both = write([*nodes, node("Neg", ["f"], ["z"])], numbers | {"h": np.float32(0.5)}, ("y", "z"))
    found = read_onnx(both)(X)
    for i, output in enumerate("yz"):
        np.testing.assert_allclose(found[output], in_runtime(both, i), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", ["INT64", "UINT8", "BOOL"])
def test_integers_that_are_only_cast_may_come_as_floats(write, dtype):
    to_float = node("Cast", ["x"], ["h"], to=1)
    scores = node("MatMul", ["h", "four"], ["y"])
    net = read_onnx(write([to_float, scores], FOUR, dtype=getattr(onnx.TensorProto, dtype)))
    x = RNG.integers(0, 2, X.shape)
    np.testing.assert_allclose(net(x.astype(bool) if dtype == "BOOL" else x), x @ FOUR["four"], rtol=1e-5)
    assert (net.passes.inputs == {}) == (dtype != "BOOL")


def branch(name, output):
    given = onnx.helper.make_empty_tensor_value_info(output)
    scaled = [node("Constant", [], ["two"], value=onnx.numpy_helper.from_array(np.float32([2])))]
    return onnx.helper.make_graph([*scaled, node(name, ["x", "two"], [output])], name, [], [given])


BRANCHES = {"then_branch": branch("Mul", "product"), "else_branch": branch("Add", "sum")}
SIZE = [
    node("Shape", ["x"], ["s"]),
    node("Size", ["x"], ["n"]),
    node("Mul", ["n", "number"], ["m"]),
    node("Mul", ["m", "n"], ["mm"]),
    node("Equal", ["mm", "nothing"], ["c"]),
]
CONDITIONS = {"true": np.array(True), "false": np.array([False]), "number": np.array(3), "nothing": np.array(0)}


@pytest.mark.parametrize(
    ("before", "condition", "wanted"),
    [
        ([], "true", 2 * X),
        ([], "false", X + 2),
        (SIZE, "c", X + 2),
    ],
)
def test_one_branch_of_a_condition_that_is_known(write, before, condition, wanted):
    net = read_onnx(write([*before, node("If", [condition], ["y"], **BRANCHES)], CONDITIONS))
    assert [told(layer) for layer in net.layers] == ["Rescaling"]
    np.testing.assert_array_equal(net(X), wanted)


@pytest.mark.parametrize(
    ("before", "condition", "branches", "match"),
    [
        (
            [node("ReduceSum", ["x"], ["r"], keepdims=0), node("Cast", ["r"], ["c"], to=9)],
            "c",
            BRANCHES,
            "depends on data",
        ),
        (
            [node("ArgMax", ["x"], ["m"], axis=1), node("Equal", ["m", "nothing"], ["c"])],
            "c",
            BRANCHES,
            "depends on data",
        ),
        ([*SIZE[:-1], node("Equal", ["mm", "number"], ["c"])], "c", BRANCHES, "depends on data"),
        ([*SIZE[:3], node("Sub", ["m", "n"], ["mm"]), SIZE[-1]], "c", BRANCHES, "depends on data"),
        ([*SIZE[1:3], node("Mul", ["m", "none"], ["mm"]), SIZE[-1]], "c", BRANCHES, "depends on data"),
        ([], "true", {"else_branch": BRANCHES["else_branch"]}, "lacks the graph of a branch"),
    ],
)
def test_other_conditions_are_refused(write, before, condition, branches, match):
    with pytest.raises(FormatError, match=match):
        read_onnx(write([*before, node("If", [condition], ["y"], **branches)], CONDITIONS))


def test_strings_that_no_output_asks_for_are_in_no_ones_way(write):
    names = {"names": np.array(["a", "b"], object)}
    encoder = node("LabelEncoder", ["names"], ["k"], domain="ai.onnx.ml", keys_strings=["a"], values_int64s=[1])
    assert told(*read_onnx(write([encoder, SCORES], FOUR | names)).layers) == "Dense identity"
    with pytest.raises(FormatError, match="strings"):
        read_onnx(write([encoder, SCORES], FOUR | names, ("y", "k")))


def test_opsets_before_the_7th_are_refused(write):
    read_onnx(write([node("Relu", ["x"], ["y"])], opset=7))
    with pytest.raises(FormatError, match="it is of opset 6: those from 7 on are read"):
        read_onnx(write([node("Relu", ["x"], ["y"])], opset=6))


def test_a_table_of_what_comes_is_no_label(write):
    table = node("ArrayFeatureExtractor", ["names", "x"], ["y"], domain="ai.onnx.ml")
    with pytest.raises(FormatError, match="made for one number of samples"):
        read_onnx(write([table], {"names": np.float32([3, 4, 5])}, dtype=onnx.TensorProto.INT64))
