"""Graphs as fast as they can be: sums and activations beside products, and the same values and derivatives."""

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.layers import Graph, Node, Value
from portable_nn.placing import plain

RNG = np.random.default_rng(8)
N = 5
NAMES = {"Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "Softsign": "softsign", "Mish": "mish"}


def f(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def graph(nodes, outputs=("y",), opset=20, **constants):
    constants = {"w": f(N, N) / 2, "b": f(N), "v": f(N, N) / 2, "c": f(N), "u": f(N, 1), "d": f(1)} | constants
    return Graph(nodes, [Value("x", "float32", (N,))], outputs, {"": opset}, **constants)


def gemm(x, y, weight="w", bias="b", **attributes):
    return Node("Gemm", (x, weight, bias), (y,), attributes)


GRAPHS = {
    **{
        f"a residual block of {name}": [
            gemm("x", "h"),
            Node(name, ("h",), ("t",)),
            gemm("t", "g", "v", "c"),
            Node("Add", ("g", "x"), ("s",)),
            Node(name, ("s",), ("y",)),
        ]
        for name in NAMES
    },
    "added from the left": [gemm("x", "h"), Node("Add", ("x", "h"), ("y",))],
    "added twice": [gemm("x", "h"), Node("Add", ("x", "h"), ("s",)), Node("Add", ("s", "x"), ("y",))],
    "added to itself": [gemm("x", "h"), Node("Add", ("h", "h"), ("y",))],
    "a sum that is read again": [
        gemm("x", "h"),
        Node("Add", ("x", "h"), ("s",)),
        Node("Tanh", ("s",), ("t",)),
        Node("Mul", ("s", "t"), ("y",)),
    ],
    "a product that is read again": [
        gemm("x", "h"),
        Node("Add", ("x", "h"), ("s",)),
        Node("Tanh", ("h",), ("t",)),
        Node("Mul", ("s", "t"), ("y",)),
    ],
    "two products added": [gemm("x", "h"), gemm("x", "g", "v", "c"), Node("Add", ("h", "g"), ("y",))],
    "a constant added": [gemm("x", "h"), Node("Add", ("h", "c"), ("s",)), Node("Relu", ("s",), ("y",))],
    "one number added": [gemm("x", "h"), Node("Add", ("h", "k"), ("s",)), Node("Relu", ("s",), ("y",))],
    "a wider one added": [
        gemm("x", "h", "u", "d"),
        Node("Add", ("x", "h"), ("s",)),
        Node("Relu", ("s",), ("y",)),
    ],
    "activations in a row": [
        gemm("x", "h"),
        Node("Relu", ("h",), ("r",)),
        Node("Tanh", ("r",), ("t",)),
        Node("Sigmoid", ("t",), ("y",)),
    ],
    "activations of what is the caller's": [
        Node("Relu", ("x",), ("r",)),
        Node("Identity", ("x",), ("i",)),
        Node("Tanh", ("i",), ("t",)),
        Node("Sub", ("r", "t"), ("y",)),
    ],
    "activations of a view": [
        Node("Transpose", ("x",), ("i",), {"perm": (0, 1)}),
        Node("Sigmoid", ("i",), ("s",)),
        Node("Add", ("s", "x"), ("y",)),
    ],
    "a row of a view": [
        Node("Split", ("x",), ("i", "j"), {"axis": 1, "num_outputs": 2}),
        Node("Sigmoid", ("j",), ("s",)),
        Node("Concat", ("s", "i", "j"), ("y",), {"axis": 1}),
    ],
    "another dtype inside": [
        Node("Cast", ("x",), ("i",), {"to": 11}),
        Node("Add", ("i", "i"), ("a",)),
        Node("Sigmoid", ("a",), ("s",)),
        Node("Cast", ("s",), ("y",), {"to": 1}),
    ],
    "an activation of a shape": [
        Node("Shape", ("x",), ("n",)),
        Node("Relu", ("n",), ("m",)),
        Node("Reshape", ("x", "m"), ("r",)),
        Node("Tanh", ("r",), ("y",)),
    ],
    "scaled products": [gemm("x", "h", alpha=2.0), Node("Add", ("x", "h"), ("s",)), Node("Relu", ("s",), ("y",))],
}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_same_values_on_every_library(backend, name):
    layers = [pnn.Dense(f(N, N), f(N)), graph(GRAPHS[name], k=f(1))]
    for net in pnn.Network(layers), pnn.Network(layers[1:]):
        for n in (7, 1):
            x = f(n, N)
            given = backend.place(x)
            found = backend.to_numpy(net(given))
            np.testing.assert_allclose(found, plain(net.layers, x), rtol=2e-6, atol=2e-6)
            np.testing.assert_array_equal(backend.to_numpy(given), x)


def test_a_long_batch_and_one_sample():
    net = pnn.Network([graph(GRAPHS["a residual block of Sigmoid"])])
    x = f(30_000, N) * np.float32(80)  # which overflows an exponential, silently
    np.testing.assert_allclose(net(x), plain(net.layers, x), rtol=2e-6, atol=2e-5)
    np.testing.assert_allclose(net(x[0]), plain(net.layers, x[0]), rtol=2e-6, atol=2e-5)


@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "another dtype inside"])
def test_derivatives_of_pytorch_and_jax(torch, jax, name):
    net = pnn.Network([graph(GRAPHS[name], k=f(1))])
    x = f(4, N)
    given = torch.from_numpy(x).requires_grad_()
    net(given).square().sum().backward()
    wanted = jax.grad(lambda x: (plain_in_jax(net, x, jax) ** 2).sum())(jax.numpy.asarray(x))
    np.testing.assert_allclose(given.grad.numpy(), wanted, rtol=1e-4, atol=1e-4)
    found = jax.grad(lambda x: (net(x) ** 2).sum())(jax.numpy.asarray(x))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    each = torch.vmap(net)(torch.from_numpy(x)[:, None])
    np.testing.assert_allclose(each[:, 0].numpy(), net(x), rtol=1e-5, atol=1e-5)


def plain_in_jax(net, x, jax):
    for layer in net.layers:
        x = layer.map(jax.numpy.asarray)(x, jax.numpy)
    return x


@pytest.mark.parametrize("second", ["tanh", "sigmoid", "relu"])
@pytest.mark.parametrize("first", ["relu", "sigmoid", "tanh"])
def test_derivatives_of_activations_in_a_row(torch, first, second):
    net = pnn.Network([pnn.Dense(f(N, N), f(N), first), pnn.Activation(second), pnn.Dense(f(N, 2), f(2))])
    x = torch.from_numpy(f(6, N)).requires_grad_()
    net(x).sum().backward()
    (w, b), (v, _) = ((torch.from_numpy(np.array(each)) for each in net[i].arrays.values()) for i in (0, 2))
    again = x.detach().requires_grad_()
    (getattr(torch, second)(getattr(torch, first)(again @ w + b)) @ v).sum().backward()
    torch.testing.assert_close(x.grad, again.grad)


def test_nothing_is_read_that_no_step_reads():
    """What leads to no output is not run, and no array that only products read is handed about."""
    net = pnn.Network(
        [graph([gemm("x", "y"), gemm("x", "unread", "v", "c"), Node("Log", ("unread",), ("nan",))])]
    )
    with np.errstate(all="raise"):
        x = f(6, N)
        np.testing.assert_allclose(net(x), plain(net.layers, x), rtol=1e-5, atol=1e-6)
