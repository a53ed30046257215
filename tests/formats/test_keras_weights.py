"""Keras's weights alone: Keras itself is the oracle."""

import warnings

import numpy as np
import pytest
from keras_files import members

import portable_nn as pnn
from portable_nn.formats.keras import read_keras

h5py = pytest.importorskip("h5py", reason="files are changed by h5py: pip install h5py")


def test_weights_alone(made, tmp_path):
    """As `save_weights` of Keras 3 names them, and of Keras 2."""
    whole = made[0] / "function tanh.keras"
    new, old = tmp_path / "new.h5", tmp_path / "old.h5"
    new.write_bytes(members(whole)["model.weights.h5"])
    with h5py.File(new) as file, h5py.File(old, "w") as target:
        for i, name in enumerate(("kernel", "bias")):
            target[f"dense/dense/{name}:0"] = file[f"layers/dense/vars/{i}"][:]
    x = np.ones(3)
    for path in (new, old):
        np.testing.assert_array_equal(pnn.load(path, layers=["dense", "tanh"])(x), read_keras(whole)(x))
        found = pnn.load(path, activation="relu", last="tanh", rescale=2.0)
        np.testing.assert_array_equal(found(x), read_keras(whole)(2 * x))
        with pytest.raises(pnn.FormatError, match="give activation= and last="):
            pnn.load(path)
    with pytest.raises(pnn.FormatError, match="which layers it has: leave activation= out"):
        read_keras(whole, activation="relu")
    np.testing.assert_array_equal(read_keras(whole, rescale=2.0)(x), read_keras(whole)(2 * x))


OF_ALL_KINDS = [
    *("normalization", "dense", "batch_normalization", "relu", "dense_1", "layer_normalization"),
    *("p_re_lu", "rms_normalization", "dense_2", "softmax"),
]


@pytest.fixture(scope="module")
def of_all_kinds(tmp_path_factory):
    """Weights alone of a model with every layer that is read so, as Keras 3 and as Keras 2 stores them."""
    keras = pytest.importorskip("keras", reason="the oracle: pip install keras")
    random, layers, small = np.random.default_rng(3), keras.layers, {"epsilon": 0.02}
    model = keras.Sequential(
        [
            *(keras.Input((4,)), layers.Normalization(name="normalization"), layers.Dense(5, name="dense")),
            *(layers.BatchNormalization(**small, name="batch_normalization"), layers.ReLU(), layers.Dropout(0.2)),
            *(layers.Dense(3, name="dense_1"), layers.LayerNormalization(**small, name="layer_normalization")),
            *(layers.PReLU(name="p_re_lu"), layers.RMSNormalization(**small, name="rms_normalization")),
            layers.Dense(2, "softmax", name="dense_2"),
        ]
    )
    kept = [np.float32(random.normal(3, 1, 4)), np.float32(random.uniform(1, 2, 4)), np.int32(50)]
    folder = tmp_path_factory.mktemp("weights")
    with warnings.catch_warnings():  # PyTorch's tensors have no `copy=` yet
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        model.set_weights([*kept, *(random.uniform(0.1, 1, array.shape) for array in model.get_weights()[3:])])
        model.layers[0].finalize_state()
        model.compile("adam")
        model.optimizer.build(model.trainable_variables)
        model.save_weights(folder / "new.weights.h5")
        with h5py.File(folder / "new.weights.h5", "r+") as file:
            assert len(file["optimizer/vars"])
            file["layers/dropout/seed_generator/vars/0"] = np.uint32([1, 2])  # as earlier versions have it
        with h5py.File(folder / "old.h5", "w") as file:
            for layer in model.layers:
                for variable in layer.weights:
                    file[f"{layer.name}/{layer.name}/{variable.name}:0"] = keras.ops.convert_to_numpy(variable)
        x = random.normal(3, 2, (7, 4)).astype(np.float32)
        y = keras.ops.convert_to_numpy(model(x, training=False))
    return (folder / "new.weights.h5", folder / "old.h5"), x, y


