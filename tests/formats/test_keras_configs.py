"""Keras's configs and weights that are not read: each says why."""

import json
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_files import (
    SEQUENTIAL,
    START,
    SUFFIXES,
    changed,
    constant,
    dense,
    functional,
    h5,
    last,
    layer,
    node,
    sequential,
    tensor,
    with_config,
)

import portable_nn as pnn
from portable_nn.formats.keras import read_keras

h5py = pytest.importorskip("h5py", reason="files are changed by h5py: pip install h5py")


def to_class(name, **options):
    def change(config):
        last(config).update(class_name=name, **options)

    return change


def to_config(**options):
    def change(config):
        last(config)["config"].update(options)

    return change


CODE = {"class_name": "__lambda__", "config": {"code": "4wAAAAA=", "defaults": None, "closure": None}}


REFUSED = {
    "CVE-2024-3660, CVE-2025-9905": (
        to_class("Lambda", config={"name": "x", "function": CODE}),
        "is a Lambda, which has no counterpart",
    ),
    "CVE-2025-1550": (
        to_class("function", module="os", config="system", registered_name="system"),
        r"of a class of its own, 'system' of module 'os'.* model\.export\('model\.onnx', format='onnx'\)",
    ),
    "CVE-2025-1550, nested": (
        to_config(activation={"module": "os", "class_name": "function", "config": "system"}),
        "of a class of its own, 'function' of module 'os'",
    ),
    "CVE-2025-12058": (
        to_class("StringLookup", config={"name": "x", "vocabulary": "/etc/passwd"}),
        "is a StringLookup",
    ),
    "a class of someone's": (to_class("Dense", module="mine", registered_name="Mine>Dense"), "'Mine>Dense'"),
    "a class by the name of one of Keras's": (
        to_class("Dense", module=None, registered_name="Dense"), "class of its own, 'Dense'"
    ),
    "a registered class": (to_class("Dense", module=None, registered_name="Mine>Dense"), "'Mine>Dense'"),
    "a module that starts alike": (to_class("Dense", module="keras_mine.layers"), "'keras_mine.layers'"),
    "an unknown activation": (to_config(activation="mine"), "the activation 'mine': known are celu, elu"),
    "another's activation": (to_config(activation={"class_name": "PReLU", "config": {}}), "'PReLU'"),
    "an activation that Keras computes wrongly": (to_config(activation="sparsemax"), "'sparsemax'"),
    "no name": (to_config(name=3), "damaged"),
    "a bias that is not there": (to_class("Dense", config={"name": "x", "use_bias": False}), "it has arrays"),
    "a config that is none": (to_class("Dense", config=3), "damaged"),
    "no class": (to_class(3), "damaged"),
    "a convolution": (to_class("Conv1D"), "is a Conv1D"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", REFUSED)
def test_refusals(made, tmp_path, suffix, name):
    change, match = REFUSED[name]
    path = changed(made[0] / f"function tanh.{suffix}", tmp_path / f"model.{suffix}", change)
    with pytest.raises(pnn.FormatError, match=match) as caught:
        read_keras(path)
    assert str(path) in str(caught.value)


def random_call(name):
    entry = node("Dropout", name, [tensor("in")])
    entry["inbound_nodes"][0]["kwargs"]["training"] = True
    return entry


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (functional([START, node("Dense", "d", [tensor("d")])]), "takes its own outputs"),
        (functional([START, node("Dense", "d", [tensor("in", 1)])]), "no output 0 of call 1 of 'in'"),
        (functional([START, node("Dense", "d", [tensor("in", 0, 1)])]), "no output 1 of call 0 of 'in'"),
        (functional([START, node("Dense", "d", [tensor("none")])]), "no output 0 of call 0 of 'none'"),
        (functional([START, node("Dense", "d", [tensor("in")])], inputs=[]), "no output 0 of call 0 of 'in'"),
        (functional([START, random_call("d")]), "called with training=True"),
        (functional([START, START, node("Dense", "d", [tensor("in")])]), "two layers named 'in'"),
        (functional([START, node("Dense", "d", [3])]), "a Dense, is called with what is not read"),
        (functional([START, node("Dense", "d", ["in"])]), "damaged"),
        (functional([START, node("Add", "d", [tensor("in"), 10**400])]), "where an argument was to be"),
        *[
            (functional([START, node("Add", "d", [tensor("in"), constant(value)])]), "an argument was to be")
            for value in ("a", {}, [1, [2]], 10**400)
        ],
        (functional([START, node("Dense", "d", [tensor("in", None)])]), "damaged"),
        (functional([START, {"class_name": "Dense", "config": {"name": "d"}}]), "damaged"),
        (sequential(dense("d"), dense("d")), "two layers named 'd'"),
        (sequential(dense("e")), "layer 'e': it has arrays none"),
        (sequential(dense("d"), layer("Flatten")), "of a shape that the file does not hold"),
        (sequential(layer("Flatten", batch_input_shape=[None, 2, -1])), "of a shape that the file does not hold"),
        (sequential(layer("Flatten", batch_input_shape=[None, 2, 10**400])), "of a shape that the file does"),
        (sequential(layer("Flatten", batch_input_shape=[None, *[7] * 100_000])), "of a shape that the file does"),
        (sequential(layer("Flatten", batch_input_shape=[None, 2, 2], data_format="channels_first")), "_first"),
        (sequential(layer("Reshape", batch_input_shape=[None, 4], target_shape=[2, 2])), r"to \[2, 2\]"),
        (sequential(layer("Softmax", axis=0)), "along axis 0"),
        (sequential(layer("Softmax", batch_input_shape=[None, 2, 3], axis=1)), "along axis 1"),
        (sequential(layer("ReLU", max_value="6")), "max_value='6', which is no number"),
        (sequential(layer("ReLU", max_value=True)), "max_value=True, which is no number"),
        (sequential(layer("LeakyReLU", alpha=10**400)), "which is no number"),
        (sequential(layer("ELU", alpha=float("nan"))), "alpha is nan"),
        (sequential(layer("Rescaling", scale="a")), "scale='a', which are no numbers"),
        (sequential(layer("Rescaling", scale=[[1, 2], [3, 4]])), "must be a number or an array"),
        (sequential(layer("Normalization", mean=[1.0], variance={"config": {"value": [[1], [1, 2]]}})), "no num"),
        (sequential(layer("LayerNormalization", rms_scaling=True)), "rms_scaling"),
        (sequential(layer("Masking")), "is a Masking"),
        (sequential(layer("Activation", activation="<lambda>")), "is a lambda"),
        (sequential(layer("Activation", activation={"value": ["4wEA"]})), "is a lambda"),
        ({"class_name": "Mine", "config": {}}, "is a Mine, not a Sequential"),
        ({"class_name": "Sequential"}, "damaged"),
        ({"class_name": "Sequential", "config": {"layers": [[]]}}, "damaged"),
        ({}, "damaged"),
        ([], "no object"),
    ],
)  # fmt: skip
def test_configs_that_are_not_read(tmp_path, config, match):
    with pytest.raises(pnn.FormatError, match=match):
        read_keras(with_config(tmp_path / "model.h5", config))


