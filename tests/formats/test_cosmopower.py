"""CosmoPower's emulators: its NumPy prediction, written down here as formulas, is the oracle."""

import pickle
import zipfile
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from helpers import download, placed
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

import portable_nn as pnn
from portable_nn.formats.cosmopower import cosmopower_network, is_cosmopower
from portable_nn.readers.joblib import read_joblib
from portable_nn.readers.npz import read_members
from portable_nn.readers.pickles import Record

PARAMETERS = ["omega_b", "h", "n_s"]
MODES = np.array([2, 3, 5, 8, 13])


def emulator(sizes=(3, 6, 4, 5), pca=None, dtype=np.float64, seed=0):
    """What CosmoPower holds of an emulator, by its own names."""
    random = np.random.default_rng(seed)

    def array(*shape):
        return random.normal(size=shape).astype(dtype)

    pairs = list(pairwise(sizes))
    n_out = sizes[-1] if pca is None else pca
    held = {
        "W": [array(a, b) / np.sqrt(dtype(a)) for a, b in pairs],
        "b": [array(b) for _, b in pairs],
        "alphas": [array(b) for _, b in pairs[:-1]],
        "betas": [array(b) for _, b in pairs[:-1]],
        "parameters_mean": 100 * array(sizes[0]),
        "parameters_std": abs(array(sizes[0])) + dtype(0.1),
        "features_mean": array(n_out),
        "features_std": abs(array(n_out)),
        "parameters": [f"parameter {i}" for i in range(sizes[0])],
        "modes": np.arange(2, n_out + 2),
        "sizes": list(sizes),
    }
    if pca is not None:
        held |= {
            "pca_mean": array(sizes[-1]),
            "pca_std": abs(array(sizes[-1])),
            "pca_matrix": array(sizes[-1], pca),
        }
    return held


def predictions(held, x):
    """`forward_pass_np` of cosmopower_NN and cosmopower_PCAplusNN."""
    x = (x - held["parameters_mean"]) / held["parameters_std"]
    for w, b, alpha, beta in zip(held["W"], held["b"], held["alphas"], held["betas"], strict=False):
        x = x @ w + b
        x = (beta + (1 - beta) * expit(alpha * x)) * x
    x = x @ held["W"][-1] + held["b"][-1]
    if "pca_mean" in held:
        x = (x * held["pca_std"] + held["pca_mean"]) @ held["pca_matrix"]
    return x * held["features_std"] + held["features_mean"]


def samples(held, n=7):
    """Parameters within what emulators are trained on, where they do not amplify what is rounded."""
    spread = np.random.default_rng(1).uniform(-1, 1, size=(n, len(held["parameters"])))
    return held["parameters_mean"] + held["parameters_std"] * spread


def listed(held):
    """The items of CosmoPower's own files."""
    learned = [
        held["W"],
        held["b"],
        held["alphas"],
        held["betas"],
        held["parameters_mean"],
        held["parameters_std"],
    ]
    after = [held["features_mean"], held["features_std"]]
    parameters, modes = (held["parameters"], len(held["parameters"])), (held["modes"], len(held["modes"]))
    sizes = [held["sizes"][1:-1], len(held["W"]), held["sizes"]]
    if "pca_mean" not in held:
        return [*learned, *after, *parameters[::-1], *modes[::-1], *sizes]
    pca = [held["pca_mean"], held["pca_std"]]
    return [*learned, *pca, *after, *parameters, *modes, len(held["pca_mean"]), held["pca_matrix"], *sizes]


def listed_by_jax(held):
    """The items of cosmopower-jax's files: weights (n_out, n_in), and a last bias of which one value is used."""
    last = np.r_[np.full(len(held["b"][-1]) - 1, np.inf), held["b"][-1][0]]
    biases = [*held["b"][:-1], last]
    weights = [[w.T, b] for w, b in zip(held["W"], biases, strict=True)]
    learned = [[a, b] for a, b in zip(held["alphas"], held["betas"], strict=True)]
    return [weights, learned, *listed(held)[4:]]


def by_jax(held):
    return held | {"b": [*held["b"][:-1], np.full_like(held["b"][-1], held["b"][-1][0])]}