def test_weights_alone_of_every_kind(of_all_kinds):
    files, x, wanted = of_all_kinds
    for path in files:
        found = pnn.load(path, layers=OF_ALL_KINDS, epsilon=0.02)
        np.testing.assert_allclose(found(x), wanted, rtol=2e-6)
        assert np.abs(pnn.load(path, layers=OF_ALL_KINDS)(x) - wanted).max() > 1e-3


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, r"give layers=\[...\], .* and of the file dense, dense_1, dense_2, batch_normalization, layer"),
        ({"activation": "relu", "last": "softmax"}, "without activation= and last="),
        ({"layers": OF_ALL_KINDS[1:]}, "no entry of layers= takes normalization$"),
        ({"layers": [*OF_ALL_KINDS, "p_relu"]}, "'p_relu' is no module of the file, nor an activation"),
        ({"layers": OF_ALL_KINDS, "epsilon": "small"}, "'small'"),
    ],
)
def test_weights_alone_that_do_not_say_enough(of_all_kinds, given, match):
    for path in of_all_kinds[0]:
        with pytest.raises(pnn.FormatError, match=match):
            pnn.load(path, **given)


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        (["moving_mean"], "without running statistics"),
        (["moving_variance", "gamma"], "without running statistics"),
        (["mean"], "of its arrays there are mean alone"),
        (["count", "variance"], "of its arrays there are count, variance alone"),
    ],
)
def test_weights_alone_that_lack_statistics(tmp_path, arrays, match):
    path = tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        for name in arrays:
            file[f"norm/norm/{name}:0"] = np.ones(3)
    with pytest.raises(pnn.FormatError, match=f"layer 'norm': {match}"):
        pnn.load(path, layers=["norm"])


@pytest.mark.parametrize("name", ["batch_normalization", "layer_normalization", "embedding"])
def test_weights_alone_that_do_not_tell_what_they_are(tmp_path, name):
    """A gamma or a beta that is missing; a layer that is none here."""
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        for i in range(3 if name.startswith("batch") else 1):
            file[f"layers/{name}/vars/{i}"] = np.ones(3)
    with pytest.raises(pnn.FormatError, match=f"those of '{name}' do not tell .* save the whole model"):
        pnn.load(tmp_path / "model.weights.h5", layers=[name])


@pytest.mark.parametrize(
    ("paths", "name"),
    [
        (["a/dense/vars/0", "b/dense/vars/0"], "b/dense/vars/0"),
        (["a/dense/kernel:0", "b/dense/kernel:0"], "b/dense/kernel:0"),
        (["gain/gain/gain:0"], "gain"),
        (["dense/dense/kernel:0", "dense/dense/gamma:0"], "dense"),
    ],
    ids=["numbered", "named", "unknown", "of two kinds"],
)
def test_weights_alone_with_names_that_do_not_tell_it(tmp_path, paths, name):
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        for path in paths:
            file[path] = np.ones((3, 3))
    with pytest.raises(pnn.FormatError, match=f"those of '{name}' do not tell what they belong to"):
        pnn.load(tmp_path / "model.weights.h5", last="relu")


def test_weights_of_a_class_of_ones_own(of_all_kinds, tmp_path):
    """Keras names them after its attributes, and their axes tell what they are."""
    (new, _), x, _ = of_all_kinds
    attributes = {"norm": "normalization", "first": "dense", "batch": "batch_normalization", "last": "dense_1"}
    with h5py.File(new) as file, h5py.File(tmp_path / "own.weights.h5", "w") as own:
        for attribute, name in attributes.items():
            for number, array in file[f"layers/{name}/vars"].items():
                own[f"{attribute}/vars/{number}"] = array[()]
    found = pnn.load(tmp_path / "own.weights.h5", layers=["norm", "first", "batch", "relu", "last"])
    wanted = pnn.load(new, layers=OF_ALL_KINDS)[: len(found)]
    np.testing.assert_array_equal(found(x), wanted(x))


def test_an_epsilon_that_nothing_takes(made, tmp_path):
    path = tmp_path / "model.weights.h5"
    path.write_bytes(members(made[0] / "function tanh.keras")["model.weights.h5"])
    with pytest.raises(pnn.FormatError, match="nothing in the file adds epsilon= to a variance: leave it out"):
        pnn.load(path, layers=["dense", "tanh"], epsilon=1e-3)
