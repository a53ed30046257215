"""Passes: functions from a tuple of layers to a tuple of layers that computes the same, or what is asked."""

from portable_nn.activations import STRICTLY_INCREASING
from portable_nn.layers import Dense, Layer

__all__ = ["without_last_activation"]


def without_last_activation(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The layers up to the logits: a last activation that keeps the order of one sample's values is left out."""
    last = layers[-1]
    if isinstance(last, Dense) and last.activation in STRICTLY_INCREASING:
        return (*layers[:-1], last.with_activation("identity"))
    return layers
