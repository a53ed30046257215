"""What type checkers must accept, and the types that they must find; nothing runs it.

mypy skips PyTorch and JAX, as it is set here, and takes any type for theirs: pyright alone checks those.
"""

from typing import Any, assert_type

import jax
import numpy as np
import torch
import xarray
from numpy.typing import NDArray

import portable_nn as pnn
from portable_nn import activations

net = pnn.load("mnist")

single = np.zeros((2, 784), np.float32)
double: NDArray[np.float64] = np.zeros((2, 784))
pixels = np.zeros((2, 28, 28), np.uint8)


def of_numpy() -> None:
    assert_type(net(single), NDArray[np.float32])
    assert_type(net(double), NDArray[np.float64])
    assert_type(net(pixels), NDArray[np.floating[Any]])
    assert_type(net(pixels > 0), NDArray[np.floating[Any]])
    assert_type(net.logits(single), NDArray[np.float32])
    assert_type(net.logits(pixels), NDArray[np.floating[Any]])
    assert_type(net.predict(single), NDArray[np.intp])
    assert_type(net.predict(pixels), NDArray[np.intp])


def of_other_libraries(tensor: torch.Tensor, array: jax.Array) -> None:
    assert_type(net(tensor), torch.Tensor)
    assert_type(net.logits(tensor), torch.Tensor)
    assert_type(net.predict(tensor), torch.Tensor)
    assert_type(net(array), jax.Array)
    assert_type(net.predict(array), jax.Array)


def of_what_else_is_taken(
    table: xarray.DataArray, parts: dict[str, torch.Tensor], some: np.ndarray[Any, Any], anything: Any
) -> None:
    assert_type(net([0.0, 1]), NDArray[np.floating[Any]])
    assert_type(net.predict([[0, 1], [2, 3]]), NDArray[np.intp])
    assert_type(net(table), Any)
    assert_type(net(parts), Any)
    assert_type(net(anything), Any)
    assert_type(net.predict(anything), Any)
    assert_type(net(some).ndim, int)


def of_activations(tensor: torch.Tensor, array: jax.Array, anything: Any) -> None:
    assert_type(activations.relu(single), np.ndarray[tuple[int, int], np.dtype[np.float32]])
    assert_type(activations.softmax(double, axis=0), NDArray[np.float64])
    assert_type(activations.tanh(pixels), np.ndarray[tuple[int, int, int], np.dtype[np.floating[Any]]])
    assert_type(activations.gelu([1, 2]), NDArray[np.floating[Any]])
    assert_type(activations.leaky_relu(tensor, negative_slope=0.2), torch.Tensor)
    assert_type(activations.prelu(array, slope=array), jax.Array)
    assert_type(activations.elu(anything, alpha=2), Any)


def of_networks(tensor: torch.Tensor, module: torch.nn.Linear) -> None:
    network = pnn.Network(
        [
            pnn.Rescaling(1 / 255),
            pnn.Rescaling(tensor, -0.5),
            pnn.Normalize(),
            pnn.Dense(single, [0.0, 1.0], "relu"),
            pnn.Dense.from_linear(module, activation="gelu"),
            pnn.Activation("prelu", slope=double),
            pnn.Flatten((1, 3)),
        ],
        classes=["cat", "dog"],
        task="classification",
    )
    assert_type(network[:2], pnn.Network)
    assert_type(network.to("torch:cpu").to(torch.device("cpu")).compile(), pnn.Network)
    assert_type(network.astype("float16").astype(np.float32).astype(network.dtype), pnn.Network)
    assert_type(network.astype(torch.float64).astype(single.dtype), pnn.Network)
    assert_type(pnn.load("net.pt", activation="tanh", last=pnn.Activation("softmax")), pnn.Network)


def of_records(tensor: torch.Tensor) -> None:
    images, labels = pnn.datasets.mnist("test")
    assert_type(images, NDArray[np.uint8])
    assert_type(labels, NDArray[np.int64])
    assert_type(pnn.evaluate(net, images, labels), pnn.Evaluation)
    assert_type(pnn.evaluate(net, images.tolist(), [7, 2, 1]).accuracy, float)
    assert_type(pnn.compare(net, images, labels, dtypes=["float32"]), pnn.Comparison)
    pnn.compare(net, tensor, dtypes=torch.float16)
    assert_type(pnn.infer(net, ["a.npy", "b.npy"]), np.ndarray[Any, Any] | Any)
    pnn.infer(net, iter([tensor, tensor]))
    assert_type(pnn.explain(net, tensor), pnn.Explanation)
    assert_type(net.verify(), pnn.Verification)
    assert_type(pnn.backends.status()[0], pnn.backends.Status)
    assert_type(pnn.backends.get(tensor.device), pnn.backends.Backend)
