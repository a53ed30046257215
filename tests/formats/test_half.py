"""Files of float16: what is folded of their numbers keeps all digits that these have."""

from importlib import import_module

import numpy as np
import pytest
import safetensors.numpy

import portable_nn as pnn

torch = pytest.importorskip("torch", reason="PyTorch is the oracle: pip install torch")
nn = torch.nn

X = np.random.default_rng(0).normal(size=(50, 6)) * 3
MEANS = [0.3, -0.4, 2.0, 100.0, -1000.0, 0.0]  # few deviations and many


def batch_norm(**options):
    """Of float16, with statistics as if it had been trained."""
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(6, **options)
    norm.running_mean[:] = torch.tensor(MEANS)
    norm.running_var[:] = torch.rand(6) + 0.5
    if norm.affine:
        norm.weight.data, norm.bias.data = torch.rand(6) + 0.5, torch.randn(6)
    return norm.half().eval()


def check(net, wanted):
    assert np.abs(net(X) - wanted).max() < 1e-6 * np.abs(wanted).max()


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"eps": 0.1}])
def test_pytorch(tmp_path, options):
    model = batch_norm(**options)
    torch.save(nn.Sequential(model), tmp_path / "model.pt")
    wanted = model.double()(torch.from_numpy(X)).detach().numpy()
    check(pnn.load(tmp_path / "model.pt"), wanted)
    check(pnn.from_torch(model.half()), wanted)


def test_a_state_dict(tmp_path):
    model = nn.Sequential(batch_norm())
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    safetensors.numpy.save_file(arrays, tmp_path / "model.safetensors")
    wanted = model.double()(torch.from_numpy(X)).detach().numpy()
    check(pnn.load(tmp_path / "model.safetensors", layers=["0"]), wanted)


@pytest.mark.parametrize("operator", ["BatchNormalization", "Div"])
def test_onnx(tmp_path, operator):
    onnx = pytest.importorskip("onnx", reason="the oracle is ONNX's own evaluator: pip install onnx")
    evaluator = import_module("onnx.reference").ReferenceEvaluator
    names = ["weight", "bias", "running_mean", "running_var"]
    state = batch_norm().state_dict()
    if operator == "Div":
        names, state = ["divisor"], {"divisor": torch.tensor([3.0, 0.7, 1.1, -5.0, 9.0, 0.3])}

    def model(kind, dtype):
        arrays = [onnx.numpy_helper.from_array(state[name].half().numpy().astype(dtype), name) for name in names]
        x, y = (onnx.helper.make_tensor_value_info(name, kind, ["n", 6]) for name in "xy")
        node = onnx.helper.make_node(operator, ["x", *names], ["y"])
        return onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y], arrays))

    onnx.save(model(onnx.TensorProto.FLOAT16, "float16"), tmp_path / "model.onnx")
    (wanted,) = evaluator(model(onnx.TensorProto.DOUBLE, "float64")).run(None, {"x": X})
    check(pnn.load(tmp_path / "model.onnx"), wanted)


@pytest.mark.parametrize("kind", ["BatchNormalization", "Normalization"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras
def test_keras(tmp_path, kind):
    keras = pytest.importorskip("keras", reason="the oracle is Keras: pip install keras torch")
    mean, variance = np.float16(MEANS), np.float16(0.3 + np.arange(6))
    state = [mean, variance, np.int32(7)] if kind == "Normalization" else [variance + 1, variance, mean, variance]

    def made(dtype):
        layer = getattr(keras.layers, kind)(dtype=dtype)
        model = keras.Sequential([keras.Input((6,), dtype=dtype), layer])
        model.set_weights(state)
        if kind == "Normalization":
            layer.finalize_state()
        return model

    half = made("float16")
    half.save(tmp_path / "model.keras")
    wanted = keras.ops.convert_to_numpy(made("float64")(torch.from_numpy(X)))
    check(pnn.load(tmp_path / "model.keras"), wanted)
    check(pnn.from_keras(half), wanted)
