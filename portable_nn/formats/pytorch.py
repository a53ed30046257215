"""Models of PyTorch: what `torch.save` wrote, whole or as a state dict, and live modules; without PyTorch."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from portable_nn._typing import ActivationName, Array
from portable_nn.errors import FormatError, InputError, NetworkError
from portable_nn.formats.given import check_live, check_unsaid, rescaled
from portable_nn.formats.kinds import format_of
from portable_nn.formats.modules import is_module, is_stock, module_layers
from portable_nn.formats.states import state_layers
from portable_nn.formats.traced import traced_network
from portable_nn.layers import Activation, Layer, Shape
from portable_nn.network import Network
from portable_nn.readers.buffers import Budget
from portable_nn.readers.pickles import Record, described
from portable_nn.readers.pytorch import read_checkpoint
from portable_nn.readers.safetensors import read_tensors

__all__ = ["from_torch", "read_pytorch"]

MODULE = "a torch.nn.Module"

INSIDE = ("state_dict", "model_state_dict", "model")
"""Under which training scripts keep a model among other things."""

PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")
"""What `torch.compile` and `DataParallel` put before all names, in either order."""


def read_pytorch(
    path: str | os.PathLike[str],
    *,
    layers: Iterable[str | Layer] | None = None,
    activation: ActivationName | Activation | None = None,
    last: ActivationName | Activation | None = None,
    epsilon: float | None = None,
    rescale: Array = None,
    sample_shape: Shape | None = None,
) -> Network:
    """Read a model of PyTorch: a `torch.nn.Sequential` that was saved whole, or a state dict.

    A state dict may be a safetensors file too, and lie in a checkpoint under ``state_dict``, ``model_state_dict``
    or ``model``; prefixes that `torch.compile` and `DataParallel` put before its names are left out.

    Parameters
    ----------
    path : str or path-like
        As `torch.save` writes it, today or before version 1.6, or ``.safetensors``.
    layers, activation, last, epsilon, rescale, sample_shape : optional
        As `portable_nn.load` takes them.

    Returns
    -------
    Network
        That evaluates: dropout does nothing, and normalization uses the statistics of training.

    Raises
    ------
    FormatError
        If the file cannot be read, or does not say enough, or has modules that are no layers here.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from portable_nn.formats.pytorch import read_pytorch
    >>> from safetensors.numpy import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     save_file({"fc.weight": np.ones((2, 3)), "fc.bias": np.zeros(2)}, path)
    ...     read_pytorch(path, layers=["fc", "softmax"]).layers
    (Dense(3, 2, 'softmax'),)
    """
    read = read_tensors if format_of(path) == "safetensors" else read_checkpoint
    whole = read(path)
    budget = Budget(os.path.getsize(path))
    given = {"layers": layers, "activation": activation, "last": last, "epsilon": epsilon}
    try:
        content = _inside(whole)
        if isinstance(content, dict):
            check_unsaid({"sample_shape": sample_shape}, f"{path} holds weights alone, which take vectors")
            found = state_layers(_state(content, budget), **given)  # type: ignore[arg-type]
        elif not isinstance(content, Record):
            raise NetworkError(f"it holds {described(content)}, and no model: save its state_dict()")
        else:
            found = module_layers(content, budget, sample_shape)
            check_unsaid(given, f"{path} holds a whole model, which says which layers it has")
        return Network(rescaled(found, rescale))
    except FormatError:
        raise
    except (NetworkError, ValueError) as error:
        raise FormatError(f"{path}: {error}") from error


def from_torch(module: Any, *, sample_shape: Shape | Mapping[str, Shape] | None = None) -> Network:
    """Convert a live module of PyTorch: chains become layers, what branches a `Graph` between them.

    Modules of PyTorch's own, nested in Sequential, are read by their attributes. A module with a forward pass of
    its own is traced by `torch.fx` and tried on random samples, on which the network must do the same.

    Parameters
    ----------
    module : torch.nn.Module
        Of Linear, every activation that has a counterpart in `portable_nn.activations`, BatchNorm1d, LayerNorm,
        RMSNorm, Flatten, dropouts and Identity, and of sums, products, concatenations and slices of what they
        make.
    sample_shape : tuple of int, or mapping of str to tuple of int, optional
        What its first Flatten takes; without it, vectors. Of a forward pass of its own the shape of one sample,
        of several inputs by their names in `forward`, where the modules that take them do not say it.

    Returns
    -------
    Network
        That evaluates, whatever mode the module is in; its weights are copies in NumPy. Where `forward` gives
        several arrays, a dict of these by the keys of its dict, fields of its named tuple, or ``output_0``, ….

    Raises
    ------
    InputError
        If it is no module.
    NetworkError
        If it has modules that are no layers here, or hooks, or parametrizations, or no Flatten for that shape, or
        does what cannot be traced or has no counterpart, which the error names.

    Examples
    --------
    >>> from torch import nn
    >>> from portable_nn.formats.pytorch import from_torch
    >>> from_torch(nn.Sequential(nn.Linear(3, 2), nn.Dropout(), nn.Softmax(dim=-1))).layers
    (Dense(3, 2, 'softmax'),)
    """
    check_live(module, "from_torch", MODULE)
    if not is_module(module):
        raise InputError(f"from_torch takes {MODULE}, got an object of {type(module).__name__}")
    if not is_stock(module):
        return traced_network(module, sample_shape)
    if isinstance(sample_shape, Mapping):
        raise NetworkError("the model takes one array: give its shape as a tuple, sample_shape=(28, 28)")
    return Network(module_layers(module, None, sample_shape))


def _inside(content: Any) -> Any:
    """What a checkpoint keeps among other things."""
    for _ in INSIDE:
        if not isinstance(content, dict):
            break
        inside = [name for name in INSIDE if isinstance(content.get(name), dict | Record)]
        if len(inside) > 1:
            raise NetworkError(f"it has a model under {' and '.join(inside)}: save the one that is wanted alone")
        if not inside:
            break
        content = content[inside[0]]
    return content


def _is_model(value: object) -> bool:
    """Whether it is a state dict, or a record of a module."""
    if isinstance(value, dict):
        return bool(value) and all(isinstance(each, np.ndarray) for each in value.values())
    return isinstance(value, Record) and isinstance(value.state, dict) and "_modules" in value.state


def _state(content: dict[Any, Any], budget: Budget) -> dict[str, Array]:
    """The arrays of a state dict by name, without the prefixes of wrappers."""
    for name, value in content.items():
        if isinstance(name, str) and _is_model(value):
            raise NetworkError(
                f"it holds a model under {name!r:.100}, among other things: save that alone, with "
                f"torch.save(torch.load(path)[{name!r:.100}], 'model.pt')"
            )
    strays = [name for name, value in content.items() if not isinstance(value, np.ndarray)]
    if strays or not all(isinstance(name, str) for name in content):
        name = strays[0] if strays else next(name for name in content if not isinstance(name, str))
        raise NetworkError(
            f"its entry {name!r:.100} is {described(content.get(name))}, no tensor of a dtype that NumPy has "
            "(nothing was run): save the state_dict() of the model alone, in float32"
        )
    for array in content.values():
        budget.spend_on(array)
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in content):
            content = {name.removeprefix(prefix): array for name, array in content.items()}
    return content
