"""Keras's models, from files of older versions, and of others."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import scipy.special
from keras_files import dense, h5, layer, sequential

import portable_nn as pnn
from portable_nn.formats.keras import read_keras

h5py = pytest.importorskip("h5py", reason="files are changed by h5py: pip install h5py")


def test_keras_1(tmp_path):
    rng = np.random.default_rng(0)
    w1, b1, w2, b2 = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(3, 2)), rng.normal(size=2)
    old = {"init": "glorot_uniform", "bias": True, "W_regularizer": None, "input_dim": None}
    config = {
        "class_name": "Sequential",
        "config": [
            dense("dense_1", **old, output_dim=3, activation="linear", batch_input_shape=[None, 4]),
            {"class_name": "Activation", "config": {"name": "activation_1", "activation": "hard_sigmoid"}},
            {"class_name": "Dropout", "config": {"name": "dropout_1", "p": 0.5}},
            dense("dense_2", **old, output_dim=2, activation="softmax"),
        ],
    }
    arrays = {
        "dense_1__dense_1_W": w1,
        "dense_1__dense_1_b": b1,
        "dense_2__dense_2_W": w2,
        "dense_2__dense_2_b": b2,
    }
    net = read_keras(h5(tmp_path / "old.h5", config, "1.2.2", **arrays))
    x = rng.normal(size=(5, 4))
    hidden = np.clip(0.2 * (x @ w1 + b1) + 0.5, 0, 1)
    np.testing.assert_allclose(net(x), scipy.special.softmax(hidden @ w2 + b2, axis=1), rtol=1e-12)
    without = read_keras(h5(tmp_path / "older.h5", config, **arrays))
    np.testing.assert_array_equal(without(x), net(x))


def test_a_layer_that_keras_2_alone_has(tmp_path):
    config = sequential(layer("ThresholdedReLU", theta=0.5), layer("ThresholdedReLU", name="y"))
    x = np.array([-1.0, 0.3, 0.5, 0.7, 1.0, 1.2])
    found = read_keras(h5(tmp_path / "model.h5", config, "2.4.0"))(x)
    np.testing.assert_array_equal(found, [0, 0, 0, 0, 0, 1.2])


@pytest.mark.parametrize(("version", "slope"), [("2.4.0", 0.2), ("2.2.4-tf", 0.2), ("3.0.0", 1 / 6)])
def test_the_hard_sigmoid_of_each_version(tmp_path, version, slope):
    config = {"class_name": "Sequential", "config": {"layers": [dense("d", activation="hard_sigmoid")]}}
    arrays = {"d__d__kernel:0": np.eye(3), "d__d__bias:0": np.zeros(3)}
    x = np.array([-2.7, 0.3, 2.7])
    found = read_keras(h5(tmp_path / "model.h5", config, version, **arrays))(x)
    np.testing.assert_allclose(found, np.clip(slope * x + 0.5, 0, 1), rtol=1e-12)


def test_a_functional_model_of_keras_2(tmp_path):
    """Calls are lists there, and weights of a model in the model have the name of their layer alone."""

    def called(entry, name, before):
        return entry | {"name": name, "inbound_nodes": [[[before, 0, 0, {}]]] if before else []}

    start = {"class_name": "InputLayer", "config": {"name": "in", "batch_input_shape": [None, 3]}}
    inner = {
        "class_name": "Functional",
        "config": {
            "name": "inner",
            "layers": [called(start, "in", None), called(dense("dense_1", use_bias=False), "dense_1", "in")],
            "input_layers": [["in", 0, 0]],
            "output_layers": [["dense_1", 0, 0]],
        },
    }
    alpha = {"class_name": "LeakyReLU", "config": {"name": "leaky", "alpha": 0.1}}
    norm = {"class_name": "BatchNormalization", "config": {"name": "bn", "axis": [1], "epsilon": 0.5}}
    config = {
        "class_name": "Model",
        "config": {
            "name": "outer",
            "layers": [
                called(start, "in", None),
                called(inner, "inner", "in"),
                called(alpha, "leaky", "inner"),
                called(norm, "bn", "leaky"),
            ],
            "input_layers": [["in", 0, 0]],
            "output_layers": [["bn", 0, 0]],
        },
    }
    rng = np.random.default_rng(0)
    kernel, (gamma, beta, mean, variance) = rng.normal(size=(3, 2)), rng.random((4, 2))
    arrays = {
        "inner__dense_1__kernel:0": kernel,
        "bn__bn__gamma:0": gamma,
        "bn__bn__beta:0": beta,
        "bn__bn__moving_mean:0": mean,
        "bn__bn__moving_variance:0": variance,
    }
    x = rng.normal(size=(5, 3))
    hidden = x @ kernel
    hidden = np.where(hidden < 0, 0.1 * hidden, hidden)
    wanted = (hidden - mean) / np.sqrt(variance + 0.5) * gamma + beta
    found = read_keras(h5(tmp_path / "model.h5", config, "2.9.0", **arrays))(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


LOGITS = {"class_name": "BinaryCrossentropy", "config": {"from_logits": True}}


@pytest.mark.parametrize(
    ("loss", "activation", "task"),
    [
        ("binary_crossentropy", "sigmoid", "multilabel"),
        (["binary_crossentropy"], "sigmoid", "multilabel"),
        (LOGITS, "linear", "multilabel"),
        (LOGITS | {"class_name": "SparseCategoricalCrossentropy"}, "linear", "classification"),
        ("categorical_crossentropy", "sigmoid", "classification"),
        ("mse", "linear", "regression"),
        ("mse", "relu", None),
        (LOGITS | {"registered_name": "Mine>BinaryCrossentropy"}, "linear", None),
        (None, "linear", None),
    ],
)
def test_losses_tell_the_task(tmp_path, loss, activation, task):
    config = {"class_name": "Sequential", "config": {"layers": [dense("d", activation=activation)]}}
    path = h5(tmp_path / "model.h5", config, "3.0.0", d__kernel=np.eye(2), d__bias=np.zeros(2))
    with h5py.File(path, "a") as file:
        file.attrs["training_config"] = json.dumps({"loss": loss})
    assert pnn.load(path).task == task
    assert pnn.load(path, task="classification").task == "classification"


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """The folder of EmuPBk's trained models, files of TensorFlow 2."""
    folder = tmp_path_factory.mktemp("EmuPBk")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, "EmuPBk==6.5.4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"EmuPBk 6.5.4 cannot be downloaded: {done.stderr.strip().splitlines()[-1:]}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    return folder / "EmuPBk" / "MCMC" / "existing_models"


@pytest.mark.parametrize(
    ("name", "depth", "function"),
    [
        ("pk", 5, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
        (
            "bk",
            3,
            lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
        ),
    ],
)
def test_published_emulators(published, name, depth, function):
    path = published / f"{name}.h5"
    x = np.random.default_rng(0).random((10, 3))
    found = read_keras(path)(x)
    with h5py.File(path) as file:
        weights = file["model_weights"]
        for i, layer in enumerate(sorted(weights, key=lambda name: int(name.partition("_")[2] or 0)), 1):
            x = x @ np.asarray(weights[layer][layer]["kernel:0"], float) + weights[layer][layer]["bias:0"][:]
            x = x if i == depth else function(x)
    assert i == depth
    np.testing.assert_allclose(found, x, rtol=1e-9, atol=1e-12)
