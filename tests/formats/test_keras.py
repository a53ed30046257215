"""Keras's models: Keras itself and files that others made are the oracle; files that attack are the adversary."""

import io
import json
import os
import random
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from contextlib import suppress
from importlib.util import find_spec

import numpy as np
import pytest
import scipy.special
from helpers import run_python
from hypothesis import given, settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn.formats.keras import from_keras, read_keras

h5py = pytest.importorskip("h5py", reason="files are changed by h5py: pip install h5py")

SUFFIXES = ["keras", "h5"]


def generated(folder, library, *options):
    if not all(map(find_spec, ("keras", library))):
        pytest.skip(f"the oracle is Keras: pip install keras {library}")
    run_python("tests/formats/keras_models.py", folder, *options, env=os.environ | {"KERAS_BACKEND": library})
    return folder, json.loads((folder / "names.json").read_text())


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder with the files of models, and the names of these."""
    return generated(tmp_path_factory.mktemp("keras"), "numpy", "0", "60", "1")


def far(name, found, wanted):
    """How far outputs are from Keras's, which are of float32 or less, in units of what they may be."""
    narrow = {"dtype float16": 2**-11, "dtype mixed_float16": 2**-11}
    unit = narrow.get(name, 2**-8 if "bfloat16" in name else 2**-24)
    return np.max(np.abs(found - wanted)) / (20 * unit * (1 + np.max(np.abs(wanted))))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files(made, suffix):
    folder, names = made
    for name in names:
        with np.load(folder / f"{name}.npz") as data:
            found = read_keras(folder / f"{name}.{suffix}")(data["x"].astype(np.float64))
            assert far(name, found, data["y"]) < 1, name


def test_every_backend(made, backend):
    folder, names = made
    for name in names[::10]:
        with np.load(folder / f"{name}.npz") as data:
            x = backend.place(data["x"])
            found = backend.to_numpy(read_keras(folder / f"{name}.keras")(x))
            assert far(name, found, data["y"]) < 5, name


def test_live_models(made):
    folder, names = made
    for name in names:
        with np.load(folder / f"{name}.npz") as data:
            assert far(name, data["live"], data["y"]) < 5, name


def test_live_models_of_keras_on_pytorch(torch, tmp_path):
    """The backend of Keras that these tests import, see `conftest.py`."""
    models = pytest.importorskip("keras_models", reason="the oracle is Keras: pip install keras")
    models.main(tmp_path, 1, 8, 45)
    check_live(tmp_path, json.loads((tmp_path / "names.json").read_text()))


def test_live_models_of_keras_on_jax(tmp_path):
    check_live(*generated(tmp_path, "jax", "1", "8", "45"))


def check_live(folder, names):
    for name in names:
        with np.load(folder / f"{name}.npz") as data:
            for found in (data["live"], read_keras(folder / f"{name}.keras")(data["x"])):
                assert far(name, found, data["y"]) < 5, name


def test_live_models_without_weights():
    keras = pytest.importorskip("keras", reason="the oracle: pip install keras")
    model = keras.Sequential([keras.layers.Dense(3, name="out")])
    with pytest.raises(pnn.NetworkError, match="layer 'out': it has no weights yet: give the model an Input, or"):
        pnn.from_keras(model)


# PyTorch's tensors have no `copy=` yet
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_live_models_that_are_refused():
    keras = pytest.importorskip("keras", reason="the oracle: pip install keras")

    class Mine(keras.Model):
        pass

    for model, name in (Mine(), r"test_keras\S*\.Mine"), (keras.layers.ReLU(), r"keras\S+\.ReLU"):
        with pytest.raises(pnn.InputError, match=f"a Sequential or Functional .*, got an object of {name}$"):
            pnn.from_keras(model)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="out")])
    model.layers[0].quantize("int8")
    with pytest.raises(
        pnn.NetworkError, match="'out': it has arrays 0, 1, 2 where a Dense like it has kernel, bias"
    ):
        pnn.from_keras(model)


@pytest.mark.parametrize("lora", [False, True])
def test_live_weights_that_are_on_no_device(torch, lora):
    """The backend of Keras that these tests import, see `conftest.py`."""
    keras = pytest.importorskip("keras", reason="the oracle: pip install keras")
    with keras.device("meta"):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="out")])
        if lora:
            model.layers[0].enable_lora(2)
        with pytest.raises(pnn.NetworkError, match=r"layer 'out': a weight cannot be fetched: .*meta"):
            pnn.from_keras(model)


