"""A hand-written function under `jax.jit`: cast, division, sigmoids and argmax in one program."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from benchmarks.given import Given, in_batches

__all__ = ["tasks"]


def tasks(given: Given) -> dict[str, Callable[..., Any]]:
    """Many images come from NumPy and labels go back there; one is an array of JAX already."""
    (w1, b1), (w2, b2), (w3, b3) = [tuple(map(jnp.asarray, layer)) for layer in given.weights]
    image = jnp.asarray(given.image)

    def logits(x: jax.Array) -> jax.Array:
        z1 = jax.nn.sigmoid(x.astype(jnp.float32) / 255 @ w1 + b1)
        z2 = jax.nn.sigmoid(z1 @ w2 + b2)
        return z2 @ w3 + b3

    probabilities = jax.jit(lambda x: jax.nn.softmax(logits(x)))
    label = jax.jit(lambda x: jnp.argmax(logits(x), axis=-1))

    return {
        "labels": lambda size: in_batches(lambda batch: np.asarray(label(batch)), given.images, size),
        "probabilities": lambda: probabilities(image).block_until_ready(),
        "label": lambda: label(image).block_until_ready(),
    }
