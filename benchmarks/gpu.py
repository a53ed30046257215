"""The race on a CUDA device, where one can be reached."""

from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter, sleep
from typing import Any

import numpy as np

import portable_nn as pnn
from benchmarks.given import Given
from benchmarks.ratios import Figure, spread

__all__ = ["NO_DEVICE", "devices", "figures"]

NO_DEVICE = "No CUDA device can be reached here, so there is no GPU figure."

ROUNDS = 21
REPEATS = 5


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
    seconds: dict[str, list[float]] = {what: [] for what in tasks}
    for i in range(ROUNDS):
        turn = i % len(tasks)
        for what, task in [*tasks.items()][turn:] + [*tasks.items()][:turn]:
            sleep(0.01)
            seconds[what].append(median(_seconds(task) for _ in range(REPEATS)))
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
