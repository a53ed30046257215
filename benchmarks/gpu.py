"""The race on a CUDA device, where one can be reached."""

from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter, sleep
from typing import Any

import numpy as np

import portable_nn as pnn
from benchmarks.given import Given
from benchmarks.networks import NETWORKS, Cell
from benchmarks.ratios import Figure, spread

__all__ = ["NO_DEVICE", "call_figures", "devices", "figures"]

NO_DEVICE = "No CUDA device can be reached here; RESULTS-GPU.md has figures of one."

ROUNDS = 21
REPEATS = 5

CALLED = (
    ("sigmoid-784-50-100-10-softmax-uint8", 1),
    ("sigmoid-784-50-100-10-softmax-uint8", 10_000),
    ("tanh-32-128x4-8-identity", 1),
    ("relu-256-4096x2-256-identity", 10_000),
)


def devices() -> dict[str, str]:
    """The CUDA device of each library that has one, as `portable_nn.backends` names it."""
    found = {}
    for status in pnn.backends.status():
        kinds = {"cupy": "", "torch": "cuda", "jax": "gpu"}
        device = next((name for name in status.devices if name.startswith(kinds.get(status.name, "-"))), None)
        if device is not None:
            found[status.name] = f"{status.name}:{device}"
    return found


def figures(found: dict[str, str]) -> list[Figure]:
    """Times of labels from uint8 images on the host, against `torch.nn`, the transfer and the device's memory."""
    given = Given()
    net, images = given.net, given.images
    tasks: dict[str, Callable[[], Any]] = {
        f"portable_nn, {spec}": lambda spec=spec: pnn.infer(net, images, backend=spec) for spec in found.values()
    }
    tasks |= dict(_limits(given)) if "torch" in found else {}
    for what, task in tasks.items():
        if what.startswith("portable_nn") and not np.array_equal(task(), given.labels):
            raise ValueError(f"{what}: labels differ from those in float64")
        task()
    seconds = _raced(tasks)
    rows = [
        spread(f"10,000 uint8 images to labels: {what}", np.array(s) * 1e3, unit="ms")
        for what, s in seconds.items()
    ]
    for ours in (what for what in seconds if what.startswith("portable_nn")):
        rows += [
            spread(f"{ours} / {against}", np.divide(seconds[ours], seconds[against]))
            for against in seconds
            if not against.startswith("portable_nn")
        ]
    return rows


def call_figures(found: dict[str, str]) -> list[Figure]:
    """Times of `net(x)` of arrays on the device until the result is there, against what a user writes by hand."""
    rows = []
    for name, batch in CALLED:
        cell = Cell(NETWORKS[name], batch)
        tasks = {("ours", library): _ours(cell, spec) for library, spec in found.items()}
        tasks |= {("theirs", library): BY_HAND[library](cell) for library in found}
        for task in tasks.values():
            task()
        seconds = _raced(tasks)
        for library, spec in found.items():
            call = f"{name}, {len(cell.x):,} rows, {spec}"
            ours, theirs = np.array([seconds[who, library] for who in ("ours", "theirs")])
            rows += [spread(f"{call}: net(x)", ours * 1e6, unit="µs")]
            rows += [spread(f"{call}: net(x) / by hand", ours / theirs)]
    return rows


def _raced(tasks: dict[Any, Callable[[], Any]]) -> dict[Any, list[float]]:
    """The seconds of each task in each round, in turns."""
    seconds: dict[Any, list[float]] = {what: [] for what in tasks}
    for i in range(ROUNDS):
        turn = i % len(tasks)
        for what, task in [*tasks.items()][turn:] + [*tasks.items()][:turn]:
            sleep(0.01)
            seconds[what].append(median(_seconds(task) for _ in range(REPEATS)))
    return seconds


def _ours(cell: Cell, spec: str) -> Callable[[], Any]:
    net, backend = pnn.Network(cell.layers), pnn.backends.get(spec)
    x = backend.place(cell.x)

    def call() -> None:
        backend.synchronize(net(x))

    return call


def _torch_by_hand(cell: Cell) -> Callable[[], Any]:
    import torch

    from benchmarks.contenders.torch_nn import sequential

    net, x = sequential(cell.layers).cuda(), torch.tensor(cell.x).cuda()

    @torch.inference_mode()
    def call() -> None:
        net(x)
        torch.cuda.synchronize()

    return call


def _jax_by_hand(cell: Cell) -> Callable[[], Any]:
    from benchmarks.contenders.jax_jit import natural

    return natural(cell)


def _cupy_by_hand(cell: Cell) -> Callable[[], Any]:
    import cupy

    activations: dict[str, Callable[[Any], Any]] = {
        "identity": lambda z: z,
        "relu": lambda z: cupy.maximum(z, 0),
        "tanh": cupy.tanh,
        "sigmoid": lambda z: 1 / (1 + cupy.exp(-z)),
    }
    dense = [layer for layer in cell.layers if isinstance(layer, pnn.Dense)]
    parameters = [(cupy.asarray(layer.weight), cupy.asarray(layer.bias)) for layer in dense]
    x = cupy.asarray(cell.x)

    def softmax(z: Any) -> Any:
        powers = cupy.exp(z - z.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    def call() -> None:
        z = x.astype(cupy.float32) / 255 if cell.architecture.pixels else x
        for (weight, bias), layer in zip(parameters, dense, strict=True):
            z = (activations | {"softmax": softmax})[layer.activation](z @ weight + bias)
        cupy.cuda.get_current_stream().synchronize()

    return call


BY_HAND: dict[str, Callable[[Cell], Callable[[], Any]]] = {
    "cupy": _cupy_by_hand,
    "torch": _torch_by_hand,
    "jax": _jax_by_hand,
}


def _limits(given: Given) -> Iterator[tuple[str, Callable[[], Any]]]:
    """`torch.nn` from the host and back, and what bounds it: the transfer, and the device's memory."""
    import torch

    from benchmarks.contenders.torch_nn import sequential

    net = sequential(given.net.layers).cuda()
    images = torch.tensor(given.images)
    on_device = images.cuda()

    @torch.inference_mode()
    def labels() -> Any:
        return net(images.cuda()).argmax(dim=-1).cpu().numpy()

    def transfer() -> None:
        images.cuda()
        torch.cuda.synchronize()

    def memory() -> None:
        on_device.clone()
        torch.cuda.synchronize()

    yield "torch.nn.Sequential on CUDA", labels
    yield "the transfer of the images alone", transfer
    yield "the images copied on the device", memory


def _seconds(task: Callable[[], Any]) -> float:
    start = perf_counter()
    task()
    return perf_counter() - start
