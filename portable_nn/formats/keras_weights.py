"""Keras's weights alone: HDF5 files of `model.save_weights`, which name layers and arrays and no more.

What a layer is, the names of its arrays tell; where they are numbered, that of its group, or their axes. What it
adds to a variance, which activations there are, and the order of all are to be given.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from portable_nn._typing import ActivationName, NumPyArray
from portable_nn.errors import NetworkError
from portable_nn.formats.normalization import check_epsilon, keras_batch_normalization, keras_deviation
from portable_nn.formats.states import state_layers
from portable_nn.layers import Activation, Layer, Layers, Normalize, standardized
from portable_nn.readers.hdf5 import HDF5

__all__ = ["weights_alone"]

Arrays: TypeAlias = dict[str, NumPyArray]

BATCH, DENSE, LAYER = "gamma beta moving_mean moving_variance", "kernel bias", "gamma beta"
STATISTICS, SLOPE, SCALE = "mean variance count", "alpha", "scale"

NUMBERED: dict[str, tuple[str, ...]] = {
    "batch_normalization": (BATCH, "moving_mean moving_variance"),
    "dense": (DENSE, "kernel"),
    "layer_normalization": (LAYER,),
    "normalization": (STATISTICS,),
    "p_re_lu": (SLOPE,),
    "rms_normalization": (SCALE,),
}
"""The arrays that a group of this name has, in order: as many as it has tell which."""

BY_AXES: dict[tuple[int, ...], str] = {(2, 1): DENSE, (1, 1, 1, 1): BATCH, (1, 1, 0): STATISTICS}
"""Those of a group of another name, as an attribute of a class gives it, by how many axes they have."""

EPSILON, EPSILON_RMS = 1e-3, 1e-6
"""What Keras's layers add to a variance, RMSNormalization to a mean square, unless they were told otherwise."""


def weights_alone(
    file: HDF5,
    *,
    layers: Iterable[str | Layer] | None = None,
    activation: ActivationName | Activation | None = None,
    last: ActivationName | Activation | None = None,
    epsilon: float | None = None,
) -> Layers:
    """The layers of a file of weights.

    Parameters
    ----------
    file : HDF5
        As Keras 3 writes it, with numbered arrays, or Keras 2, with named ones.
    layers : iterable of str and layers, optional
        What runs, in order: layers as the file names them, and activations, such as ``["dense", "relu",
        "batch_normalization", "dense_1"]``.
    activation, last : str or Activation, optional
        Instead, where all layers are Dense: see `portable_nn.formats.states.state_layers`.
    epsilon : float, optional
        What BatchNormalization, LayerNormalization and RMSNormalization add to a variance; without it 1e-3, and
        1e-6 for the last, which is what they add unless they were told otherwise.

    Returns
    -------
    tuple of layers

    Raises
    ------
    NetworkError
        If a layer is of another kind, or more is to be given, or what is given does not fit.
    """
    found = _layers_of(file)
    check_epsilon(
        epsilon, any(arrays.keys().isdisjoint({"kernel", "alpha", "mean"}) for arrays in found.values())
    )
    dense: Arrays = {}
    others: dict[str, Layers] = {}
    for name, arrays in found.items():
        if "kernel" in arrays:
            dense |= {f"{name}.{'weight' if key == 'kernel' else key}": array.T for key, array in arrays.items()}
        else:
            others[name] = tuple(_other(name, arrays, epsilon))
    if not others:
        return state_layers(dense, layers=layers, activation=activation, last=last)
    if layers is None or isinstance(layers, str) or activation is not None or last is not None:
        listed = [*dict.fromkeys(name.rpartition(".")[0] for name in dense), *others]
        raise NetworkError(
            "it holds weights alone, and not those of Dense layers alone: give layers=[...], without activation= "
            f"and last=, all that runs in its order, activations by name, and of the file {', '.join(listed)}"
        )
    entries = list(layers)
    if left := others.keys() - {entry for entry in entries if isinstance(entry, str)}:
        raise NetworkError(f"no entry of layers= takes {', '.join(sorted(left))}")
    return state_layers(dense, layers=[layer for entry in entries for layer in _entered(entry, others)])


def _entered(entry: str | Layer, others: Mapping[str, Layers]) -> tuple[str | Layer, ...]:
    return others.get(entry, (entry,)) if isinstance(entry, str) else (entry,)


def _layers_of(file: HDF5) -> dict[str, Arrays]:
    """The arrays of each layer, by the names that Keras 2 gives them."""
    named: dict[str, Arrays] = {}
    numbered: dict[str, Arrays] = {}
    for path in file.arrays(""):
        match path.removesuffix(":0").split("/"):
            case ["optimizer" | "optimizer_weights", *_] | [*_, "seed_generator", "vars", _]:
                continue
            case [*_, layer, "vars", key]:
                found = numbered.setdefault(layer, {})
            case [*_, layer, key]:
                found = named.setdefault(layer, {})
            case _:
                raise _strange(path)
        if key in found:
            raise _strange(path)
        found[key] = file.array(path)
    for layer, arrays in named.items():
        if not any(arrays.keys() <= set(names.split()) for kinds in NUMBERED.values() for names in kinds):
            raise _strange(layer)
    return named | {layer: _named(layer, arrays) for layer, arrays in numbered.items()}


def _named(layer: str, arrays: Arrays) -> Arrays:
    """The arrays of a layer by name instead of number."""
    ordered = [arrays[key] for key in sorted(arrays, key=lambda key: (len(key), key))]
    kinds = NUMBERED.get(re.sub(r"_\d+$", "", layer))
    if kinds is None:
        kinds = (BY_AXES.get(tuple(array.ndim for array in ordered), ""),)
    names = next((names.split() for names in kinds if len(names.split()) == len(ordered)), [])
    if not names:
        raise _strange(layer)
    return dict(zip(names, ordered, strict=True))


def _strange(name: str) -> NetworkError:
    return NetworkError(
        f"it holds weights alone, and those of {name!r:.100} do not tell what they belong to: save the whole "
        "model with model.save('model.keras')"
    )


def _other(name: str, arrays: Arrays, epsilon: float | None) -> Iterator[Layer]:
    """A layer that is no Dense."""
    usual = EPSILON if epsilon is None else epsilon
    try:
        match arrays:
            case {"moving_mean": _} | {"moving_variance": _}:
                yield from keras_batch_normalization(arrays, usual)
            case {"mean": mean, "variance": variance}:
                yield from standardized(mean, keras_deviation(variance))
            case {"alpha": slope}:
                yield Activation("prelu", slope=slope)
            case {"scale": scale}:
                yield Normalize(scale, None, EPSILON_RMS if epsilon is None else epsilon, centred=False)
            case {"gamma": _} | {"beta": _}:
                yield Normalize(arrays.get("gamma"), arrays.get("beta"), usual)
            case _:
                raise NetworkError(f"of its arrays there are {', '.join(arrays)} alone")
    except NetworkError as error:
        raise NetworkError(f"layer {name!r}: {error}") from error
