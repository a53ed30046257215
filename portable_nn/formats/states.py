"""Chains of layers from named weights alone, as a state dict of PyTorch holds them: the rest is asked for.

A state dict names arrays, ``fc1.weight`` of shape (n_out, n_in) and ``fc1.bias``. It has no activations, nor the
order in which its modules run, nor what a weight of one axis belongs to.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from portable_nn._options import hint, unknown
from portable_nn._typing import ActivationName, Array
from portable_nn.activations import ACTIVATIONS, ALSO_CALLED
from portable_nn.errors import NetworkError
from portable_nn.formats.normalization import batch_normalization, check_epsilon, machine_epsilon
from portable_nn.layers import Activation, Dense, Layer, Layers, Normalize, fused

__all__ = ["state_layers", "undoing"]

EPSILON = 1e-5  # what PyTorch's BatchNorm1d and LayerNorm add unless told otherwise: a state dict does not say
OF_ONE_AXIS = "layernorm", "rmsnorm", "prelu"
CONVERT = "convert the model itself with portable_nn.from_torch"
NUMBER = re.compile(r"\d{1,9}")
MOST_SHOWN = 20
UNDOING = {
    "parametrizations.": "parametrize.remove_parametrizations(module, 'weight')",
    ".weight_g": "remove_weight_norm(module)",
    ".weight_u": "remove_spectral_norm(module)",
    ".weight_mask": "prune.remove(module, 'weight')",
}
"""By what is in the names of a state dict: what makes plain weights of them."""

Modules = dict[str, dict[str, Array]]


def state_layers(
    arrays: Mapping[str, Array],
    *,
    layers: Iterable[str | Layer] | None = None,
    activation: ActivationName | Activation | None = None,
    last: ActivationName | Activation | None = None,
    epsilon: float | None = None,
) -> Layers:
    """Build the layers of named weights.

    Parameters
    ----------
    arrays : mapping of str to array
        ``X.weight`` and ``X.bias`` of each module X, and ``X.running_mean`` and ``X.running_var`` of a
        BatchNorm1d.
    layers : iterable of str and layers, optional
        What runs, in order: names of modules, names of activations, and layers without weights in the file, such
        as ``["fc1", "relu", "fc2", Activation("elu", alpha=0.5), "fc3"]``. A weight of one axis says nothing of
        its module: write ``"layernorm:X"``, ``"rmsnorm:X"`` or ``"prelu:X"``.
    activation, last : str or Activation, optional
        Instead, where all modules are Linear and shapes, or else their numbers, tell their order: what follows
        each of them, and what follows the last one.
    epsilon : float, optional
        What BatchNorm, LayerNorm and RMSNorm add to a variance, which no name tells. Without it that is what they
        add unless they were told otherwise: 1e-5, and of RMSNorm the machine epsilon.

    Returns
    -------
    tuple of layers

    Raises
    ------
    NetworkError
        If more is to be given, or what is given does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.formats.states import state_layers
    >>> arrays = {"0.weight": np.ones((3, 2)), "0.bias": np.ones(3), "2.weight": np.ones((1, 3))}
    >>> state_layers(arrays, activation="relu", last="identity")
    (Dense(2, 3, 'relu'), Dense(3, 1, 'identity'))
    """
    modules = _modules(arrays)
    check_epsilon(epsilon, any(_normalizes(module) for module in modules.values()))
    if layers is not None:
        if activation is not None or last is not None:
            raise NetworkError("give layers=, or activation= and last=, not both")
        if isinstance(layers, str) or not isinstance(layers, Iterable):
            raise NetworkError(f"layers= takes a list, such as {_suggestion(modules)}, got {layers!r:.100}")
        return fused(_in_order(modules, layers, epsilon))
    order = _order(modules)
    if last is None or (activation is None and len(modules) > 1):
        raise NetworkError(
            "the file has weights and no activations: give activation= and last=, such as activation='relu', "
            f"last='softmax' ('identity' for none), or layers={_suggestion(modules)}; it holds {_shown(modules)}"
        )
    between = [activation or last] * (len(modules) - 1)
    pairs = zip(order, [*between, last], strict=True)
    return fused(_in_order(modules, (entry for pair in pairs for entry in pair), epsilon))


def undoing(names: Iterable[str]) -> str | None:
    """What makes plain weights of reparametrized ones, which the names of a module's arrays tell, in words.

    Examples
    --------
    >>> from portable_nn.formats.states import undoing
    >>> undoing(["fc.weight_g", "fc.weight_v"])
    'call torch.nn.utils.remove_weight_norm(module) first'
    """
    for sign, function in UNDOING.items():
        if any(sign in f".{name}" for name in names):
            return f"call torch.nn.utils.{function} first"
    return None


def _modules(arrays: Mapping[str, Array]) -> Modules:
    """The arrays of each module, in the order of the file."""
    modules: Modules = {}
    for name, array in arrays.items():
        module, _, leaf = name.rpartition(".")
        if leaf not in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            raise NetworkError(
                f"the file holds {name:.100}, which no chain of Linear has: {undoing(arrays) or CONVERT}, or "
                "export the model with torch.onnx.export"
            )
        if getattr(array, "ndim", 0) > 2:
            raise NetworkError(
                f"{name:.100} has shape {tuple(array.shape)}, which is no Linear's: convolutions, recurrences "
                "and attention are not computed here"
            )
        if leaf != "num_batches_tracked":
            modules.setdefault(module, {})[leaf] = array
    if not modules:
        raise NetworkError("the file holds no weights")
    return modules


def _in_order(modules: Modules, entries: Iterable[str | Layer], epsilon: float | None) -> Iterator[Layer]:
    unused = set(modules)
    for entry in entries:
        kind, _, name = entry.rpartition(":") if isinstance(entry, str) else ("", "", "")
        if isinstance(entry, Layer):
            yield entry
        elif name in modules and kind in ("", *OF_ONE_AXIS):
            unused.discard(name)
            yield from _layers(kind, name, modules[name], epsilon)
        elif not isinstance(entry, str):
            raise NetworkError(f"an activation is given by its name: {unknown('activation', entry, ACTIVATIONS)}")
        elif entry in ACTIVATIONS:
            yield Activation(entry)  # type: ignore[arg-type]
        else:
            meant = hint(entry, [*modules, *ACTIVATIONS], ALSO_CALLED.get(str(entry).lower()))
            left_out = "; leave dropout out, which does nothing after training" * ("drop" in entry.lower())
            raise NetworkError(
                f"{entry!r:.100} is no module of the file, nor an activation{meant}: it holds "
                f"{_shown(modules)}{left_out}"
            )
    if unused:
        raise NetworkError(
            f"no entry of layers= takes {', '.join(sorted(unused)[:MOST_SHOWN])}: it holds {_shown(modules)}"
        )


def _layers(kind: str, name: str, arrays: dict[str, Array], epsilon: float | None) -> Iterator[Layer]:
    weight: Any = arrays.get("weight")
    usual = EPSILON if epsilon is None else epsilon
    bias, axes = arrays.get("bias"), getattr(weight, "ndim", None)
    match kind, axes:
        case "", 2 if not arrays.keys() - {"weight", "bias"}:
            yield Dense.from_linear(weight, bias)
        case "", 1 | None if {"running_mean", "running_var"} <= arrays.keys():
            yield from batch_normalization(arrays, usual)
        case "layernorm", 1:
            yield Normalize(weight, bias, usual)
        case "rmsnorm", 1 if bias is None:
            smallest = machine_epsilon(weight.dtype) if epsilon is None else epsilon
            yield Normalize(weight, None, smallest, centred=False)
        case "prelu", 1 if bias is None:
            yield Activation("prelu", slope=float(weight[0]) if len(weight) == 1 else weight)
        case "", 1:
            ways = ", ".join(f"{way}:{name:.100}" for way in OF_ONE_AXIS)
            raise NetworkError(f"{name:.100} has a weight of one axis: say what it is, one of {ways}")
        case _:
            raise NetworkError(f"{_described(name, arrays)} is no {kind or 'Linear or BatchNorm1d'}")


def _normalizes(arrays: dict[str, Array]) -> bool:
    return "running_mean" in arrays or getattr(arrays.get("weight"), "ndim", 0) == 1


def _order(modules: Modules) -> list[str]:
    """The names of Linear modules as they run, which shapes or numbers must tell: the file's order need not."""
    shapes: dict[str, Any] = {
        name: arrays["weight"].shape if "weight" in arrays else () for name, arrays in modules.items()
    }
    if any(len(shape) != 2 for shape in shapes.values()):
        raise NetworkError(
            f"not all modules of the file are Linear: give layers={_suggestion(modules)} in the order in which "
            f"they run, with what is missing; it holds {_shown(modules)}"
        )
    order = _chained(shapes) or _numbered(list(modules))
    if len(order) < len(modules):
        raise NetworkError(
            "neither shapes nor numbers nor the file's own order, where they agree, tell in which order the "
            f"modules run, nor whether all do: give layers={_suggestion(modules)}, in that order; it holds "
            f"{_shown(modules)}"
        )
    return order


