"""Files of torch.save: PyTorch says what they hold; of hostile ones nothing is run or allocated."""

import io
import os
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portable_nn.errors import FormatError
from portable_nn.readers import buffers
from portable_nn.readers.pickles import Record
from portable_nn.readers.pytorch import read_checkpoint

torch = pytest.importorskip("torch", reason="PyTorch writes the files: pip install torch")
nn = torch.nn

DTYPES = (
    "float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool",
)  # fmt: skip


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    path = tmp_path_factory.mktemp("pytorch") / "model.pt"

    def written(content, zipped=True):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path, _use_new_zipfile_serialization=zipped)
        return path

    return written


def in_numpy(tensor):
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def assert_same(ours, tensor):
    assert isinstance(ours, np.ndarray)
    assert ours.dtype == in_numpy(tensor).dtype
    np.testing.assert_array_equal(ours, in_numpy(tensor))


zipped_or_not = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


@zipped_or_not
@given(
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=1, max_size=3),
    shape=st.lists(st.integers(0, 4), max_size=3),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=50)
def test_tensors(write, zipped, dtypes, shape, seed):
    torch.manual_seed(seed)
    tensors = {f"{i}": (100 * torch.randn(shape)).to(getattr(torch, name)) for i, name in enumerate(dtypes)}
    ours = read_checkpoint(write(tensors, zipped))
    assert list(ours) == list(tensors)
    for name, tensor in tensors.items():
        assert_same(ours[name], tensor)


def views():
    whole = torch.arange(24.0).reshape(4, 6)
    half = torch.arange(6).reshape(2, 3).to(torch.bfloat16)
    marked = torch.ones(2)
    marked.note = "an attribute"
    parameter = nn.Parameter(torch.ones(3))
    parameter.note = "an attribute"
    return {
        "whole": whole,
        "transposed": whole.T,
        "every other": whole[1:, ::2],
        "one": whole[2, 3],
        "repeated": torch.tensor([[1.5]]).expand(3, 4),
        "windows": whole.reshape(-1).unfold(0, 5, 3),
        "upper half": half.T,
        "parameter": nn.Parameter(whole[0]),
        "marked": marked,
        "marked parameter": parameter,
        "none of many": torch.zeros(0, 5),
    }


@zipped_or_not
def test_views_and_shared_storages(write, zipped):
    for name, ours in read_checkpoint(write(views(), zipped)).items():
        assert_same(ours, views()[name])


def test_dtypes_without_a_storage_of_their_own(write):
    ours = read_checkpoint(
        write({name: torch.arange(3).to(getattr(torch, name)) for name in ("uint16", "uint32")})
    )
    assert {name: (array.dtype.name, array.tolist()) for name, array in ours.items()} == {
        "uint16": ("uint16", [0, 1, 2]),
        "uint32": ("uint32", [0, 1, 2]),
    }
    eighth = read_checkpoint(write({"x": torch.ones(2).to(torch.float8_e4m3fn), "y": torch.ones(2)}))
    assert isinstance(eighth["x"], Record)
    assert_same(eighth["y"], torch.ones(2))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tensors_that_are_no_arrays_are_records(write):
    for tensor in (
        torch.ones(2, 2).to_sparse(),
        torch.zeros(2, dtype=torch.complex64),
        torch.empty(2, device="meta"),
    ):
        assert isinstance(read_checkpoint(write({"x": tensor}))["x"], Record)


@zipped_or_not
def test_modules_are_records(write, zipped):
    model = nn.Sequential(nn.Linear(3, 2), nn.GELU("tanh"))
    record = read_checkpoint(write(model, zipped))
    assert (record.name, record.args) == ("torch.nn.modules.container.Sequential", ())
    linear, gelu = record.state["_modules"].values()
    assert_same(linear.state["_parameters"]["weight"], model[0].weight)
    assert gelu.state["approximate"] == "tanh"


