"""Trees of PyTorch's modules to layers: a live module, or the record of one in a file.

Each is a class and its attributes, and both are matched by the same functions. Modules of PyTorch's own that
compute something of a batch of vectors become layers; what has a forward pass of its own is refused, since its
attributes do not tell it.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from portable_nn._typing import ActivationName, Array
from portable_nn.activations import parameters_of
from portable_nn.errors import NetworkError
from portable_nn.formats.normalization import batch_normalization, machine_epsilon
from portable_nn.formats.states import undoing
from portable_nn.layers import (
    IDENTITY,
    Activation,
    Dense,
    Flatten,
    Layer,
    Layers,
    Normalize,
    Shape,
    fused,
    sample_shapes,
)
from portable_nn.readers.buffers import Budget
from portable_nn.readers.pickles import Record, described

__all__ = [
    "ALONG_AN_AXIS", "ELEMENTWISE", "fetched", "is_module", "is_stock", "made", "module_layers", "stock_layers",
    "unwrapped",
]  # fmt: skip

MAX_MODULES = 10_000
LARGEST = 1e300  # of a number that describes a module
MAX_ARRAYS = 16  # of one module: those that are known have 5 at most

STOCK = "torch.nn.modules."
COMPILED = "torch._dynamo.eval_frame.OptimizedModule"
WRAPPERS = {
    COMPILED: "_orig_mod",
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
}
NOTHING = ("Identity", "Dropout", "Dropout1d", "AlphaDropout", "FeatureAlphaDropout")
NOT_COMPUTED = ("Conv", "Pool", "RNN", "LSTM", "GRU", "Attention", "Transformer", "Embedding")
ALONG_AN_AXIS: dict[str, ActivationName] = {
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Softmin": "softmin",
    "GLU": "glu",
}
ELEMENTWISE: dict[str, tuple[ActivationName, dict[str, str]]] = {
    "CELU": ("celu", {"alpha": "alpha"}),
    "ELU": ("elu", {"alpha": "alpha"}),
    "Hardshrink": ("hardshrink", {"lambd": "width"}),
    "Hardsigmoid": ("hard_sigmoid", {}),
    "Hardswish": ("hard_swish", {}),
    "Hardtanh": ("hard_tanh", {"min_val": "low", "max_val": "high"}),
    "LeakyReLU": ("leaky_relu", {"negative_slope": "negative_slope"}),
    "LogSigmoid": ("log_sigmoid", {}),
    "Mish": ("mish", {}),
    "ReLU": ("relu", {}),
    "ReLU6": ("relu6", {}),
    "SELU": ("selu", {}),
    "SiLU": ("silu", {}),
    "Sigmoid": ("sigmoid", {}),
    "Softplus": ("softplus", {"beta": "beta", "threshold": "threshold"}),
    "Softshrink": ("softshrink", {"lambd": "width"}),
    "Softsign": ("softsign", {}),
    "Tanh": ("tanh", {}),
    "Tanhshrink": ("tanhshrink", {}),
    "Threshold": ("threshold", {"threshold": "threshold", "value": "value"}),
}
"""By class, our name and our parameters by theirs."""

Attributes = Mapping[str, Any]


def is_module(value: object) -> bool:
    """Whether a value is a live module of PyTorch, which need not be loaded for that.

    Parameters
    ----------
    value : object

    Returns
    -------
    bool

    Examples
    --------
    >>> from portable_nn.formats.modules import is_module
    >>> is_module("model.pt")
    False
    """
    return f"{STOCK}module.Module" in [f"{kind.__module__}.{kind.__qualname__}" for kind in type(value).__mro__]


def unwrapped(module: Any) -> Any:
    """The module inside of those that compile it or spread it over devices."""
    while (name := _name(module)) in WRAPPERS:
        module = module._modules[WRAPPERS[name]]
    return module


def is_stock(module: Any) -> bool:
    """Whether a live module, and all inside, are of PyTorch's own classes, whose attributes tell what they do.

    Examples
    --------
    >>> from torch import nn
    >>> from portable_nn.formats.modules import is_stock
    >>> is_stock(nn.Sequential(nn.Linear(3, 2)))
    True
    """
    waiting, seen = [module], set[int]()
    while waiting:
        each = waiting.pop()
        if not _name(each).startswith("torch.nn.") and _name(each) not in WRAPPERS:
            return False
        if id(each) not in seen:
            seen.add(id(each))
            waiting += [child for child in each._modules.values() if child is not None]
    return True


def stock_layers(path: str, module: Any, axes: int) -> Layers:
    """The layers of one live module of PyTorch's own.

    Parameters
    ----------
    path : str
    module : torch.nn.Module
    axes : int
        Of one sample that it takes.

    Returns
    -------
    tuple of layers

    Raises
    ------
    NetworkError
        If it is no layer here, or works along another axis than the last one.

    Examples
    --------
    >>> from torch import nn
    >>> from portable_nn.formats.modules import stock_layers
    >>> stock_layers("act", nn.Softmax(dim=-1), 1)
    (Activation('softmax'),)
    """
    name, attributes = _opened(path, module)
    _check_plain(path, name, attributes)
    arrays = _arrays(path, attributes, None)
    dtype = next((array.dtype for array in arrays.values() if array.dtype.kind == "f"), np.dtype(np.float32))
    return made(name.rpartition(".")[2], attributes, arrays, dtype, axes)


def made(kind: str, attributes: Attributes, arrays: dict[str, Array], dtype: np.dtype[Any], axes: int) -> Layers:
    """The layers of one stock module by its class, attributes and arrays, for samples of so many axes."""
    per_feature = kind == "BatchNorm1d" or (kind == "PReLU" and arrays["weight"].size > 1)
    along = kind in ALONG_AN_AXIS and attributes.get("dim") != -1
    if axes != 1 and (per_feature or along):
        raise NetworkError("it works along an axis that is not the last one: only that is read")
    return tuple(_made(kind, attributes, arrays, dtype))


def module_layers(root: Any, budget: Budget | None, sample_shape: Shape | None = None) -> Layers:
    """Build the layers of a module and of those inside.

    Parameters
    ----------
    root : torch.nn.Module or Record
    budget : Budget or None
        Of the file that it comes from; None of a live module.
    sample_shape : tuple of int, optional
        What the first Flatten takes; without it, vectors.

    Returns
    -------
    tuple of layers

    Raises
    ------
    NetworkError
        If a module is no layer here.
    ValueError
        If weights are more than the file may give.

    Examples
    --------
    >>> from torch import nn
    >>> from portable_nn.formats.modules import module_layers
    >>> module_layers(nn.Sequential(nn.Linear(3, 2), nn.ELU(0.5)), None)
    (Dense(3, 2, 'identity'), Activation('elu', alpha=0.5))
    """
    modules = [
        (path, kind, attributes, _arrays(path, attributes, budget)) for path, kind, attributes in _walk(root)
    ]
    dtypes = [array.dtype for _, _, _, arrays in modules for array in arrays.values() if array.dtype.kind == "f"]
    dtype = dtypes[0] if dtypes else np.dtype(np.float32)
    layers: list[Layer] = []
    for path, kind, attributes, arrays in modules:
        if kind == "Flatten" and sample_shape is not None:
            layers.append(Flatten(sample_shape))
            sample_shape = None
        try:
            layers.extend(_made(kind, attributes, arrays, dtype))
        except (NetworkError, KeyError) as error:
            why = error if isinstance(error, NetworkError) else f"it lacks {error}"
            raise NetworkError(f"module {path} ({kind}): {why}") from error
    if sample_shape is not None:
        raise NetworkError(f"the model has no Flatten that takes samples of shape {sample_shape}")
    done = fused(layers) or IDENTITY
    if sample_shapes(done)[0] is None and any(kind == "Flatten" for _, kind, *_ in modules):
        raise NetworkError("nothing tells what its Flatten takes: give it, such as sample_shape=(1, 28, 28)")
    return done


def _walk(root: Any) -> Iterator[tuple[str, str, Attributes]]:
    """The modules that compute, in order: their paths, stock classes and attributes."""
    waiting = [("", root)]
    for _ in range(MAX_MODULES):
        if not waiting:
            return
        path, module = waiting.pop()
        name, attributes = _opened(path, module)
        children = attributes["_modules"]
        if name in WRAPPERS:
            waiting.append((path, children.get(WRAPPERS[name])))
            continue
        _check_plain(path or "itself", name, attributes)
        if name == f"{STOCK}container.Sequential":
            inner = list(islice(children.items(), MAX_MODULES + 1))
            waiting.extend((f"{path}.{key}".lstrip(".")[-100:], child) for key, child in reversed(inner))
        else:
            yield path or "itself", name.rpartition(".")[2], attributes
        if len(waiting) > MAX_MODULES:
            break
    raise NetworkError(f"the model has more than {MAX_MODULES} modules")


def _opened(path: str, module: Any) -> tuple[str, Attributes]:
    """The full name of a module's class, and its attributes, of a live one or of the record of one."""
    name = module.name if isinstance(module, Record) else _name(module)
    attributes = module.state if isinstance(module, Record) else getattr(module, "__dict__", None)
    parts = ("_modules", "_parameters", "_buffers")
    if not isinstance(attributes, dict) or not all(isinstance(attributes.get(part), dict) for part in parts):
        if name == COMPILED:
            raise NetworkError("it is a module of torch.compile's: save its _orig_mod, or its state_dict()")
        what = described(module) if isinstance(module, Record) else f"a {type(module).__name__}"
        raise NetworkError(f"module {path or 'itself'} is {what}, no module of PyTorch (nothing was run)")
    return name, attributes


