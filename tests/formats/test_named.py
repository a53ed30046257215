"""Arrays by name: what names tell, and what has to be said; PyTorch and scikit-learn are the oracles."""

import os
import pickle
import tracemalloc
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from helpers import ORACLES, placed
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

import portable_nn as pnn
from portable_nn.formats.book import book_network
from portable_nn.formats.named import named_network
from portable_nn.readers.npz import read_members
from portable_nn.readers.records import Record

pytest.importorskip("joblib", reason="the oracle: pip install scikit-learn")
pytest.importorskip("sklearn", reason="the oracle: pip install scikit-learn")
import joblib
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPRegressor

RANDOM = np.random.default_rng(0)
SIZES = 4, 3, 5, 2
WEIGHTS = [RANDOM.normal(size=pair) for pair in pairwise(SIZES)]
BIASES = [RANDOM.normal(size=n) for n in SIZES[1:]]
X = RANDOM.normal(size=(7, 4))
GIVEN = {"activation": "tanh", "last": "softmax"}


def outputs(x, first="tanh"):
    for w, b in zip(WEIGHTS[:-1], BIASES[:-1], strict=True):
        x = ORACLES[first](x @ w + b)
    return softmax(x @ WEIGHTS[-1] + BIASES[-1], axis=-1)


def named(weight, bias, start=0, transposed=False):
    """Weights and biases under names made of a number."""
    pairs = list(enumerate(zip(WEIGHTS, BIASES, strict=True), start))
    return {weight.format(i): w.T if transposed else w for i, (w, _) in pairs} | {
        bias.format(i): b for i, (_, b) in pairs
    }


OF_PYTORCH = {
    f"{name}.{kind}": array
    for name, w, b in zip(("fc1", "layers.hidden", "out"), WEIGHTS, BIASES, strict=True)
    for kind, array in (("weight", w.T), ("bias", b))
}
NAMED = {
    "of the book": named("W{}", "b{}", 1),
    "from 0": named("W_{}", "b_{}"),
    "small letters": named("w{}", "b{}", 1),
    "reversed": dict(reversed(named("W{}", "b{}", 9).items())),
    "of scikit-learn": named("coefs_{}", "intercepts_{}"),
    "numbers of PyTorch": named("{}.weight", "{}.bias", transposed=True),
    "names of PyTorch": OF_PYTORCH,
}


def written(path, arrays):
    match path.suffix:
        case ".npz":
            np.savez_compressed(path, **arrays)
        case ".joblib":
            joblib.dump(arrays, path)
        case ".pkl":
            path.write_bytes(pickle.dumps(arrays))
    return path


@pytest.mark.parametrize("suffix", [".npz", ".pkl", ".joblib"])
@pytest.mark.parametrize("names", NAMED)
def test_every_way_to_name(tmp_path, names, suffix):
    net = pnn.load(written(tmp_path / f"net{suffix}", NAMED[names]), **GIVEN)
    np.testing.assert_allclose(net(X), outputs(X), rtol=1e-12)


def test_every_backend(backend):
    net = named_network(NAMED["of the book"], **GIVEN)
    found = backend.to_numpy(net(placed(backend, X, "float32")))
    np.testing.assert_allclose(found, outputs(X), atol=1e-6)


def test_lists(tmp_path):
    path = tmp_path / "net.pkl"
    for names in ("coefs", "intercepts"), ("coefs_", "intercepts_"):
        net = pnn.load(written(path, dict(zip(names, (WEIGHTS, BIASES), strict=True))), **GIVEN)
        np.testing.assert_allclose(net(X), outputs(X), rtol=1e-12)


@pytest.mark.parametrize("sizes", [(4, 3, 2), (3, 3, 3)])
def test_what_scikit_learn_has_in_an_npz(tmp_path, sizes):
    """Lists of arrays become arrays of objects, or of one more dimension."""
    n_in, n_hidden, n_out = sizes
    estimator = MLPRegressor(hidden_layer_sizes=(n_hidden,), activation="tanh", random_state=0)
    estimator.partial_fit(X[:, :n_in], X[:, :n_out])
    coefs, intercepts = estimator.coefs_, estimator.intercepts_
    if sizes != (3, 3, 3):
        coefs, intercepts = objects(coefs), objects(intercepts)
    np.savez(tmp_path / "net.npz", coefs=coefs, intercepts=intercepts)
    net = pnn.load(tmp_path / "net.npz", activation="tanh", last="identity")
    np.testing.assert_allclose(net(X[:, :n_in]), estimator.predict(X[:, :n_in]), rtol=1e-12)


def objects(arrays):
    made = np.empty(len(arrays), object)
    made[:] = arrays
    return made


