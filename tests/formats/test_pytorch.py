"""Models of PyTorch, from files and live: PyTorch makes them and predicts; code of their own is refused."""

import os
import pickle
import textwrap
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from helpers import TOLERANCE, check_beside, placed, run_python
from hypothesis import given, settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn.errors import FormatError, InputError, NetworkError
from portable_nn.formats.pytorch import from_torch, read_pytorch
from portable_nn.formats.states import state_layers

torch = pytest.importorskip("torch", reason="PyTorch is the oracle: pip install torch")
nn, prune = torch.nn, pytest.importorskip("torch.nn.utils.prune")

slopes = st.floats(0.05, 2)

ACTIVATIONS = {
    "CELU": st.builds(nn.CELU, slopes),
    "ELU": st.builds(nn.ELU, slopes),
    "GELU": st.builds(nn.GELU, st.sampled_from(["none", "tanh"])),
    "GLU": st.builds(nn.GLU, st.sampled_from([-1, 1])),
    "Hardshrink": st.builds(nn.Hardshrink, slopes),
    "Hardsigmoid": st.builds(nn.Hardsigmoid),
    "Hardswish": st.builds(nn.Hardswish),
    "Hardtanh": st.builds(nn.Hardtanh, st.floats(-2, 0), st.floats(0.5, 2)),
    "LeakyReLU": st.builds(nn.LeakyReLU, slopes),
    "LogSigmoid": st.builds(nn.LogSigmoid),
    "LogSoftmax": st.builds(nn.LogSoftmax, st.sampled_from([-1, 1])),
    "Mish": st.builds(nn.Mish),
    "PReLU": st.builds(nn.PReLU, st.just(1), slopes),
    "RReLU": st.builds(nn.RReLU, st.floats(0.1, 0.3), st.floats(0.3, 0.5)),
    "ReLU": st.builds(nn.ReLU),
    "ReLU6": st.builds(nn.ReLU6),
    "SELU": st.builds(nn.SELU),
    "SiLU": st.builds(nn.SiLU),
    "Sigmoid": st.builds(nn.Sigmoid),
    "Softmax": st.builds(nn.Softmax, st.sampled_from([-1, 1])),
    "Softmin": st.builds(nn.Softmin, st.sampled_from([-1, 1])),
    "Softplus": st.builds(nn.Softplus, slopes, st.floats(1, 20)),
    "Softshrink": st.builds(nn.Softshrink, slopes),
    "Softsign": st.builds(nn.Softsign),
    "Tanh": st.builds(nn.Tanh),
    "Tanhshrink": st.builds(nn.Tanhshrink),
    "Threshold": st.builds(nn.Threshold, st.floats(-1, 1), st.floats(-1, 1)),
}
ACTIVATIONS_OF_WIDTH = {name: made for name, made in ACTIVATIONS.items() if name != "GLU"}
OTHERS = [nn.Identity, nn.Dropout, nn.Dropout1d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Flatten]


@st.composite
def models(draw, depth=2):
    """A Sequential of 4 features, whose weights and statistics are random."""
    n, modules = 4, []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["linear", "linear", "activation", "activation", "norm", "other", "nested"]))
        match kind:
            case "linear":
                m = draw(st.integers(1, 5))
                modules.append(nn.Linear(n, m, bias=draw(st.booleans())))
                n = m
            case "activation":
                modules.append(draw(st.sampled_from(sorted(ACTIVATIONS_OF_WIDTH)).flatmap(ACTIVATIONS.get)))
            case "norm":
                modules.append(
                    draw(
                        st.sampled_from(
                            [
                                nn.BatchNorm1d(n),
                                nn.BatchNorm1d(n, eps=1e-2, affine=False),
                                nn.LayerNorm(n, eps=1e-2),
                                nn.LayerNorm([n], bias=False),
                                nn.LayerNorm(n, elementwise_affine=False),
                                nn.RMSNorm(n, eps=1e-3),
                                nn.RMSNorm(n, elementwise_affine=False),
                                nn.PReLU(n),
                            ]
                        )
                    )
                )
            case "other":
                modules.append(draw(st.sampled_from(OTHERS))())
            case "nested" if depth:
                inner, m = draw(models(depth - 1))
                modules.append(nn.Sequential(nn.Linear(n, 4), *inner))
                n = m
    return nn.Sequential(*modules), n


