"""What a call of the package costs for one image: over the bare array operations, and through `infer`."""

from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Any

import numpy as np

import portable_nn as pnn

__all__ = ["folded", "functions"]

CALLS = 20
RUNS = 5


def functions() -> dict[str, Callable[..., Any]]:
    """The calls that `scale` makes, for `Worker`."""
    return {"numpy": on_numpy, "torch": on_torch, "infer": infer_over_predict}


def on_numpy(rounds: int) -> list[float]:
    """Microseconds of a call over its operations, in each round, on NumPy."""
    x, weights = one_image().astype(np.float32), folded_weights()
    (w1, b1), (w2, b2), (w3, b3) = weights
    w1 = np.asfortranarray(w1)  # the faster order for one row of many columns

    def bare(x: np.ndarray) -> np.ndarray:
        a = x @ w1
        a += b1
        a = np.tanh(a) @ w2
        a += b2
        a = np.tanh(a) @ w3
        a += b3
        e = np.exp(a)
        return e / np.sum(e, axis=-1, keepdims=True)

    net = pnn.load("mnist")
    assert abs(net(x) - bare(x)).max() < 1e-6
    return overhead(lambda: net(x), lambda: bare(x), rounds)


def on_torch(rounds: int) -> list[float]:
    """The same on PyTorch, under inference mode."""
    import torch

    x = torch.tensor(one_image().astype(np.float32))
    (w1, b1), (w2, b2), (w3, b3) = [tuple(map(torch.tensor, layer)) for layer in folded_weights()]

    def bare(x: torch.Tensor) -> torch.Tensor:
        z = torch.tanh(torch.addmm(b1, x, w1))
        z = torch.tanh(torch.addmm(b2, z, w2))
        e = torch.exp(torch.addmm(b3, z, w3))
        return e / torch.sum(e, dim=-1, keepdim=True)

    net = pnn.load("mnist")
    with torch.inference_mode():
        assert abs(net(x) - bare(x)).max() < 1e-6
        return overhead(lambda: net(x), lambda: bare(x), rounds)


def infer_over_predict(rounds: int) -> list[float]:
    """Microseconds of `infer` of one sample over `net.predict` of it, in each round."""
    net, x = pnn.load("mnist"), one_image()
    assert pnn.infer(net, x) == net.predict(x)
    return overhead(lambda: pnn.infer(net, x), lambda: net.predict(x), rounds)


def one_image() -> np.ndarray:
    """A batch of one image, uint8."""
    return pnn.datasets.mnist("test")[0][:1]


def folded_weights() -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight and bias of each layer of the reference network: tanh, tanh, softmax without a maximum."""
    return [(layer.weight, layer.bias) for layer in folded(pnn.load("mnist").layers)]


def folded(layers: Iterable[pnn.Dense | pnn.Rescaling]) -> Iterator[pnn.Dense]:
    """The layers with Rescaling in the weights, and hidden sigmoids as ``(1 + tanh(z / 2)) / 2``."""
    *hidden, last = layers
    scale, offset = 1.0, 0.0
    for layer in [*hidden, last]:
        if isinstance(layer, pnn.Rescaling):
            scale, offset = layer.scale, layer.offset
            continue
        half = layer.activation == "sigmoid" and layer is not last
        factor = 0.5 if half else 1.0
        weight = layer.weight.astype(np.float64)
        bias = factor * (layer.bias + offset * weight.sum(axis=0))
        dtype = layer.weight.dtype
        activation = "tanh" if half else layer.activation
        yield pnn.Dense((factor * scale * weight).astype(dtype), bias.astype(dtype), activation)
        scale, offset = (0.5, 0.5) if half else (1.0, 0.0)


def overhead(one: Callable[[], Any], other: Callable[[], Any], rounds: int) -> list[float]:
    """Microseconds of one call beyond another, in each of interleaved rounds."""
    return [microseconds(one) - microseconds(other) for _ in range(rounds)]


def microseconds(function: Callable[[], Any]) -> float:
    """Of one call, in the shortest of several short runs: interruptions only lengthen them."""
    return min(seconds_of(function) for _ in range(RUNS)) / CALLS * 1e6


def seconds_of(function: Callable[[], Any]) -> float:
    """Of a short run of calls."""
    start = perf_counter()
    for _ in range(CALLS):
        function()
    return perf_counter() - start
