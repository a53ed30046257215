"""Keras's Functional models that branch, one way of branching after the other; Keras is the oracle."""

import json
from contextlib import suppress
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn.errors import FormatError, NetworkError
from portable_nn.formats.keras_branches import branched
from portable_nn.formats.keras_config import read_model
from portable_nn.formats.onnx_layers import layers_of
from portable_nn.layers import Graph

RNG = np.random.default_rng(0)
X = {name: RNG.normal(size=(7, 3)).astype(np.float32) for name in "ab"}


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras", reason="the oracle is Keras: pip install keras torch")


def models(keras):
    """By name: of the inputs a and b, or of a alone."""
    layers, ops = keras.layers, keras.ops
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    shared = layers.Dense(3, "tanh", name="shared")
    h, k = shared(a), shared(b)
    both = {"a": a, "b": b}
    yield "merges", keras.Model(both, layers.Concatenate()([
        getattr(layers, name)()([h, k])
        for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
    ]))  # fmt: skip
    yield "many at once", keras.Model(both, {
        "sum": layers.Add()([a, b, h, k]), "product": layers.Multiply()([a, b, h]),
        "mean": layers.Average()([a, b, h]), "most": layers.Maximum()([a, b, k]),
    })  # fmt: skip
    yield "dot", keras.Model(both, layers.Dot(1)([h, k]))
    yield "cosine", keras.Model(both, layers.Dot(-1, normalize=True)([h, k]))
    yield "operators", keras.Model(both, (1.0 - h) * k / 2.0 + abs(a) - 3.0 * b - (-h) + k**2.0)
    yield "operations", keras.Model(both, ops.concatenate([
        ops.relu(h), ops.gelu(k), ops.silu(a), ops.maximum(h, 0.1), ops.exp(-ops.abs(b)), ops.softmax(a),
        ops.sin(h), ops.softplus(a), ops.gelu(b, approximate=False), ops.hard_shrink(a), ops.squareplus(b),
        ops.log1p(ops.square(a)), ops.expm1(h), ops.log10(ops.square(b) + 1.0), ops.reciprocal(k * k + 1.0),
    ], axis=-1))  # fmt: skip
    yield "arrays", keras.Model(a, ops.multiply(ops.subtract(a, np.array([1.0, 2.0, 3.0])), h))
    yield "one layer gives two outputs", keras.Model(both, [h, k])
    yield "an input is an output", keras.Model(a, [a, h])
    left = layers.Add()([layers.Dense(3)(a), b])
    inner = keras.Model(both, {"left": left, "right": layers.Subtract()([a, b])}, name="inner")
    made = inner({"a": k, "b": a})
    yield (
        "nested, with several inputs and outputs",
        keras.Model(both, layers.Concatenate()([made["right"], made["left"]])),
    )
    twice = inner({"a": made["left"], "b": made["right"]})
    yield "nested twice", keras.Model(both, {"y": twice["left"], "z": made["left"]})
    yield "nested at the end", keras.Model(both, inner({"a": h, "b": b}))
    block = keras.Sequential(
        [layers.Dense(5, "gelu"), layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(3)]
    )
    norm = layers.LayerNormalization(center=False, scale=False)
    yield (
        "residual blocks",
        keras.Model(a, layers.Dense(2, "softmax")(norm(layers.Add()([a, block(layers.Add()([a, block(a)]))])))),
    )
    image = layers.Reshape((3,))(a)
    yield "scaled", keras.Model(a, layers.Add()([layers.Rescaling(0.5, offset=1.0)(image), layers.PReLU()(a)]))
    own, within = layers.Dense(3, "tanh"), keras.Input((3,))
    holds = keras.Model(within, layers.Dense(3)(own(within)))
    yield "a layer of a model, after it", keras.Model(a, layers.Add()([own(holds(a)), a]))
    own = layers.Dense(3, "tanh")
    holds = keras.Sequential([keras.Input((3,)), own, layers.Dense(3)])
    yield "a layer of a model, before it", keras.Model(a, layers.Add()([holds(own(a)), a]))
    both_hold = [keras.Sequential([keras.Input((3,)), layers.Dense(3, "relu"), own]) for _ in "ab"]
    yield "a layer of two models", keras.Model(a, layers.Add()([model(a) for model in both_hold]))
    small = keras.Sequential([keras.Input((3,)), layers.Dense(3, "relu"), layers.LayerNormalization()])
    holds = keras.Model(within, layers.Add()([within, small(within)]))
    yield "a model of a model, after it", keras.Model(a, layers.Multiply()([small(holds(a)), a]))
    rows = keras.Input((2, 3), name="a")
    wide = layers.Concatenate(axis=1)([rows, layers.Dense(3, "relu")(rows)])
    yield (
        "with more axes",
        keras.Model(rows, layers.Dense(2)(layers.Flatten()(layers.LayerNormalization()(wide)))),
    )


