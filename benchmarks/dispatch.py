"""What a call of the network costs over the bare array operations, for one image."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

import portable_nn as pnn
from portable_nn.rewriting import rewritten

__all__ = ["functions"]

CALLS = 20
RUNS = 5


def functions(library: str) -> dict[str, Callable[..., Any]]:
    """The call that `scale` makes, for `Worker`."""
    return {"microseconds": lambda rounds: SETUPS[library](rounds)}


def on_numpy(rounds: int) -> list[float]:
    """Overhead in each round on NumPy."""
    x, weights = one_image(), optimized_weights()
    (w1, b1), (w2, b2), (w3, b3) = weights
    w1 = np.asfortranarray(w1)  # as the package holds tall weights

    def bare(x: np.ndarray) -> np.ndarray:
        a = x @ w1
        a += b1
        a = np.tanh(a) @ w2
        a += b2
        a = np.tanh(a) @ w3
        a += b3
        e = np.exp(a)
        return e / np.sum(e, axis=-1, keepdims=True)

    return overhead(pnn.load("mnist").optimized(), bare, x, rounds)


def on_torch(rounds: int) -> list[float]:
    """Overhead in each round on PyTorch, under inference mode."""
    import torch

    x = torch.tensor(one_image())
    (w1, b1), (w2, b2), (w3, b3) = [tuple(map(torch.tensor, layer)) for layer in optimized_weights()]

    def bare(x: torch.Tensor) -> torch.Tensor:
        z = torch.tanh(x @ w1 + b1)
        z = torch.tanh(z @ w2 + b2)
        e = torch.exp(z @ w3 + b3)
        return e / torch.sum(e, dim=-1, keepdim=True)

    with torch.inference_mode():
        return overhead(pnn.load("mnist").optimized(), bare, x, rounds)


SETUPS = {"numpy": on_numpy, "torch": on_torch}


def one_image() -> np.ndarray:
    """A batch of one image, float32."""
    return pnn.datasets.mnist("test")[0][:1].astype(np.float32)


def optimized_weights(units: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight and bias of each layer of the rewritten network, float32: tanh, tanh, softmax without a maximum."""
    layers = rewritten(pnn.load("mnist").layers, "float32", units)
    return [(layer.weight.astype(np.float32), layer.bias.astype(np.float32)) for layer in layers]


def overhead(net: Callable[[Any], Any], bare: Callable[[Any], Any], x: Any, rounds: int) -> list[float]:
    """Microseconds of the network's call beyond the bare operations, in each of interleaved rounds."""
    assert abs(net(x) - bare(x)).max() < 1e-6
    return [(microseconds(net, x) - microseconds(bare, x)) for _ in range(rounds)]


def microseconds(function: Callable[[Any], Any], x: Any) -> float:
    """Of one call, in the shortest of several short runs: interruptions only lengthen them."""
    return min(seconds_of(function, x) for _ in range(RUNS)) / CALLS * 1e6


def seconds_of(function: Callable[[Any], Any], x: Any) -> float:
    """Of a short run of calls."""
    start = perf_counter()
    for _ in range(CALLS):
        function(x)
    return perf_counter() - start