def test_without_keras_and_h5py(made):
    folder, _ = made
    run_python(
        "-c",
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['keras', 'h5py', 'tensorflow', 'torch', 'jax']))\n"
        "import numpy as np\n"
        "from portable_nn.formats.keras import read_keras\n"
        "for suffix in ('keras', 'h5'):\n"
        "    net = read_keras(f'{sys.argv[1]}/deep.{suffix}')\n"
        "    data = np.load(f'{sys.argv[1]}/deep.npz')\n"
        "    np.testing.assert_allclose(net(data['x']), data['y'], rtol=1e-3, atol=1e-5)\n",
        folder,
    )


def test_by_content(made, tmp_path):
    folder, _ = made
    for suffix in SUFFIXES:
        source = folder / f"function softmax.{suffix}"
        (tmp_path / suffix).write_bytes(source.read_bytes())
        assert pnn.load(tmp_path / suffix).same_architecture(read_keras(source))
    assert pnn.load(folder / "function linear.h5", task="classification").task == "classification"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (3, "an object of int$"),
        (None, "an object of NoneType$"),
        (np.ones(3), "an object of ndarray$"),
        (read_keras, "an object of function$"),
        (dict, "the class dict: give an object of it"),
        ("model.keras", "a path: portable_nn.load reads files"),
        (pnn.Network([pnn.Rescaling(2.0)]), "an object of Network$"),
    ],
    ids=["number", "None", "array", "function", "class", "path", "network"],
)
def test_what_is_no_model(model, words):
    with pytest.raises(pnn.InputError, match=f"from_keras takes a Sequential or Functional model .* got {words}"):
        from_keras(model)


# Files of older versions, and of others.


def h5(path, config, version=None, **arrays):
    """A file as Keras 1 and 2 made them."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        if version:
            file.attrs["keras_version"] = version.encode()
        for name, array in arrays.items():
            file[f"model_weights/{name.replace('__', '/')}"] = array
    return path


def dense(name, **options):
    return {"class_name": "Dense", "config": {"name": name} | options}


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


# PyTorch's tensors have no `copy=` yet
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_live_losses_and_lora(tmp_path):
    keras = pytest.importorskip("keras", reason="the oracle: pip install keras")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "sigmoid")])
    model.compile(loss="binary_crossentropy")
    model.save(tmp_path / "model.keras")
    assert pnn.load(tmp_path / "model.keras").task == pnn.from_keras(model).task == "multilabel"
    model.layers[0].enable_lora(2)
    model.layers[0].lora_kernel_b.assign(np.ones((2, 3)))
    x = np.ones((2, 4), "float32")
    wanted = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(pnn.from_keras(model)(x), wanted, rtol=1e-5)


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


# What is refused.


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path, contents):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def changed(source, target, change):
    """A copy of a model's file whose config was changed."""
    if source.suffix == ".h5":
        target.write_bytes(source.read_bytes())
        with h5py.File(target, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            change(config)
            file.attrs["model_config"] = json.dumps(config)
        return target
    contents = members(source)
    config = json.loads(contents["config.json"])
    change(config)
    return packed(target, contents | {"config.json": json.dumps(config)})


def last(config):
    return config["config"]["layers"][-1]


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


def with_config(path, config):
    return h5(path, config, "3.0.0", d__kernel=np.eye(2), d__bias=np.zeros(2))


def tensor(name, call=0, output=0):
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, call, output]}}


def constant(value):
    return {"class_name": "__numpy__", "config": {"value": value}}


def node(kind, name, *calls, **options):
    return {
        "class_name": kind,
        "config": {"name": name, **options},
        "name": name,
        "inbound_nodes": [{"args": list(args), "kwargs": {}} for args in calls],
    }


def functional(nodes, inputs=("in", 0, 0), outputs=("d", 0, 0)):
    options = {"layers": nodes, "input_layers": list(inputs), "output_layers": list(outputs)}
    return {"class_name": "Functional", "config": {"name": "model"} | options}


START = node("InputLayer", "in", batch_shape=[None, 2])
SEQUENTIAL = {"class_name": "Sequential", "config": {"layers": [dense("d")]}}