def repacked(data, **changes):
    """The zip with members changed by functions of their content; None leaves one out."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as reader, zipfile.ZipFile(file, "w") as writer:
        for name in reader.namelist():
            content = reader.read(name)
            change = changes.get(name.partition("/")[2].replace(".", "_"), lambda old: old)
            if change is not None:
                writer.writestr(name, change(content))
    return file.getvalue()


def saved(content, zipped=True):
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def test_byte_orders(write):
    tensor = torch.arange(3.0)
    swapped = {"data/0": lambda old: np.frombuffer(old, "<f4").astype(">f4").tobytes()}
    big = repacked(saved({"x": tensor}), byteorder=lambda old: b"big", **swapped)
    np.testing.assert_array_equal(read_checkpoint(write(big))["x"], tensor.numpy())
    unsaid = repacked(saved({"x": tensor}), byteorder=None)
    np.testing.assert_array_equal(read_checkpoint(write(unsaid))["x"], tensor.numpy())


def tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.addfile(tarfile.TarInfo(name))
    return file.getvalue()


def script():
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 1), torch.ones(1, 2)), file)
    return file.getvalue()


def program():
    file = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(2, 1), (torch.ones(1, 2),)), file)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (script, r"it is TorchScript, .*: export the model with torch.onnx.export"),
        (program, r"a program of torch.export: export the model with torch.onnx.export"),
        (tar, "a tar archive, as PyTorch wrote them before version 0.1.10"),
        (lambda: b"", "ends early|exhausted"),
        (lambda: pickle.dumps({"x": 1}) * 2, "starts as no file of torch.save does"),
        (lambda: saved(1)[:-1], "not a zip"),
        (lambda: repacked(saved(1), data_pkl=None), "a zip without the pickle of a model"),
        (lambda: repacked(saved(1), byteorder=lambda old: b"middle"), "its byte order is b'middle'"),
        (lambda: repacked(saved(torch.ones(3)), **{"data/0": None}), "no member archive/data/0"),
        (lambda: repacked(saved(torch.ones(3)), **{"data/0": lambda old: old[:8]}), "value 2 of a storage of 2"),
        (lambda: saved(torch.ones(3), zipped=False)[:-1], "it ends early"),
        (lambda: saved(torch.zeros(2, dtype=torch.complex64), zipped=False), "a dtype that NumPy has not"),
    ],
)  # fmt: skip
def test_refusals_say_why(write, make, match):
    with pytest.raises(FormatError, match=match):
        read_checkpoint(write(make()))


def number(n):
    return b"\x8a\x08" + struct.pack("<q", n)


def reshaped(data, size, stride):
    """The pickle with another size and stride of its tensor."""
    start = data.index(b"K\x00K\x03\x85")
    middle = data.index(b"K\x01\x85", start)
    between = data[start + 5 : middle]
    return data[:start] + b"K\x00" + size + b"\x85" + between + stride + b"\x85" + data[middle + 3 :]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("size", "stride"),
    [
        (number(10**10), b"K\x01"),
        (number(2**62), b"K\x01"),
        (number(2**62), b"K\x00"),
        (number(-3), b"K\x01"),
        (b"K\x03", number(2**62)),
        (b"K\x03", number(-1)),
        (b"K\x03", b"K\x02"),
        (b"N", b"K\x01"),
        (b"K\x03", b"N"),
        (b"G" + bytes(8), b"K\x01"),
        (b"K\x00", b"]"),
    ],
)
def test_sizes_and_strides_outside_of_the_storage(write, dtype, size, stride):
    honest = saved({"x": torch.ones(3, dtype=dtype)})
    attack = repacked(honest, data_pkl=lambda old: reshaped(old, size, stride))
    assert refused(write(attack)) < 1_000_000
    legacy = saved({"x": torch.ones(3, dtype=dtype)}, zipped=False)
    assert refused(write(reshaped(legacy, size, stride))) < 1_000_000


@zipped_or_not
def test_one_stride_for_each_axis(write, zipped):
    def more(data):
        start = data.index(b"K\x00K\x03\x85")
        at = data.index(b"K\x01\x85", start)
        return data[:at] + b"K\x01K\x01\x86" + data[at + 3 :]

    data = saved({"x": torch.ones(3)}, zipped)
    refused(write(repacked(data, data_pkl=more) if zipped else more(data)), "not one stride for each axis")


class Referred(pickle.Pickler):
    """Has its own way to refer to what lies elsewhere."""

    def persistent_id(self, value):
        return ("elsewhere", 3) if isinstance(value, complex) else None


@zipped_or_not
def test_what_lies_elsewhere_is_a_record(write, zipped):
    file = io.BytesIO()
    Referred(file, 2).dump({"x": 1j})
    if zipped:
        data = repacked(saved(1), data_pkl=lambda old: file.getvalue())
    else:
        head = b"".join(pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, {}))
        data = head + file.getvalue() + pickle.dumps([], 2)
    found = read_checkpoint(write(data))["x"]
    assert (found.name, found.args) == ("persistent_id", (("elsewhere", 3),))


def refused(path, match=None):
    """The peak of memory while the file is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=match):
            read_checkpoint(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_tensor_that_repeats_one_value_costs_nothing(write, dtype):
    path = write({"x": torch.ones(1, dtype=dtype).expand(10**5, 10**5)})
    tracemalloc.start()
    try:
        assert read_checkpoint(path)["x"].shape == (10**5, 10**5)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_tensors_that_share_a_storage_of_bfloat16_share_it_in_float32(write):
    whole = torch.arange(10**5, dtype=torch.bfloat16)
    path = write({str(i): whole[i:] for i in range(100)})
    tracemalloc.start()
    try:
        found = read_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 12 * 10**5
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found["99"], whole[99:].float().numpy())


