"""Models of PyTorch that are not read, each says why; of those that attack nothing is run."""

import os
import tracemalloc
from pathlib import Path

import pytest

import portable_nn as pnn
from portable_nn.errors import FormatError, InputError, NetworkError
from portable_nn.formats.pytorch import from_torch, read_pytorch

torch = pytest.importorskip("torch", reason="PyTorch is the oracle: pip install torch")
nn, prune = torch.nn, pytest.importorskip("torch.nn.utils.prune")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 3)
        self.fc2 = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def hooked():
    linear = nn.Linear(4, 2)
    linear.register_forward_hook(Doubled)
    return linear


def own_forward():
    linear = nn.Linear(4, 2)
    linear.forward = print
    return linear


def pruned():
    return prune.l1_unstructured(nn.Linear(4, 2), "weight", 3)


def without_statistics():
    return nn.BatchNorm1d(4, track_running_stats=False)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: nn.Sequential(nn.Sequential(nn.Conv1d(1, 1, 1))),
            r"module 0.0 \(Conv1d\): convolutions, .* are not computed here",
        ),
        (lambda: nn.ModuleList([nn.Linear(4, 2)]), r"ModuleList\): it has no counterpart"),
        (lambda: nn.Softmax2d(), "no counterpart"),
        (lambda: nn.LazyLinear(2), "module itself has no weights yet: call the model once"),
        (lambda: nn.utils.spectral_norm(nn.Linear(4, 2)), r"utils\.remove_spectral_norm"),
        (hooked, "module itself has hooks"),
        (own_forward, "module itself has hooks or a forward of its own"),
        (pruned, "torch.nn.utils.prune.remove"),
        (lambda: nn.utils.weight_norm(nn.Linear(4, 2)), "torch.nn.utils.remove_weight_norm"),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)), "remove_parametrizations"),
        (without_statistics, r"\(BatchNorm1d\): without running statistics"),
        (lambda: nn.LayerNorm((2, 4)), r"\(LayerNorm\): it normalizes over several axes"),
        (lambda: nn.Softmax(dim=0), r"\(Softmax\): dim must be -1"),
        (lambda: nn.GELU("erf"), r"\(GELU\): approximate is neither 'none' nor 'tanh'"),
        (lambda: nn.ELU("0.5"), r"\(ELU\): alpha is no number"),
        (lambda: nn.LayerNorm(4, eps=1e301), r"\(LayerNorm\): eps is no number"),
        (lambda: nn.Flatten(0), r"\(Flatten\): start_dim and end_dim must be 1 and -1"),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 2)), "layer 0 gives 3 values, layer 1 takes 4"),
        (lambda: nn.Linear(4, 2, device="meta"), "cannot be fetched|no tensor of a dtype"),
        (lambda: nn.Linear(4, 2).to(torch.complex64), "real numbers|no tensor of a dtype"),
        (lambda: nn.Linear(4, 2).to(torch.float8_e5m2), "cannot be fetched|no tensor of a dtype"),
    ],
)
def test_what_is_refused(make, match, tmp_path):
    model = make()
    with pytest.raises(NetworkError, match=match):
        from_torch(model)
    if "forward" in vars(model):
        return
    try:
        torch.save(model, tmp_path / "model.pt")
    except RuntimeError:  # of a parametrization, whose class is made up
        return
    with pytest.raises(FormatError, match=match):
        read_pytorch(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            Net,
            r"itself is a .*Net, whose forward pass is code, .* \(modules inside: fc1, fc2\): where the code is",
        ),
        (lambda: nn.Sequential(nn.Linear(4, 2), Doubled(2, 2)), r"module 1 is a .*Doubled, .*torch.onnx.export"),
    ],
)
def test_a_file_does_not_tell_what_code_does(make, match, tmp_path):
    torch.save(make(), tmp_path / "model.pt")
    with pytest.raises(FormatError, match=match):
        read_pytorch(tmp_path / "model.pt")
    from_torch(make())  # whose code is at hand


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.ones(2)], "it holds a list, and no model: save its state_dict"),
        (torch.ones(2), "it holds a ndarray, and no model: save its state_dict"),
        (nn.Conv1d(1, 2, 3).state_dict(), r"weight has shape \(2, 1, 3\), which is no Linear's: convolutions"),
    ],
    ids=["list", "tensor", "convolution"],
)
def test_files_of_no_network(content, words, tmp_path):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(FormatError, match=words):
        read_pytorch(tmp_path / "model.pt")


