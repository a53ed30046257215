"""Members of zip archives, in memory: no more of them than is asked for, and nothing is extracted."""

import os
import zipfile
from bisect import bisect
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from shutil import copyfileobj
from typing import IO

from portable_nn.readers.buffers import Budget

__all__ = ["Archive"]

COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MAX_DIRECTORY = 2**21  # bytes of the list of members, which takes some 15 times as much in memory
LOCAL_HEADER = 30  # bytes before the name


class Archive:
    """A zip archive of an open file.

    Its members may give at most 64 MiB more than the file has, all that are read together.

    Parameters
    ----------
    file : binary file
        That can seek.

    Attributes
    ----------
    names : tuple of str
        Of its members, in the order of the archive's directory.
    budget : Budget
        What may still be made of the file.

    Raises
    ------
    ValueError
        If the file is no zip archive, has several members of one name, or too many.

    Examples
    --------
    >>> import io, zipfile
    >>> from portable_nn.readers.zips import Archive
    >>> file = io.BytesIO()
    >>> with zipfile.ZipFile(file, "w") as writer:
    ...     writer.writestr("version", "3")
    >>> archive = Archive(file)
    >>> archive.names, archive.open("version").read()
    (('version',), b'3')
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.budget: Budget = Budget(file.seek(0, os.SEEK_END))
        self._file = _Guarded(file)
        with _damage():
            self._zip = zipfile.ZipFile(self._file)
        self._file.most = None
        self._members = {member.filename: member for member in self._zip.infolist()}
        if len(self._members) < len(self._zip.infolist()):
            raise ValueError("it has several members of one name")
        self._starts = sorted(member.header_offset for member in self._members.values())
        self._starts.append(self._zip.start_dir)
        self.names: tuple[str, ...] = tuple(self._members)

    def open(self, name: str) -> BytesIO:
        """Read one member whole.

        Parameters
        ----------
        name : str

        Returns
        -------
        BytesIO
            At its first byte.

        Raises
        ------
        ValueError
            If there is no such member, or it is not what the archive says of it, or too large.
        """
        member = self._members.get(name)
        if member is None:
            raise ValueError(f"it has no member {name:.200}")
        if member.compress_type not in COMPRESSIONS:
            raise ValueError(f"its member {name:.200} is compressed in a way other than DEFLATE")
        self._check_place(member)
        self.budget.spend(member.file_size)
        whole = BytesIO()
        with _damage(), self._zip.open(member) as stream:
            copyfileobj(stream, whole)
        if whole.tell() != member.file_size:
            raise ValueError(f"its member {name:.200} has not the length that it promises")
        whole.seek(0)
        return whole

    def _check_place(self, member: zipfile.ZipInfo) -> None:
        """Raise a `ValueError` where a member reaches into the next one or into the directory."""
        self._file.seek(member.header_offset)
        header = self._file.read(LOCAL_HEADER)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        end = member.header_offset + LOCAL_HEADER + lengths + member.compress_size
        if end > self._starts[min(bisect(self._starts, member.header_offset), len(self._starts) - 1)]:
            raise ValueError(f"its member {member.filename:.200} overlaps with another or the directory")


class _Guarded:
    """A file that gives at most `most` bytes at once: `zipfile` reads the whole directory, however long."""

    def __init__(self, file: IO[bytes]) -> None:
        self.most: int | None = MAX_DIRECTORY
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, n: int = -1) -> bytes:
        if self.most is not None and n > self.most:
            raise ValueError(f"its directory has {n} bytes, the limit is {self.most}")
        return self._file.read(n)


@contextmanager
def _damage() -> Iterator[None]:
    """Raise a `ValueError` in place of the dozen types that `zipfile` raises on damaged bytes."""
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"its zip is damaged: {error}") from error
