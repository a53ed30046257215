"""`Graph`: the layer that branches, alone and among others, with one array or with dicts of them."""

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
import scipy.special
from array_api_compat import numpy as xp
from helpers import EPSILON, check_place, placed

import portable_nn as pnn
from portable_nn.errors import InputError, NetworkError, PlacementError
from portable_nn.layers import Graph, Node, Value

RNG = np.random.default_rng(30)


def f(*shape):
    return RNG.normal(size=shape).astype(np.float32)


X, PLACES = f(7, 4), RNG.integers(0, 5, 7)
W, TABLE = f(4, 3), f(5, 3)
GIVEN = {"x": X, "i": PLACES}

NODES = [
    Node("Gather", ("table", "i"), ("e",)),
    Node("MatMul", ("x", "w"), ("h",)),
    Node("Add", ("h", "e"), ("s",)),
    Node("Tanh", ("s",), ("y",)),
    Node("ArgMax", ("y",), ("k",), {"axis": 1, "keepdims": 0}),
]
INPUTS = [Value("x", "float32", (4,)), Value("i", "int64", ())]


@pytest.fixture(scope="module")
def parts():
    """A network of two inputs, one of them of indices, and two outputs, one of them of integers."""
    return pnn.Network([Graph(NODES, INPUTS, ["y", "k"], {"": 20}, table=TABLE, w=W)])


def wanted():
    y = np.tanh(X.astype(float) @ W + TABLE[PLACES])
    return {"y": y, "k": y.argmax(axis=1)}


@pytest.mark.dtypes("float32", "float64", "float16", "bfloat16")
def test_dicts_on_every_library(backend, dtype, parts):
    given = {"x": placed(backend, X, dtype), "i": backend.place(PLACES.astype(np.int32))}
    if not backend.has_labels():
        pytest.skip("argmax gives integers that the device has not")
    for net in (parts, parts.to(backend)):
        found = net(given)
        assert list(found) == ["y", "k"]
        for name, array in found.items():
            check_place(array, given["x"])
            tolerance = 4 * max(EPSILON[dtype], EPSILON["float32"])
            if name == "y":
                np.testing.assert_allclose(backend.to_numpy(array), wanted()["y"], atol=tolerance)
        assert found["y"].dtype == given["x"].dtype
        assert not backend.xp.isdtype(found["k"].dtype, "real floating")


def test_one_sample_and_leading_axes(parts):
    assert {name: y.shape for name, y in parts({"x": X[0], "i": PLACES[0]}).items()} == {"y": (3,), "k": ()}
    more = parts({"x": X.reshape(7, 1, 4), "i": PLACES.reshape(7, 1)})
    assert {name: y.shape for name, y in more.items()} == {"y": (7, 1, 3), "k": (7, 1)}


def test_dicts_are_trees_of_jax(jax, parts):
    given = {name: jax.numpy.asarray(array) for name, array in GIVEN.items()}
    np.testing.assert_allclose(jax.jit(parts)(given)["y"], wanted()["y"], atol=1e-6)
    gradient = jax.grad(lambda x: parts({"x": x, "i": given["i"]})["y"].sum())(given["x"])
    np.testing.assert_allclose(gradient, (1 - wanted()["y"] ** 2) @ W.T, atol=1e-5)


def test_gradients_of_pytorch(torch, parts):
    x = torch.from_numpy(X).requires_grad_()
    parts({"x": x, "i": torch.from_numpy(PLACES)})["y"].sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), (1 - wanted()["y"] ** 2) @ W.T, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        (X, InputError, r"several arrays: give a dict, \{'x': …, 'i': …\}, got ndarray"),
        ({"x": X}, InputError, "takes a dict of x, i, got one of x"),
        (GIVEN | {"z": X}, InputError, "got one of x, i, z"),
    ],
)
def test_other_inputs_are_refused(parts, given, error, match):
    with pytest.raises(error, match=match):
        parts(given)


