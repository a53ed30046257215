"""From the call of a network to its first product there are three Python frames of this package at most."""

import sys
from collections import Counter
from functools import cache
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from helpers import placed

import portable_nn as pnn

PACKAGE = str(Path(pnn.__file__).parent)
WIDTH = 1500  # products take nearly all the time, so that this is where the time goes
OTHER_DEVICES = {f"array_api_strict:{name}" for name in ("device1", "device2", "no_float64", "no_x64")}
CALLS = 3


def depth(frame):
    """How many frames of this package are on the stack that ends with this one."""
    count = 0
    while frame is not None:
        count += frame.f_code.co_filename.startswith(PACKAGE)
        frame = frame.f_back
    return count


def depth_of_the_product(call):
    """The number of frames of this package in which calls spend the most time, while they are in the package."""
    spent: Counter[int] = Counter()
    now, since = 0, perf_counter()

    def profile(frame, event, _):
        nonlocal now, since
        spent[now] += perf_counter() - since
        now, since = depth(frame.f_back if event == "return" else frame), perf_counter()

    sys.setprofile(profile)
    try:
        for _ in range(CALLS):
            call()
    finally:
        sys.setprofile(None)
    del spent[0]  # where a library frees results, it may wait
    return spent.most_common(1)[0][0]


@pytest.fixture(scope="module")
def network():
    """A network that follows its input, or the same bound to a backend."""
    eye = np.eye(WIDTH, dtype=np.float32)

    @cache
    def made(spec, activation="identity"):
        net = pnn.Network([pnn.Dense(eye, None, activation)])
        return net.to(spec) if spec else net

    return made


def check_frames(net, x):
    net(x)
    assert depth_of_the_product(lambda: net(x)) <= 3


@pytest.mark.parametrize("rows", [(), (1,), (100,), (1000,), (2, 500)], ids=str)
@pytest.mark.parametrize("bound", [False, True], ids=["following", "bound"])
def test_a_warm_call_is_three_frames_from_its_product(backend, rows, bound, network):
    if backend.name == "dask":
        pytest.skip("Dask computes after the call")
    if str(backend) in OTHER_DEVICES:
        pytest.skip("one device of it is enough: a call runs through the same frames on all")
    net = network(str(backend) if bound else None)
    check_frames(net, placed(backend, np.ones((*rows, WIDTH)), "float32"))


@pytest.mark.parametrize("activation", ["gelu_tanh", "log_sigmoid", "mish", "sigmoid", "softplus"])
def test_one_sample_on_numpy_with_an_exponential(activation, network):
    """Of one block: blocks of many samples are shared out in frames of their own."""
    x = np.ones((1, WIDTH), np.float32)
    check_frames(network(None, activation), x)