def sequential(*layers, **options):
    return {"class_name": "Sequential", "config": {"layers": list(layers)} | options}


def layer(kind, **options):
    return {"class_name": kind, "config": {"name": "x"} | options}


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


def test_weights_alone(made, tmp_path):
    """As `save_weights` of Keras 3 names them, and of Keras 2."""
    whole = made[0] / "function tanh.keras"
    new, old = tmp_path / "new.h5", tmp_path / "old.h5"
    new.write_bytes(members(whole)["model.weights.h5"])
    with h5py.File(new) as file, h5py.File(old, "w") as target:
        for i, name in enumerate(("kernel", "bias")):
            target[f"dense/dense/{name}:0"] = file[f"layers/dense/vars/{i}"][:]
    x = np.ones(3)
    for path in (new, old):
        np.testing.assert_array_equal(pnn.load(path, layers=["dense", "tanh"])(x), read_keras(whole)(x))
        found = pnn.load(path, activation="relu", last="tanh", rescale=2.0)
        np.testing.assert_array_equal(found(x), read_keras(whole)(2 * x))
        with pytest.raises(pnn.FormatError, match="give activation= and last="):
            pnn.load(path)
    with pytest.raises(pnn.FormatError, match="which layers it has: leave activation= out"):
        read_keras(whole, activation="relu")
    np.testing.assert_array_equal(read_keras(whole, rescale=2.0)(x), read_keras(whole)(2 * x))


OF_ALL_KINDS = [
    *("normalization", "dense", "batch_normalization", "relu", "dense_1", "layer_normalization"),
    *("p_re_lu", "rms_normalization", "dense_2", "softmax"),
]


@pytest.fixture(scope="module")
def of_all_kinds(tmp_path_factory):
    """Weights alone of a model with every layer that is read so, as Keras 3 and as Keras 2 stores them."""
    keras = pytest.importorskip("keras", reason="the oracle: pip install keras")
    random, layers, small = np.random.default_rng(3), keras.layers, {"epsilon": 0.02}
    model = keras.Sequential(
        [
            *(keras.Input((4,)), layers.Normalization(name="normalization"), layers.Dense(5, name="dense")),
            *(layers.BatchNormalization(**small, name="batch_normalization"), layers.ReLU(), layers.Dropout(0.2)),
            *(layers.Dense(3, name="dense_1"), layers.LayerNormalization(**small, name="layer_normalization")),
            *(layers.PReLU(name="p_re_lu"), layers.RMSNormalization(**small, name="rms_normalization")),
            layers.Dense(2, "softmax", name="dense_2"),
        ]
    )
    kept = [np.float32(random.normal(3, 1, 4)), np.float32(random.uniform(1, 2, 4)), np.int32(50)]
    folder = tmp_path_factory.mktemp("weights")
    with warnings.catch_warnings():  # PyTorch's tensors have no `copy=` yet
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        model.set_weights([*kept, *(random.uniform(0.1, 1, array.shape) for array in model.get_weights()[3:])])
        model.layers[0].finalize_state()
        model.compile("adam")
        model.optimizer.build(model.trainable_variables)
        model.save_weights(folder / "new.weights.h5")
        with h5py.File(folder / "new.weights.h5", "r+") as file:
            assert len(file["optimizer/vars"])
            file["layers/dropout/seed_generator/vars/0"] = np.uint32([1, 2])  # as earlier versions have it
        with h5py.File(folder / "old.h5", "w") as file:
            for layer in model.layers:
                for variable in layer.weights:
                    file[f"{layer.name}/{layer.name}/{variable.name}:0"] = keras.ops.convert_to_numpy(variable)
        x = random.normal(3, 2, (7, 4)).astype(np.float32)
        y = keras.ops.convert_to_numpy(model(x, training=False))
    return (folder / "new.weights.h5", folder / "old.h5"), x, y