def by_name(held):
    """As the plain .npz have it: each array under a name of its own, names as strings."""
    named = {f"{key}_{i}": array for key in ("W", "b", "alphas", "betas") for i, array in enumerate(held[key])}
    scales = {key: value for key, value in held.items() if "_" in key}
    counts = {"n_layers": len(held["W"]), "n_parameters": len(held["parameters"])}
    return named | scales | counts | {"parameters": np.array(held["parameters"]), "modes": held["modes"]}


def by_list(held):
    """The dict of lists that cosmopower-jax converts CosmoPower's pickles to, with its own names of scales."""
    lists = {"weights_": held["W"], "biases_": held["b"], "alphas_": held["alphas"], "betas_": held["betas"]}
    scales = {"param_train_mean": held["parameters_mean"], "param_train_std": held["parameters_std"]}
    features = {"mean": held["features_mean"], "std": held["features_std"]}
    if "pca_mean" in held:
        scales |= {f"training_{key}": value for key, value in features.items()}
        features = {"mean": held["pca_mean"], "std": held["pca_std"]}
        scales["pca_matrix"] = held["pca_matrix"]
    scales |= {f"feature_train_{key}": value for key, value in features.items()}
    return lists | scales | {"parameters": held["parameters"], "modes": held["modes"], "n_layers": len(held["W"])}


class Wrapper:
    """Pickles as one of TensorFlow's wrappers of what it wraps."""

    def __init__(self, content):
        self.content = content

    def __reduce__(self):
        return type(self), (self.content,)


TENSORFLOW = b"tensorflow.python.trackable.data_structures"


def wrapped(held):
    """A pickle whose lists are TensorFlow's: of a class that is here in the name of that one."""
    items = [Wrapper(item) if isinstance(item, list) else item for item in listed(held)]
    data = pickle.dumps(items, 3)
    name = f"c{Wrapper.__module__}\nWrapper\n".encode()
    assert name in data
    return data.replace(name, b"c" + TENSORFLOW + b"\nListWrapper\n")


def write_npz(path, content):
    np.savez(path, **content)


def write_nested_npz(path, content):
    np.savez(path, content)  # as arr_0, pickled


def write_pickle(path, content):
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))


LAYOUTS = {
    "list": ("net.pkl", listed, write_pickle),
    "list, wrapped": ("net.pkl", wrapped, write_pickle),
    "npz by name": ("net.npz", by_name, write_npz),
    "npz of a dict": ("net.npz", by_list, write_nested_npz),
    "dict by name": ("net.pkl", by_name, write_pickle),
    "dict of lists": ("net.pkl", by_list, write_pickle),
}


@pytest.mark.parametrize("pca", [None, 9])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(tmp_path, layout, pca):
    held = emulator(pca=pca)
    name, laid_out, write = LAYOUTS[layout]
    write(tmp_path / name, laid_out(held))
    x, wanted = samples(held), predictions(held, samples(held))
    net = pnn.load(tmp_path / name, last="identity")
    np.testing.assert_allclose(net(x), wanted, rtol=1e-9)
    np.testing.assert_allclose(pnn.load(tmp_path / name, last="exp10")(x), 10**wanted, rtol=1e-9)
    assert net.inputs == tuple(held["parameters"])
    assert net.outputs == tuple(map(str, held["modes"]))
    assert net.task == "regression"
    assert net.dtype == "float64"


def test_cosmopower_jax(tmp_path):
    held = emulator()
    write_pickle(tmp_path / "net.pkl", listed_by_jax(held))
    net = pnn.load(tmp_path / "net.pkl", last="identity")
    np.testing.assert_allclose(net(samples(held)), predictions(by_jax(held), samples(held)), rtol=1e-9)
    assert net.inputs == tuple(held["parameters"])


@pytest.mark.parametrize("names", ["pca_mean", "feature_train"])
def test_other_names_of_a_pca(names):
    held = emulator(pca=9)
    content = by_name(held)
    content["pca_transform_matrix"] = content.pop("pca_matrix")
    if names == "feature_train":  # the scales of modes, where those of coefficients are pca_mean and pca_std
        for key in "mean", "std":
            content[f"feature_train_{key}"] = content.pop(f"features_{key}")
    net = cosmopower_network(content, last="identity")
    np.testing.assert_allclose(net(samples(held)), predictions(held, samples(held)), rtol=1e-9)


