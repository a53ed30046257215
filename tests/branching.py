"""Networks of several inputs or outputs, and what they give by NumPy in float64."""

import numpy as np

import portable_nn as pnn
from portable_nn.layers import Graph, Node, Value

RNG = np.random.default_rng(31)

TABLE, W, V, LAST = (RNG.normal(size=shape).astype(np.float32) for shape in [(5, 6), (4, 6), (2, 6), (6, 3)])

INPUTS = [Value("x", "float32", (4,)), Value("place", "int64", ()), Value("z", "float32", (2,))]
NODES = [
    Node("Gather", ("table", "place"), ("e",)),
    Node("Gemm", ("x", "w", "b"), ("h",)),
    Node("Tanh", ("h",), ("t",)),
    Node("MatMul", ("z", "v"), ("u",)),
    Node("Add", ("t", "e"), ("s",)),
    Node("Add", ("s", "u"), ("y",)),
    Node("ArgMax", ("y",), ("k",), {"axis": 1, "keepdims": 0}),
]
CONSTANTS = {"table": TABLE, "w": W, "b": np.zeros(6, np.float32), "v": V}

TWO = pnn.Network([Graph(NODES, INPUTS, ["y", "k"], {"": 20}, **CONSTANTS)])
"""Three inputs, one of them of places in a table; outputs y of six values, and the place k of their largest."""

LABELS = pnn.Network(
    [Graph(NODES[:-1], INPUTS, ["y"], {"": 20}, **CONSTANTS), pnn.Dense(LAST, None, "softmax")],
    classes=["ant", "bee", "cow"],
)
"""The same inputs, and three classes."""

HEADS = pnn.Network(
    [
        pnn.Rescaling(0.5),
        Graph(
            [Node("MatMul", ("x", "w"), ("h",)), Node("Tanh", ("h",), ("t",)), Node("Exp", ("t",), ("e",))],
            [Value("x", "float32", (4,))],
            ["t", "e"],
            {"": 20},
            w=W,
        ),
    ]
)
"""One input, two outputs."""

PLACES = pnn.Network(
    [Graph(NODES[:1], INPUTS[1:2], ["e"], {"": 20}, table=TABLE), pnn.Dense(LAST, None, "softmax")]
)
"""One input of places in a table."""


def data(n, seed=0):
    """Samples for `TWO` and `LABELS`."""
    random = np.random.default_rng(seed)
    x, z = (random.normal(size=(n, width)).astype(np.float32) for width in (4, 2))
    return {"x": x, "place": random.integers(0, 5, n), "z": z}


def wanted(given):
    """What `TWO` gives."""
    x, place, z = (np.asarray(given[name]) for name in ("x", "place", "z"))
    y = np.tanh(x.astype(float) @ W) + TABLE.astype(float)[place] + z.astype(float) @ V
    return {"y": y, "k": y.argmax(axis=-1)}


def wanted_labels(given):
    """The places of the classes that `LABELS` tells."""
    return (wanted(given)["y"] @ LAST).argmax(axis=-1)