NAMES = [
    "merges", "many at once", "dot", "cosine", "operators", "operations", "arrays", "one layer gives two outputs",
    "an input is an output", "nested, with several inputs and outputs", "nested twice", "nested at the end",
    "residual blocks", "scaled", "a layer of a model, after it", "a layer of a model, before it",
    "a layer of two models", "a model of a model, after it", "with more axes",
]  # fmt: skip


@pytest.fixture(scope="module")
def made(keras):
    found = dict(models(keras))
    assert list(found) == NAMES
    for model in found.values():
        for weight in model.weights:
            if "seed" not in weight.path:
                values = RNG.normal(0, 0.7, weight.shape)
                weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return found


def inputs_of(model):
    if len(model.inputs) > 1:
        return X
    shape = model.inputs[0].shape[1:]
    return np.concatenate([X["a"], X["b"]], axis=-1).reshape(7, *shape) if len(shape) > 1 else X["a"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_models(keras, made, tmp_path, name):
    model = made[name]
    x = inputs_of(model)
    wanted = keras.tree.map_structure(keras.ops.convert_to_numpy, model(x, training=False))
    for suffix in ("keras", "h5"):
        model.save(tmp_path / f"model.{suffix}")
    for net in (pnn.from_keras(model), pnn.load(tmp_path / "model.keras"), pnn.load(tmp_path / "model.h5")):
        found, exact = net(x), wanted
        if isinstance(wanted, list):
            assert list(found) == (["a", "shared"] if "input" in name else ["shared", "shared:1"])
            exact = dict(zip(found, wanted, strict=True))
        if not isinstance(exact, dict):
            found, exact = {"": found}, {"": exact}
        assert sorted(found) == sorted(exact)
        for key, y in exact.items():
            np.testing.assert_allclose(found[key], y, rtol=1e-4, atol=1e-5)


def test_what_is_read_as_layers(made):
    net = pnn.from_keras(made["residual blocks"])
    assert [type(layer).__name__ for layer in net.layers] == ["Graph", "Normalize", "Dense"]
    assert (net.task, net.input_shape, net.output_shape) == ("classification", (3,), (2,))
    net = pnn.from_keras(made["with more axes"])
    assert [type(layer).__name__ for layer in net.layers] == ["Graph", "Flatten", "Dense"]
    assert isinstance(pnn.from_keras(made["dot"]).layers[-1], Graph)


# Configs that no version of Keras here writes, or none at all.


def node(kind, name, *calls, **config):
    return {"class_name": kind, "name": name, "config": {"name": name} | config, "inbound_nodes": list(calls)}


def functional(layers, inputs, outputs, name="model"):
    config = {"name": name, "layers": layers, "input_layers": inputs, "output_layers": outputs}
    return {"class_name": "Functional", "name": name, "config": config}


START = [node("InputLayer", name, batch_shape=[None, 3]) for name in "ab"]
LAST = [["y", 0, 0]]


def written(path, config):
    h5py = pytest.importorskip("h5py", reason="files are made by h5py: pip install h5py")
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
    return path


@pytest.mark.parametrize("first", [0, 1])
def test_models_in_models_of_keras_2(tmp_path, first):
    """Calls are lists there, and those of a model in the model are counted from 1, or were once from 0."""
    inner = functional(
        [*START, node("Subtract", "d", [["a", 0, 0], ["b", 0, 0]])],
        [["a", 0, 0], ["b", 0, 0]],
        [["d", 0, 0]],
        "inner",
    )
    calls = [["a", 0, 0, {}], ["b", 0, 0, {}]], [["inner", first, 0, {}], ["b", 0, 0, {}]]
    last = node("Add", "y", [["inner", first + 1, 0, {}], ["a", 0, 0, {}]])
    layers = [*START, inner | {"inbound_nodes": list(calls)}, last]
    path = written(tmp_path / "model.h5", functional(layers, [["a", 0, 0], ["b", 0, 0]], LAST))
    found = pnn.load(path)(X)
    np.testing.assert_allclose(found, X["a"] - 2 * X["b"] + X["a"], rtol=1e-6)


BOTH = [["a", 0, 0, {}], ["b", 0, 0, {}]]
ROWS = node("InputLayer", "b", batch_shape=[None, 2, 3])
SHORT = node("InputLayer", "b", batch_shape=[None, 1])
ARRAY = {"class_name": "__numpy__", "config": {"value": [[2.0]]}}
PAIR = functional([*START, node("Subtract", "d", BOTH)], BOTH, [["d", 0, 0]], "y")


def with_constant(value):
    """What Keras 3 writes of a call with a tensor and a number or an array."""
    start = {"class_name": "__keras_tensor__", "config": {"keras_history": ["a", 0, 0]}}
    return {"args": [start, value], "kwargs": {}}


@pytest.mark.parametrize(
    ("layers", "match"),
    [
        ([*START, node("Dot", "y", BOTH, axes=[1, 2])], r"along axes \[1, 2\] what is not two vectors"),
        ([*START, node("Dot", "y", BOTH)], "along axes None"),
        ([START[0], SHORT, node("Dot", "y", BOTH, axes=1)], "not two vectors of one length"),
        ([START[0], ROWS, node("Dot", "y", BOTH, axes=1)], "what is not two vectors of one length"),
        ([*START, node("Dot", "y", with_constant(3.0), axes=1)], "what is not two vectors"),
        ([*START, node("Add", "y", with_constant(ARRAY))], r"\(1, 1\) of 1 axes"),
        ([*START, node("Rescaling", "r", [["a", 0, 0, {}]], scale=[1.0, 2.0]),
          node("Add", "y", [["r", 0, 0, {}], *BOTH])], r"Rescaling.* does not take samples of shape \(3,\)"),
        ([*START, PAIR | {"inbound_nodes": [[["a", 0, 0, {}]]]}], "a model of 2 inputs is called with 1"),
        ([*START, node("Exp", "y", BOTH)], "layer 'y': it takes 2 arguments"),
        ([*START, node("Square", "y", BOTH)], "layer 'y': it takes 2 arguments"),
        ([START[0], ROWS, node("Add", "y", BOTH)], r"layer 'y': .*shapes \(3,\), \(2, 3\), which do not fit"),
        ([START[0], node("InputLayer", "b", batch_shape=[None, 4]), node("Add", "y", BOTH)], "does not fit"),
        ([START[0], node("InputLayer", "b", batch_shape=[None, None]), node("Add", "y", BOTH)], "no fixed shape"),
        ([START[0], ROWS, node("Concatenate", "y", BOTH)], "what does not fit"),
        ([*START, node("Concatenate", "y", BOTH, axis=0)], "along axis 0"),
        ([*START, node("Concatenate", "y", BOTH, axis=3)], "along axis 3"),
        ([*START, node("Subtract", "y", [*BOTH, *BOTH])], "takes 4 arguments"),
        ([*START, node("Average", "y", BOTH, axis=1)], "keras.ops.average"),
        ([*START, node("Bilinear", "y", BOTH)], "layer 'y', a Bilinear, is called with what is not read"),
        ([*START, node("Add", "y", [["a", 0, 0, {"mask": [1]}], ["b", 0, 0, {}]])], "called with mask"),
        ([*START, node("Add", "y", [["y", 0, 0, {}], ["b", 0, 0, {}]])], "takes its own outputs"),
        ([*START, node("Add", "y", [["a", 1, 0, {}], ["b", 0, 0, {}]])], "no output 0 of call 1 of 'a'"),
        ([*START, node("Add", "y", [["a", 0, 1, {}], ["b", 0, 0, {}]])], "no output 1 of call 0 of 'a'"),
        ([*START, node("Gelu", "y", BOTH, approximate=True)], "which is not read of an operation"),
        ([*START, node("Squareplus", "y", [["a", 0, 0, {}]], b=3)], "take the layer instead"),
        ([*START, node("Add", "y", [["a", 0, 0, {}]])], "takes 1 arguments"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, layers, match):
    path = written(tmp_path / "model.h5", functional(layers, [["a", 0, 0], ["b", 0, 0]], LAST))
    with pytest.raises(FormatError, match=match):
        pnn.load(path)


LEAVES = (None, True, -1, 0, 1, 3, 10**30, 0.5, "", "a", "y", "Dense", [], {}, ["a", 0, 0], [[["a", 0, 0]]])


def places(value, path=()):
    """The paths of all that is in a config."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield from places(each, (*path, key))


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_configs_that_are_changed_raise_only_errors_of_this_package(data):
    joined = node("Concatenate", "c", BOTH, axis=-1)
    config = functional([*START, joined, node("Add", "y", [["c", 0, 0, {}], ["c", 0, 0, {}]])], BOTH, LAST)
    config = json.loads(json.dumps(config))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([path for path in places(config) if path]))
        within = config
        for key in path[:-1]:
            within = within[key]
        within[path[-1]] = deepcopy(data.draw(st.sampled_from(LEAVES)))
    with suppress(NetworkError):
        layers_of(branched(read_model(config), lambda node, shape: []))


def test_concatenations_that_double_take_no_memory(tmp_path):
    layers = [START[0]]
    for i in range(60):
        before = "a" if i == 0 else f"c{i - 1}"
        layers.append(node("Concatenate", f"c{i}", [[before, 0, 0, {}], [before, 0, 0, {}]]))
    layers.append(node("Add", "y", [["c59", 0, 0, {}], ["c59", 0, 0, {}]]))
    with pytest.raises(FormatError, match="too large"):
        pnn.load(written(tmp_path / "model.h5", functional(layers, ["a", 0, 0], LAST)))


def test_models_that_double_end(tmp_path):
    inner = functional([START[0], node("Add", "y", [["a", 0, 0], ["a", 0, 0]])], ["a", 0, 0], LAST)
    for _ in range(40):
        called = inner | {"name": "y", "inbound_nodes": [[["a", 0, 0]], [["y", 1, 0]]]}
        inner = functional([START[0], called], ["a", 0, 0], [["y", 2, 0]])
    with pytest.raises(FormatError, match="more than 10000 times"):
        pnn.load(written(tmp_path / "model.h5", inner))


def test_one_of_two_inputs_may_be_the_output(tmp_path):
    path = written(tmp_path / "model.h5", functional(START, [["a", 0, 0], ["b", 0, 0]], [["a", 0, 0]]))
    found = pnn.load(path)(X)
    np.testing.assert_array_equal(found, X["a"])
    assert not np.shares_memory(found, X["a"])


def test_live_models_that_are_refused(keras):
    a = keras.Input((3,), name="a")
    with pytest.raises(NetworkError, match="a Cumsum, which has no counterpart"):
        pnn.from_keras(keras.Model(a, a + keras.ops.cumsum(a)))
    with pytest.raises(NetworkError, match="load that, may do"):
        pnn.from_keras(keras.Model(a, a + a[:, :1]))
    with pytest.raises(NetworkError, match=r"keras\.ops\.reshape has no shape: take the layers Flatten"):
        pnn.from_keras(keras.Model(a, a + keras.ops.reshape(a, (-1, 3))))