@given(
    sizes=st.lists(st.integers(1, 7), min_size=2, max_size=5),
    pca=st.none() | st.integers(1, 6),
    layout=st.sampled_from([listed, by_name, by_list]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=50)
def test_any_architecture(sizes, pca, layout, seed):
    held = emulator(sizes, pca, seed=seed)
    net = cosmopower_network(layout(held), last="identity")
    wanted = predictions(held, samples(held))
    np.testing.assert_allclose(net(samples(held)), wanted, rtol=1e-8, atol=1e-8 * np.abs(wanted).max())


@pytest.mark.dtypes("float32", "float64")
@pytest.mark.parametrize("pca", [None, 9])
def test_every_backend(backend, dtype, pca):
    held = emulator(pca=pca, dtype=np.float32)
    net = cosmopower_network(listed(held), last="exp10")
    x = samples(held)
    found = backend.to_numpy(net(placed(backend, x, dtype)))
    wanted = 10 ** predictions(held, x.astype(dtype).astype(np.float64))
    np.testing.assert_allclose(found, wanted, rtol=2e-3 if dtype == "float32" else 1e-4)


@pytest.mark.parametrize("layout", [listed, listed_by_jax, by_name, by_list])
def test_no_file_says_whether_modes_are_logarithms(layout):
    with pytest.raises(
        pnn.FormatError, match=r"it is an emulator .*last='identity' .*or last='exp10' for 10 to their"
    ):
        cosmopower_network(layout(emulator()), "it")


def test_what_the_file_says_is_not_to_be_given(tmp_path):
    write_npz(tmp_path / "net.npz", by_name(emulator()))
    with pytest.raises(pnn.FormatError, match=r"net.npz is an emulator .* leave activation=, rescale= out"):
        pnn.load(tmp_path / "net.npz", last="exp10", activation="relu", rescale=2.0)


def without(name):
    return {key: value for key, value in by_name(emulator(pca=9)).items() if key != name}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (without("features_mean"), "it has no features_mean"),
        (without("parameters_std"), "it has no parameters_std"),
        (without("pca_matrix"), "it has no pca_transform_matrix"),
        (without("b_1"), "shorter"),
        (without("alphas_1"), "longer"),
        (by_name(emulator()) | {"W_1": np.ones((6, 3))}, "takes a bias of shape"),
        (by_name(emulator()) | {"W_1": "x"}, "an array of numbers was expected, a str came"),
        (by_name(emulator()) | {"parameters_std": np.zeros(3)}, "a deviation to divide by is 0"),
        (by_name(emulator()) | {"parameters": ["h"]}, "1 inputs were named, the network has 3"),
        (by_name(emulator()) | {"modes": ["x" * 2**20] * 5}, "its names have more than 4194304 characters"),
        (by_name(emulator()) | {"modes": None, "parameters": 3}, "parameters are no list of names"),
    ],
)
def test_what_is_no_emulator(content, match):
    assert is_cosmopower(content)
    with pytest.raises(pnn.FormatError, match=f"^it is no emulator of CosmoPower's: .*{match}"):
        cosmopower_network(content, "it", last="identity")


def test_unknown_activation():
    with pytest.raises(pnn.FormatError, match="unknown activation 'exp100'"):
        cosmopower_network(listed(emulator()), "it", last="exp100")


@pytest.mark.parametrize(
    "content", [None, [], [1] * 15, [[]] * 14, {}, {"W_0": np.eye(2)}, np.eye(2), "x", Record("x")]
)
def test_what_is_told_apart(content):
    assert not is_cosmopower(content)


plain = st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.builds(Record, st.text(max_size=9))
plain |= st.sampled_from([np.zeros((0, 2)), np.full(3, np.nan), np.ones((3, 6)), np.array("x"), np.array(1.0)])
junk = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner), max_leaves=4)