def test_weights_alone_of_every_kind(of_all_kinds):
    files, x, wanted = of_all_kinds
    for path in files:
        found = pnn.load(path, layers=OF_ALL_KINDS, epsilon=0.02)
        np.testing.assert_allclose(found(x), wanted, rtol=2e-6)
        assert np.abs(pnn.load(path, layers=OF_ALL_KINDS)(x) - wanted).max() > 1e-3


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, r"give layers=\[...\], .* and of the file dense, dense_1, dense_2, batch_normalization, layer"),
        ({"activation": "relu", "last": "softmax"}, "without activation= and last="),
        ({"layers": OF_ALL_KINDS[1:]}, "no entry of layers= takes normalization$"),
        ({"layers": [*OF_ALL_KINDS, "p_relu"]}, "'p_relu' is no module of the file, nor an activation"),
        ({"layers": OF_ALL_KINDS, "epsilon": "small"}, "'small'"),
    ],
)
def test_weights_alone_that_do_not_say_enough(of_all_kinds, given, match):
    for path in of_all_kinds[0]:
        with pytest.raises(pnn.FormatError, match=match):
            pnn.load(path, **given)


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        (["moving_mean"], "without running statistics"),
        (["moving_variance", "gamma"], "without running statistics"),
        (["mean"], "of its arrays there are mean alone"),
        (["count", "variance"], "of its arrays there are count, variance alone"),
    ],
)
def test_weights_alone_that_lack_statistics(tmp_path, arrays, match):
    path = tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        for name in arrays:
            file[f"norm/norm/{name}:0"] = np.ones(3)
    with pytest.raises(pnn.FormatError, match=f"layer 'norm': {match}"):
        pnn.load(path, layers=["norm"])


@pytest.mark.parametrize("name", ["batch_normalization", "layer_normalization", "embedding"])
def test_weights_alone_that_do_not_tell_what_they_are(tmp_path, name):
    """A gamma or a beta that is missing; a layer that is none here."""
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        for i in range(3 if name.startswith("batch") else 1):
            file[f"layers/{name}/vars/{i}"] = np.ones(3)
    with pytest.raises(pnn.FormatError, match=f"those of '{name}' do not tell .* save the whole model"):
        pnn.load(tmp_path / "model.weights.h5", layers=[name])


@pytest.mark.parametrize(
    ("paths", "name"),
    [
        (["a/dense/vars/0", "b/dense/vars/0"], "b/dense/vars/0"),
        (["a/dense/kernel:0", "b/dense/kernel:0"], "b/dense/kernel:0"),
        (["gain/gain/gain:0"], "gain"),
        (["dense/dense/kernel:0", "dense/dense/gamma:0"], "dense"),
    ],
    ids=["numbered", "named", "unknown", "of two kinds"],
)
def test_weights_alone_with_names_that_do_not_tell_it(tmp_path, paths, name):
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        for path in paths:
            file[path] = np.ones((3, 3))
    with pytest.raises(pnn.FormatError, match=f"those of '{name}' do not tell what they belong to"):
        pnn.load(tmp_path / "model.weights.h5", last="relu")


def test_weights_of_a_class_of_ones_own(of_all_kinds, tmp_path):
    """Keras names them after its attributes, and their axes tell what they are."""
    (new, _), x, _ = of_all_kinds
    attributes = {"norm": "normalization", "first": "dense", "batch": "batch_normalization", "last": "dense_1"}
    with h5py.File(new) as file, h5py.File(tmp_path / "own.weights.h5", "w") as own:
        for attribute, name in attributes.items():
            for number, array in file[f"layers/{name}/vars"].items():
                own[f"{attribute}/vars/{number}"] = array[()]
    found = pnn.load(tmp_path / "own.weights.h5", layers=["norm", "first", "batch", "relu", "last"])
    wanted = pnn.load(new, layers=OF_ALL_KINDS)[: len(found)]
    np.testing.assert_array_equal(found(x), wanted(x))


def test_an_epsilon_that_nothing_takes(made, tmp_path):
    path = tmp_path / "model.weights.h5"
    path.write_bytes(members(made[0] / "function tanh.keras")["model.weights.h5"])
    with pytest.raises(pnn.FormatError, match="nothing in the file adds epsilon= to a variance: leave it out"):
        pnn.load(path, layers=["dense", "tanh"], epsilon=1e-3)


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
        file.attrs["model_config"] = entry * 400 + "[]" + "]}" * 400
    with pytest.raises(pnn.FormatError, match="its config is too deep"):
        read_keras(tmp_path / "model.h5")


