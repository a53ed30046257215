"""ONNX files, written with the `onnx` package, which checks them."""

import json
import os
from typing import Any

from portable_nn.errors import FormatError
from portable_nn.exporting import exported
from portable_nn.layers import Graph
from portable_nn.network import Network
from portable_nn.parts import named, no_samples
from portable_nn.writing import write

__all__ = ["MEANING", "onnx_model", "write_onnx"]

MEANING = "portable_nn.meaning"
"""The key of what is known of inputs and outputs among the metadata."""


def write_onnx(net: Network, path: str | os.PathLike[str]) -> None:
    """Write a network to an ONNX file, for any number of samples; if that fails, an older file stays as it was.

    Parameters
    ----------
    net : Network
    path : str or path-like

    Raises
    ------
    FormatError
        If a layer has no counterpart in ONNX, or the package `onnx` is not installed.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import portable_nn as pnn
    >>> from portable_nn.formats.onnx import read_onnx
    >>> from portable_nn.formats.onnx_writing import write_onnx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "pixels.onnx")
    ...     write_onnx(pnn.Network([pnn.Rescaling(0.5), pnn.Activation("relu")]), path)
    ...     read_onnx(path).layers
    (Rescaling(0.5, 0), Activation('relu'))
    """
    write(path, onnx_model(net).SerializeToString())


def onnx_model(net: Network) -> Any:
    """The network as an `onnx.ModelProto`, checked.

    Parameters
    ----------
    net : Network

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    FormatError
        As `write_onnx`.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> from portable_nn.formats.onnx_writing import onnx_model
    >>> [node.op_type for node in onnx_model(pnn.load("mnist")).graph.node]
    ['Mul', 'Gemm', 'Sigmoid', 'Gemm', 'Sigmoid', 'Gemm', 'Softmax']
    """
    net = net.to_numpy()
    model = exported(net.layers, net.dtype, inputs=net.passes.inputs, outputs=_dtypes(net))
    import onnx

    if given := net.meaning.given():
        onnx.helper.set_model_props(model, {MEANING: json.dumps(given)})
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        (reason, *_) = str(error).strip().splitlines()
        raise FormatError(f"ONNX has no such network in {net.dtype}: {reason}") from error
    return model


def _dtypes(net: Network) -> list[Any] | None:
    """The dtype of each output where a graph may give labels, which are integers."""
    if not any(isinstance(layer, Graph) for layer in net.layers):
        return None
    found = named(net(no_samples(net.passes.inputs, net.input_shape, net.dtype)))
    return [array.dtype for array in found.values()]
