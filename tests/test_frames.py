"""From the call of a network to its first product there are three Python frames of this package at most."""

import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import placed

import portable_nn as pnn

HERE = str(Path(pnn.__file__).parent)


def deepest(call, x):
    """How many frames of this package lie on top of each other at most, until the call is over."""
    depth, most = 0, 0

    def profile(frame, event, argument):
        nonlocal depth, most
        if not frame.f_code.co_filename.startswith(HERE):
            return
        if event == "call":
            depth += 1
            most = max(most, depth)
        elif event == "return":
            depth -= 1

    sys.setprofile(profile)
    try:
        call(x)
    finally:
        sys.setprofile(None)
    return most


@pytest.mark.parametrize("shape", [(4,), (1, 4), (100, 4), (20_000, 4), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("bound", [False, True], ids=["following", "bound"])
def test_a_warm_call_is_three_frames_deep(backend, shape, bound):
    rng = np.random.default_rng(0)
    layers = [pnn.Dense(rng.normal(size=pair), None, "sigmoid") for pair in ((4, 50), (50, 100), (100, 10))]
    net = pnn.Network([*layers, pnn.Dense(np.eye(10), None, "softmax")])
    if bound:
        net = net.to(backend)
    x = placed(backend, np.ones(shape), "float32")
    for call in (net, *([net.predict] if backend.has_labels() else [])):
        call(x)
        assert deepest(call, x) <= 3