def _name(module: Any) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _check_plain(path: str, name: str, attributes: Attributes) -> None:
    """Raise a `NetworkError` unless the forward pass of a module is that of a stock class."""
    remedy = "or export the model with torch.onnx.export"
    if "parametrizations" in attributes["_modules"]:
        raise NetworkError(f"module {path} has parametrizations: {undoing(['parametrizations.'])}, {remedy}")
    if not name.startswith(STOCK):
        inside = ", ".join(str(child)[:100] for child in islice(attributes["_modules"], 10)) or "none"
        raise NetworkError(
            f"module {path} is a {name:.200}, whose forward pass is code, which is not in the file (modules "
            f"inside: {inside}): where the code is, portable_nn.save(portable_nn.from_torch(model), path) writes "
            f"what is read; or save its state_dict() and load that with layers=, {remedy}"
        )
    if name.rpartition(".")[2].startswith("Lazy"):
        raise NetworkError(f"module {path} has no weights yet: call the model once on a batch, then save it")
    if attributes.get("_forward_hooks") or attributes.get("_forward_pre_hooks") or "forward" in attributes:
        first = undoing([*attributes["_parameters"], *attributes["_buffers"]])
        raise NetworkError(f"module {path} has hooks or a forward of its own: {first or 'remove them'}, {remedy}")


