"""ONNX files, read without the `onnx` package: layers where they are chains, a `Graph` where they branch."""

import json
import os
from dataclasses import replace

import numpy as np

from portable_nn.errors import FormatError, NetworkError
from portable_nn.exporting import PRODUCER
from portable_nn.formats.onnx_graph import Body, cleared, pruned
from portable_nn.formats.onnx_labels import labelled
from portable_nn.formats.onnx_layers import layers_of
from portable_nn.formats.onnx_writing import MEANING
from portable_nn.network import Network
from portable_nn.operators import OLDEST
from portable_nn.readers.onnx import read_model

__all__ = ["read_onnx"]


def read_onnx(path: str | os.PathLike[str]) -> Network:
    """Read a network from an ONNX file.

    Outputs that are labels are left out: scores are what the network gives, and their classes are its own.

    Parameters
    ----------
    path : str or path-like
        External data are read from plain files in the same folder.

    Returns
    -------
    Network

    Raises
    ------
    FormatError
        If the file cannot be read, or has an operator that is not computed, which it then names.

    Examples
    --------
    >>> from portable_nn.formats.onnx import read_onnx
    >>> read_onnx("there/is/none.onnx")
    Traceback (most recent call last):
        ...
    portable_nn.errors.FormatError: there/is/none.onnx cannot be read: No such file or directory
    """
    model = read_model(path)
    fixed = [value.name for value in model.graph.inputs if value.shape and isinstance(value.shape[0], int)]
    try:
        if (version := model.opsets.get("", OLDEST)) < OLDEST:
            raise NetworkError(f"it is of opset {version}: those from {OLDEST} on are read, export it anew")
        with np.errstate(all="ignore"):  # what is nan then, a layer refuses
            body, classes, task = cleared(model), None, None
            if model.producer != PRODUCER:  # whose outputs are all what a network gives
                body, classes, task = labelled(body, model.producer)
            net = Network(layers_of(_rows(body, model.producer)), classes=classes, task=task)
        return net.described(**json.loads(model.metadata.get(MEANING, "{}")))
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        hint = f" ({fixed[0]!r} has a fixed number of samples: export it for any)" if fixed else ""
        raise FormatError(f"{path}: {error}{hint}") from error


def _rows(body: Body, producer: str) -> Body:
    """Without the last node of skl2onnx's regressors, which puts the values of all outputs in one column."""
    (name, *others) = set(body.outputs.values()) or {""}
    node = body.makers.get(name)
    if producer != "skl2onnx" or others or node is None or node.operator != "Reshape":
        return body
    shape = body.constants.get(node.inputs[1])
    if shape is None or shape.tolist() != [-1, 1]:
        return body
    return pruned(replace(body, outputs=dict.fromkeys(body.outputs, node.inputs[0])))
