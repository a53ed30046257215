"""Keras's models, from files and live: Keras itself is the oracle."""

import json

import numpy as np
import pytest
from helpers import run_python
from keras_files import SUFFIXES, generated

import portable_nn as pnn
from portable_nn.formats.keras import from_keras, read_keras


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
        pnn.NetworkError, match=r"'out': it has arrays 0, 1, 2.* where a Dense like it has kernel"
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
