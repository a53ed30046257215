"""The contenders: what each is called, what it needs, and where it is set up.

A contender's module has a function ``tasks(given)``, from the reference network to the workloads it can run, or
``natural(cell)``, from any network and a batch to the call that a good user would write; or both.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

from benchmarks.given import Given
from benchmarks.networks import Cell

__all__ = ["AUTOMATIC", "CONTENDERS", "MANY", "NATURAL", "PEERS", "WORKLOADS", "Contender"]

AUTOMATIC = 0
"""A batch size that is left to this package."""

BATCH_SIZES = (100, 250, 500, 1000, 2500, 10_000)

WORKLOADS = {
    "labels": "10,000 uint8 images to labels",
    "probabilities": "one uint8 image to probabilities",
    "label": "one uint8 image to its label",
    "labels of floats": "10,000 float32 images to labels",
}

MANY = ("labels", "labels of floats")
"""Those that run in batches, and take their size."""


@dataclass(frozen=True)
class Contender:
    """One way to run the network.

    Attributes
    ----------
    title : str
    module : str
        In this package.
    how : str
        Which of the module's ways.
    needs : mapping
        From modules that must be there to what to pip install for them.
    environment : mapping
        Variables of its process.
    batch_sizes : tuple of int
        From which it chooses its best.
    is_limit : bool
        Whether it bounds what is possible, and labels nothing.
    is_slow : bool
        Whether it takes minutes to be ready, so that a quick run leaves it out.
    """

    title: str
    module: str
    how: str = ""
    needs: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    batch_sizes: tuple[int, ...] = BATCH_SIZES
    is_limit: bool = False
    is_slow: bool = False

    def tasks(self, threads: str) -> dict[str, Callable[..., Any]]:
        """The workloads it can run: functions of the batch size, or of nothing for one image."""
        return self._module().tasks(Given(threads, self.how))  # type: ignore[no-any-return]

    def natural(self, cell: Cell) -> Callable[[], Any]:
        """The call of a network on a batch."""
        return self._module().natural(replace(cell, how=self.how))  # type: ignore[no-any-return]

    def _module(self) -> Any:
        return import_module(f"benchmarks.contenders.{self.module}")


TORCH = {"torch": "torch"}
JAX = {"jax": "jax"}
ONNX = {"onnx": "onnx"}
KERAS = {"keras": "keras"}


def _ours(title: str, how: str, needs: Mapping[str, str], is_slow: bool = False) -> Contender:
    sizes = AUTOMATIC, *BATCH_SIZES
    return Contender(f"portable_nn, {title}", "portable", how, needs, batch_sizes=sizes, is_slow=is_slow)


def _keras(backend: str, how: str, needs: Mapping[str, str]) -> Contender:
    title = f"Keras {how}, {backend}"
    return Contender(title, "keras3", how, KERAS | needs, {"KERAS_BACKEND": backend.lower()})


CONTENDERS = {
    "portable-numpy": _ours("NumPy", "numpy", {}),
    "products": Contender("the matrix products alone", "products", is_limit=True),
    "peak": Contender("a square product of as many operations", "products", "square", is_limit=True),
    "book": Contender("the book's way", "book"),
    "book-100": Contender("the book's way by 100", "book", "batches", batch_sizes=(100,)),
    "by-hand": Contender("NumPy by hand", "by_hand"),
    "onnxruntime": Contender("ONNX Runtime", "onnx_runtime", needs=ONNX | {"onnxruntime": "onnxruntime"}),
    "portable-numpy-compiled": _ours("NumPy compiled", "numpy compiled", ONNX | {"onnxruntime": "onnxruntime"}),
    "openvino": Contender("OpenVINO", "openvino_cpu", needs=ONNX | {"openvino": "openvino"}),
    "keras-numpy-predict": _keras("NumPy", "predict", {}),
    "keras-numpy-default": Contender(
        "Keras predict by 32 (default), NumPy", "keras3", "predict", KERAS, {"KERAS_BACKEND": "numpy"}, (32,)
    ),
    "keras-numpy-call": _keras("NumPy", "call", {}),
    "scikit-learn": Contender("scikit-learn MLPClassifier", "mlp_classifier", needs={"sklearn": "scikit-learn"}),
    "portable-torch": _ours("PyTorch", "torch", TORCH),
    "torch-nn": Contender("torch.nn.Sequential", "torch_nn", needs=TORCH),
    "portable-torch-compiled": _ours("PyTorch compiled", "torch compiled", TORCH, is_slow=True),
    "torch-nn-compiled": Contender("torch.nn.Sequential compiled", "torch_nn", "compiled", TORCH, is_slow=True),
    "keras-torch-predict": _keras("torch", "predict", TORCH),
    "keras-torch-call": _keras("torch", "call", TORCH),
    "portable-jax": _ours("JAX", "jax", JAX),
    "portable-jax-compiled": _ours("JAX compiled", "jax compiled", JAX),
    "portable-jax-jit": _ours("JAX under jax.jit", "jax jit", JAX),
    "jax-jit": Contender("hand-written jax.jit", "jax_jit", needs=JAX),
    "keras-jax-predict": _keras("JAX", "predict", JAX),
    "keras-jax-call": _keras("JAX", "call", JAX),
}
"""In the order of their turns: those that are compared follow one another, and the machine's noise hits both."""

NATURAL = (
    "portable-numpy",
    "by-hand",
    "onnxruntime",
    "portable-numpy-compiled",
    "openvino",
    "portable-torch",
    "torch-nn",
    "portable-jax",
    "portable-jax-compiled",
    "portable-jax-jit",
    "jax-jit",
)
"""Those that run any network."""

PEERS = tuple(
    name
    for name in CONTENDERS
    if name not in ("by-hand", "openvino", "portable-jax", "portable-jax-jit", "portable-numpy-compiled")
)
"""Those that run the workloads of the reference network."""