def _chained(shapes: Mapping[str, Any]) -> list[str]:
    """The names as shapes chain, where one order alone does so: no two modules take the same size."""
    taking = {n_in: name for name, (_, n_in) in shapes.items()}
    starts = taking.keys() - {n_out for n_out, _ in shapes.values()}
    order: list[str] = []
    size = next(iter(starts), None)
    while size in taking:
        order.append(taking.pop(size))
        size = shapes[order[-1]][0]
    return order if len(order) == len(shapes) else []


def _numbered(names: list[str]) -> list[str]:
    """The names by the one number in which they differ, unless the file has them in another order.

    Two numbers may be those of two networks. A file whose order is that of the alphabet, as in safetensors, has
    none of its own.
    """
    if len({NUMBER.sub("0", name) for name in names}) > 1:
        return []
    numbers = {name: [int(number) for number in NUMBER.findall(name)] for name in names}
    order = sorted(names, key=numbers.__getitem__)
    differing = [place for place in zip(*numbers.values(), strict=True) if len(set(place)) > 1]
    return order if len(differing) <= 1 and names in (order, sorted(names)) else []


def _suggestion(modules: Modules) -> str:
    """What to give as layers=, with an activation before each Linear but the first."""
    entries: list[str] = []
    for name, arrays in list(modules.items())[:MOST_SHOWN]:
        linear = getattr(arrays.get("weight"), "ndim", 0) == 2
        if linear and entries:
            entries.append("relu")
        kind = "" if linear or "running_mean" in arrays else "layernorm:" if "bias" in arrays else "rmsnorm:"
        entries.append(kind + name[:100])
    return str([*entries, "softmax"])


def _shown(modules: Modules) -> str:
    shown = [_described(name, arrays) for name, arrays in list(modules.items())[:MOST_SHOWN]]
    return ", ".join(shown) + (f" and {len(modules) - MOST_SHOWN} more" if len(modules) > MOST_SHOWN else "")


def _described(name: str, arrays: dict[str, Array]) -> str:
    if "running_mean" in arrays:
        return f"{name:.100} (BatchNorm of {arrays['running_mean'].size})"
    shape: Any = tuple(arrays["weight"].shape) if "weight" in arrays else None
    match shape:
        case None:
            return f"{name:.100} ({', '.join(arrays)})"
        case (n_out, n_in):
            return f"{name:.100} (Linear, {n_in} to {n_out})"
    return f"{name:.100} (weight of shape {shape})"
