"""Models made by Keras, their files, and what Keras predicts; a program, since importing Keras takes seconds.

    KERAS_BACKEND=numpy python tests/formats/keras_models.py FOLDER SEED COUNT STEP

For each model the folder gets `name.keras`, `name.h5`, and `name.npz` with inputs `x`, what Keras makes of them,
`y`, and what the network that `from_keras` takes over makes of them, `live`. COUNT is that of random models; of
all, every STEP-th is made.
"""

import itertools
import json
import pathlib
import sys
import warnings
from functools import partial

import keras
import numpy as np
from keras import layers

from portable_nn.formats.keras import from_keras

FUNCTIONS = [
    *("celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish"),
    *(
        "hard_tanh",
        "leaky_relu",
        "linear",
        "log_sigmoid",
        "log_softmax",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
    ),
    *("silu", "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid"),
    *("squareplus", "swish", "tanh", "tanh_shrink"),
]

ACTIVATIONS = {
    "elu layer": lambda: layers.ELU(0.5),
    "leaky layer": layers.LeakyReLU,
    "leaky layer 0.1": lambda: layers.LeakyReLU(0.1),
    "relu layer": layers.ReLU,
    "relu layer 6": lambda: layers.ReLU(6.0),
    "relu layer sloped": lambda: layers.ReLU(negative_slope=0.2),
    "relu layer, all": lambda: layers.ReLU(max_value=1.5, negative_slope=0.2, threshold=0.5),
    "softmax layer": layers.Softmax,
}

OTHERS = {
    "activity": lambda n, rng: layers.ActivityRegularization(0.1),
    "alpha dropout": lambda n, rng: layers.AlphaDropout(0.5),
    "batch": lambda n, rng: layers.BatchNormalization(),
    "batch, no scale": lambda n, rng: layers.BatchNormalization(scale=False, epsilon=0.1),
    "batch, no center": lambda n, rng: layers.BatchNormalization(center=False),
    "batch, neither": lambda n, rng: layers.BatchNormalization(center=False, scale=False),
    "dropout": lambda n, rng: layers.Dropout(0.5),
    "gaussian dropout": lambda n, rng: layers.GaussianDropout(0.5),
    "identity": lambda n, rng: layers.Identity(),
    "layer norm": lambda n, rng: layers.LayerNormalization(),
    "layer norm, neither": lambda n, rng: layers.LayerNormalization(center=False, scale=False, epsilon=0.1),
    "noise": lambda n, rng: layers.GaussianNoise(1.0),
    "normalization": lambda n, rng: layers.Normalization(),
    "normalization, all": lambda n, rng: layers.Normalization(axis=None),
    "normalization, given": lambda n, rng: layers.Normalization(mean=rng.normal(size=n), variance=np.ones(n) * 2),
    "normalization, number": lambda n, rng: layers.Normalization(mean=3.0, variance=4.0),
    "normalization, inverse": lambda n, rng: layers.Normalization(mean=1.5, variance=np.pi, invert=True),
    "no bias": lambda n, rng: layers.Dense(n, use_bias=False),
    "prelu": lambda n, rng: layers.PReLU(),
    "prelu, shared": lambda n, rng: layers.PReLU(shared_axes=[1]),
    "rescaling": lambda n, rng: layers.Rescaling(0.5, offset=-1.0),
    "rescaling, each": lambda n, rng: layers.Rescaling(list(rng.normal(size=n)), offset=2.0),
    "reshape": lambda n, rng: layers.Reshape((n,)),
    "rms norm": lambda n, rng: layers.RMSNormalization(),
}


def randomised(model, rng):
    for weight in model.weights:
        if "seed" in weight.path:
            continue
        values = rng.normal(0, 0.7, weight.shape)
        weight.assign(np.abs(values) + 0.1 if "variance" in weight.path else values)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()
    return model


def functional(shape, chain):
    x = start = keras.Input(shape)
    for layer in chain:
        x = layer(x)
    return keras.Model(start, x)


def sequential(shape, chain):
    return keras.Sequential([keras.Input(shape), *chain])


def any_function(rng):
    return str(
        rng.choice([name for name in FUNCTIONS if name != "glu"])
    )  # of which Keras's Activation is not aware


