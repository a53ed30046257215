"""What a network costs beside its products, for wide layers and many samples: time, memory, the first call."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from time import perf_counter
from typing import Any

import numpy as np

import portable_nn as pnn
from benchmarks.memory import AnonymousMemory
from benchmarks.processes import ONE_THREAD, Worker
from benchmarks.ratios import Figure, spread

__all__ = ["FULL", "QUICK", "Sizes", "figures", "functions", "measure"]

MIB = 2**20
LAYERS = 4


@dataclass(frozen=True)
class Sizes:
    """How large the work is.

    Attributes
    ----------
    width, rows : int
        Of four layers held against their products, and the samples in a batch.
    images : int
        In one call of the reference network.
    wide : int
        The width of four layers that are called for the first time.
    rounds : int
    """

    width: int
    rows: int
    images: int
    wide: int
    rounds: int


FULL = Sizes(width=2048, rows=10_000, images=10**6, wide=4096, rounds=5)
QUICK = Sizes(width=64, rows=100, images=20_000, wide=256, rounds=1)


def functions() -> dict[str, Callable[..., Any]]:
    """The calls that `measure` makes, for `Worker`: what is ready before, and what is watched."""
    state: dict[str, Any] = {}

    def images(number: int) -> None:
        tile, _ = pnn.datasets.mnist("test")
        state.update(net=pnn.load("mnist"), x=np.resize(tile, (number, tile.shape[1])))
        state["net"](tile[:1])

    def network(width: int) -> int:
        weights = square_weights(width)
        state.update(
            weights=weights,
            net=pnn.Network([pnn.Dense(weight, None, "sigmoid") for weight in weights]),
            x=np.zeros((1, width), np.float32),
        )
        return sum(weight.nbytes for weight in weights)

    def call() -> dict[str, float]:
        start = perf_counter()
        outputs = state["net"](state["x"])
        return {"seconds": perf_counter() - start, "bytes": outputs.nbytes}

    def ten_copies() -> float:
        start = perf_counter()
        for _ in range(10):
            [weight.copy() for weight in state["weights"]]
        return perf_counter() - start

    return {
        "over_products": over_products,
        "images": images,
        "network": network,
        "call": call,
        "ten_copies": ten_copies,
    }


def square_weights(width: int) -> list[np.ndarray]:
    """Random weights of four layers as wide as their inputs, float32."""
    rng = np.random.default_rng(0)
    size = np.float32(width**-0.5)
    return [rng.standard_normal((width, width), np.float32) * size for _ in range(LAYERS)]


def over_products(width: int, rows: int, rounds: int) -> list[float]:
    """The time of four sigmoid layers over that of their products, in each round."""
    weights = square_weights(width)
    net = pnn.Network([pnn.Dense(weight, np.zeros(width, np.float32), "sigmoid") for weight in weights])
    x = np.random.default_rng(1).standard_normal((rows, width), np.float32)

    def seconds(function: Callable[[], Any]) -> float:
        start = perf_counter()
        function()
        return perf_counter() - start

    net(x[:1])
    return [seconds(lambda: net(x)) / seconds(lambda: reduce(np.matmul, weights, x)) for _ in range(rounds)]


def measure(sizes: Sizes, tell: Callable[[str], object] = lambda _: None) -> dict[str, Any]:
    """All of it, as JSON has it."""
    tell(f"four layers of {sizes.width:,} and their products")
    with Worker("benchmarks.costs", ONE_THREAD) as worker:
        worker.ready()
        ratios = worker.call("over_products", width=sizes.width, rows=sizes.rows, rounds=sizes.rounds)
    tell(f"memory of a call with {sizes.images:,} images")
    with Worker("benchmarks.costs") as worker:
        worker.ready()
        worker.call("images", number=sizes.images)
        temporary = watched(worker)["memory"]
    first = [first_call(sizes.wide, tell) for _ in range(sizes.rounds)]
    return {"sizes": vars(sizes), "over_products": ratios, "temporary": temporary, "first": first}


def first_call(width: int, tell: Callable[[str], object]) -> dict[str, float | None]:
    """Time over ten copies of the weights, and memory over the weights, in a process of its own."""
    tell(f"first call of four layers of {width:,}")
    with Worker("benchmarks.costs") as worker:
        worker.ready()
        size = worker.call("network", width=width)
        copies = worker.call("ten_copies")
        came = watched(worker)
    memory = came["memory"]
    return {"time": came["seconds"] / copies, "memory": None if memory is None else memory / size}


def watched(worker: Worker) -> dict[str, Any]:
    """A call of the network, and by how much memory grew meanwhile beside what it returned."""
    with AnonymousMemory(worker.pid) as memory:
        came = worker.call("call")
    growth = memory.growth
    return came | {"memory": None if growth is None else max(0, growth - came["bytes"])}  # type: ignore[no-any-return]


def figures(found: dict[str, Any]) -> list[Figure]:
    """The figures, held against their goals."""
    sizes, first = found["sizes"], found["first"]
    call = f"first call of {LAYERS} sigmoid layers of {sizes['wide']:,}"
    rows = [
        spread(
            f"{LAYERS} sigmoid layers of {sizes['width']:,} by {sizes['rows']:,} samples / their products alone",
            found["over_products"],
            1.05,
            threads="one",
        ),
        spread(f"{call}: time / ten copies of the weights", [once["time"] for once in first], 3),
    ]
    if found["temporary"] is not None:
        what = f"temporary memory of net(x), {sizes['images']:,} uint8 images"
        memory = f"{call}: memory over the weights given / the weights"
        rows += [
            spread(what, [found["temporary"] / MIB], 64, "MiB"),
            spread(memory, [once["memory"] for once in first], 1.5),
        ]
    return rows
