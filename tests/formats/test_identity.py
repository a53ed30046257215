"""Models of nothing that computes, in any format: the identity, as the frameworks have it."""

from functools import partial

import numpy as np
import pytest

import portable_nn as pnn

X = np.random.default_rng(0).normal(size=(5, 3))


def check(net):
    """It gives what it takes, as an array of its own."""
    assert net.predict(np.eye(3)).tolist() == [0, 1, 2]
    found = net(X)
    np.testing.assert_array_equal(found, X)
    assert not np.shares_memory(found, X)


@pytest.mark.parametrize("modules", [[], ["Dropout"], ["Identity", "AlphaDropout"]])
def test_pytorch(tmp_path, modules):
    torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install torch")
    model = torch.nn.Sequential(*(getattr(torch.nn, name)() for name in modules)).eval()
    np.testing.assert_array_equal(model(torch.from_numpy(X)), X)
    torch.save(model, tmp_path / "model.pt")
    check(pnn.load(tmp_path / "model.pt"))
    check(pnn.from_torch(model))
    pnn.save(pnn.from_torch(model), tmp_path / "model.npz")
    check(pnn.load(tmp_path / "model.npz"))


@pytest.mark.parametrize("end", ["Dropout", "Softmax"])
def test_pytorch_flattens_what_it_is_told_to_take(tmp_path, end):
    """Nothing else tells it: images would come out as they are, or with probabilities of each of their rows."""
    torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install torch")
    model = torch.nn.Sequential(torch.nn.Flatten(), getattr(torch.nn, end)(1)).eval()
    torch.save(model, tmp_path / "model.pt")
    for read in (partial(pnn.load, tmp_path / "model.pt"), partial(pnn.from_torch, model)):
        with pytest.raises(pnn.PortableNNError, match=r"what its Flatten takes: give it, such as sample_shape="):
            read()
        images = torch.from_numpy(X.reshape(1, 5, 3))
        np.testing.assert_allclose(read(sample_shape=(5, 3))(images), model(images))
        vectors = torch.from_numpy(X)
        np.testing.assert_allclose(read(sample_shape=(3,))(vectors), model(vectors))


@pytest.mark.filterwarnings("ignore")  # of Keras, about itself and its backend
@pytest.mark.parametrize("kinds", [[], ["Dropout"], ["GaussianNoise", "Flatten"]])
def test_keras(tmp_path, kinds):
    keras = pytest.importorskip("keras", reason="the oracle is Keras: pip install keras torch")
    options = {"Dropout": 0.5, "GaussianNoise": 0.5, "Flatten": None}
    layers = [getattr(keras.layers, kind)(options[kind]) for kind in kinds]
    model = keras.Sequential([keras.Input((3,)), *layers])
    for suffix in ("keras", "h5"):
        model.save(tmp_path / f"model.{suffix}")
        check(pnn.load(tmp_path / f"model.{suffix}"))
    check(pnn.from_keras(model))


@pytest.mark.filterwarnings("ignore")  # of Keras, about itself and its backend
def test_keras_that_was_never_called(tmp_path):
    """Its config has no layers, not even one of its input."""
    keras = pytest.importorskip("keras", reason="the oracle is Keras: pip install keras torch")
    model = keras.Sequential()
    for suffix in ("keras", "h5"):
        model.save(tmp_path / f"model.{suffix}")
        check(pnn.load(tmp_path / f"model.{suffix}"))
    check(pnn.from_keras(model))


@pytest.mark.parametrize("operator", ["Identity", "Dropout", "Flatten"])
def test_onnx(tmp_path, operator):
    onnx = pytest.importorskip("onnx", reason="pip install onnx")
    x, y, z = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3]) for name in "xyz")
    graph = onnx.helper.make_graph([onnx.helper.make_node(operator, ["x"], ["y"])], "g", [x], [y])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "model.onnx")
    check(pnn.load(tmp_path / "model.onnx"))
    graph = onnx.helper.make_graph([onnx.helper.make_node(operator, ["x"], ["y"])], "g", [x, z], [y])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "model.onnx")
    np.testing.assert_array_equal(pnn.load(tmp_path / "model.onnx")({"x": X, "z": -X}), X)
