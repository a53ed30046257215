"""Blocks of rows are computed where those before were: none gets into another, and none stays for good."""

import os
import platform
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import run_python

import portable_nn as pnn
from portable_nn.layers import Graph, Node, Value
from portable_nn.placing import plain

RNG = np.random.default_rng(12)
N, ROWS = 6, 25_001  # of several blocks, the last one short


def dense(activation="identity", n_in=N, n_out=N):
    weight, bias = (RNG.normal(size=shape).astype(np.float32) for shape in ((n_in, n_out), n_out))
    return pnn.Dense(weight, bias, activation)


def siblings():
    """Two products of one array, both held until they are added, and a third one after that."""
    nodes = [
        Node("Gemm", ("x", "a", "b"), ("h",)),
        Node("Tanh", ("h",), ("t",)),
        Node("Gemm", ("x", "c", "b"), ("i",)),
        Node("Sigmoid", ("i",), ("s",)),
        Node("Sub", ("t", "s"), ("d",)),
        Node("Gemm", ("d", "a", "b"), ("y",)),
    ]
    a, c, b = (RNG.normal(size=shape).astype(np.float32) for shape in ((N, N), (N, N), N))
    return Graph(nodes, [Value("x", "float32", (N,))], ["y"], {"": 20}, a=a, b=b, c=c)


NETWORKS = {
    "one product": [dense()],
    "products of one width": [dense("silu"), dense(), dense("softmax"), dense("relu"), dense()],
    "products of several widths": [dense("tanh", 6, 11), dense("relu", 11, 2), dense("tanh", 2, 9)],
    "nothing but an activation": [pnn.Activation("relu")],
    "a view of what came": [pnn.Flatten((2, 3))],
    "axes before the product": [pnn.Flatten((2, 3)), dense("tanh")],
    "branches": [siblings()],
    "branches between products": [dense("tanh"), siblings(), dense("tanh"), siblings(), dense()],
}


def rows(dtype, layers):
    shape = (2, 3) if isinstance(layers[0], pnn.Flatten) else (N,)
    return RNG.integers(0, 9, (ROWS, *shape)).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "float16", ">f4", "float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_leave_one_another_alone(name, dtype):
    net = pnn.Network(NETWORKS[name])
    x = rows(dtype, net.layers)
    before = x.copy()
    found = net(x)
    kept = found.copy()
    net(rows(dtype, net.layers)[::-1])
    np.testing.assert_array_equal(found, kept)
    np.testing.assert_array_equal(x, before)
    close = {"rtol": 1e-2, "atol": 0.1} if dtype == "float16" else {"rtol": 1e-4, "atol": 1e-3}
    np.testing.assert_allclose(found, plain(net.layers, x), **close)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_inputs_of_one_shape_are_not_one_another(dtype):
    inputs = [Value(name, "float32", (N,)) for name in "xy"]
    nodes = [Node("Sub", ("x", "y"), ("d",)), Node("Add", ("x", "y"), ("s",))]
    net = pnn.Network([Graph(nodes, inputs, ["d", "s"], {"": 20})])
    x, y = (RNG.integers(0, 9, (ROWS, N)).astype(dtype) for _ in range(2))
    found = net({"x": x, "y": y})
    np.testing.assert_array_equal(found["d"], x - y)
    np.testing.assert_array_equal(found["s"], x + y)


def test_threads_have_their_own():
    net = pnn.Network(NETWORKS["products of one width"])
    batches = [rows("uint8", net.layers) for _ in range(8)]
    wanted = [net(x) for x in batches]
    with ThreadPoolExecutor(8) as pool:
        for found, y in zip(pool.map(net, batches * 5), wanted * 5, strict=True):
            np.testing.assert_array_equal(found, y)


def test_what_is_large_is_given_back():
    net = pnn.Network([pnn.Dense(np.ones((4000, 400), np.float32))])
    x = np.zeros((500, 4000), np.uint8)
    net(x[:2])
    tracemalloc.start()
    try:
        net(x)
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2**20 < 2**22 < most


FAULTS = """
import resource, sys
from itertools import pairwise
import numpy as np
import portable_nn as pnn

widths = 300, 120, 120, 120, 9
layers = [pnn.Dense(np.ones(pair, np.float32), None, sys.argv[1]) for pair in pairwise(widths)]
net = pnn.Network(layers)
x = np.ones((20_000, 300), np.uint8)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pnn.infer(net, x, workers=1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults() * resource.getpagesize() / (4 * x.size))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux heeds MALLOC_TRIM_THRESHOLD_")
@pytest.mark.parametrize("activation", ["sigmoid", "silu"])
def test_pages_are_used_again_where_memory_is_given_back_at_once(activation):
    done = run_python("-c", FAULTS, activation, env=os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"})
    assert (
        float(done) < 0.25
    )  # of the pages that the inputs take once they are cast; for each block anew it is 2 to 3


FAULTS_OF_CALLS = """
import resource, sys
import numpy as np
import portable_nn as pnn

activation, dtype, rows = sys.argv[1:]
rng = np.random.default_rng(0)
shapes = (32, 128), (128, 128), (128, 1)
net = pnn.Network([pnn.Dense(rng.standard_normal(shape, dtype), None, activation) for shape in shapes])
x = rng.standard_normal((int(rows), 32), dtype)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        net(x)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults() / 10)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="what glibc does with freed memory: run on a Linux that has it"
)
@pytest.mark.parametrize("rows", [400, 1000])
@pytest.mark.parametrize(
    ("activation", "dtype"), [("gelu", "float32"), ("tanh", "float32"), ("sigmoid", "float64")]
)
def test_a_process_that_had_nothing_large_yet_takes_no_page_anew_for_each_call(activation, dtype, rows):
    fresh = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = run_python("-c", FAULTS_OF_CALLS, activation, dtype, str(rows), env=fresh)
    assert float(done) < 5  # it was up to 800
