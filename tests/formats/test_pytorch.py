"""Models of PyTorch's own modules, from files and live: PyTorch makes them and predicts."""

import textwrap

import numpy as np
import pytest
from helpers import TOLERANCE, check_beside, placed, run_python
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_models import ACTIVATIONS, RNG, X, mlp, models, predicted, randomized

import portable_nn as pnn
from portable_nn.errors import FormatError, NetworkError
from portable_nn.formats.pytorch import from_torch, read_pytorch

torch = pytest.importorskip("torch", reason="PyTorch is the oracle: pip install torch")
nn = torch.nn


@given(st.data(), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=80)
def test_random_architectures(tmp_path_factory, data, zipped, training):
    model, width = data.draw(models())
    model = randomized(nn.Sequential(*model, nn.Linear(width, 2))).train(training)
    path = tmp_path_factory.getbasetemp() / "random.pt"
    torch.save(model, path, _use_new_zipfile_serialization=zipped)
    expected = predicted(model, X)
    np.testing.assert_allclose(read_pytorch(path)(X), expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(from_torch(model)(X), expected, rtol=1e-9, atol=1e-11)
    assert model.training is training


@pytest.mark.parametrize("name", sorted({*nn.modules.activation.__all__} - {"MultiheadAttention", "Softmax2d"}))
@given(data=st.data())
@settings(deadline=None, max_examples=10)
def test_every_activation_of_pytorch(name, data):
    width = 6 if name == "GLU" else 3
    model = randomized(nn.Sequential(nn.Linear(4, width), data.draw(ACTIVATIONS[name]), nn.Linear(3, 2)))
    np.testing.assert_allclose(from_torch(model)(X), predicted(model, X), rtol=1e-9, atol=1e-11)


def everything():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(4, 6),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Dropout(),
        nn.Sequential(nn.Linear(6, 6, bias=False), nn.LayerNorm(6), nn.GELU(), nn.Identity()),
        nn.Linear(6, 5),
        nn.PReLU(5),
        nn.RMSNorm(5),
        nn.Linear(5, 5),
        nn.LeakyReLU(0.2),
        nn.Linear(5, 3),
        nn.Softmax(dim=1),
    )
    return randomized(model).float()


@pytest.mark.dtypes("float32", "float64")
def test_on_every_library(backend, dtype, tmp_path):
    model = everything()
    torch.save(model, tmp_path / "model.pt")
    x = placed(backend, X, dtype)
    result = pnn.load(tmp_path / "model.pt")(x)
    check_beside(result, x, backend.dtype(dtype), (7, 3))
    expected = predicted(model.double(), X.astype(dtype).astype(np.float64))
    np.testing.assert_allclose(backend.to_numpy(result), expected, atol=TOLERANCE["float32"])


BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchgen", "functorch"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Blocked())
"""


def test_where_pytorch_cannot_be_imported(tmp_path):
    model = everything()
    torch.save(model, tmp_path / "zip.pt")
    torch.save(model, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    chain = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    torch.save({"model_state_dict": chain.state_dict(), "epoch": 3}, tmp_path / "state.pt")
    x = X.astype(np.float32)
    np.savez(tmp_path / "expected.npz", x=x, model=predicted(model, x), chain=predicted(chain, x))
    code = BLOCKED + textwrap.dedent(f"""
        import os
        import numpy as np
        import portable_nn as pnn
        os.chdir({str(tmp_path)!r})
        expected = np.load("expected.npz")
        for name in ("zip.pt", "legacy.pt"):
            np.testing.assert_allclose(pnn.load(name)(expected["x"]), expected["model"], rtol=1e-4, atol=1e-6)
        chain = pnn.load("state.pt", activation="tanh", last="identity")
        np.testing.assert_allclose(chain(expected["x"]), expected["chain"], rtol=1e-4, atol=1e-6)
        assert "torch" not in sys.modules
        print("done")
    """)
    assert run_python("-c", code) == "done\n"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_weights_are_those_of_the_file(tmp_path, dtype):
    model = everything().to(dtype)
    torch.save(model, tmp_path / "model.pt")
    kept = "float16" if dtype == torch.float16 else "float32"
    for net in (read_pytorch(tmp_path / "model.pt"), from_torch(model)):
        assert net.dtype == "float32"  # that of what is folded of a BatchNorm, which would lose digits
        as_they_are = [layer for layer in net.layers if not isinstance(layer, pnn.Rescaling)]
        assert {array.dtype.name for layer in as_they_are for array in layer.arrays.values()} == {kept}
        weight = next(layer for layer in net.layers if isinstance(layer, pnn.Dense)).weight
        np.testing.assert_array_equal(weight, model[1].weight.detach().float().numpy().T)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("affine", [True, False])
def test_what_rmsnorm_adds_by_default(tmp_path, dtype, affine):
    model = nn.Sequential(nn.RMSNorm(3, elementwise_affine=affine), nn.Linear(3, 2)).to(dtype)
    x = torch.tensor([1e-3, -2e-3, 5e-4], dtype=dtype)
    nets = [from_torch(model)]
    if affine:
        torch.save(model.state_dict(), tmp_path / "state.pt")
        nets.append(pnn.load(tmp_path / "state.pt", layers=["rmsnorm:0", "1"]))
    for net in nets:
        result = pnn.Network(net.layers[:1])(x.double().numpy())
        np.testing.assert_allclose(result, model[0](x).double().detach().numpy(), rtol=1e-2)


def test_activations_without_parameters_are_in_the_dense():
    model = nn.Sequential(
        nn.Linear(4, 3), nn.ELU(), nn.Linear(3, 2), nn.ELU(0.5), nn.Linear(2, 2), nn.Softmax(-1)
    )
    assert [repr(layer) for layer in from_torch(model).layers] == [
        "Dense(4, 3, 'elu')",
        "Dense(3, 2, 'identity')",
        "Activation('elu', alpha=0.5)",
        "Dense(2, 2, 'softmax')",
    ]


def test_samples_that_are_no_vectors():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5)).double()
    images = RNG.normal(size=(6, 3, 4))
    expected = predicted(model, images)
    np.testing.assert_allclose(from_torch(model, sample_shape=(3, 4))(images), expected, rtol=1e-12)
    np.testing.assert_allclose(from_torch(model)(images.reshape(6, 12)), expected, rtol=1e-12)
    np.testing.assert_allclose(from_torch(model)(images), expected, rtol=1e-12)
    with pytest.raises(NetworkError, match=r"no Flatten that takes samples of shape \(3, 4\)"):
        from_torch(model[1], sample_shape=(3, 4))


def test_weights_are_copies():
    model = nn.Sequential(nn.Linear(4, 2)).double()
    net = from_torch(model)
    before = net(X)
    with torch.no_grad():
        model[0].weight += 1
    np.testing.assert_array_equal(net(X), before)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_one_module_alone_and_wrappers():
    linear = nn.Linear(4, 2).double()
    for model in (linear, torch.compile(linear), nn.DataParallel(linear), nn.Sequential(linear)):
        np.testing.assert_allclose(from_torch(model)(X), predicted(linear, X), rtol=1e-12)


def test_a_whole_model_inside_of_a_checkpoint(tmp_path):
    model = mlp(4, 3, 2)
    torch.save({"model": model, "epoch": 3}, tmp_path / "checkpoint.pt")
    np.testing.assert_allclose(pnn.load(tmp_path / "checkpoint.pt")(X), predicted(model, X), rtol=1e-12)


def test_the_sample_shape_of_a_model_that_was_saved_whole(tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 2))
    torch.save(model, tmp_path / "model.pt")
    net = pnn.load(tmp_path / "model.pt", sample_shape=(2, 3))
    assert net.input_shape == (2, 3)
    x = torch.ones(4, 2, 3)
    torch.testing.assert_close(net(x), model(x).detach())
    torch.save(model.state_dict(), tmp_path / "model.pt")
    with pytest.raises(FormatError, match="weights alone, which take vectors: leave sample_shape= out"):
        pnn.load(tmp_path / "model.pt", sample_shape=(2, 3), last="identity")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_modules_that_were_saved_whole(tmp_path):
    torch.save(torch.compile(nn.Linear(4, 2)), tmp_path / "model.pt")
    with pytest.raises(FormatError, match=r"of torch\.compile's: save its _orig_mod"):
        pnn.load(tmp_path / "model.pt")


def test_a_whole_model_says_itself_what_it_is(tmp_path):
    torch.save(mlp(4, 3, 2), tmp_path / "model.pt")
    with pytest.raises(FormatError, match="which layers it has: leave activation= out"):
        pnn.load(tmp_path / "model.pt", activation="relu")
