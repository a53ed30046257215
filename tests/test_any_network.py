"""Random networks of every layer and activation, on arrays of any layout, give what the plain loop gives."""

import numpy as np
import pytest
from helpers import NOT_EVERYWHERE, check_beside, placed, predicted

import portable_nn as pnn
from portable_nn.activations import ACTIVATIONS, PLAIN, parameters_of
from portable_nn.layers import Graph, Node, Value
from portable_nn.placing import plain
from portable_nn.rewriting import parted
from portable_nn.verification import excess, expected

NAMES = sorted(set(PLAIN) - set(NOT_EVERYWHERE))
EVERY = sorted(set(ACTIVATIONS) - set(NOT_EVERYWHERE))
LEADING = [(), (0,), (1,), (2,), (37,), (600,), (3, 4), (1, 1), (0, 3), (2, 300)]
LAYOUTS = {
    "C": np.copy,
    "Fortran": np.asfortranarray,
    "reversed": lambda x: x[..., ::-1].copy()[..., ::-1],
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "read-only": lambda x: np.broadcast_to(x, x.shape),
}


def activation(rng, n):
    """One of all, with parameters that are given: one number, or one for each feature; and how many it gives."""
    name = str(rng.choice(EVERY if n % 2 == 0 else [name for name in EVERY if name != "glu"]))
    given = {}
    for key, default in parameters_of(name).items():
        if default is None or rng.random() < 0.4:
            size = 0.1 + np.abs(rng.normal(size=n if rng.random() < 0.5 else ()))
            given[key] = float(size) if np.ndim(size) == 0 else size
    if "low" in given:
        given["low"] = -given["low"]
    return pnn.Activation(name, **given), n // 2 if name == "glu" else n


def residual(rng, n):
    """A product, what is added to it, and its input again."""
    m, name = int(rng.integers(1, 9)), str(rng.choice(["Relu", "Tanh", "Elu", "Gelu", "Selu", "Mish"]))
    nodes = [
        Node("Gemm", ("x", "w", "b"), ("h",)),
        Node(name, ("h",), ("a",)),
        Node("MatMul", ("a", "v"), ("c",)),
    ]
    nodes += [Node("Add", ("c", "x"), ("y",))]
    weights = {"w": rng.normal(size=(n, m)) / n**0.5, "b": rng.normal(size=m), "v": rng.normal(size=(m, n))}
    return Graph(nodes, [Value("x", "float32", (n,))], ["y"], {"": 20}, **weights)


def network(rng):
    n = int(rng.integers(1, 22))
    shape = [(n,), (n, 1), (1, n)][rng.choice([0, 0, 0, 1, 2])]
    layers = [pnn.Flatten(shape)] if len(shape) > 1 else []
    for _ in range(rng.integers(1, 6)):
        match rng.choice(["dense", "dense", "rescaling", "normalize", "activation", "residual"]):
            case "dense":
                weight = rng.normal(size=(n, int(rng.integers(1, 22)))) / n**0.5
                n = weight.shape[1]
                layers.append(pnn.Dense(weight, rng.normal(size=n), str(rng.choice(NAMES))))
            case "rescaling":
                layers.append(pnn.Rescaling(rng.normal(size=n), float(rng.choice([0, 0.5, -3]))))
            case "normalize":
                layers.append(pnn.Normalize(rng.normal(size=n), None, 1e-3, bool(rng.integers(2))))
            case "activation":
                layer, n = activation(rng, n)
                layers.append(layer)
            case "residual":
                layers.append(residual(rng, n))
    return pnn.Network(layers), (*LEADING[rng.integers(len(LEADING))], *shape)


# infinities that functions give of numbers too large, as they do layer by layer
@pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero) encountered:RuntimeWarning")
@pytest.mark.dtypes("float32", "float64")
def test_any_network(backend, dtype):
    for seed in range(3 if backend.name in ("jax", "dask") else 60):
        rng = np.random.default_rng(seed)
        net, shape = network(rng)
        numbers = rng.normal(size=shape) * 10 ** rng.uniform(-2, 2)
        if backend.name == "numpy":
            layout = list(LAYOUTS.values())[seed % len(LAYOUTS)]
            x = layout(numbers.astype(dtype)) if len(shape) > 1 or layout is np.copy else numbers.astype(dtype)
        else:
            x = placed(backend, numbers, dtype)
        before = backend.to_numpy(x).copy()
        exact = before.astype(np.float64)
        outputs = net(x)
        kept = backend.to_numpy(outputs).copy()
        wanted, allowed = expected(net.layers, exact, dtype)
        check_beside(outputs, x, backend.dtype(dtype), wanted.shape)
        assert excess(kept.astype(np.float64), wanted, allowed)[1] <= 1, (seed, net)
        if wanted.shape[-1] > 1 and wanted.size:
            logits, error = expected(parted(net.layers)[0], exact, dtype)
            labels, found = plain(net.layers, exact, "labels"), predicted(net, backend, x)
            best = np.arange(logits.shape[-1]) == labels[..., None]
            lowest = np.where(best, logits - error, np.inf).min(axis=-1)
            clear = lowest > np.where(best, -np.inf, logits + error).max(axis=-1)
            assert not np.any((found != labels) & clear), (seed, net)
        net(backend.place(np.ones(shape, dtype)))
        np.testing.assert_array_equal(backend.to_numpy(outputs), kept)
        np.testing.assert_array_equal(backend.to_numpy(x), before)
