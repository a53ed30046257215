"""What lies where in an HDF5 file: object headers, groups, heaps and the trees that index them.

After "HDF5 File Format Specification Version 3.0" (The HDF Group), which names what is named here. Of its ways to
store things this reads those that libhdf5 takes for groups and small attributes: old ones (symbol tables) and new
ones (link messages, fractal heaps). Nothing recurses, every structure is read once, and all of them together may
take no more than twice the length of the file: bytes that point at each other end in an error, not in a loop.
"""

import struct
from bisect import bisect
from collections.abc import Iterator
from typing import Any

__all__ = ["UNDEFINED", "Storage"]

MAGIC = b"\x89HDF\r\n\x1a\n"

UNDEFINED = 2**64 - 1
"""The address of what is not there."""

WORK = 2
"""How often the bytes of a file may be read as structure: once, and what tells where and how long it is."""

LINK_INFO, LINK, ATTRIBUTE, CONTINUATION, SYMBOL_TABLE, ATTRIBUTE_INFO = 0x02, 0x06, 0x0C, 0x10, 0x11, 0x15


class Storage:
    """The structures of a file, by address.

    Parameters
    ----------
    data : buffer
        The whole file.

    Attributes
    ----------
    root : int
        The address of the header of the root group.

    Raises
    ------
    ValueError
        Here and in every method, if the bytes are no such structure.

    Examples
    --------
    >>> import io
    >>> import h5py
    >>> from portable_nn.readers.hdf5_storage import Storage
    >>> data = io.BytesIO()
    >>> with h5py.File(data, "w") as file:
    ...     _ = file.create_group("layers")
    >>> storage = Storage(data.getvalue())
    >>> list(storage.links(storage.root))
    ['layers']
    """

    def __init__(self, data: Any) -> None:
        self._data = memoryview(data)
        self._work = WORK * len(self._data) + 2**16
        self._messages: dict[int, list[tuple[int, bytes]]] = {}
        self._links: dict[int, dict[str, int | None]] = {}
        self._attributes: dict[int, list[bytes]] = {}
        self._collections: dict[int, dict[int, memoryview]] = {}
        start = self.read(0, 9)
        if not start.startswith(MAGIC):
            raise ValueError("it does not start as HDF5 does")
        version = start[8]
        if version > 3:
            raise ValueError(f"its superblock has version {version}: known are 0 to 3")
        widths, base, root = {
            0: (13, 24, 64),
            1: (13, 28, 68),
            2: (9, 12, 36),
            3: (9, 12, 36),
        }[version]
        if self.read(widths, 2) != b"\x08\x08" or self.address(base) != 0:
            raise ValueError("its addresses are not of 8 bytes, counted from its start")
        self.root: int = self.address(root)

    def read(self, address: int, length: int) -> bytes:
        """The bytes at an address, all of which must be there."""
        if not 0 <= address <= address + length <= len(self._data):
            raise ValueError(f"it ends before the {length} bytes at {address}")
        self._work -= length
        if self._work < 0:
            raise ValueError("its structures take more bytes than it has")
        return bytes(self._data[address : address + length])

    def values(self, address: int, length: int) -> memoryview:
        """The bytes at an address that are no structure."""
        if not 0 <= address <= address + length <= len(self._data):
            raise ValueError(f"it ends before the {length} bytes at {address}")
        return self._data[address : address + length]

    def address(self, at: int) -> int:
        """The address that is stored at an address."""
        return int.from_bytes(self.read(at, 8), "little")

    def messages(self, header: int) -> list[tuple[int, bytes]]:
        """The messages of an object: their type, and their bytes; of what is shared with others, none."""
        if header not in self._messages:
            self._messages[header] = list(self._read_messages(header))
        return self._messages[header]

    def links(self, header: int) -> dict[str, int | None]:
        """The members of a group: the address of the header of each, None where the link is not a hard one."""
        if header not in self._links:
            links: dict[str, int | None] = {}
            for name, target in self._read_links(header):
                if name in links:
                    raise ValueError(f"it has two members named {name!r}")
                links[name] = target
            self._links[header] = links
        return self._links[header]

    def attributes(self, header: int) -> list[bytes]:
        """The attribute messages of an object."""
        if header not in self._attributes:
            self._attributes[header] = list(self._read_attributes(header))
        return self._attributes[header]

    def global_object(self, collection: int, index: int) -> memoryview:
        """An object of a global heap, where strings of variable length are."""
        if collection not in self._collections:
            self._collections[collection] = dict(self._read_collection(collection))
        return self._collections[collection][index]

    def _read_attributes(self, header: int) -> Iterator[bytes]:
        for kind, body in self.messages(header):
            if kind == ATTRIBUTE:
                yield body
            elif kind == ATTRIBUTE_INFO:
                heap, tree = struct.unpack_from("<QQ", body, 4 if body[1] & 1 else 2)
                if heap != UNDEFINED:
                    yield from self._dense(heap, tree, 0)

    def _read_collection(self, collection: int) -> Iterator[tuple[int, memoryview]]:
        signature, length = struct.unpack("<4s4xQ", self.read(collection, 16))
        if signature != b"GCOL":
            raise ValueError("a text is in a heap that is none")
        at, end = collection + 16, collection + length
        while at + 16 <= end:
            index, size = struct.unpack("<H6xQ", self.read(at, 16))
            if index == 0:  # what is free
                break
            yield index, self.values(at + 16, size)
            at += 16 + size + -size % 8

    def _read_messages(self, header: int) -> Iterator[tuple[int, bytes]]:
        new = self.read(header, 4) == b"OHDR"
        if new:
            flags = self.read(header, 6)[5]
            at = header + 6 + 16 * (flags >> 5 & 1) + 4 * (flags >> 4 & 1)
            width = 1 << (flags & 3)
            blocks = [(at + width, int.from_bytes(self.read(at, width), "little"))]
            prefix = 4 + 2 * (flags >> 2 & 1)
        else:
            version, size = struct.unpack("<BxHxxxxI", self.read(header, 12))[0::2]
            if version != 1:
                raise ValueError(f"there is no object at {header}")
            blocks, prefix = [(header + 16, size)], 8
        while blocks:
            at, length = blocks.pop()
            block = self.read(at, length)
            here = 0
            while here + prefix <= length:
                kind, size, shared = struct.unpack_from("<BHB" if new else "<HHB", block, here)
                body = block[here + prefix : here + prefix + size]
                if len(body) < size:
                    raise ValueError(f"a message of the object at {header} is not whole")
                here += prefix + size
                if kind == CONTINUATION:
                    at, more = struct.unpack_from("<QQ", body)
                    blocks.append((at + 4, more - 8) if new else (at, more))  # without signature and checksum
                else:
                    yield kind, b"" if shared & 2 else body

    def _read_links(self, header: int) -> Iterator[tuple[str, int | None]]:
        for kind, body in self.messages(header):
            if kind == SYMBOL_TABLE:
                yield from self._symbols(*struct.unpack_from("<QQ", body))
            elif kind == LINK:
                yield _link(body)
            elif kind == LINK_INFO:
                heap, tree = struct.unpack_from("<QQ", body, 10 if body[1] & 1 else 2)
                if heap != UNDEFINED:
                    yield from map(_link, self._dense(heap, tree, 4))

    def _symbols(self, tree: int, heap: int) -> Iterator[tuple[str, int | None]]:
        """The members of a group in the old style: a B-tree of symbol tables, whose names are in a local heap."""
        signature, size, segment = struct.unpack("<4s4xQ8xQ", self.read(heap, 32))
        if signature != b"HEAP":
            raise ValueError("the names of a group are in a heap that is none")
        names = self.read(segment, size)
        nodes = [tree]
        while nodes:
            node = nodes.pop()
            signature, kind, count = struct.unpack("<4sBxH", self.read(node, 8))
            if signature == b"TREE" and kind == 0:
                nodes += [self.address(node + 32 + 16 * i) for i in range(count)][::-1]
            elif signature == b"SNOD":
                for start, target, cached in struct.iter_unpack("<QQI20x", self.read(node + 8, 40 * count)):
                    end = names.find(b"\0", start)
                    if start >= size or end <= start:
                        raise ValueError("the name of a member of a group is not there")
                    yield names[start:end].decode(), None if cached == 2 else target
            else:
                raise ValueError("the members of a group are in a tree that is none")

    def _dense(self, heap: int, tree: int, at: int) -> Iterator[bytes]:
        """The objects of a fractal heap whose identifiers are at `at` in the records of a B-tree."""
        head = struct.unpack("<4sxHHB100xHQQHHQH", self.read(heap, 142))
        signature, length, filters, _, width, first, largest, bits, _, root, rows = head
        if signature != b"FRHP" or filters or not first or length < 2:
            raise ValueError("a group or its attributes are in a heap that is none, or one that is filtered")
        offset_width = (bits + 7) // 8
        blocks = self._direct_blocks(root, rows, width, first, largest, 13 + offset_width)
        starts = [start for start, _, _ in blocks]
        for record in self._records(tree):
            name = record[at : at + length]
            if len(name) < length or name[0]:
                raise ValueError("a member of a group or an attribute is stored in an unusual way")
            offset = int.from_bytes(name[1 : 1 + offset_width], "little")
            size = int.from_bytes(name[1 + offset_width :], "little")
            start, length_of_block, block = blocks[bisect(starts, offset) - 1]
            if offset + size > start + length_of_block:
                raise ValueError("a member of a group or an attribute is not in its heap")
            yield self.read(block + offset - start, size)

    def _direct_blocks(
        self, root: int, rows: int, width: int, first: int, largest: int, prefix: int
    ) -> list[tuple[int, int, int]]:
        """The blocks of a fractal heap: each with its offset in the heap, its size and its address."""
        if rows == 0:
            return [(0, first, root)]
        if self.read(root, 4) != b"FHIB" or first << max(rows - 2, 0) > largest:
            raise ValueError("a group has more members than are read")
        addresses = struct.unpack(f"<{rows * width}Q", self.read(root + prefix, 8 * rows * width))
        blocks, start = [], 0
        for i, address in enumerate(addresses):
            size = first << max(i // width - 1, 0)
            if address != UNDEFINED:
                blocks.append((start, size, address))
            start += size
        return blocks

    def _records(self, tree: int) -> Iterator[bytes]:
        """The records of a B-tree of version 2."""
        signature, size, length, depth, root, count = struct.unpack("<4sxxIHHxxQH", self.read(tree, 26))
        if signature != b"BTHD" or not 0 < length < size or depth > 8:
            raise ValueError("the members of a group are in a tree that is none")
        most = (size - 10) // length  # records of a leaf, then of all below a node
        count_width, totals = _width(most), [0]
        for _ in range(depth):
            pointer = 8 + count_width + totals[-1]
            inner = max(size - 10 - pointer, 0) // (length + pointer)
            most = (inner + 1) * most + inner
            totals.append(_width(most))
        nodes = [(root, count, depth)]
        while nodes:
            node, count, level = nodes.pop()
            if self.read(node, 4) != (b"BTIN" if level else b"BTLF"):
                raise ValueError("the members of a group are in a tree that is none")
            records = self.read(node + 6, count * length)
            yield from (records[i : i + length] for i in range(0, len(records), length))
            if level:
                pointer = 8 + count_width + totals[level - 1]
                below = self.read(node + 6 + len(records), (count + 1) * pointer)
                for i in range(0, len(below), pointer):
                    child = int.from_bytes(below[i : i + 8], "little")
                    nodes.append((child, int.from_bytes(below[i + 8 : i + 8 + count_width], "little"), level - 1))


def _width(most: int) -> int:
    """The bytes that a number up to `most` takes."""
    return (max(most, 1).bit_length() + 7) // 8


def _link(body: bytes) -> tuple[str, int | None]:
    """The name and the target of a link message, None where it is not a hard one."""
    flags, at = body[1], 2
    kind = body[at] if flags & 8 else 0
    at += (flags >> 3 & 1) + 8 * (flags >> 2 & 1) + (flags >> 4 & 1)
    width = 1 << (flags & 3)
    length = int.from_bytes(body[at : at + width], "little")
    name = body[at + width : at + width + length]
    if len(name) < length or not name:
        raise ValueError("a link has no name")
    target = struct.unpack_from("<Q", body, at + width + length)[0] if kind == 0 else None
    return name.decode(), target
