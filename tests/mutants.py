"""Damaged and hostile files, made of genuine ones: by bytes, and by what the bytes are.

`mutant(data, other, rng)` makes one to three edits. Zip members, compressed streams, JSON, pickles and messages
of protobuf are taken apart first and put together again, so that what is around them stays whole and readers come
to what is wrong inside. The same `rng` makes the same mutant.
"""

import io
import json
import lzma
import pickletools
import zipfile
import zlib
from contextlib import suppress
from itertools import pairwise

CALL = b"cposix\nsystem\n(S'echo called'\ntR"
"""A call of a shell, in opcodes of a pickle."""

NUMBERS = (
    *(0, 1, 2, 3, 127, 128, 255, 256, 65535, 2**16),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1),
)
JUNK = (
    *(None, True, 0, -1, 1.5, 1e400, 10**30),
    *("", "a" * 300, "softmax", "../x", "\ud800", "\0"),
    *([], [[[]]], {}, {"a": []}),
)
PLAIN_OPCODES = (
    *(b"N", b"0", b"1", b"2", b"(", b"t", b")", b"]", b"}", b"a", b"e", b"s", b"u", b"b", b"R", b"Q", b"o", b"."),
    *(b"\x81", b"\x85", b"\x86", b"\x87", b"\x88", b"\x8f", b"\x90", b"\x91", b"\x93", b"\x94"),
    *(b"h\0", b"K\0", b"J\xff\xff\xff\xff"),
)


def mutant(data, other, rng):
    """A file with one to three edits; `other` is another genuine file, to splice parts of."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        with suppress(Exception):  # whatever taking apart a file raises that an edit has damaged
            data = edited(data, other, rng)
    return data


def edited(data, other, rng, depth=0):
    """One edit, of bytes or of what they are."""
    if depth < 3 and rng.random() < 0.75:
        for begins, edit in INSIDE:
            if begins(data):
                return edit(data, other, rng, depth)
    return rng.choice(BYTES)(data, other, rng)


def flipped(data, other, rng):
    i = rng.randrange(len(data) * 8)
    return data[: i // 8] + bytes([data[i // 8] ^ 1 << i % 8]) + data[i // 8 + 1 :]


def run(data, other, rng):
    a, b = place(data, rng)
    return data[:a] + bytes([rng.choice((0, 255, rng.randrange(256)))]) * (b - a) + data[b:]


def cut(data, other, rng):
    return data[: rng.randrange(len(data))]


def removed(data, other, rng):
    a, b = place(data, rng)
    return data[:a] + data[b:]


def inserted(data, other, rng):
    a = rng.randrange(len(data) + 1)
    return data[:a] + rng.randbytes(rng.choice((1, 2, 4, 8, 64))) + data[a:]


def repeated(data, other, rng):
    a, b = place(data, rng)
    return data[:b] + data[a:b] * rng.choice((1, 2, 50)) + data[b:]


def spliced(data, other, rng):
    a, b = place(data, rng)
    c, d = place(other, rng)
    return data[:a] + other[c:d] + rng.choice((data[a:], data[b:], data[a + d - c :]))


def numbered(data, other, rng):
    """A number in place of what may be a length or an offset."""
    width = rng.choice((1, 2, 4, 8))
    i = rng.randrange(max(len(data) - width, 0) + 1)
    order = rng.choice(("little", "big"))
    now = int.from_bytes(data[i : i + width], order)
    new = rng.choice((rng.choice(NUMBERS), now + 1, now - 1, 2 * now, len(data), i)) % 256**width
    return data[:i] + new.to_bytes(width, order) + data[i + width :]


BYTES = (flipped, run, cut, removed, inserted, repeated, spliced, numbered, numbered)


def place(data, rng):
    """The ends of a short piece."""
    a = rng.randrange(len(data) + 1)
    return a, min(len(data), a + rng.choice((1, 2, 4, 8, 32, len(data) // 4)))


def zipped(data, other, rng, depth):
    """A member edited, removed, renamed, taken twice; the archive is whole."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(member.filename, archive.read(member)) for member in archive.infolist()]
    i = rng.randrange(len(members))
    name, content = members[i]
    match rng.randrange(10):
        case 0:
            del members[i]
        case 1:
            members[i] = (
                rng.choice(("../../x", "/x", "x/data.pkl", "config.json", members[0][0], name + "\0")),
                content,
            )
        case 2:
            members.append((f"{name}.npy", content))
        case _:
            members[i] = name, edited(content, other, rng, depth + 1)
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return whole.getvalue()


def of_zlib(data, other, rng, depth):
    return zlib.compress(edited(zlib.decompress(data), other, rng, depth + 1))


def of_lzma(data, other, rng, depth):
    return lzma.compress(edited(lzma.decompress(data), other, rng, depth + 1), lzma.FORMAT_ALONE, preset=0)


def of_json(data, other, rng, depth):
    return json.dumps(edited_json(json.loads(data), rng)).encode()


def of_safetensors(data, other, rng, depth):
    end = 8 + int.from_bytes(data[:8], "little")
    header, values = json.loads(data[8:end]), data[end:]
    metadata = header.get("__metadata__", {})
    inside = [key for key, value in metadata.items() if value[:1] in ("[", "{")]
    if inside and rng.random() < 0.6:
        key = rng.choice(inside)
        metadata[key] = json.dumps(edited_json(json.loads(metadata[key]), rng))
    elif rng.random() < 0.6:
        header = edited_json(header, rng)
    else:
        values = edited(values, other, rng, 3)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + values


