"""Files that do not come with the package: from a folder of the user's, or downloaded once."""

import hashlib
import os
from pathlib import Path

from portable_nn.errors import DataError

FOLDER_VARIABLE = "PORTABLE_NN_DATA_DIR"

MNIST = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
BOOK = (
    "https://raw.githubusercontent.com/oreilly-japan/deep-learning-from-scratch/"
    "07b11618cdb5d5f78ad45464de0730efc07b0a4a/ch03/",
)

SOURCES: dict[str, tuple[str, tuple[str, ...]]] = {  # name: (SHA-256, mirrors in the order to try)
    "train-images-idx3-ubyte.gz": ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", MNIST),
    "train-labels-idx1-ubyte.gz": ("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", MNIST),
    "t10k-images-idx3-ubyte.gz": ("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", MNIST),
    "t10k-labels-idx1-ubyte.gz": ("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", MNIST),
    "sample_weight.pkl": ("b7f55a27988ba34c3777b0f1bbd464817c8a4db855723e6ff26f703501917a13", BOOK),
}


def fetch(name: str) -> Path:
    """Return the path of the file `name`, one of `SOURCES`, downloaded if need be, its SHA-256 checked.

    Raises
    ------
    DataError
        If it cannot be had, or is not the original.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    return _in_folder(Path(folder), name) if folder else _downloaded(name)


def _in_folder(folder: Path, name: str) -> Path:
    path, (wanted, _) = folder / name, SOURCES[name]
    try:
        with path.open("rb") as file:
            came = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"{FOLDER_VARIABLE} names the folder {folder}, whose file {name} cannot be read "
            f"({error.strerror or error}): put it there, or unset the variable to download it"
        ) from error
    if came != wanted:
        raise DataError(f"{path} is not the original file: its SHA-256 is {came}, wanted {wanted}: replace it")
    return path


def _downloaded(name: str) -> Path:
    try:
        import pooch
    except ImportError as error:
        raise DataError(
            f'downloading {name} takes pooch: pip install "portable-nn[data]", or set {FOLDER_VARIABLE} to a '
            "folder that holds the file"
        ) from error
    checksum, mirrors = SOURCES[name]
    cache = Path(pooch.os_cache("portable_nn"))
    if not cache.is_absolute():
        raise DataError(
            f"there is no home folder to keep {name} in: set HOME, or put the file into a folder and name that "
            f"in {FOLDER_VARIABLE}"
        )
    failures = []
    for mirror in mirrors:
        try:
            return Path(pooch.retrieve(mirror + name, f"sha256:{checksum}", name, cache))
        except (OSError, ValueError) as error:  # no network; another checksum
            if isinstance(error, OSError) and error.errno:  # of the system, and not of a mirror
                raise DataError(
                    f"{name} cannot be kept in {cache} ({os.strerror(error.errno)}): make it a folder to write "
                    f"to, or put the file into another and name that in {FOLDER_VARIABLE}"
                ) from error
            failures.append(f"{mirror}{name} ({error})")
    raise DataError(
        f"{name} could not be downloaded from {' nor '.join(failures)}: try again later, or put the file "
        f"into a folder and name that in {FOLDER_VARIABLE}"
    )
