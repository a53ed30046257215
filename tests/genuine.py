"""Small files of every format that is read, each by the framework that writes such files; a program.

    KERAS_BACKEND=numpy python tests/genuine.py FOLDER

`OPTIONS` are what `load` takes besides, where a file does not say enough.
"""

import pathlib
import pickle
import sys
import warnings

import numpy as np

BETWEEN = {"activation": "tanh", "last": "softmax"}
LAST = {"last": "identity"}
OPTIONS = {
    "states.safetensors": BETWEEN,
    "named.npz": BETWEEN,
    "named.pkl": BETWEEN,
    "named-zlib.joblib": BETWEEN,
    "state_dict.pt": BETWEEN,
    "checkpoint.pth": BETWEEN,
    "legacy.pt": BETWEEN,
    "weights.weights.h5": BETWEEN,
    "cosmopower.pkl": LAST,
    "cosmopower.npz": LAST,
}

RNG = np.random.default_rng(0)


def own(folder):
    import portable_nn as pnn

    layers = [
        pnn.Rescaling(1 / 255),
        pnn.Dense(RNG.normal(size=(4, 3)), RNG.normal(size=3), "tanh"),
        pnn.Normalize(np.ones(3), np.zeros(3)),
        pnn.Activation("elu", alpha=0.5),
        pnn.Dense(RNG.normal(size=(3, 2)), RNG.normal(size=2), "softmax"),
    ]
    net = pnn.Network(layers, classes=["cat", "dog"], inputs=list("abcd"), input_range=(0, 255))
    pnn.save(net, folder / "own.safetensors")
    pnn.save(net, folder / "own.npz")


def arrays(folder):
    import joblib
    from safetensors.numpy import save_file

    named = {f"{k}{i}": RNG.normal(size=s) for i in (1, 2) for k, s in (("W", (3, 3)), ("b", (3,)))}
    np.savez(folder / "named.npz", **named)
    (folder / "named.pkl").write_bytes(pickle.dumps(named, protocol=2))
    joblib.dump(named, folder / "named-zlib.joblib", compress=("zlib", 3))
    states = {f"{i}.{k}": RNG.normal(size=s) for i in (0, 2) for k, s in (("weight", (3, 3)), ("bias", (3,)))}
    save_file(states, folder / "states.safetensors")
    np.save(folder / "data.npy", RNG.normal(size=(5, 4)).astype(np.float32))
    (folder / "data-idx2-ubyte").write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 4, *range(12)]))


def cosmopower(folder):
    def part(*shape):
        return RNG.normal(size=shape)

    weights, biases, learned = [part(2, 4), part(4, 3)], [part(4), part(3)], [[part(4)], [part(4)]]
    scales = {"parameters_mean": part(2), "parameters_std": np.ones(2)}
    scales |= {"features_mean": part(3), "features_std": np.ones(3)}
    items = [weights, biases, *learned, *scales.values(), 2, ["h", "n_s"], 3, np.arange(3), [4], 2, [2, 4, 3]]
    (folder / "cosmopower.pkl").write_bytes(pickle.dumps(items, protocol=4))
    named = {f"W_{i}": w for i, w in enumerate(weights)} | {f"b_{i}": b for i, b in enumerate(biases)}
    named |= {"alphas_0": learned[0][0], "betas_0": learned[1][0], "n_layers": np.array(2)}
    names = {"parameters": np.array(["h", "n_s"]), "modes": np.arange(3)}
    np.savez_compressed(folder / "cosmopower.npz", **named, **scales, **names)


def scikit_learn(folder):
    import joblib
    import onnx
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = RNG.normal(size=(12, 4)).astype(np.float32), np.repeat(["a", "b", "c"], 4)
    classifier = make_pipeline(StandardScaler(), MLPClassifier((3,), max_iter=3, random_state=0)).fit(x, y)
    joblib.dump(classifier, folder / "sklearn.joblib")
    joblib.dump(classifier, folder / "sklearn-lzma.joblib", compress=("lzma", 3))
    regressor = MLPRegressor(hidden_layer_sizes=(3,), activation="tanh", max_iter=3, random_state=0).fit(
        x, x[:, :2]
    )
    (folder / "sklearn.pkl").write_bytes(pickle.dumps(regressor, protocol=5))
    onnx.save(to_onnx(classifier, x[:1], options={"zipmap": False}), folder / "sklearn.onnx")


def pytorch(folder):
    import torch
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.LeakyReLU(0.2), nn.BatchNorm1d(3), nn.Linear(3, 2), nn.Softmax(-1))
    torch.save(net.eval(), folder / "whole.pt")
    states = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).state_dict()
    torch.save(states, folder / "state_dict.pt")
    torch.save({"epoch": 3, "state_dict": states}, folder / "checkpoint.pth")
    torch.save(states, folder / "legacy.pt", _use_new_zipfile_serialization=False)

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.last(x + self.first(x).relu()).softmax(-1)

    for name, module in {"chain.onnx": net, "graph.onnx": Residual()}.items():
        x = torch.zeros(1, 4)
        torch.onnx.export(
            module, (x,), folder / name, dynamo=False, dynamic_axes={"x": {0: "n"}}, input_names=["x"]
        )


def graph(folder):
    import portable_nn as pnn

    for suffix in (".safetensors", ".npz"):
        pnn.save(pnn.load(folder / "graph.onnx"), folder / f"graph{suffix}")


def keras(folder):
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    chain = [layers.Dense(3, "relu"), layers.BatchNormalization(), layers.Dense(2, "softmax")]
    model = keras.Sequential([keras.Input((4,)), layers.Rescaling(0.5), *chain])
    start = keras.Input((4,))
    functional = keras.Model(start, layers.Dense(2)(layers.Dense(3, "tanh")(start)))
    model.save(folder / "sequential.keras")
    model.save(folder / "sequential.h5")
    functional.save(folder / "functional.keras")
    functional.save(folder / "functional.h5")
    functional.save_weights(folder / "weights.weights.h5")


def main(folder):
    warnings.simplefilter("ignore")
    for make in (own, arrays, cosmopower, scikit_learn, pytorch, graph, keras):
        make(folder)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
