"""Results belong to whoever called: what is written into one reaches neither the input nor a later call."""

import numpy as np
import pytest
from helpers import placed

import portable_nn as pnn
from portable_nn.layers import Graph, Node, Value

X = np.arange(1.0, 13.0).reshape(2, 6)
ROW = np.arange(1.0, 7.0, dtype=np.float32)[None]


def graph(*nodes, outputs=("y",), **constants):
    return Graph(nodes, [Value("x", "float32", (6,))], outputs, {"": 20, "portable_nn": 1}, **constants)


def of_constants():
    """A row of constants for each sample, which broadcasting repeats without copying it."""
    nodes = [Node("Shape", ("x",), ("s",)), Node("Expand", ("row", "s"), ("y",))]
    return graph(*nodes, row=ROW)


BORROWING = {
    "flatten": [pnn.Flatten((2, 3))],
    "identity": [pnn.Activation("identity")],
    "several": [pnn.Flatten((6,)), pnn.Activation("identity"), pnn.Flatten((6,))],
    "softmax, whose logits are its input": [pnn.Activation("softmax")],
    "a graph of the input": [graph(Node("Identity", ("x",), ("y",)))],
    "a graph of a part": [graph(Node("Split", ("x",), ("y", "z"), {"axis": 1}), outputs=("y", "z"))],
    "a graph of constants": [of_constants()],
    "a graph and a view": [graph(Node("Transpose", ("x",), ("y",), {"perm": (0, 1)})), pnn.Flatten((6,))],
    "the identity of this package": [graph(Node("portable_nn.identity", ("x",), ("y",)))],
}


def written_over(array):
    """One that is written into, if its library lets anyone."""
    try:
        array[...] = 99
    except (TypeError, ValueError, NotImplementedError):  # JAX's and Dask's stay as they are
        return


@pytest.mark.parametrize("own", [False, True], ids=["placed", "own"])
@pytest.mark.parametrize("name", BORROWING)
def test_results_are_nobody_elses(backend, name, own):
    layers = BORROWING[name]
    call = pnn.Network.logits if "logits" in name else pnn.Network.__call__
    net = pnn.Network([layer.map(backend.place) for layer in layers] if own else layers)
    numbers = X.reshape(2, 2, 3) if name == "flatten" else X
    x = placed(backend, numbers, "float32")
    first = call(net, x)
    for y in first.values() if isinstance(first, dict) else [first]:
        written_over(y)
    np.testing.assert_array_equal(backend.to_numpy(x), numbers)
    wanted = call(pnn.Network(layers), numbers)
    again = call(net, x)
    for key in wanted if isinstance(wanted, dict) else [...]:
        np.testing.assert_allclose(backend.to_numpy(again[key]), wanted[key], rtol=1e-6)


def test_a_copy_keeps_its_history(torch):
    x = torch.ones(2, 6, requires_grad=True)
    for layers in (BORROWING["identity"], BORROWING["a graph of the input"]):
        x.grad = None
        pnn.Network(layers)(x).sum().backward()
        assert torch.equal(x.grad, torch.ones(2, 6))
