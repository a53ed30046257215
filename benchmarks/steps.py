"""Where the time of a call goes: each step of a network written by hand and timed, beside the call itself."""

from collections.abc import Callable, Iterable
from operator import methodcaller
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

import portable_nn as pnn
from benchmarks.contenders import CONTENDERS
from benchmarks.dispatch import folded
from benchmarks.networks import NETWORKS, Cell
from benchmarks.oracle import ACTIVATIONS
from benchmarks.processes import hold_to_one_thread

__all__ = ["WHOLE", "functions"]

WHOLE = "the call itself"

VALUES, MOST_ROWS = 2**16, 2000
"""What the widest layer has for a block of rows, and how many rows a wide one gets at most."""

Steps: TypeAlias = dict[str, list[float]]
"""Milliseconds of each step, in each pass."""


def sigmoid(z: np.ndarray) -> np.ndarray:
    """In place."""
    np.negative(z, out=z)
    np.exp(z, out=z)
    z += 1
    return np.divide(1, z, out=z)


def softmax(z: np.ndarray) -> np.ndarray:
    """By columns, which NumPy reduces sooner than short rows."""
    z = np.asfortranarray(z)
    return bounded_softmax(z - z.max(axis=-1, keepdims=True))


def bounded_softmax(z: np.ndarray) -> np.ndarray:
    """Of logits whose exponentials are finite."""
    e = np.exp(np.asfortranarray(z))
    e /= e.sum(axis=-1, keepdims=True)
    return e


IN_PLACE: dict[str, Callable[[np.ndarray], np.ndarray]] = ACTIVATIONS | {
    "relu": lambda z: np.maximum(z, 0, out=z),
    "tanh": lambda z: np.tanh(z, out=z),
    "sigmoid": sigmoid,
    "softmax": softmax,
}

BOUNDED = ("sigmoid", "tanh")
"""Before a softmax, they bound its logits."""


def functions() -> dict[str, Callable[..., Any]]:
    """The calls for `Worker`: those of a contender have its name."""
    return {
        "labelling": labelling,
        "portable-numpy": on_numpy,
        "portable-numpy-compiled": on_onnxruntime,
        "portable-torch": on_torch,
        "portable-jax-jit": on_jax,
    }


def labelling(passes: int) -> Steps:
    """Of labelling the test images through `infer`, which takes turns with the steps."""
    net, (images, _) = pnn.load("mnist"), pnn.datasets.mnist("test")
    *hidden, last = folded(net.layers)
    layers = [*hidden, last.with_activation("identity")]  # the largest logit is enough

    def by_hand(lap: Callable[[str], None]) -> None:
        for z in blocks_through(layers, images, lap):
            z.argmax(axis=-1)
            lap("argmax")

    return in_turns(lambda: pnn.infer(net, images, workers=1), by_hand, passes)


def on_numpy(network: str, batch: int, threads: str, passes: int) -> Steps:
    """Of a network of the suite on NumPy, by blocks of rows."""
    cell = Cell(NETWORKS[network], batch, threads)
    layers = [*folded(cell.layers)]

    def by_hand(lap: Callable[[str], None]) -> None:
        for _ in blocks_through(layers, cell.x, lap):
            pass

    return in_turns(CONTENDERS["portable-numpy"].natural(cell), by_hand, passes)