def test_inputs_of_two_libraries_are_refused(torch, parts):
    with pytest.raises(PlacementError, match="inputs are on"):
        parts({"x": torch.from_numpy(X), "i": PLACES})
    with pytest.raises(PlacementError, match="bound to torch:cpu"):
        parts.to("torch")(GIVEN)


def test_several_outputs_are_no_labels(parts):
    with pytest.raises(NetworkError, match="several outputs, y, k, which are no labels"):
        parts.predict(GIVEN)
    with pytest.raises(InputError, match="takes one array, got a dict of x"):
        pnn.load("mnist")({"x": X})


def test_integers_stay_and_labels_follow():
    net = pnn.Network(
        [
            Graph([Node("Gather", ("t", "i"), ("y",))], [Value("i", "int64", ())], ["y"], {"": 20}, t=TABLE),
            pnn.Dense(f(3, 2), None, "softmax"),
        ]
    )
    np.testing.assert_allclose(net(PLACES), net.layers[1](TABLE[PLACES], np), rtol=1e-6)
    np.testing.assert_array_equal(net.predict(PLACES), net(PLACES).argmax(axis=1))


def residual(**constants):
    nodes = [
        Node("Gemm", ("x", "w", "b"), ("h",)),
        Node("Relu", ("h",), ("r",)),
        Node("Add", ("x", "r"), ("s",)),
        Node("Constant", (), ("two",), {"value": np.array([2, 0])}),
        Node("Gather", ("s", "two"), ("y",), {"axis": 1}),
    ]
    given = {"w": f(4, 4), "b": f(4)} | constants
    return Graph(nodes, [Value("x", "float32", (4,))], ["y"], {"": 20}, **given)


@pytest.fixture(scope="module")
def net():
    return pnn.Network([pnn.Rescaling(0.5), residual(), pnn.Dense(f(2, 3), None, "softmax")])


def test_it_knows_its_shapes(net):
    assert (net.input_shape, net.output_shape) == ((4,), (3,))
    assert "Graph(Gemm, Relu, Add, Gather)" in net.summary()
    with pytest.raises(NetworkError, match="layer 0 gives 2 values, layer 1 takes 3"):
        pnn.Network([residual(), pnn.Dense(f(3, 3))])


