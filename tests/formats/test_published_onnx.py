"""ONNX files that others made: surrogates from the registry, those of the package onnx, and Keras's exports."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import EPSILON, download, placed, run_python

import portable_nn as pnn
from portable_nn.errors import FormatError
from portable_nn.formats.onnx import read_onnx

onnx = pytest.importorskip("onnx", reason="pip install onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")


def in_runtime(path, inputs):
    session = onnxruntime.InferenceSession(path)
    return dict(zip([y.name for y in session.get_outputs()], session.run(None, inputs), strict=True))


@pytest.fixture(scope="session")
def surrogates(tmp_path_factory):
    """The surrogates of what machine-learning models score, of the library surfaces, by name."""
    folder = tmp_path_factory.mktemp("surrogates")
    with zipfile.ZipFile(download(folder, "surfaces-surrogates==0.0.1")) as wheel:
        for name in wheel.namelist():
            if name.endswith(".onnx"):
                (folder / Path(name).name).write_bytes(wheel.read(name))
    return folder


SURROGATES = {
    "decision_tree_classifier": (6, 128),
    "gradient_boosting_regressor": (4, 64),
    "k_neighbors_classifier": (5, 128),
    "k_neighbors_regressor": (5, 128),
    "svm_regressor": (6, 128),
}


@pytest.mark.parametrize("name", SURROGATES)
def test_surrogates(surrogates, tmp_path, name):
    n, width = SURROGATES[name]
    path = surrogates / f"{name}.onnx"
    net = pnn.load(path)
    kinds = [type(layer).__name__ for layer in net.layers]
    assert kinds == ["Rescaling", "Dense", "Dense", "Dense"]
    assert [layer.input_shape for layer in net.layers] == [(n,), (n,), (width,), (width,)]
    x = np.random.default_rng(0).normal(size=(50, n)).astype(np.float32) * 3
    (wanted,) = in_runtime(path, {"input": x}).values()
    np.testing.assert_allclose(net(x), wanted, rtol=1e-5, atol=1e-5)
    pnn.save(net, tmp_path / "again.onnx")
    assert pnn.load(tmp_path / "again.onnx").same_architecture(net)


def test_a_surrogate_on_every_library(surrogates, backend, dtype):
    path = surrogates / "svm_regressor.onnx"
    x = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    (wanted,) = in_runtime(path, {"input": x}).values()
    found = backend.to_numpy(pnn.load(path)(placed(backend, x, dtype))).astype(np.float64)
    unit = max(EPSILON[dtype], EPSILON["float32"])
    np.testing.assert_allclose(found, wanted, atol=64 * unit * np.max(np.abs(wanted)))


def test_trees_are_named(surrogates):
    with pytest.raises(FormatError, match=r"TreeEnsembleClassifier .*is not computed"):
        pnn.load(surrogates / "k_neighbors_classifier.validity.onnx")


BROUGHT = Path(onnx.__file__).parent / "backend" / "test" / "data"


def tensor(path):
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


@pytest.mark.skipif(not BROUGHT.exists(), reason="this version of the package onnx brings no models")
def test_what_the_package_brings():
    """Old exports of PyTorch and others: what is read gives the outputs beside it; opsets before 7 are not."""
    read = 0
    for path in BROUGHT.glob("*/*/model.onnx"):
        opsets = onnx.load(path, load_external_data=False).opset_import
        if max(each.version for each in opsets if not each.domain) < 7:
            with pytest.raises(FormatError, match=r"is of opset \d: those from 7 on are read"):
                read_onnx(path)
            continue
        try:
            net = read_onnx(path)
        except FormatError:
            continue
        for data in path.parent.glob("test_data_set_*"):
            wanted = tensor(data / "output_0.pb")
            np.testing.assert_allclose(net(tensor(data / "input_0.pb")), wanted, rtol=1e-4, err_msg=str(path))
            read += 1
    assert read >= 4


KERAS = """
import sys, warnings
warnings.simplefilter("ignore")
import keras, numpy as np
from keras import layers
folder = sys.argv[1]
rng = np.random.default_rng(0)
a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
hidden = layers.BatchNormalization()(layers.Dense(3, "gelu")(a))
residual = keras.Model(a, layers.Dense(2, "softmax")(layers.Add()([hidden, a])))
side = layers.Concatenate()([layers.Dense(4, "silu")(a), b])
several = keras.Model([a, b], [layers.Dense(2, "tanh")(side), layers.Multiply()([a, b])])
x = rng.normal(size=(2, 7, 3)).astype("float32")
for name, model in {"residual": residual, "several": several}.items():
    given = [x[0]] if name == "residual" else list(x)
    made = model(given[0] if name == "residual" else given)
    made = [keras.ops.convert_to_numpy(y) for y in (made if isinstance(made, list) else [made])]
    np.savez(f"{folder}/{name}.npz", *made, x=x)
    model.export(f"{folder}/{name}.onnx", format="onnx", verbose=False)
"""


def test_what_keras_exports(tmp_path):
    """On its backend of PyTorch: that of JAX needs jax2onnx, and no LayerNormalization is exported there."""
    for needed in ("keras", "torch"):
        pytest.importorskip(needed, reason=f"Keras's export is the oracle: pip install {needed}")
    run_python("-c", KERAS, tmp_path, env=os.environ | {"KERAS_BACKEND": "torch"})
    with np.load(tmp_path / "residual.npz") as data:
        net = pnn.load(tmp_path / "residual.onnx")
        assert [type(layer).__name__ for layer in net.layers][-1] == "Dense"
        np.testing.assert_allclose(net(data["x"][0]), data["arr_0"], rtol=1e-4, atol=1e-5)
    with np.load(tmp_path / "several.npz") as data:
        found = pnn.load(tmp_path / "several.onnx")(dict(zip("ab", data["x"], strict=True)))
        for y, name in zip(found.values(), ("arr_0", "arr_1"), strict=True):
            np.testing.assert_allclose(y, data[name], rtol=1e-4, atol=1e-5)
