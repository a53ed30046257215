"""Models of Keras and PyTorch that branch: the frameworks are the oracle."""

from functools import lru_cache

import numpy as np
import pytest
from helpers import EPSILON, check_beside, placed
from hypothesis import HealthCheck, given, settings
from residuals import in_keras, in_torch, recipes, samples

import portable_nn as pnn

DRAWN = settings(
    deadline=None,
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def alone(named):
    """The one array of a dict, or the dict of several."""
    return named if len(named) > 1 else next(iter(named.values()))


def far(found, wanted):
    """How far outputs are from others, in parts of the largest, 1 at least."""
    found, wanted = ({"": y} if not isinstance(y, dict) else y for y in (found, wanted))
    assert list(found) == list(wanted)
    return max(
        np.max(np.abs(found[name] - y)) / (1 + np.max(np.abs(y))) if found[name].shape == y.shape else np.inf
        for name, y in wanted.items()
    )


@given(recipe=recipes())
@DRAWN
@pytest.mark.filterwarnings("ignore")
def test_random_models_of_keras(tmp_path_factory, recipe):
    keras = pytest.importorskip("keras", reason="the oracle is Keras: pip install keras torch")
    model, x = in_keras(recipe), samples(recipe)
    given = [keras.ops.convert_to_tensor(value, "float64") for value in x.values()]
    wanted = model(given if len(x) > 1 else given[0])
    wanted = keras.tree.map_structure(keras.ops.convert_to_numpy, wanted)
    folder = tmp_path_factory.mktemp("model")
    nets = [pnn.from_keras(model)]
    for name in ("model.keras", "model.h5"):
        model.save(folder / name)
        nets.append(pnn.load(folder / name))
    pnn.save(nets[0], folder / "model.npz")
    for net in (*nets, pnn.load(folder / "model.npz")):
        assert far(net(alone(x)), wanted) < 1e-6  # Keras's BatchNormalization keeps no more digits


@lru_cache(maxsize=64)
def of_torch(recipe):
    """The network of a recipe, and what PyTorch makes of its samples."""
    torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install torch")
    module = in_torch(recipe)
    net = pnn.from_torch(module, sample_shape={name: x.shape[1:] for name, x in samples(recipe).items()})
    assert module.training
    with torch.no_grad():
        wanted = module.eval()(*map(torch.as_tensor, samples(recipe).values()))
    return net, {name: y.numpy() for name, y in wanted.items()} if isinstance(wanted, dict) else wanted.numpy()


@given(recipe=recipes())
@DRAWN
def test_random_modules_of_torch(tmp_path_factory, recipe):
    net, wanted = of_torch(recipe)
    path = tmp_path_factory.mktemp("model") / "net.safetensors"
    pnn.save(net, path)
    for each in (net, pnn.load(path)):
        assert far(each(alone(samples(recipe))), wanted) < 1e-10


@given(recipe=recipes(inputs=1))
@DRAWN
def test_written_as_onnx(tmp_path_factory, recipe):
    pytest.importorskip("onnx", reason="pip install onnx")
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    _, wanted = of_torch(recipe)
    net = pnn.from_torch(
        in_torch(recipe).float(), sample_shape=(recipe[0][0],)
    )  # ONNX Runtime has no Erf of float64
    path = tmp_path_factory.mktemp("model") / "net.onnx"
    pnn.save(net, path)
    session = onnxruntime.InferenceSession(path)
    (given_name,) = (value.name for value in session.get_inputs())
    x = samples(recipe)["a"].astype(np.float32)
    made = session.run(None, {given_name: x})
    made = dict(zip([value.name for value in session.get_outputs()], made, strict=True))
    for found in (made if isinstance(wanted, dict) else alone(made), pnn.load(path)(x)):
        assert far(found, wanted) < 1e-4


@given(recipe=recipes())
@settings(DRAWN, max_examples=3, derandomize=True)
def test_on_every_backend(backend, dtype, recipe):
    net, wanted = of_torch(recipe)
    x = {name: placed(backend, value, dtype) for name, value in samples(recipe).items()}
    found = net(alone(x))
    like = next(iter(x.values()))
    outputs = found if isinstance(found, dict) else {"": found}
    for name, y in (wanted if isinstance(wanted, dict) else {"": wanted}).items():
        check_beside(outputs[name], like, like.dtype, y.shape)
    found = {name: backend.to_numpy(y).astype(np.float64) for name, y in outputs.items()}
    assert far(found if isinstance(wanted, dict) else found[""], wanted) < 64 * EPSILON[dtype]
