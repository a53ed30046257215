"""The exception tree.

PortableNNError
├── NetworkError    (ValueError)       layers that make no network: none, shapes that do not chain, NaN weights
├── InputError      (TypeError)        an input that is no array of real numbers, an option of another type
├── ShapeError      (ValueError)       an array whose shape does not fit
├── PlacementError  (ValueError)       an array of another library or device than the network is bound to
├── BackendError    (RuntimeError)     an array library that is unknown, not installed, or without a device
├── ClusterError    (RuntimeError)     a cluster that cannot compute, or was lost while it did
├── FormatError     (ValueError)       a file that is not what it should be
├── OutputError     (FileExistsError)  a file to write that is an input, or exists and is to stay
├── DataError       (RuntimeError)     a data set that is unknown or cannot be had
└── AccuracyError   (ArithmeticError)  outputs that are not those which the network's file carries

InputWarning        (UserWarning)      an input that the network cannot have been meant for

Every message says what came, what fits, and what to do.
"""

__all__ = [
    "AccuracyError",
    "BackendError",
    "ClusterError",
    "DataError",
    "FormatError",
    "InputError",
    "InputWarning",
    "NetworkError",
    "OutputError",
    "PlacementError",
    "PortableNNError",
    "ShapeError",
]


class PortableNNError(Exception):
    """Base of every error that this package raises on purpose."""


class NetworkError(PortableNNError, ValueError):
    """Layers that make no network."""


class InputError(PortableNNError, TypeError):
    """An input that is no array of real numbers, or an option of another type than it has."""


class ShapeError(PortableNNError, ValueError):
    """An array whose shape does not fit."""


class PlacementError(PortableNNError, ValueError):
    """An array of another library or device than the network is bound to."""


class BackendError(PortableNNError, RuntimeError):
    """An array library that is unknown, not installed, or without a device."""


class ClusterError(PortableNNError, RuntimeError):
    """A cluster that cannot compute, or was lost while it did."""


class FormatError(PortableNNError, ValueError):
    """A file that is not what it should be."""


class OutputError(PortableNNError, FileExistsError):
    """A file to write that is an input, or exists and is to stay."""


class DataError(PortableNNError, RuntimeError):
    """A data set that is unknown or cannot be had."""


class AccuracyError(PortableNNError, ArithmeticError):
    """Outputs that are not those which the network's file carries."""


class InputWarning(UserWarning):
    """An input that the network cannot have been meant for."""
