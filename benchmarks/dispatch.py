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
    x = one_image().astype(np.float32)
    (w1, b1), (w2, b2), (w3, b3) = [(weight, bias[np.newaxis]) for weight, bias in folded_weights()]
    w1 = np.asfortranarray(w1)  # the faster order for one row of many columns
    (ones1, most1), (ones2, most2) = [(np.full_like(b, 1), np.full_like(b, 40)) for b in (b1, b2)]

    def bare(x: np.ndarray) -> np.ndarray:
        a = x.dot(w1)
        a += b1
        e = np.exp(np.minimum(a, most1))
        a = (e / (e + ones1)).dot(w2)
        a += b2
        e = np.exp(np.minimum(a, most2))
        a = (e / (e + ones2)).dot(w3)
        a += b3
        e = np.exp(a)
        return e / np.add.reduce(e, axis=-1, keepdims=True)

    net = pnn.load("mnist")
    assert abs(net(x) - bare(x)).max() < 1e-6
    return overhead(lambda: net(x), lambda: bare(x), rounds)


def on_torch(rounds: int) -> list[float]:
    """The same on PyTorch, under inference mode."""
    import torch
    from torch.nn.functional import linear

    x = torch.tensor(one_image().astype(np.float32))
    (w1, b1), (w2, b2), (w3, b3) = [
        (torch.tensor(weight.T.copy()), torch.tensor(bias)) for weight, bias in folded_weights()
    ]

    def bare(x: torch.Tensor) -> torch.Tensor:
        a = torch.sigmoid_(linear(x, w1, b1))
        a = torch.sigmoid_(linear(a, w2, b2))
        e = torch.exp(linear(a, w3, b3))
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
    """Weight and bias of each layer of the reference network: sigmoid, sigmoid, softmax."""
    return [(layer.weight, layer.bias) for layer in folded(pnn.load("mnist").layers)]


def folded(layers: Iterable[pnn.Dense | pnn.Rescaling]) -> Iterator[pnn.Dense]:
    """The layers with each Rescaling in the weights of the one after it."""
    scale, offset = 1.0, 0.0
    for layer in layers:
        if isinstance(layer, pnn.Rescaling):
            scale, offset = layer.scale, layer.offset
        else:
            weight, dtype = layer.weight.astype(np.float64), layer.weight.dtype
            bias = layer.bias + offset * weight.sum(axis=0)
            yield pnn.Dense((scale * weight).astype(dtype), bias.astype(dtype), layer.activation)
            scale, offset = 1.0, 0.0


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