def test_bombs(write, monkeypatch):
    monkeypatch.setattr(buffers, "MAX_EXTRA", 2**20)
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved(torch.zeros(10**6)))) as reader,
        zipfile.ZipFile(file, "w", 8) as writer,
    ):
        for name in reader.namelist():
            writer.writestr(name, reader.read(name))
    assert refused(write(file.getvalue()), "promises more") < 2**20


class Call:
    def __init__(self, function, argument):
        self.call = function, (argument,)

    def __reduce__(self):
        return self.call


@zipped_or_not
@pytest.mark.parametrize("function", [os.mkdir, os.system, eval, exec])
def test_nothing_is_run(write, tmp_path, zipped, function):
    mark = tmp_path / "ran"
    argument = {os.mkdir: str(mark), os.system: f"mkdir {mark}"}.get(
        function, f"__import__('os').mkdir({str(mark)!r})"
    )
    ours = read_checkpoint(write({"x": torch.ones(2), "y": Call(function, argument)}, zipped))
    assert ours["y"].args == (argument,)
    assert not mark.exists()


CONTENT = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2, dtype=torch.bfloat16)}
HONEST = [saved(CONTENT), saved(CONTENT, zipped=False), saved(nn.Linear(2, 1))]


@given(
    data=st.sampled_from(HONEST),
    start=st.integers(0),
    length=st.integers(0, 4),
    new=st.binary(max_size=4),
)
@settings(deadline=None, max_examples=500)
def test_damage(write, data, start, length, new):
    start %= len(data)
    with suppress(FormatError):
        read_checkpoint(write(data[:start] + new + data[start + length :]))


@given(start=st.integers(0), length=st.integers(0, 4), new=st.binary(max_size=4))
@settings(deadline=None, max_examples=500)
def test_damage_of_the_pickle_in_a_whole_zip(write, start, length, new):
    def damaged(old):
        place = start % len(old)
        return old[:place] + new + old[place + length :]

    with suppress(FormatError):
        read_checkpoint(write(repacked(HONEST[0], data_pkl=damaged)))


@zipped_or_not
def test_truncated(write, zipped):
    data = saved(CONTENT, zipped)
    for length in range(0, len(data), 7):
        with pytest.raises(FormatError):
            read_checkpoint(write(data[:length]))


def test_what_the_system_refuses(tmp_path):
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        read_checkpoint(tmp_path / "none.pt")