def _arrays(path: str, attributes: Attributes, budget: Budget | None) -> dict[str, Array]:
    """The parameters and buffers of a module by name, in NumPy."""
    both = attributes["_parameters"], attributes["_buffers"]
    if sum(map(len, both)) > MAX_ARRAYS:
        raise NetworkError(f"module {path} has more than {MAX_ARRAYS} parameters and buffers")
    arrays = {}
    for name, value in (both[0] | both[1]).items():
        if value is None:
            continue
        if isinstance(value, np.ndarray) and budget is not None:
            budget.spend_on(value)
            arrays[name] = value
        elif budget is None and hasattr(value, "detach"):
            arrays[name] = fetched(f"{path}.{name}", value)
        else:
            raise NetworkError(
                f"{path}.{name} is {described(value)}, no tensor of a dtype that NumPy has: cast it with "
                "module.float()"
            )
    return arrays


def fetched(name: str, tensor: Any) -> Array:
    """A tensor in NumPy, bfloat16 in float32; a `NetworkError` of its name where it cannot be."""
    try:
        tensor = tensor.detach().cpu()
        return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    except (RuntimeError, TypeError) as error:  # of no dtype of NumPy's, on no device, sparse
        raise NetworkError(f"{name} cannot be fetched: {error}") from error


def _made(kind: str, attributes: Attributes, arrays: dict[str, Array], dtype: np.dtype[Any]) -> Iterable[Layer]:
    """The layers of one stock module."""
    match kind:
        case "Linear":
            return [Dense.from_linear(arrays["weight"], arrays.get("bias"))]
        case "BatchNorm1d":
            return batch_normalization(arrays, _number(attributes, "eps"))
        case "LayerNorm" | "RMSNorm":
            axes = attributes["normalized_shape"]
            if not isinstance(axes, tuple | list) or len(axes) != 1:
                raise NetworkError("it normalizes over several axes: flatten its samples to vectors first")
            machine = kind == "RMSNorm" and attributes["eps"] is None
            epsilon = machine_epsilon(dtype) if machine else _number(attributes, "eps")
            return [Normalize(arrays.get("weight"), arrays.get("bias"), epsilon, centred=kind == "LayerNorm")]
        case "PReLU":
            slope = arrays["weight"]
            return [Activation("prelu", slope=float(slope[0]) if slope.shape == (1,) else slope)]
        case "RReLU":
            mean = (_number(attributes, "lower") + _number(attributes, "upper")) / 2
            return [_activation("leaky_relu", negative_slope=mean)]
        case "GELU":
            approximate = attributes.get("approximate", "none")
            if approximate not in ("none", "tanh"):
                raise NetworkError("approximate is neither 'none' nor 'tanh'")
            return [_activation("gelu_tanh" if approximate == "tanh" else "gelu")]
        case "Flatten":
            if (attributes.get("start_dim"), attributes.get("end_dim")) != (1, -1):
                raise NetworkError("start_dim and end_dim must be 1 and -1, so that each sample is kept")
            return []
    if kind in NOTHING:
        return []
    if kind in ALONG_AN_AXIS:
        if attributes.get("dim") not in (None, 1, -1):
            raise NetworkError("dim must be -1, or 1 of a batch of vectors")
        return [_activation(ALONG_AN_AXIS[kind])]
    if kind in ELEMENTWISE:
        name, parameters = ELEMENTWISE[kind]
        return [_activation(name, **{ours: _number(attributes, theirs) for theirs, ours in parameters.items()})]
    if any(word in kind for word in NOT_COMPUTED):
        raise NetworkError("convolutions, pooling, recurrences and attention are not computed here")
    raise NetworkError("it has no counterpart here: export the model with torch.onnx.export")


def _activation(name: ActivationName, **parameters: float) -> Activation:
    """The activation, without parameters where they are its defaults: a Dense can take it then."""
    defaults = parameters_of(name)
    return Activation(name, **{key: value for key, value in parameters.items() if value != defaults[key]})


def _number(attributes: Attributes, name: str) -> float:
    value = attributes[name]
    if not isinstance(value, int | float) or abs(value) > LARGEST:
        raise NetworkError(f"{name} is no number")
    return float(value)
