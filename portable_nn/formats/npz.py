"""NumPy's .npz archives that hold a network as `portable_nn.formats.architecture` says.

Its metadata are the JSON text in UTF-8 that the array `METADATA` holds as bytes.
"""

import json
import os
from collections.abc import Mapping
from io import BytesIO

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.errors import FormatError
from portable_nn.formats.architecture import network_of, parts_of
from portable_nn.network import Network
from portable_nn.writing import write

__all__ = ["METADATA", "npz_network", "write_npz"]

METADATA = "portable_nn"


def write_npz(net: Network, path: str | os.PathLike[str]) -> None:
    """Write a network to an .npz; if that fails, an older file stays as it was.

    Parameters
    ----------
    net : Network
    path : str or path-like

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> from portable_nn.formats.npz import write_npz
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "pixels.npz")
    ...     write_npz(pnn.Network([pnn.Rescaling(1 / 255)]), path)
    ...     pnn.load(path).layers
    (Rescaling(0.00392157, 0),)
    """
    metadata, tensors = parts_of(net)
    file = BytesIO()
    text = np.frombuffer(json.dumps(metadata).encode(), dtype=np.uint8)
    np.savez(file, allow_pickle=False, **{METADATA: text}, **tensors)
    write(path, file.getvalue())


def npz_network(arrays: Mapping[str, NumPyArray], path: object, *, verify: bool = True) -> Network:
    """The network that the arrays of such an archive hold.

    Parameters
    ----------
    arrays : mapping of str to array
    path : object
        What error messages name.
    verify : bool
        Whether it must make of its samples what they say.

    Raises
    ------
    FormatError
        If they hold none.
    AccuracyError
        If the network makes something else of the samples.
    """
    tensors = dict(arrays)
    text = tensors.pop(METADATA)
    try:
        metadata = json.loads(text.tobytes().decode())
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("its metadata are no strings by name")
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not a network that portable_nn.save wrote: {error}") from error
    return network_of(metadata, tensors, path, verify=verify)