def any_chain(rng, width, depth):
    chain = []
    for _ in range(rng.integers(1, 4)):
        match rng.integers(5):
            case 0:
                chain.append(OTHERS[rng.choice(list(OTHERS))](width, rng))
            case 1:
                chain.append(layers.Activation(any_function(rng)))
            case 2 if depth:
                inner, width_out = any_chain(rng, width, depth - 1)
                chain.append((functional if rng.integers(2) else sequential)((width,), inner))
                width = width_out
            case _:
                width = int(rng.integers(1, 8))
                layer = rng.integers(4) == 0
                function = ACTIVATIONS[rng.choice(list(ACTIVATIONS))]() if layer else any_function(rng)
                chain.append(layers.Dense(width, function, use_bias=bool(rng.integers(2))))
    width = int(rng.integers(1, 5))
    return [*chain, layers.Dense(width)], width


def deep():
    chain = [layers.Dense(3, "tanh")]
    for i in range(5):
        chain = [
            (functional if i % 2 else sequential)((3,), [*chain, layers.BatchNormalization()]),
            layers.Dense(3),
        ]
    return sequential((3,), chain)


def frozen():
    inner = sequential((3,), [layers.Dense(3), layers.BatchNormalization(), layers.Dense(2)])
    inner.layers[0].trainable = False
    return functional((3,), [inner, layers.Dense(2)])


def flattened_late():
    late = [layers.Dense(4, "relu"), layers.LayerNormalization(), layers.Dropout(0.5)]
    return sequential((5, 3), [*late, layers.Flatten(), layers.Dense(2, "softmax")])


def flattened_late_nested():
    inner = sequential((2, 5, 3), [layers.Dense(4, "tanh"), layers.BatchNormalization()])
    return functional((2, 5, 3), [inner, layers.Flatten(), layers.Dense(1)])


def any_model(rng):
    width = int(rng.integers(1, 6))
    chain, _ = any_chain(rng, width, 2)
    return (functional if rng.integers(2) else sequential)((width,), chain)


def models(seed, count):
    """Names, and what makes the models: a backend that compiles takes seconds for each."""
    rng = np.random.default_rng(seed)
    for name in FUNCTIONS:
        yield f"function {name}", partial(sequential, (3,), [layers.Dense(6, name)])
    for name, make in ACTIVATIONS.items():
        yield name, partial(functional, (3,), [layers.Dense(5), make()])
        yield f"{name} in Dense", partial(sequential, (3,), [layers.Dense(5, make())])
    for name, make in OTHERS.items():
        yield name, partial(sequential, (4,), [make(4, rng), layers.Dense(2, "tanh")])
    yield "flatten", partial(sequential, (2, 3), [layers.Flatten(), layers.Dense(4, "relu")])
    yield "reshaped flat", partial(functional, (2, 3), [layers.Reshape((-1,)), layers.Dense(4, "relu")])
    yield "leading axes", partial(sequential, (5, 3), [layers.Dense(4, "relu"), layers.LayerNormalization()])
    yield "flattened late", flattened_late
    yield "flattened late, nested", flattened_late_nested
    shared = layers.Dense(3, "tanh")
    yield "used twice", partial(functional, (3,), [shared, layers.Dense(3, "relu"), shared])
    yield "many", partial(sequential, (3,), [layers.Dense(3, "tanh") for _ in range(60)])
    yield "deep", deep
    yield "frozen", frozen
    for dtype in ("bfloat16", "mixed_bfloat16", "float16", "mixed_float16", "float64"):
        norm = layers.Normalization(mean=[1, 2, 3], variance=[1, 2, 3], dtype=dtype)
        chain = [norm, layers.Dense(4, "relu", dtype=dtype), layers.BatchNormalization(dtype=dtype)]
        yield f"dtype {dtype}", partial(sequential, (3,), [*chain, layers.Dense(3, "softmax", dtype=dtype)])
    for i in range(count):
        yield f"random {i}", partial(any_model, rng)


def main(folder, seed, count, step):
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(seed)
    names = []
    for name, make in itertools.islice(models(seed, count), 0, None, step):
        model = randomised(make(), rng)
        x = rng.normal(0, 2, (7, *model.input_shape[1:])).astype(np.float32)
        y = keras.ops.convert_to_numpy(model(x, training=False))
        np.savez(folder / f"{name}.npz", x=x, y=y.astype(np.float64), live=from_keras(model)(x))
        model.save(folder / f"{name}.keras")
        model.save(folder / f"{name}.h5")
        names.append(name)
    (folder / "names.json").write_text(json.dumps(names))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:]))