@pytest.mark.parametrize("link", ["group", "array"])
def test_links_in_the_weights(made, tmp_path, link):
    """CVE-2026-1669 and what is like it."""
    path = tmp_path / "model.h5"
    path.write_bytes((made[0] / "function tanh.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        weights = file["model_weights"]
        name = next(name for name in weights if len(weights[name]))
        if link == "array":
            name = f"{name}/" + next(iter(file["model_weights"][name].attrs["weight_names"]))
        del weights[name]
        weights[name] = h5py.ExternalLink(str(made[0] / "deep.h5"), "/model_weights")
    with pytest.raises(pnn.FormatError, match="a link to elsewhere"):
        read_keras(path)


def test_values_in_another_file(made, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(1000))
    contents = members(made[0] / "function tanh.keras")
    data = io.BytesIO(contents["model.weights.h5"])
    with h5py.File(data, "r+") as file:
        group = file["layers/dense/vars"]
        shape = group["0"].shape
        del group["0"]
        group.create_dataset("0", shape, "f4", external=[(str(tmp_path / "secret"), 0, 1000)])
    path = packed(tmp_path / "model.keras", contents | {"model.weights.h5": data.getvalue()})
    with pytest.raises(pnn.FormatError, match="in another file, which is not opened"):
        read_keras(path)


def refused(path, match):
    """The peak of memory while the file is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(pnn.FormatError, match=match):
            read_keras(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("options", [{}, {"chunks": (2**10,), "compression": "gzip"}])
def test_shapes_of_more_than_there_is(made, tmp_path, options):
    """CVE-2026-0897."""
    contents = members(made[0] / "function tanh.keras")
    data = io.BytesIO(contents["model.weights.h5"])
    with h5py.File(data, "r+") as file:
        del file["layers/dense/vars/0"]
        file.create_dataset("layers/dense/vars/0", (2**36,), "f4", **options)
    path = packed(tmp_path / "model.keras", contents | {"model.weights.h5": data.getvalue()})
    assert refused(path, "layers/dense/vars/0") < 2**20


def test_bombs(made, tmp_path):
    contents = members(made[0] / "function tanh.keras")
    for name in contents:
        path = tmp_path / "bomb.keras"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for other in contents:
                archive.writestr(other, bytes(2**27) if other == name else contents[other])
        assert refused(path, "bomb.keras") < 2**26
    text = b'{"a":' + b"[],".join([b"["] + [b""] * 2**20) + b"[]]}"
    assert refused(packed(tmp_path / "long.keras", contents | {"config.json": text}), "characters") < 2**26


def test_names_of_members(made, tmp_path):
    contents = members(made[0] / "function tanh.keras")
    folder = tmp_path / "folder"
    folder.mkdir()
    path = packed(folder / "model.keras", {"../../evil": b"1", "/evil": b"1", **contents})
    read_keras(path)
    assert list(tmp_path.rglob("*")) == [folder, path]
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", b"{}")
    with pytest.raises(pnn.FormatError, match="several members of one name"):
        read_keras(path)
    for name in contents:
        packed(path, {other: data for other, data in contents.items() if other != name})
        with pytest.raises(pnn.FormatError, match=f"no member {name}"):
            read_keras(path)


def mutated(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(data) or 1)
        match rng.randrange(4):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                data[at : at + 8] = rng.choice([b"\0", b"\xff", b"\x7f"]) * 8
            case 2:
                other = rng.randrange(len(data) or 1)
                data[at : at + 8] = data[other : other + 8]
            case 3:
                del data[at : at + rng.choice([1, 8, 1000])]
    return bytes(data)


@pytest.mark.parametrize("part", ["h5", "keras", "config.json", "metadata.json", "model.weights.h5"])
def test_mutants(made, tmp_path, part):
    """Of real files, and of each member of an archive, whose checksums a plain mutant would not pass."""
    rng, path = random.Random(part), tmp_path / "model"
    source = made[0] / f"deep.{part if part in SUFFIXES else 'keras'}"
    contents = members(source) if part not in SUFFIXES else {}
    tracemalloc.start()
    try:
        for _ in range(200):
            if contents:
                packed(path, contents | {part: mutated(contents[part], rng)})
            else:
                path.write_bytes(mutated(source.read_bytes(), rng))
            with suppress(pnn.FormatError):
                assert read_keras(path).layers
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


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


@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"\x89HDF\r\n\x1a\n", b"no model"])
def test_other_bytes(tmp_path, data):
    path = tmp_path / "model.keras"
    path.write_bytes(data)
    with pytest.raises(pnn.FormatError, match=r"model\.keras"):
        read_keras(path)