def test_what_pytorch_has(tmp_path, torch):
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 4))
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    net = pnn.load(written(tmp_path / "net.npz", arrays), activation="relu", last="identity")
    with torch.no_grad():
        wanted = model(torch.asarray(X, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(net(X.astype("f4")), wanted, rtol=1e-4, atol=1e-5)


def test_activations_with_parameters_and_layers():
    slope = pnn.Activation("leaky_relu", negative_slope=0.2)
    numbered = named_network(NAMED["from 0"], activation=slope, last="identity")
    state = named_network(OF_PYTORCH, layers=["fc1", slope, "layers.hidden", slope, "out"])
    wanted = X
    for w, b in zip(WEIGHTS, BIASES, strict=True):
        wanted = wanted @ w + b
        if w is not WEIGHTS[-1]:
            wanted = np.where(wanted < 0, 0.2 * wanted, wanted)
    np.testing.assert_allclose(numbered(X), wanted, rtol=1e-12)
    np.testing.assert_allclose(state(X), wanted, rtol=1e-12)


@given(sizes=st.lists(st.integers(1, 12), min_size=2, max_size=13), biased=st.booleans(), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=50)
def test_any_depth(sizes, biased, seed):
    random = np.random.default_rng(seed)
    arrays = {f"W{i}": random.normal(size=sizes[i : i + 2]) for i in range(len(sizes) - 1)}
    if biased:
        arrays |= {f"b{i}": random.normal(size=n) for i, n in enumerate(sizes[1:])}
    x = wanted = random.normal(size=(3, sizes[0]))
    for i in range(len(sizes) - 1):
        wanted = wanted @ arrays[f"W{i}"] + arrays.get(f"b{i}", 0)
    for mapping in arrays, {name: arrays[name] for name in sorted(arrays)}:
        net = named_network(mapping, activation="identity", last="identity")
        np.testing.assert_allclose(net(x), wanted, rtol=1e-9, atol=1e-9)


def test_rescale_and_task(tmp_path):
    net = pnn.load(
        written(tmp_path / "net.npz", NAMED["of the book"]), rescale=1 / 8, task="classification", **GIVEN
    )
    np.testing.assert_allclose(net(8 * X), outputs(X), rtol=1e-12)
    assert net.task == "classification"
    each = named_network(NAMED["of the book"], rescale=np.array([1.0, 2, 3, 4]), **GIVEN)
    np.testing.assert_allclose(each(X / [1, 2, 3, 4]), outputs(X), rtol=1e-12)


def test_what_trees_are_is_told(tmp_path):
    """joblib writes their nodes as arrays of records, which are no numbers."""
    forest = RandomForestClassifier(2, random_state=0).fit(X, np.arange(len(X)) % 2)
    (tmp_path / "forest.pkl").write_bytes(pickle.dumps(forest))
    joblib.dump(forest, tmp_path / "forest.joblib")
    for path in tmp_path.iterdir():
        words = (
            r"RandomForestClassifier has no counterpart here, those that have are MLP.*: fit one of them instead"
        )
        with pytest.raises(pnn.FormatError, match=words):
            pnn.load(path)


def test_what_pickle_alone_wrote_is_written_by_its_own_library(tmp_path):
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps(pnn.Network([pnn.Rescaling(2.0)])))
    with pytest.raises(
        pnn.FormatError, match=r"no network \(nothing was run\); save a network with portable_nn\.save"
    ):
        pnn.load(path)
    torch = pytest.importorskip("torch", reason="pip install torch")
    path.write_bytes(pickle.dumps(torch.nn.Sequential(torch.nn.Linear(3, 2))))
    with pytest.raises(pnn.FormatError, match=r"torch\.save\(model, 'model\.pt'\)"):
        pnn.load(path)


def of_the_book(sizes=(784, 50, 100, 10)):
    return {f"W{i}": np.ones(pair) for i, pair in enumerate(pairwise(sizes), 1)} | {
        f"b{i}": np.ones(n) for i, n in enumerate(sizes[1:], 1)
    }


@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_the_book_is_known_by_its_own_network_alone(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    known = book_network(of_the_book())
    assert pnn.load(written(path, of_the_book())).same_architecture(known)
    for sizes in (784, 100, 10), (784, 50, 100, 11), (785, 50, 100, 10), (784, 50, 100, 10, 10):
        written(path, of_the_book(sizes))
        with pytest.raises(
            pnn.FormatError, match=rf"network {'-'.join(map(str, sizes))} and not its act.* format='book'"
        ):
            pnn.load(path)
        assert pnn.load(path, format="book").same_architecture(book_network(of_the_book(sizes)))


def test_what_is_given_comes_before_the_book():
    net = named_network(of_the_book(), activation="relu", last="identity")
    assert [repr(layer) for layer in net.layers] == [
        "Dense(784, 50, 'relu')",
        "Dense(50, 100, 'relu')",
        "Dense(100, 10, 'identity')",
    ]
    with pytest.raises(pnn.FormatError, match=r"give activation= .* last="):
        named_network(of_the_book(), rescale=1 / 255)
    with pytest.raises(pnn.FormatError, match=r"give activation= .* last="):
        named_network(
            {name.replace("W", "W_").replace("b", "b_"): array for name, array in of_the_book((4, 3, 2)).items()}
        )


@pytest.mark.parametrize(
    ("arrays", "given", "match"),
    [
        (
            NAMED["from 0"],
            {},
            r"network 4-3-5-2 and not its activations: give activation= .*, last= .* rescale= ",
        ),
        (NAMED["from 0"], {"activation": "relu"}, "and not its activations: give activation= .* last= "),
        (NAMED["from 0"], {"last": "softmax"}, "and not its activations: give activation= .* last= "),
        ({"W1": np.eye(2)}, {}, "a network 2-2 and not its activations: give last= after the last one"),
        (OF_PYTORCH, {}, r"give activation= and last=, .* or layers=\['fc1', 'relu', 'layers.hidden'"),
        (
            OF_PYTORCH | {"epoch": np.array(3)},
            GIVEN,
            "it holds epoch beside weights and biases, .*leave that out",
        ),
        (
            NAMED["from 0"],
            {"layers": ["0", "relu"]},
            "no modules of a state dict, which take that: leave layers= out",
        ),
        (NAMED["from 0"], GIVEN | {"last": "sofmax"}, "Activation: unknown activation 'sofmax'"),
        (
            NAMED["from 0"],
            GIVEN | {"rescale": np.ones(3)},
            "rescale= takes a number, or one for each feature, .*layer 0 gives 3",
        ),
        (NAMED["from 0"], GIVEN | {"rescale": "0.5"}, "rescale= takes a number, .*got '0.5'"),
        (named("W{}", "b{}", transposed=True), GIVEN, r"chain as \(n_out, n_in\) alone.* or name them 0.weight"),
        (named("{}.weight", "{}.bias"), GIVEN, "takes a bias of shape"),
        ({"W1": np.array(3.0)}, {}, r"weight must have shape \(n_in, n_out\)"),
        (NAMED["from 0"] | {"W_1": np.ones((4, 5))}, GIVEN, "layer 0 gives 3 values, layer 1 takes 4"),
        (NAMED["from 0"] | {"b_1": np.ones((1, 5))}, GIVEN, r"takes a bias of shape \(5,\), got \(1, 5\)"),
        (NAMED["from 0"] | {"b_1": np.full(5, np.nan)}, GIVEN, "5 nan"),
        ({}, GIVEN, "holds arrays none: name them W1, b1, W2, b2, …; coefs_0"),
        ({"b1": np.ones(2)}, GIVEN, "holds arrays b1: name them"),
        ({"kernel": np.eye(2)}, GIVEN, "holds arrays kernel: name them"),
        (NAMED["from 0"] | {"epoch": np.array(3)}, GIVEN, "it holds epoch beside weights and biases"),
        (NAMED["from 0"] | {"W_4": np.eye(2), "b_4": np.ones(2)}, GIVEN, "W_4, b_4: name them"),
        ({name: array for name, array in NAMED["from 0"].items() if name != "b_1"}, GIVEN, "b_0, b_2: name them"),
        ({"W1": np.eye(2), "W01": np.eye(2)}, GIVEN, "W1, W01: name them"),
        ({"W1": np.array(["x"])}, GIVEN, "W1 is no array of real numbers: numpy.ndarray"),
        ({"W1": np.eye(2) * 1j}, GIVEN, "W1 is no array of real numbers"),
        ({"W1": Record("torch._utils._rebuild_tensor_v2", ())}, GIVEN, r"save it as PyTorch does: torch\.save"),
        ({"W1": 3}, GIVEN, "W1 is no array of real numbers: builtins.int"),
        ({"coefs": [np.eye(2), "x"], "intercepts": []}, GIVEN, "coefs_1 is no array .*: builtins.str"),
        ({1: np.eye(2)}, GIVEN, "a dict whose keys are not all names"),
    ],
)
def test_what_is_refused(arrays, given, match):
    with pytest.raises(pnn.FormatError, match=f"^it.*{match}"):
        named_network(arrays, "it", **given)


class Call:
    """Pickles as the call of a function."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("suffix", [".npz", ".pkl", ".joblib"])
def test_nothing_is_run(tmp_path, suffix):
    harm = Call(os.mkdir, str(tmp_path / "harm"))
    path = tmp_path / f"net{suffix}"
    for content in {"W1": harm}, {"W1": np.array([harm], object)}, {"coefs": [harm], "intercepts": [harm]}:
        if suffix == ".npz":
            np.savez(path, **{name: np.array(value, object) for name, value in content.items()})
        else:
            written(path, content)
        with pytest.raises(pnn.FormatError, match=rf"net{suffix}: .* is no array .*\(nothing was run\)"):
            pnn.load(path, **GIVEN)
    assert not (tmp_path / "harm").exists()


def test_records_are_no_weights(tmp_path):
    arrays = {"W1": np.zeros((2, 2), "f4,i4"), "b1": np.zeros(2, "f4,i4")}
    for content in arrays, {"coefs": [arrays["W1"]], "intercepts": [arrays["b1"]]}:
        with pytest.raises(pnn.FormatError, match="is no array of real numbers"):
            pnn.load(written(tmp_path / "net.pkl", content), **GIVEN)


@pytest.mark.parametrize("content", [[1, 2], "x", None, 3.5, np.eye(2), Call(os.getcwd)])
def test_pickles_of_something_else(tmp_path, content):
    with pytest.raises(pnn.FormatError, match=r"net.pkl holds a .*, no network \(nothing was run\)"):
        pnn.load(written(tmp_path / "net.pkl", content), **GIVEN)


@pytest.mark.parametrize("packed", [lambda model: ("x", model), lambda model: {"model": model}])
def test_estimators_among_other_things(tmp_path, packed):
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps(packed(MLPRegressor().partial_fit(X, X))))
    with pytest.raises(pnn.FormatError, match=r"with estimators of .*: save the one that is wanted alone, or"):
        pnn.load(path)


def test_options_of_an_estimator_are_refused(tmp_path):
    path = written(tmp_path / "net.pkl", MLPRegressor().partial_fit(X, X))
    with pytest.raises(
        pnn.FormatError, match=r"an estimator of scikit-learn's, which says all itself: leave last= out"
    ):
        pnn.load(path, last="identity")


@given(
    start=st.integers(0),
    length=st.integers(0, 4),
    new=st.binary(max_size=4),
    suffix=st.sampled_from([".npz", ".pkl"]),
)
@settings(deadline=None, max_examples=200)
def test_damage(tmp_path_factory, start, length, new, suffix):
    path = written(tmp_path_factory.mktemp("damage") / f"net{suffix}", NAMED["from 0"])
    data = path.read_bytes()
    start %= len(data)
    path.write_bytes(data[:start] + new + data[start + length :])
    with suppress(pnn.FormatError):
        assert isinstance(pnn.load(path, **GIVEN), pnn.Network)


def cosmopower(array):
    lists = {"weights_": [array] * 100, "biases_": [array[0]] * 100}
    learned = {"alphas_": [array[0]] * 99, "betas_": [array[0]] * 99}
    scales = ("parameters_mean", "parameters_std", "features_mean", "features_std")
    return lists | learned | dict.fromkeys(scales, array.sum(axis=0))


def perceptron(array):
    estimator = MLPRegressor().partial_fit(X, X)
    estimator.coefs_, estimator.intercepts_ = [array] * 100, [array[0]] * 100
    return estimator


@pytest.mark.parametrize(
    ("content", "given"),
    [
        (lambda array: {f"W{i}": array for i in range(100)}, GIVEN),
        (lambda array: {"coefs": [array] * 100, "intercepts": [array[0]] * 100}, GIVEN),
        (lambda array: {f"{i}.weight": array for i in range(100)}, GIVEN),
        (cosmopower, {"last": "exp10"}),
        (perceptron, {}),
    ],
    ids=["numbered", "listed", "state", "CosmoPower", "scikit-learn"],
)
def test_one_array_in_many_layers(tmp_path, content, given):
    array = np.eye(1000)
    path = written(tmp_path / "net.pkl", content(array))
    tracemalloc.start()
    try:
        with pytest.raises(pnn.FormatError, match=r"net.pkl.* it promises more than .* bytes"):
            pnn.load(path, **given)
        assert tracemalloc.get_traced_memory()[1] < 2**26 + 6 * array.nbytes
    finally:
        tracemalloc.stop()


def test_members_of_an_npz(tmp_path):
    arrays = {
        "names": np.array(["ä", "bcd"]),
        "objects": objects([1, "x", np.ones(2)]),
        "empty": np.zeros((0, 2)),
    }
    found = read_members(written(tmp_path / "net.npz", arrays))
    assert list(found) == list(arrays)
    np.testing.assert_array_equal(found["names"], arrays["names"])
    assert found["objects"][:2].tolist() == [1, "x"]
    np.testing.assert_array_equal(found["objects"][2], np.ones(2))
    assert found["empty"].shape == (0, 2)