@given(
    layout=st.sampled_from([listed, listed_by_jax]),
    pca=st.sampled_from([None, 9]),
    place=st.integers(0, 18),
    value=junk,
)
@settings(deadline=None, max_examples=150)
def test_any_item_may_be_anything(layout, pca, place, value):
    content = layout(emulator(pca=pca))
    content[place % len(content)] = value
    if is_cosmopower(content):
        with suppress(pnn.FormatError):
            assert isinstance(cosmopower_network(content, last="identity"), pnn.Network)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The folder of emulators that cosmopower-jax 0.5.8 brings."""
    folder = tmp_path_factory.mktemp("published")
    with zipfile.ZipFile(download(folder, "cosmopower-jax==0.5.8")) as wheel:
        members = [name for name in wheel.namelist() if name.endswith((".pkl", ".npz", ".npy"))]
        wheel.extractall(folder, members)
    return folder / "cosmopower_jax"


def held_by_jax(path):
    """What cosmopower-jax's own code unpickles, under CosmoPower's names."""
    weights, learned, *rest = pickle.loads(path.read_bytes())
    *hidden, last = [bias for _, bias in weights]
    return {
        "W": [weight.T for weight, _ in weights],
        "b": [*hidden, np.full_like(last, last[-1])],
        "alphas": [alpha for alpha, _ in learned],
        "betas": [beta for _, beta in learned],
        **dict(zip(("parameters_mean", "parameters_std", "features_mean", "features_std"), rest, strict=False)),
        "parameters": rest[5],
        "modes": rest[7],
    }


@pytest.mark.parametrize("probe", ["cmb_tt", "cmb_ee", "cmb_te", "cmb_pp", "mpk_lin", "mpk_boost"])
def test_published_emulators_of_cosmopower_jax(published, probe):
    path = published / "trained_models" / f"{probe}.pkl"
    held = held_by_jax(path)
    wanted, net = predictions(held, samples(held)), pnn.load(path, last="identity")
    np.testing.assert_allclose(net(samples(held)), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(net(samples(held).astype("f4")), wanted, rtol=1e-3, atol=1e-3)
    assert list(net.inputs) == held["parameters"]
    assert np.array_equal(np.array(net.outputs, float), held["modes"])


def test_a_published_emulator_with_its_pca(published):
    """cosmopower-jax keeps the PCA of cmb_pp beside the emulator: it is one more layer, then the modes."""
    matrix, mean, std = (
        np.load(published / "pca_utils" / f"cmb_pp_{name}.npy")
        for name in ("pca_transform_matrix", "training_mean", "training_std")
    )
    path = published / "trained_models" / "cmb_pp.pkl"
    layers = pnn.load(path, last="identity").layers
    net = pnn.Network([*layers, pnn.Dense(matrix), pnn.Rescaling(std, mean), pnn.Activation("exp10")])
    held = held_by_jax(path)
    wanted = 10 ** ((predictions(held, samples(held)) @ matrix) * std + mean)
    np.testing.assert_allclose(net(samples(held)), wanted, rtol=1e-5)


@pytest.mark.parametrize("name", ["tf_cmb_template", "tf_pca_template"])
def test_published_emulators_of_cosmopower(published, name):
    """Whose lists are TensorFlow's wrappers, as pickles and in .npz."""
    folder = published / "trained_models"
    items = [item.args[0] if isinstance(item, Record) else item for item in read_joblib(folder / f"{name}.pkl")]
    keys = ["W", "b", "alphas", "betas", "parameters_mean", "parameters_std"]
    if len(items) == 15:
        held = dict(zip([*keys, "features_mean", "features_std", "", "parameters"], items, strict=False))
    else:
        keys += ["pca_mean", "pca_std", "features_mean", "features_std", "parameters"]
        held = dict(zip(keys, items, strict=False)) | {"pca_matrix": items[15]}
    wanted = predictions(held, samples(held))
    for suffix in "pkl", "npz":
        net = pnn.load(folder / f"{name}.{suffix}", last="identity")
        np.testing.assert_allclose(net(samples(held)), wanted, rtol=1e-5, atol=1e-5)
        assert net.inputs[:3] == ("ombh2", "omch2", "h")
    assert is_cosmopower(read_members(folder / f"{name}.npz"))
