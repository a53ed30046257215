"""A hand-written function under `jax.jit`: cast, division, layers and argmax in one program."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from benchmarks.given import Given, in_batches
from benchmarks.networks import Block, Cell
from portable_nn import Dense, Rescaling

__all__ = ["natural", "tasks"]

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "identity": lambda x: x,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "softmax": jax.nn.softmax,
}


def forward(layers: Iterable[Dense | Rescaling | Block]) -> Callable[[jax.Array], jax.Array]:
    """The network as a user of JAX writes it; the layers are unrolled when it is traced."""
    steps = [applied(layer) for layer in layers if not isinstance(layer, Rescaling)]

    def outputs(x: jax.Array) -> jax.Array:
        z = x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x
        for step in steps:
            z = step(z)
        return z

    return outputs


def applied(layer: Dense | Block) -> Callable[[jax.Array], jax.Array]:
    """One layer, or one block."""
    if isinstance(layer, Block):
        first, second = applied(layer.first), applied(layer.second.with_activation("identity"))
        last = ACTIVATIONS[layer.second.activation]
        return lambda z: last(z + second(first(z)))
    weight, bias, activation = jnp.asarray(layer.weight), jnp.asarray(layer.bias), ACTIVATIONS[layer.activation]
    return lambda z: activation(z @ weight + bias)


def natural(cell: Cell) -> Callable[[], Any]:
    """The call on an array of JAX, until it is done."""
    outputs, x = jax.jit(forward(cell.layers)), jnp.asarray(cell.x)
    return lambda: outputs(x).block_until_ready()


def tasks(given: Given) -> dict[str, Callable[..., Any]]:
    """Many images come from NumPy and labels go back there; one is an array of JAX already."""
    *hidden, last = given.net.layers
    logits = forward([*hidden, Dense(last.weight, last.bias, "identity")])
    image = jnp.asarray(given.image)
    probabilities = jax.jit(forward(given.net.layers))
    label = jax.jit(lambda x: jnp.argmax(logits(x), axis=-1))

    return {
        "labels": lambda size: in_batches(lambda batch: np.asarray(label(batch)), given.images, size),
        "probabilities": lambda: probabilities(image).block_until_ready(),
        "label": lambda: label(image).block_until_ready(),
    }
