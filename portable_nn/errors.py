"""The exception tree.

PortableNNError
├── NetworkError    (ValueError)    layers that make no network: none, shapes that do not chain, NaN weights
├── InputError      (TypeError)     an input that is no array, or an array of a dtype that is not real
├── ShapeError      (ValueError)    an array whose shape does not fit
├── PlacementError  (ValueError)    an array of another library or device than the network is bound to
├── BackendError    (RuntimeError)  an array library that is unknown, not installed, or without a device
├── FormatError     (ValueError)    a file that is not what it should be
└── DataError       (RuntimeError)  a data set that is unknown or cannot be had

Every message says what came, what fits, and what to do.
"""

__all__ = [
    "BackendError",
    "DataError",
    "FormatError",
    "InputError",
    "NetworkError",
    "PlacementError",
    "PortableNNError",
    "ShapeError",
]


class PortableNNError(Exception):
    """Base of every error that this package raises on purpose."""


class NetworkError(PortableNNError, ValueError):
    """Layers that make no network."""


class InputError(PortableNNError, TypeError):
    """An input that is no array, or an array of a dtype that is not real."""


class ShapeError(PortableNNError, ValueError):
    """An array whose shape does not fit."""


class PlacementError(PortableNNError, ValueError):
    """An array of another library or device than the network is bound to."""


class BackendError(PortableNNError, RuntimeError):
    """An array library that is unknown, not installed, or without a device."""


class FormatError(PortableNNError, ValueError):
    """A file that is not what it should be."""


class DataError(PortableNNError, RuntimeError):
    """A data set that is unknown or cannot be had."""