def test_the_books_convention_is_for_arrays_by_name(tmp_path):
    torch.save(nn.Linear(4, 2), tmp_path / "model.pt")
    with pytest.raises(FormatError, match=r"is of format pytorch, and the book's .* leave format= out"):
        pnn.load(tmp_path / "model.pt", format="book")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (3, "got an object of int$"),
        (None, "got an object of NoneType$"),
        ([nn.Linear(2, 1)], "got an object of list$"),
        (nn.Linear(2, 1).state_dict(), r"got an object of OrderedDict: .*load\(path, layers=\[…\]\)"),
        (torch.ones(2), "got an object of Tensor$"),
        (nn.Linear, "got the class Linear: give an object of it, with its weights"),
        ("model.pt", "got a path: portable_nn.load reads files"),
        (Path("model.pt"), "got a path: portable_nn.load reads files"),
    ],
    ids=["number", "None", "list", "state", "tensor", "class", "name", "path"],
)
def test_what_is_no_module(model, words):
    with pytest.raises(InputError, match=rf"from_torch takes a torch\.nn\.Module, {words}"):
        from_torch(model)


def doubled(n):
    module = nn.Identity()
    for _ in range(n):
        module = nn.Sequential(module, module)
    return module


def itself():
    module = nn.Sequential()
    module.add_module("0", module)
    return module


def deep():
    module = nn.Linear(4, 2)
    for _ in range(200):
        module = nn.Sequential(module)
    return module


def crowded():
    module = nn.Identity()
    for i in range(1000):
        module.register_parameter(f"p{i}", None)
    return module


def wide():
    """Of 100 children which are itself: a walk down has 99 more to come after each step."""
    module = nn.Sequential()
    for i in range(100):
        module.add_module(f"{i}", module)
    return module


@pytest.mark.parametrize("make", [lambda: doubled(30), itself, crowded, wide])
def test_a_model_that_would_take_for_ever(make, tmp_path):
    model = make()
    torch.save(model, tmp_path / "model.pt")
    tracemalloc.start()
    try:
        with pytest.raises(NetworkError, match="more than"):
            from_torch(model)
        with pytest.raises(FormatError, match="more than"):
            read_pytorch(tmp_path / "model.pt")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_deep_nesting():
    assert from_torch(deep()).layers[0].weight.shape == (4, 2)


def test_a_weight_that_repeats_one_value_is_not_spread_out(tmp_path):
    linear = nn.Linear(2, 2)
    linear.weight = nn.Parameter(torch.ones(1).expand(10**5, 10**5))
    torch.save(linear, tmp_path / "model.pt")
    torch.save({"fc.weight": linear.weight}, tmp_path / "state.pt")
    tracemalloc.start()
    try:
        for name, given in (("model.pt", {}), ("state.pt", {"last": "relu", "activation": "relu"})):
            with pytest.raises(FormatError, match="it promises more than"):
                read_pytorch(tmp_path / name, **given)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


class Call:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_is_run(tmp_path):
    mark, path = tmp_path / "ran", tmp_path / "model.pt"
    model = nn.Sequential(nn.Linear(4, 2))
    model.note = Call(mark)
    torch.save(model, path)
    assert read_pytorch(path).layers[0].weight.shape == (4, 2)
    torch.save({"fc.weight": torch.ones(2, 4), "note": Call(mark)}, path)
    with pytest.raises(FormatError, match=r"its entry 'note' is a call of \w+.mkdir, .*nothing was run"):
        read_pytorch(path, layers=["fc"])
    torch.save(Call(mark), path)
    with pytest.raises(FormatError, match=r"module itself is a call of \w+.mkdir, .*nothing was run"):
        read_pytorch(path)
    assert not mark.exists()