@pytest.mark.parametrize(
    ("name", "array", "match"),
    [
        ("d__kernel", np.eye(2, dtype=np.int8), "kernel has dtype int8: quantised"),
        ("d__kernel", np.full((2, 2), np.nan), "nan"),
        ("d__kernel", np.ones((2, 2, 2)), "weight must have shape"),
        ("d__bias", np.ones(3), "takes a bias of shape"),
        ("d__more", np.ones(3), "it has arrays bias, kernel, more"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, name, array, match):
    arrays = {"d__kernel": np.eye(2), "d__bias": np.zeros(2)} | {name: array}
    with pytest.raises(pnn.FormatError, match=f"layer 'd': .*{match}"):
        read_keras(h5(tmp_path / "model.h5", SEQUENTIAL, **arrays))


@pytest.mark.parametrize("variance", [-1.0, np.nan, -np.inf])
@pytest.mark.parametrize("kind", ["BatchNormalization", "Normalization"])
def test_variances_that_are_none(tmp_path, kind, variance):
    names = {
        "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
        "Normalization": ("mean", "variance", "count"),
    }[kind]
    values = {f"x__x__{name}": np.full(2, variance if "variance" in name else 1.0, np.float32) for name in names}
    with pytest.raises(pnn.FormatError, match="layer 'x'"):
        read_keras(h5(tmp_path / "model.h5", sequential(layer(kind)), **values))


def test_weights_of_another_layer(made, tmp_path):
    def rename(config):
        last(config)["config"]["name"] = "renamed"

    path = changed(made[0] / "function tanh.keras", tmp_path / "model.keras", rename)
    with pytest.raises(pnn.FormatError, match="layer 'renamed': its weights are those of"):
        read_keras(path)


def test_models_that_are_used_twice_in_models_that_are_used_twice(tmp_path):
    inner = functional([START, node("Identity", "d", [tensor("in")])])
    for _ in range(40):
        twice = inner | {
            "name": "m",
            "inbound_nodes": node("", "", [tensor("in")], [tensor("m")])["inbound_nodes"],
        }
        inner = functional([START, twice], outputs=("m", 2, 0))  # which Keras counts from 1 there
    with pytest.raises(pnn.FormatError, match="more than 10000 times"):
        read_keras(with_config(tmp_path / "model.h5", inner))


def test_models_in_models_in_models(tmp_path):
    deep = '{"class_name": "Sequential", "config": {"layers": ['
    text = deep * 20_000 + "]}}" * 20_000
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["model_config"] = text
    with pytest.raises(pnn.FormatError, match=r"no JSON|too deep"):
        read_keras(tmp_path / "model.h5")


def test_models_that_are_deeper_than_python_calls(tmp_path):
    """Yet not than it reads JSON."""
    with h5py.File(tmp_path / "model.h5", "w") as file:
        entry = '{"class_name": "Sequential", "config": [{"class_name": "Dropout", "config": {}}, '
        deep = 2 * sys.getrecursionlimit() // 5  # which compilers and testing tools raise
        file.attrs["model_config"] = entry * deep + "[]" + "]}" * deep
    with pytest.raises(pnn.FormatError, match="its config is too deep"):
        read_keras(tmp_path / "model.h5")


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["in", "d", "Dense", "relu", "keras"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["config", "name"]), inner),
    max_leaves=5,
)


@given(data=st.data())
@settings(deadline=None, max_examples=200)
def test_any_config(tmp_path_factory, data):
    """One value of a config in place of another, wherever."""
    config = functional([START, node("Dense", "d", [tensor("in")], activation="relu", use_bias=True)])
    config = place = json.loads(json.dumps(config))
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            place[key] = data.draw(values)
            break
        place = place[key]
    with suppress(pnn.FormatError):
        assert read_keras(with_config(tmp_path_factory.mktemp("config") / "model.h5", config)).layers