def edited_json(value, rng):
    """One value of a document in place of another, removed, doubled, or nested."""
    parents = [[value]]
    for parent in parents:
        parents += [child for child in children(parent) if isinstance(child, (list, dict)) and child]
    parent = rng.choice(parents)
    key = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    wanted = rng.choice(list(children(rng.choice(parents))))
    match rng.randrange(6):
        case 0:
            parent[key] = json.loads(json.dumps(wanted))
        case 1 if parent is not parents[0]:
            del parent[key]
        case 2 if isinstance(parent, list):
            parent.insert(key, json.loads(json.dumps(parent[key])))
        case 3 if isinstance(parent, dict):
            parent[rng.choice(("scale", "weight", "x", "", "layer", str(wanted)[:30]))] = parent.pop(key)
        case 4:
            parent[key] = [parent[key]]
        case _:
            parent[key] = rng.choice(JUNK)
    return parents[0][0]


def children(parent):
    return parent.values() if isinstance(parent, dict) else parent


def of_pickle(data, other, rng, depth):
    """Opcodes removed, swapped, repeated, taken from another pickle; or a call put in."""
    ops = opcodes(data)
    i, j = rng.randrange(len(ops)), rng.randrange(len(ops))
    match rng.randrange(8):
        case 0:
            del ops[i]
        case 1:
            ops[i], ops[j] = ops[j], ops[i]
        case 2:
            ops[i:i] = ops[min(i, j) : min(i, j) + rng.choice((1, 2, 5, 20))]
        case 3:
            ops[i] = ops[j]
        case 4:
            with suppress(Exception):
                ops[i] = rng.choice(opcodes(other))
        case 5:
            ops.insert(i, CALL)
        case 6:
            ops[i] = flipped(ops[i], other, rng)
        case _:
            ops.insert(i, rng.choice(PLAIN_OPCODES))
    return b"".join(ops)


def opcodes(data):
    """A pickle's opcodes, each with its argument; what cannot be read in one piece at the end."""
    starts = []
    with suppress(Exception):
        starts.extend(at for _, _, at in pickletools.genops(data))
    return [data[a:b] for a, b in pairwise([*starts, len(data)])]


def of_protobuf(data, other, rng, depth):
    return serialised(edited_fields(fields(data), rng))


def edited_fields(found, rng):
    """One field of a message, or of a message in it, changed; the lengths around it fit."""
    i = rng.randrange(len(found))
    number, wire, value = found[i]
    if wire == 2 and rng.random() < 0.8:
        with suppress(Exception):
            inner = edited_fields(fields(value), rng)
            return [*found[:i], (number, wire, serialised(inner)), *found[i + 1 :]]
    j = rng.randrange(len(found))
    match rng.randrange(8):
        case 0:
            return found[:i] + found[i + 1 :]
        case 1:
            return [*found, found[i]]
        case 2:
            return [*found[:i], found[j], *found[i + 1 :]]
        case 3:
            return [*found[:i], (found[j][0], wire, value), *found[i + 1 :]]
        case 4 if wire == 0:
            new = rng.choice((*NUMBERS, value + 1))
        case 4 if wire == 2 and value:
            new = edited(value, value, rng, 3)
        case 5 if wire == 2:
            new = next((v for _, w, v in rng.sample(found, len(found)) if w == 2), value)
        case _ if wire == 0:
            new = rng.randrange(20)
        case _:
            new = value[:-1]
    return [*found[:i], (number, wire, new), *found[i + 1 :]]


def fields(data):
    """The fields of a message: their numbers, wire types and values."""
    found, at = [], 0
    while at < len(data):
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = varint(data, at)
        else:
            length, at = varint(data, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
            value, at = data[at : at + length], at + length
        if at > len(data):
            raise EOFError
        found.append((number, wire, value))
    return found


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        if data[at] < 128:
            return value, at + 1
        at, shift = at + 1, shift + 7


def serialised(found):
    whole = bytearray()
    for number, wire, value in found:
        whole += of_varint(number << 3 | wire)
        whole += of_varint(value) if wire == 0 else (of_varint(len(value)) if wire == 2 else b"") + value
    return bytes(whole)


def of_varint(value):
    whole = bytearray()
    while value > 127:
        whole.append(value & 127 | 128)
        value >>= 7
    return bytes([*whole, value])


INSIDE = (
    (lambda data: data[:4] == b"PK\3\4", zipped),
    (lambda data: data[:2] in (b"\x78\x5e", b"\x78\x9c"), of_zlib),
    (lambda data: data[:3] == b"\x5d\0\0", of_lzma),
    (lambda data: data[:1] in (b"{", b"["), of_json),
    (lambda data: data[8:9] == b"{", of_safetensors),
    (lambda data: data[:1] == b"\x80" and data[1:2] in b"\2\3\4\5", of_pickle),
    (lambda data: data[:1] == b"\x08" and data[2:3] == b"\x12", of_protobuf),
)
"""What tells how a file begins, and how it is edited inside."""