@pytest.mark.parametrize("again", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_and_pickles(net, again):
    np.testing.assert_array_equal(again(net)(X), net(X))
    assert again(net).same_architecture(net)


def test_saved_and_loaded(net, parts, tmp_path):
    for each, x in ((net, X), (parts, GIVEN)):
        pnn.save(each, tmp_path / "net.safetensors")
        again = pnn.load(tmp_path / "net.safetensors")
        found, before = again(x), each(x)
        for name in found if isinstance(found, dict) else [...]:
            np.testing.assert_array_equal(found[name], before[name])


def test_what_else_runs_a_network(net, torch, jax, dask):
    np.testing.assert_array_equal(pnn.infer(net, X, batch_size=2), net.predict(X))
    assert pnn.explain(net, X).weights in ("copied", "cached")
    assert net.verify("torch").share < 1
    backends = ["numpy", "torch:cpu", "jax:cpu"]
    record = pnn.compare(net, X, np.zeros(7, int), backends=backends, batch_sizes=(1,), budget=0.01)
    assert [row.state for row in record.rows] == ["agrees"] * 3
    np.testing.assert_allclose(jax.vmap(net)(jax.numpy.asarray(X)), net(X), atol=1e-6)
    lazy = dask.from_array(X, chunks=(3, 4))
    np.testing.assert_allclose(net(lazy).compute(), net(X), atol=1e-6)


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`:UserWarning")
def test_pytorch_compiles_it_whole(torch, net):
    torch.compiler.reset()
    compiled = torch.compile(net.__call__, fullgraph=True, backend="aot_eager")
    np.testing.assert_allclose(compiled(torch.from_numpy(X)).numpy(), net(X), atol=1e-6)


def test_weights_of_another_library_are_trained(torch, net):
    own = pnn.Network(layer.map(lambda w: torch.from_numpy(w.copy()).requires_grad_()) for layer in net.layers)
    own(torch.from_numpy(X)).log().sum().backward()
    assert all(array.grad is not None for layer in own.layers for array in layer.arrays.values())


def test_values_are_dropped_once_they_are_read_last():
    import tracemalloc

    n = 40
    names = ["x", *(f"h{i}" for i in range(n))]
    nodes = [Node("Tanh", (a,), (b,)) for a, b in pairwise(names)]
    deep = pnn.Network(
        [Graph([*nodes, Node("Add", ("x", names[-1]), ("y",))], [Value("x", "", (1000,))], ["y"], {"": 20})]
    )
    x = f(100, 1000)
    deep(x)
    tracemalloc.start()
    try:
        deep(x)
        assert tracemalloc.get_traced_memory()[1] < 6 * x.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"w": f(3, 4)}, "Gemm that makes h: it does not take what it is given"),
        ({"b": f(5)}, "Gemm that makes h: it does not take what it is given"),
        ({"x": f(4)}, "names that differ"),
        ({"w": np.full((4, 4), np.nan)}, "w has 16 nan"),
    ],
)
def test_what_does_not_fit_is_refused(change, match):
    with pytest.raises(NetworkError, match=match):
        residual(**change)


def test_labels_of_several_inputs_are_those_of_the_logits():
    added = Graph(
        [Node("Add", ("a", "b"), ("s",))], [Value(name, "float32", (3,)) for name in "ab"], ["s"], {"": 20}
    )
    net = pnn.Network([added, pnn.Dense(np.eye(3, dtype=np.float32), None, "sigmoid")])
    given = {"a": f(7, 3) * 10 + 90, "b": f(7, 3) * 10 + 90}  # their sigmoid is 1 everywhere
    logits = given["a"] + given["b"]
    np.testing.assert_array_equal(net.logits(given), logits, strict=True)
    np.testing.assert_array_equal(net.predict(given), logits.argmax(axis=1))
    np.testing.assert_array_equal(net(given), np.ones_like(logits), strict=True)


def test_inputs_on_two_devices_are_refused(array_api_strict, parts):
    x, i = (array_api_strict.Device(name) for name in ("device1", "device2"))
    with pytest.raises(
        PlacementError,
        match="inputs are on array_api_strict:device1 \\(x\\) and array_api_strict:device2 \\(i\\)",
    ):
        parts({"x": array_api_strict.asarray(X, device=x), "i": array_api_strict.asarray(PLACES, device=i)})


def test_indices_from_the_end_of_any_axis(backend):
    if not backend.has_labels():
        pytest.skip("indices are integers that the device has not")
    values, indices = f(4, 3, 2), np.array([[[-1, 0], [-3, 2]], [[1, -1], [-2, -1]]] * 2)
    for axis in (1, -2):
        gather = Graph(
            [Node("GatherElements", ("x", "i"), ("y",), {"axis": axis})],
            [Value("x", "float32", (3, 2)), Value("i", "int64", (2, 2))],
            ["y"],
            {"": 20},
        )
        found = pnn.Network([gather])({"x": backend.place(values), "i": backend.place(indices)})
        np.testing.assert_array_equal(backend.to_numpy(found), np.take_along_axis(values, indices, axis=1))


AFTER = {
    "Relu": ({}, lambda h: np.maximum(h, 0)),
    "LeakyRelu": ({"alpha": 0.25}, lambda h: np.where(h < 0, h / 4, h)),
    "LogSoftmax": ({"axis": -1}, lambda h: scipy.special.log_softmax(h, axis=-1)),
}


@pytest.mark.parametrize("name", AFTER)
def test_what_follows_a_product_keeps_its_attributes(backend, name):
    w, b, low, high = f(4, 3), f(3), np.float32(-0.75), np.float32(0.5)
    attributes, oracle = AFTER[name]
    nodes = [
        Node("Gemm", ("x", "w", "b"), ("h",)),
        Node(name, ("h",), ("a",), attributes),
        Node("Clip", ("a", "low", "high"), ("y",)),
    ]
    limits = {"low": np.asarray(low), "high": np.asarray(high)}
    graph = Graph(nodes, [Value("x", "float32", (4,))], ["y"], {"": 20}, w=w, b=b, **limits)
    found = pnn.Network([graph])(backend.place(X))
    wanted = np.clip(oracle(X.astype(float) @ w + b), low, high)
    np.testing.assert_allclose(backend.to_numpy(found), wanted, rtol=1e-5, atol=1e-6)


def test_a_product_and_the_activation_after_it_are_run_as_a_dense():
    seen = []

    def prepared(dense, **_):
        seen.append(dense.activation)
        return lambda x: dense(x, xp)

    graph = residual()
    found = graph.bound(xp, prepared)(X)
    assert seen == ["identity", "relu"]
    w, b = (graph.constants[name].astype(float) for name in "wb")
    np.testing.assert_allclose(found, (X + np.maximum(X @ w + b, 0))[:, [2, 0]], rtol=1e-5, atol=1e-6)


def test_what_is_too_large_to_be_run_is_refused():
    relu = [Node("Relu", ("x",), ("y",))]
    assert Graph(relu, [Value("x", "float32", (2**14, 2**14))], ["y"], {"": 20}).shapes["y"] == (2**14, 2**14)
    with pytest.raises(NetworkError, match=r"'x' of shape \(0, 16384, 16385\) for 0 samples is too large"):
        Graph(relu, [Value("x", "float32", (2**14, 2**14 + 1))], ["y"], {"": 20})


LENDING = {
    "Identity": ([Node("Identity", ("x",), ("y",))], ["y"]),
    "Reshape": ([Node("Reshape", ("x", "two"), ("y",))], ["y"]),
    "Flatten": ([Node("Flatten", ("x",), ("y",))], ["y"]),
    "Squeeze": ([Node("Unsqueeze", ("x", "one"), ("u",)), Node("Squeeze", ("u", "one"), ("y",))], ["y"]),
    "Transpose": ([Node("Transpose", ("x",), ("y",), {"perm": (0, 1)})], ["y"]),
    "Slice": ([Node("Slice", ("x", "one", "three", "one"), ("y",))], ["y"]),
    "Slice backwards": ([Node("Slice", ("x", "three", "minus", "one", "back"), ("y",))], ["y"]),
    "Split": ([Node("Split", ("x", "halves"), ("a", "b"), {"axis": 1})], ["a", "b"]),
    "Gather": ([Node("Gather", ("x", "one"), ("y",), {"axis": 1})], ["y"]),
    "Pad": ([Node("Pad", ("x", "nothing"), ("y",))], ["y"]),
    "Clip": ([Node("Clip", ("x",), ("y",))], ["y"]),
    "Dropout": ([Node("Dropout", ("x",), ("y",))], ["y"]),
    "Sum": ([Node("Sum", ("x",), ("y",))], ["y"]),
    "Cast": ([Node("Cast", ("x",), ("y",), {"to": 1})], ["y"]),
    "an input": ([Node("Tanh", ("x",), ("y",))], ["x", "y"]),
    "one value, twice": ([Node("Tanh", ("x",), ("y",)), Node("Identity", ("y",), ("z",))], ["y", "z"]),
    "parts of one": (
        [Node("Tanh", ("x",), ("t",)), Node("Split", ("t", "halves"), ("a", "b"), {"axis": 1})],
        ["a", "t", "b"],
    ),
    "Expand": ([Node("Shape", ("x",), ("n",)), Node("Expand", ("w", "n"), ("y",))], ["y"]),
    "Expand of what is new": (
        [
            Node("ReduceSum", ("x", "one"), ("s",)),
            Node("Shape", ("x",), ("n",)),
            Node("Expand", ("s", "n"), ("y",)),
        ],
        ["y"],
    ),
    "own": ([Node("portable_nn.identity", ("x",), ("y",))], ["y"]),
}
NUMBERS = {"one": [1], "two": [-1, 2, 2], "three": [3], "minus": [-9], "back": [-1], "halves": [2, 2]}
NUMBERS |= {"nothing": [0] * 4}


def lending(name):
    nodes, outputs = LENDING[name]
    numbers = [Node("Constant", (), (key,), {"value": np.array(value)}) for key, value in NUMBERS.items()]
    opsets = {"": 20, "portable_nn": 1}
    return Graph([*numbers, *nodes], [Value("x", "float32", (4,))], outputs, opsets, w=f(4))


def written_over(array):
    array[...] = 7


@pytest.mark.parametrize("name", [*LENDING, "Flatten alone", "nothing", "identity"])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_results_are_the_callers_own(request, library, name):
    """Neither does what is written into one change another, the input or a constant, nor the other way round."""
    torch = request.getfixturevalue("torch") if library == "torch" else None
    alone = {
        "Flatten alone": [pnn.Flatten((2, 2))],
        "nothing": [pnn.Rescaling(1.0)],
        "identity": [pnn.Activation("identity")],
    }
    net = pnn.Network(alone.get(name) or [lending(name)])
    shape = (3, 2, 2) if name == "Flatten alone" else (3, 4)
    values = f(*shape)
    x = values.copy() if torch is None else torch.tensor(values)
    wanted = net(values)
    for _ in range(2):  # the second time it is what was kept
        found = net(x)
        outputs = list(found.values()) if isinstance(found, dict) else [found]
        for i, y in enumerate(outputs):
            written_over(y)
            exact = list(wanted.values()) if isinstance(wanted, dict) else [wanted]
            for other, right in list(zip(outputs, exact, strict=True))[i + 1 :]:
                np.testing.assert_allclose(other, right, rtol=1e-6)
        np.testing.assert_array_equal(np.asarray(x), values)
    found = net(x)
    written_over(x)
    for key in found if isinstance(found, dict) else [...]:
        np.testing.assert_allclose(found[key], wanted[key], rtol=1e-6)


def test_what_is_new_is_not_copied():
    """Beside it no operator makes more memory than its result."""
    import tracemalloc

    nodes = [
        Node("Constant", (), ("two",), {"value": np.array([-1, 500, 2])}),
        Node("Exp", ("x",), ("e",)),
        Node("Reshape", ("e", "two"), ("y",)),
    ]
    net = pnn.Network([Graph(nodes, [Value("x", "float32", (1000,))], ["y"], {"": 20})])
    x = f(1000, 1000)
    net(x[:100])
    tracemalloc.start()
    try:
        found = net(x[:150])
        assert tracemalloc.get_traced_memory()[1] < 1.5 * found.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["ConstantOfShape", "Expand"])
def test_what_is_known_before_the_data_comes_in_their_library(backend, name):
    made = {
        "ConstantOfShape": Node("ConstantOfShape", ("n",), ("k",), {"value": np.array([2.0], np.float32)}),
        "Expand": Node("Expand", ("row", "n"), ("k",)),
    }
    row = Node("Constant", (), ("row",), {"value": np.arange(4, dtype=np.float32)})
    nodes = [row, Node("Shape", ("x",), ("n",)), made[name], Node("Tanh", ("x",), ("y",))]
    net = pnn.Network([Graph(nodes, [Value("x", "float32", (4,))], ["k", "y"], {"": 20})])
    x = backend.place(X)
    found = net(x)["k"]
    check_place(found, x)
    assert found.dtype == x.dtype
    wanted = np.full((7, 4), 2.0) if name == "ConstantOfShape" else np.tile(np.arange(4.0), (7, 1))
    np.testing.assert_array_equal(backend.to_numpy(found), wanted)


def halved(*shape):
    """The sum of both halves of a sample."""
    nodes = [Node("Split", ("x",), ("a", "b"), {"axis": -1, "num_outputs": 2}), Node("Add", ("a", "b"), ("y",))]
    return Graph(nodes, [Value("x", "float32", *shape)], ["y"], {"": 20})


@pytest.mark.parametrize("shape", [(), ((None,),)])
@pytest.mark.parametrize("before", [[], [pnn.Activation("relu")], [pnn.Dense(np.ones((8, 8)))]])
@pytest.mark.parametrize("after", [pnn.Dense(np.ones((4, 3))), pnn.Rescaling(np.ones(4))])
def test_what_comes_after_a_graph_of_any_shape_does_not_tell_what_it_takes(shape, before, after):
    i = len(before) + 1
    with pytest.raises(NetworkError, match=f"layer {i} takes 4 values, and a Graph before it"):
        pnn.Network([*before, halved(*shape), after])
    net = pnn.Network([*before, halved((8,)), after])
    assert net.input_shape == (8,)
    x = np.eye(8)
    np.testing.assert_array_equal(net(x), pnn.Network([after])(pnn.Network([*before, halved(*shape)])(x)))


def test_a_graph_of_several_inputs_before_a_dense_takes_no_array():
    net = pnn.Network([Graph(NODES[:-1], INPUTS, ["y"], {"": 20}, table=TABLE, w=W), pnn.Dense(np.eye(3))])
    assert (net.input_shape, net.output_shape) == (None, (3,))
    np.testing.assert_allclose(net(GIVEN), wanted()["y"], rtol=1e-5)


@pytest.mark.parametrize(
    ("node", "value", "match"),
    [
        (["Relu", ["x"], [1], {}, ""], ["x", "float32", [3]], r"names of values are strings, got \[1\]"),
        (["Relu", [None], ["y"], {}, ""], ["x", "float32", [3]], r"names of values are strings, got \[None\]"),
        (["Relu", ["x"], ["y"], {"a": None}, ""], ["x", "float32", [3]], "a list of such, or an array, got None"),
        (
            ["Constant", [], ["y"], {"value": {"dtype": "object", "shape": [1], "values": [1]}}, ""],
            ["x", "float32", [3]],
            "a list of such, or an array, got {'dtype': 'object'",
        ),
        (["Relu", ["x"], ["y"], {}, ""], [1, "float32", [3]], r"a name, a dtype and a shape, got \[1, 'float32'"),
        (["Relu", ["x"], ["y"], {}, ""], ["x", 32, [3]], r"a name, a dtype and a shape, got \['x', 32"),
    ],
)
def test_what_no_file_of_this_package_says_is_refused(node, value, match):
    with pytest.raises(NetworkError, match=f"Graph: .*{match}"):
        Graph([node], [value], ["y"], {"": 20})


def test_lists_of_numbers_are_saved(tmp_path):
    nodes = [
        Node("Constant", (), ("pick",), {"value_ints": (2, 0)}),
        Node("Transpose", ("x",), ("t",), {"perm": (0, 2, 1)}),
        Node("Gather", ("t", "pick"), ("y",), {"axis": 1}),
    ]
    net = pnn.Network([Graph(nodes, [Value("x", "float32", (2, 3))], ["y"], {"": 20})])
    pnn.save(net, tmp_path / "net.safetensors")
    again, x = pnn.load(tmp_path / "net.safetensors"), f(5, 2, 3)
    assert again.layers[0].nodes[1] == nodes[1]
    np.testing.assert_array_equal(again(x), x.transpose(0, 2, 1)[:, [2, 0]])


def test_shapes_that_depend_on_values_are_not_traced(torch, jax):
    """The largest of all values tells how many are taken of each sample."""
    nodes = [
        Node("ReduceMax", ("x",), ("most",)),
        Node("Constant", (), ("one",), {"value": np.array([1])}),
        Node("Reshape", ("most", "one"), ("m",)),
        Node("Cast", ("m",), ("k",), {"to": 7}),
        Node("TopK", ("x", "k"), ("y", "places")),
    ]
    net, x = pnn.Network([Graph(nodes, [Value("x", "float32", None)], ["y"], {"": 20})]), np.float32([[0, 1, 2]])
    for array in (x, torch.from_numpy(x)):
        assert net(array).tolist() == [[2, 1]]
    for call, array in ((jax.jit(net), x), (net, torch.empty((1, 3), device="meta"))):
        with pytest.raises(InputError, match="shapes that depend on values cannot be told while tracing"):
            call(array)