def blocks_through(
    layers: Iterable[pnn.Dense], x: np.ndarray, lap: Callable[[str], None]
) -> Iterable[np.ndarray]:
    """The outputs of each block of rows; `lap` is told of each step that is done."""
    layers = list(layers)
    dtype = layers[0].weight.dtype
    widest = max(len(layer.bias) for layer in layers)
    rows = max(VALUES // widest, min(widest, MOST_ROWS))
    activations = [IN_PLACE[layer.activation] for layer in layers]
    if layers[-1].activation == "softmax" and layers[-2].activation in BOUNDED:
        activations[-1] = bounded_softmax
    for i in range(0, len(x), rows):
        z = x[i : i + rows]
        if z.dtype != dtype:
            z = z.astype(dtype)
            lap(f"cast to {dtype}")
        for layer, activation in zip(layers, activations, strict=True):
            z = z.dot(layer.weight)
            lap(f"product by {layer.weight.shape[0]} x {layer.weight.shape[1]} weights")
            z += layer.bias
            lap("biases, added in place")
            z = activation(z)
            if layer.activation != "identity":
                lap(layer.activation)
        yield z


def on_onnxruntime(network: str, batch: int, threads: str, passes: int) -> Steps:
    """Of the compiled network: the cast, and a bare session of the graph that the call runs."""
    from benchmarks.cells import check
    from benchmarks.contenders.onnx_runtime import session
    from benchmarks.contenders.portable import network as network_of
    from portable_nn.exporting import exported
    from portable_nn.rewriting import rewritten

    contender = CONTENDERS["portable-numpy-compiled"]
    if threads == "one":
        hold_to_one_thread(contender.needs)
    cell = Cell(NETWORKS[network], batch, threads)
    net = network_of(cell.layers)
    layers = [layer.map(methodcaller("astype", cell.dtype)) for layer in rewritten(net.layers, cell.dtype)]
    run = session(exported(tuple(layers), cell.dtype).SerializeToString(), threads).run
    check(cell, run(None, {"input": cell.x.astype(cell.dtype)})[0])

    def by_hand(lap: Callable[[str], None]) -> None:
        x = cell.x
        if x.dtype != cell.dtype:
            x = x.astype(cell.dtype)
            lap(f"cast to {cell.dtype}")
        run(None, {"input": x})
        lap("the bare session")

    return in_turns(contender.natural(cell), by_hand, passes)


def on_torch(network: str, batch: int, threads: str, passes: int) -> Steps:
    """The same on PyTorch, its own kernels on the whole batch."""
    import torch

    from benchmarks.contenders.torch_nn import ACTIVATIONS as MODULES

    cell = Cell(NETWORKS[network], batch, threads, "torch")
    x = torch.tensor(cell.x)
    layers = [
        (torch.tensor(layer.weight.T.copy()), torch.tensor(layer.bias), layer.activation)
        for layer in folded(cell.layers)
    ]
    kernels = {name: module() for name, module in MODULES.items()}
    kernels |= {"sigmoid": torch.sigmoid_, "tanh": torch.tanh_, "relu": torch.relu_}

    @torch.inference_mode()
    def by_hand(lap: Callable[[str], None]) -> None:
        z = x
        if z.dtype != layers[0][0].dtype:
            z = z.to(layers[0][0].dtype)
            lap(f"cast to {cell.dtype}")
        for weight, bias, activation in layers:
            z = torch.nn.functional.linear(z, weight, bias)
            lap(f"product by {weight.shape[1]} x {weight.shape[0]} weights, with the bias")
            if activation != "identity":
                z = kernels[activation](z)
                lap(activation)

    return in_turns(CONTENDERS["portable-torch"].natural(cell), by_hand, passes)


def on_jax(network: str, batch: int) -> dict[str, dict[str, float]]:
    """What XLA counts in our program and in that by hand: nobody sees inside a fused step."""
    import jax

    from benchmarks.contenders.jax_jit import forward
    from benchmarks.contenders.portable import network as network_of

    cell = Cell(NETWORKS[network], batch, "one")
    counted = {}
    for name, function in (("ours", network_of(cell.layers)), ("theirs", forward(cell.layers))):
        program = jax.jit(function).lower(jax.numpy.asarray(cell.x)).compile()
        counts = program.cost_analysis()
        counted[name] = {what: counts.get(what, 0) for what in ("flops", "transcendentals", "bytes accessed")}
        counted[name]["instructions"] = program.as_text().count(" = ")
    return counted


def in_turns(call: Callable[[], Any], by_hand: Callable[[Callable[[str], None]], None], passes: int) -> Steps:
    """Milliseconds of the call, and of each step by hand, which takes turns with it."""
    taken: Steps = {}
    for _ in range(passes):
        start = last = perf_counter()
        call()
        once = {WHOLE: perf_counter() - start}

        def lap(step: str, once: dict[str, float] = once) -> None:
            nonlocal last
            now = perf_counter()
            once[step] = once.get(step, 0) + now - last
            last = now

        last = perf_counter()
        by_hand(lap)
        for name, seconds in once.items():
            taken.setdefault(name, []).append(seconds * 1e3)
    return taken
