"""State dicts of PyTorch, which tell weights alone: PyTorch predicts what the network is held to."""

import pickle

import numpy as np
import pytest
import safetensors.numpy
from pytorch_models import X, mlp, nested, predicted, randomized

import portable_nn as pnn
from portable_nn.errors import FormatError, NetworkError
from portable_nn.formats.states import state_layers

torch = pytest.importorskip("torch", reason="PyTorch is the oracle: pip install torch")
nn = torch.nn


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize(
    "keys", [(), ("state_dict",), ("model_state_dict",), ("model",), ("state_dict", "model"), ("model",) * 3]
)
def test_state_dicts(tmp_path, prefix, keys):
    model = mlp(4, 3, 3, 2)
    state = {f"{prefix}{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save(nested(state, keys), tmp_path / "state.pt")
    net = pnn.load(tmp_path / "state.pt", activation="relu", last="identity")
    assert [layer.activation for layer in net.layers] == ["relu", "relu", "identity"]
    np.testing.assert_allclose(net(X), predicted(model, X), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_safetensors(tmp_path, dtype):
    save_file = pytest.importorskip("safetensors.torch").save_file
    model = mlp(4, *[3] * 11, 2).to(dtype)  # whose names are not in the order of the alphabet
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    net = pnn.load(tmp_path / "model.safetensors", activation="relu", last="identity")
    np.testing.assert_allclose(net(X), predicted(model.double(), X), rtol=1e-12, atol=1e-6)


def test_safetensors_with_counters_and_without_dtypes_of_numpy(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    model = randomized(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    net = pnn.load(tmp_path / "model.safetensors", layers=["0", "1"])
    np.testing.assert_allclose(net(X), predicted(model, X), rtol=1e-9)
    save_file({"0.weight": torch.ones(3, 4).to(torch.float8_e4m3fn)}, tmp_path / "model.safetensors")
    with pytest.raises(FormatError, match=r"tensor 0\.weight has dtype F8_E4M3: cast it"):
        pnn.load(tmp_path / "model.safetensors", last="relu")


def test_one_module_has_nothing_between(tmp_path):
    linear = nn.Linear(4, 2).double()
    torch.save(linear.state_dict(), tmp_path / "state.pt")
    for said in ({"last": "tanh"}, {"layers": ["", "tanh"]}):
        net = pnn.load(tmp_path / "state.pt", **said)
        np.testing.assert_allclose(net(X), np.tanh(predicted(linear, X)), rtol=1e-12)


def test_names_and_layers_in_order(tmp_path):
    modules = {
        "out": nn.Linear(3, 2),
        "norm": nn.LayerNorm(5),
        "fc": nn.Linear(4, 5),
        "batch": nn.BatchNorm1d(3),
        "root": nn.RMSNorm(3),
        "slope": nn.PReLU(3),
        "middle": nn.Linear(5, 3),
    }
    randomized(nn.ModuleDict(modules))
    torch.save(nn.ModuleDict(modules).state_dict(), tmp_path / "state.pt")
    order = ["fc", "norm", nn.ELU(0.5), "middle", "batch", "slope", "root", nn.Tanh(), "out"]
    model = nn.Sequential(*(modules.get(entry, entry) if isinstance(entry, str) else entry for entry in order))
    layers = [
        "fc", "layernorm:norm", pnn.Activation("elu", alpha=0.5), "middle", "batch", "prelu:slope",
        "rmsnorm:root", "tanh", "out",
    ]  # fmt: skip
    net = pnn.load(tmp_path / "state.pt", layers=layers, rescale=0.5)
    np.testing.assert_allclose(net(X), predicted(model, 0.5 * X), rtol=1e-9)


@pytest.mark.parametrize("names", ["abc", "cab", "bca"])
def test_shapes_tell_the_order(tmp_path, names):
    sizes = dict(zip("abc", [(4, 3), (3, 5), (5, 2)], strict=True))
    modules = {name: nn.Linear(*sizes[name]) for name in names}
    torch.save(nn.ModuleDict(modules).state_dict(), tmp_path / "state.pt")
    net = pnn.load(tmp_path / "state.pt", activation="relu", last="softmax")
    assert [layer.input_shape for layer in net.layers] == [(4,), (3,), (5,)]


def test_shapes_tell_it_against_numbers_and_against_sizes(tmp_path):
    modules = {"fc64": nn.Linear(8, 64), "fc32": nn.Linear(64, 32), "fc3": nn.Linear(32, 3)}
    torch.save(nn.ModuleDict(modules).state_dict(), tmp_path / "state.pt")
    net = pnn.load(tmp_path / "state.pt", activation="relu", last="softmax")
    assert [layer.input_shape for layer in net.layers] == [(8,), (64,), (32,)]


SQUARE = {"first.weight": torch.ones(3, 3), "second.weight": torch.ones(3, 3)}
CHAIN = {"fc1.weight": torch.ones(3, 4), "fc1.bias": torch.ones(3), "fc2.weight": torch.ones(2, 3)}
BOTH = {"activation": "relu", "last": "softmax"}


@pytest.mark.parametrize(
    ("state", "given", "match"),
    [
        (CHAIN, {}, r"give activation= and last=, .*layers=\['fc1', 'relu', 'fc2', 'softmax'\]; it holds fc1 "
                    r"\(Linear, 4 to 3\), fc2 \(Linear, 3 to 2\)"),
        (CHAIN, {"activation": "relu"}, "give activation= and last="),
        (CHAIN, {"last": "relu"}, "give activation= and last="),
        (CHAIN, {"activation": "swush", "last": "relu"}, "'swush'"),
        (CHAIN, {"layers": ["fc1", "fc2"], **BOTH}, "not both"),
        (CHAIN, {"layers": ["fc1"]}, "no entry of layers= takes fc2"),
        (CHAIN, {"layers": ["fc2", "relu", "fc1"]}, "layer 0 gives 2 values, layer 1 takes 4"),
        (CHAIN, {"layers": ["fc1", "fc3"]}, "'fc3' is no module of the file, nor an activation: it holds fc1"),
        (CHAIN, {"layers": ["fc1", "relu", "Dropout", "fc2"]}, r"it holds fc1 .*; leave dropout out"),
        (CHAIN, {"layers": ["fc1", "layernorm:fc2"]}, "fc2 .* is no layernorm"),
        (SQUARE, BOTH, "neither shapes nor numbers nor .* give layers="),
        ({"a.weight": torch.ones(2, 3), "b.weight": torch.ones(2, 3)}, BOTH, "neither shapes nor numbers"),
        ({f"up{i}.weight": torch.ones(6, 6) for i in (2, 1)}, BOTH, r"give layers=\['up2', 'relu', 'up1'"),
        ({f"q{i}.{j}.weight": torch.ones((8, 6)[:: 1 - j]) for i in (1, 2) for j in (0, 2)}, BOTH, "all do"),
        (CHAIN, {"layers": "fc1"}, r"layers= takes a list, .*got 'fc1'"),
        (CHAIN, {"activation": "relu", "last": nn.ReLU()}, r"by its name: .*ReLU\(\).*did you mean 'relu'"),
        (CHAIN, {"layers": ["fc1", ["relu"], "fc2"]}, "by its name"),
        (CHAIN, {"layers": 3}, "layers= takes a list, .*got 3"),
        ({"fc1.weight": torch.ones(3, 4), "bn.running_mean": torch.ones(3), "ln.weight": torch.ones(3),
          "ln.bias": torch.ones(3), "fc2.weight": torch.ones(2, 3)}, {},
         r"layers=\['fc1', 'bn', 'layernorm:ln', 'relu', 'fc2', 'softmax'\]"),
        ({"fc.weight_orig": torch.ones(2, 2), "fc.weight_u": torch.ones(2)}, BOTH, "remove_spectral_norm"),
        ({"fc.weight_orig": torch.ones(2, 2), "fc.weight_mask": torch.ones(2, 2)}, BOTH, r"prune\.remove"),
        ({"fc.parametrizations.weight.original": torch.ones(2, 2)}, BOTH, "remove_parametrizations"),
        (CHAIN | {"bn.running_mean": torch.ones(3)}, BOTH, r"not all modules of the file are Linear"),
        (CHAIN | {"ln.weight": torch.ones(3)}, {"layers": ["fc1", "ln", "fc2"]}, "one of layernorm:ln, rms"),
        (CHAIN | {"conv.weight": torch.ones(3, 3, 1)}, {"layers": ["fc1", "conv"]}, "conv.* which is no Lin"),
        (CHAIN | {"fc3.bias": torch.ones(2)}, {"layers": ["fc1", "fc3"]}, r"fc3 \(bias\) is no Linear"),
        ({"fc.weight_g": torch.ones(2, 1)}, BOTH, "the file holds fc.weight_g, which no chain of Linear has"),
        ({}, BOTH, "the file holds no weights"),
        (CHAIN | {3: torch.ones(2)}, BOTH, "its entry 3"),
        (CHAIN | {"step": 3}, BOTH, "its entry 'step' is a int, no tensor"),
        (CHAIN | {"x.weight": torch.ones(2).to_sparse()}, BOTH, "its entry 'x.weight' is a call of .*sparse"),
        ({"model": CHAIN, "state_dict": CHAIN}, BOTH, "a model under state_dict and model: save the one"),
        ([CHAIN], BOTH, "a list"),
        ({"epoch": 3, "net": CHAIN}, BOTH, r"a model under 'net', .*torch\.save\(torch\.load\(path\)\['net'\]"),
        ({"epoch": 3, "model_ema": nn.Linear(2, 2)}, {}, "a model under 'model_ema'"),
        (CHAIN | {"fc2.weight": torch.full((2, 3), torch.nan)}, BOTH, "nan"),
        ({"bn.running_mean": torch.ones(3), "bn.running_var": torch.ones(4)}, {"layers": ["bn"]}, "statistics"),
        ({f"bn.{name}": torch.ones(3 + (name == "weight")) for name in ("running_mean", "running_var", "weight")},
         {"layers": ["bn"]}, "its weight and bias are not one number for each feature"),
        (nested(CHAIN, ["model"] * 4), {}, "a model under 'model', among other things"),
        ({"bn.running_mean": torch.ones(3), "bn.running_var": -torch.ones(3)}, {"layers": ["bn"]}, "deviation"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_state_dicts_do_not_say(tmp_path, state, given, match):
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(FormatError, match=match) as caught:
        pnn.load(tmp_path / "state.pt", **given)
    assert "state.pt" in str(caught.value)


@pytest.mark.parametrize("slopes", [[0.5], [0.1, 0.2, 0.3]])
def test_one_slope_or_one_for_each_feature(slopes):
    net = pnn.Network(state_layers({"act.weight": np.array(slopes)}, layers=["prelu:act"]))
    np.testing.assert_array_equal(net(-np.ones((2, 3))), np.broadcast_to(np.negative(slopes), (2, 3)))


@pytest.mark.parametrize(("n", "more"), [(20, ""), (23, " and 3 more")])
def test_of_many_modules_some_are_told(n, more):
    arrays = {f"fc{i}.weight": np.ones((2, 2)) for i in range(n)}
    suggested = [*[part for i in range(20) for part in ("relu", f"fc{i}")][1:], "softmax"]
    with pytest.raises(NetworkError) as caught:
        state_layers(arrays)
    assert f"layers={suggested}; it holds fc0 (Linear, 2 to 2), fc1" in str(caught.value)
    assert str(caught.value).endswith(f"fc19 (Linear, 2 to 2){more}")


@pytest.mark.parametrize("suffix", ["pt", "safetensors", "npz", "pkl"])
def test_what_a_state_dict_adds_to_a_variance_is_given(tmp_path, suffix):
    normalizing = nn.BatchNorm1d(5, eps=0.1), nn.LayerNorm(5, eps=0.1), nn.RMSNorm(5, eps=0.1)
    model = nn.Sequential(nn.Linear(3, 5), *normalizing).eval()
    path = tmp_path / f"model.{suffix}"
    arrays = {name: array.numpy() for name, array in model.state_dict().items()}
    match suffix:
        case "pt":
            torch.save(model.state_dict(), path)
        case "safetensors":
            safetensors.numpy.save_file(arrays, path)
        case "npz":
            np.savez(path, **arrays)
        case "pkl":
            path.write_bytes(pickle.dumps(arrays))
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    wanted = model(torch.from_numpy(x)).detach().numpy()
    order = ["0", "1", "layernorm:2", "rmsnorm:3"]
    np.testing.assert_allclose(pnn.load(path, layers=order, epsilon=0.1)(x), wanted, rtol=1e-5, atol=1e-6)
    assert np.abs(pnn.load(path, layers=order)(x) - wanted).max() > 0.01
    with pytest.raises(FormatError, match=r"not negative, such as 0\.001, got -1"):
        pnn.load(path, layers=order, epsilon=-1)