def randomized(model, seed=0):
    """The model in float64, its parameters and statistics as if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.dtype == torch.float64 and "weight" not in name:
            values = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
            tensor.data = values + 0.5 if name.endswith("running_var") else 2 * values - 1
    return model


def predicted(model, x):
    training, model = model.training, model.eval()
    with torch.no_grad():
        outputs = model(torch.as_tensor(x)).numpy()
    model.train(training)
    return outputs


RNG = np.random.default_rng(0)
X = 3 * RNG.normal(size=(7, 4))


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


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 3)
        self.fc2 = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def hooked():
    linear = nn.Linear(4, 2)
    linear.register_forward_hook(Doubled)
    return linear


def own_forward():
    linear = nn.Linear(4, 2)
    linear.forward = print
    return linear


def pruned():
    return prune.l1_unstructured(nn.Linear(4, 2), "weight", 3)


def without_statistics():
    return nn.BatchNorm1d(4, track_running_stats=False)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: nn.Sequential(nn.Sequential(nn.Conv1d(1, 1, 1))),
            r"module 0.0 \(Conv1d\): convolutions, .* are not computed here",
        ),
        (lambda: nn.ModuleList([nn.Linear(4, 2)]), r"ModuleList\): it has no counterpart"),
        (lambda: nn.Softmax2d(), "no counterpart"),
        (lambda: nn.LazyLinear(2), "module itself has no weights yet: call the model once"),
        (lambda: nn.utils.spectral_norm(nn.Linear(4, 2)), r"utils\.remove_spectral_norm"),
        (hooked, "module itself has hooks"),
        (own_forward, "module itself has hooks or a forward of its own"),
        (pruned, "torch.nn.utils.prune.remove"),
        (lambda: nn.utils.weight_norm(nn.Linear(4, 2)), "torch.nn.utils.remove_weight_norm"),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)), "remove_parametrizations"),
        (without_statistics, r"\(BatchNorm1d\): without running statistics"),
        (lambda: nn.LayerNorm((2, 4)), r"\(LayerNorm\): it normalizes over several axes"),
        (lambda: nn.Softmax(dim=0), r"\(Softmax\): dim must be -1"),
        (lambda: nn.GELU("erf"), r"\(GELU\): approximate is neither 'none' nor 'tanh'"),
        (lambda: nn.ELU("0.5"), r"\(ELU\): alpha is no number"),
        (lambda: nn.LayerNorm(4, eps=1e301), r"\(LayerNorm\): eps is no number"),
        (lambda: nn.Flatten(0), r"\(Flatten\): start_dim and end_dim must be 1 and -1"),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 2)), "layer 0 gives 3 values, layer 1 takes 4"),
        (lambda: nn.Linear(4, 2, device="meta"), "cannot be fetched|no tensor of a dtype"),
        (lambda: nn.Linear(4, 2).to(torch.complex64), "real numbers|no tensor of a dtype"),
        (lambda: nn.Linear(4, 2).to(torch.float8_e5m2), "cannot be fetched|no tensor of a dtype"),
    ],
)
def test_what_is_refused(make, match, tmp_path):
    model = make()
    with pytest.raises(NetworkError, match=match):
        from_torch(model)
    if "forward" in vars(model):
        return
    try:
        torch.save(model, tmp_path / "model.pt")
    except RuntimeError:  # of a parametrization, whose class is made up
        return
    with pytest.raises(FormatError, match=match):
        read_pytorch(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            Net,
            r"itself is a .*Net, whose forward pass is code, .* \(modules inside: fc1, fc2\): where the code is",
        ),
        (lambda: nn.Sequential(nn.Linear(4, 2), Doubled(2, 2)), r"module 1 is a .*Doubled, .*torch.onnx.export"),
    ],
)
def test_a_file_does_not_tell_what_code_does(make, match, tmp_path):
    torch.save(make(), tmp_path / "model.pt")
    with pytest.raises(FormatError, match=match):
        read_pytorch(tmp_path / "model.pt")
    from_torch(make())  # whose code is at hand


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.ones(2)], "it holds a list, and no model: save its state_dict"),
        (torch.ones(2), "it holds a ndarray, and no model: save its state_dict"),
        (nn.Conv1d(1, 2, 3).state_dict(), r"weight has shape \(2, 1, 3\), which is no Linear's: convolutions"),
    ],
    ids=["list", "tensor", "convolution"],
)
def test_files_of_no_network(content, words, tmp_path):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(FormatError, match=words):
        read_pytorch(tmp_path / "model.pt")


def test_the_books_convention_is_for_arrays_by_name(tmp_path):
    torch.save(nn.Linear(4, 2), tmp_path / "model.pt")
    with pytest.raises(FormatError, match=r"is of format pytorch, and the book's .* leave format= out"):
        pnn.load(tmp_path / "model.pt", format="book")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (3, "got an object of int$"),
        (None, "got an object of NoneType$"),
        ([nn.Linear(2, 1)], "got an object of list$"),
        (nn.Linear(2, 1).state_dict(), r"got an object of OrderedDict: .*load\(path, layers=\[…\]\)"),
        (torch.ones(2), "got an object of Tensor$"),
        (nn.Linear, "got the class Linear: give an object of it, with its weights"),
        ("model.pt", "got a path: portable_nn.load reads files"),
        (Path("model.pt"), "got a path: portable_nn.load reads files"),
    ],
    ids=["number", "None", "list", "state", "tensor", "class", "name", "path"],
)
def test_what_is_no_module(model, words):
    with pytest.raises(InputError, match=rf"from_torch takes a torch\.nn\.Module, {words}"):
        from_torch(model)


def doubled(n):
    module = nn.Identity()
    for _ in range(n):
        module = nn.Sequential(module, module)
    return module


def itself():
    module = nn.Sequential()
    module.add_module("0", module)
    return module


def deep():
    module = nn.Linear(4, 2)
    for _ in range(200):
        module = nn.Sequential(module)
    return module


def crowded():
    module = nn.Identity()
    for i in range(1000):
        module.register_parameter(f"p{i}", None)
    return module


def wide():
    """Of 100 children which are itself: a walk down has 99 more to come after each step."""
    module = nn.Sequential()
    for i in range(100):
        module.add_module(f"{i}", module)
    return module


@pytest.mark.parametrize("make", [lambda: doubled(30), itself, crowded, wide])
def test_a_model_that_would_take_for_ever(make, tmp_path):
    model = make()
    torch.save(model, tmp_path / "model.pt")
    tracemalloc.start()
    try:
        with pytest.raises(NetworkError, match="more than"):
            from_torch(model)
        with pytest.raises(FormatError, match="more than"):
            read_pytorch(tmp_path / "model.pt")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_deep_nesting():
    assert from_torch(deep()).layers[0].weight.shape == (4, 2)


def test_a_weight_that_repeats_one_value_is_not_spread_out(tmp_path):
    linear = nn.Linear(2, 2)
    linear.weight = nn.Parameter(torch.ones(1).expand(10**5, 10**5))
    torch.save(linear, tmp_path / "model.pt")
    torch.save({"fc.weight": linear.weight}, tmp_path / "state.pt")
    tracemalloc.start()
    try:
        for name, given in (("model.pt", {}), ("state.pt", {"last": "relu", "activation": "relu"})):
            with pytest.raises(FormatError, match="it promises more than"):
                read_pytorch(tmp_path / name, **given)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


class Call:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_is_run(tmp_path):
    mark, path = tmp_path / "ran", tmp_path / "model.pt"
    model = nn.Sequential(nn.Linear(4, 2))
    model.note = Call(mark)
    torch.save(model, path)
    assert read_pytorch(path).layers[0].weight.shape == (4, 2)
    torch.save({"fc.weight": torch.ones(2, 4), "note": Call(mark)}, path)
    with pytest.raises(FormatError, match=r"its entry 'note' is a call of \w+.mkdir, .*nothing was run"):
        read_pytorch(path, layers=["fc"])
    torch.save(Call(mark), path)
    with pytest.raises(FormatError, match=r"module itself is a call of \w+.mkdir, .*nothing was run"):
        read_pytorch(path)
    assert not mark.exists()


def mlp(*sizes):
    torch.manual_seed(1)
    modules = [module for pair in pairwise(sizes) for module in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*modules[:-1]).double()


def nested(state, keys):
    for key in keys:
        state = {key: state, "epoch": 3, "optimizer": {"lr": 0.1}}
    return state


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


def test_a_whole_model_inside_of_a_checkpoint(tmp_path):
    model = mlp(4, 3, 2)
    torch.save({"model": model, "epoch": 3}, tmp_path / "checkpoint.pt")
    np.testing.assert_allclose(pnn.load(tmp_path / "checkpoint.pt")(X), predicted(model, X), rtol=1e-12)


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
