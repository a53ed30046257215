"""What the loss of a Keras model tells of its outputs: whether they are labels, several at once, or values."""

from typing import Any

from portable_nn.errors import NetworkError
from portable_nn.formats.keras_config import class_name
from portable_nn.layers import Activation, Dense
from portable_nn.meaning import Task
from portable_nn.network import Network

__all__ = ["task_of_loss"]

BINARY = {"binarycrossentropy", "bce", "binaryfocalcrossentropy"}
CATEGORICAL = {"categoricalcrossentropy", "sparsecategoricalcrossentropy", "categoricalfocalcrossentropy"}
OF_VALUES = {
    *("meansquarederror", "mse", "meanabsoluteerror", "mae", "meanabsolutepercentageerror", "mape"),
    *("meansquaredlogarithmicerror", "msle", "huber", "logcosh"),
}
"""Names of losses without what is written in several ways."""


def task_of_loss(compiled: object, net: Network) -> Task | None:
    """Tell the task from how a model was compiled, None where that says nothing that the last layer does not.

    Parameters
    ----------
    compiled : mapping or None
        The `compile_config` of a `.keras` file, the `training_config` of an `.h5` file.
    net : Network

    Returns
    -------
    {"classification", "multilabel", "regression"} or None

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> from portable_nn.formats.keras_losses import task_of_loss
    >>> net = pnn.Network([pnn.Dense(np.eye(2), None, "sigmoid")])
    >>> task_of_loss({"loss": "binary_crossentropy"}, net)
    'multilabel'
    """
    loss = compiled.get("loss") if isinstance(compiled, dict) else None
    if isinstance(loss, list) and len(loss) == 1:
        (loss,) = loss
    name, options = _described(loss)
    match net.layers[-1]:
        case Dense(activation=activation) | Activation(name=activation):
            pass
        case _:
            activation = "identity"
    logits = activation == "identity" and options.get("from_logits") is True
    if name in BINARY and (logits or activation == "sigmoid"):
        return "multilabel" if net.output_shape != (1,) else "classification"
    if name in CATEGORICAL and logits:
        return "classification"
    return "regression" if name in OF_VALUES and activation == "identity" else None


def _described(loss: Any) -> tuple[str, dict[str, Any]]:
    """The name of one of Keras's own losses, and its options."""
    options: Any = {}
    if isinstance(loss, dict):
        options = loss.get("config")
        try:
            loss = class_name(loss)
        except NetworkError:
            loss = None
    return str(loss).replace("_", "").lower(), options if isinstance(options, dict) else {}
