"""From how many images on the GPU wins, or that there is none.

Run with `python examples/cpu_or_gpu.py`.
"""

import portable_nn as pnn
from portable_nn.comparison import SWEEP
from portable_nn.report.words import sentences


def gpus() -> list[str]:
    """The GPUs that some library here can use, as specs."""
    kinds = {"cuda", "xpu", "mps", "gpu"}
    return [
        f"{library.name}:{device}"
        for library in pnn.backends.status()
        for device in library.devices
        if library.name == "cupy" or kinds & set(device.split(":"))
    ]


def main() -> None:
    found = gpus()
    if not found:
        print("No library here can use a GPU: the CPU wins at every batch size. What each one says:")
        for library in pnn.backends.status():
            print(f"  {library.name}: {library.describe()}")
        return
    images, labels = pnn.datasets.mnist("test")
    comparison = pnn.compare(
        pnn.load("mnist"), images, labels, backends=["numpy", *found], batch_sizes=SWEEP, budget=0.1
    )
    print("\n".join(sentences(comparison)))


if __name__ == "__main__":
    main()
