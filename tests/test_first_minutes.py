"""What people try in the first minutes works, or says what to do, and does the same in every function."""

import pydoc
import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import placed

import portable_nn as pnn
from portable_nn.layers import Graph, Node, Value

RNG = np.random.default_rng(7)
WEIGHT = RNG.normal(size=(3, 2))
X = RNG.normal(size=(5, 3))
NAMED = pnn.Network([pnn.Dense(WEIGHT, None, "softmax")], inputs=["a", "b", "c"])
WANTED = NAMED(X)
SIDE = 4
IMAGES = RNG.normal(size=(6, SIDE, SIDE)).astype(np.float32)
VECTORS = pnn.Network([pnn.Dense(RNG.normal(size=(SIDE**2, 3)).astype(np.float32), None, "softmax")])


def results(net, x):
    """What each function makes of `x`, with the labels that the network itself gives."""
    labels = net.predict(x)
    return {
        "net": net(x),
        "logits": net.logits(x),
        "labels": labels,
        "infer": pnn.infer(net, x, outputs=True),
        "batches": pnn.infer(net, iter([x, x]), outputs=True)[: len(x)],
        "right": pnn.evaluate(net, x, labels).correct,
        "right as a list": pnn.evaluate(net, x, labels.tolist()).correct,
        "explained": str(pnn.explain(net, x)).splitlines()[2],
    }


def check_same(net, x, like):
    """Check that every function makes the same of `x` as of an array."""
    for found, wanted in zip(results(net, x).values(), results(net, like).values(), strict=True):
        np.testing.assert_array_equal(found, wanted)


def compared(net, x, labels, **options):
    """A comparison with no clock worth a look."""
    options = {"backends": ["numpy"], "batch_sizes": [2], "in_process": True, "iterations": 1} | options
    return pnn.compare(net, x, labels, **options)


# Lists and tables


@pytest.mark.parametrize("convert", [np.ndarray.tolist, lambda x: tuple(map(tuple, x))], ids=["lists", "tuples"])
def test_lists_of_numbers(convert):
    check_same(NAMED, convert(X), X)
    np.testing.assert_array_equal(NAMED(convert(X)[0] if convert(X) is tuple else X[0].tolist()), NAMED(X[0]))
    found = compared(NAMED, convert(X), NAMED.predict(X).tolist())
    assert found.rows[0].labels.accuracy == 1


def test_lists_of_weights():
    net = pnn.Network([pnn.Dense(WEIGHT.tolist(), [0, 0], "softmax")])
    np.testing.assert_array_equal(net(X), WANTED)
    assert pnn.activations.relu([-1, 2]).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("x", "kind", "message"),
    [
        ([[1, 2, 3], [1, 2]], pnn.ShapeError, "rows that differ in length"),
        (3, pnn.ShapeError, r"takes arrays of shape \(\.\.\., 3\), got \(\)"),
        ([np.ones(3), np.ones(3)], pnn.InputError, r"a list of several, of ndarray: .* numpy\.stack\(x\)"),
        ([], pnn.InputError, r"got list: convert it"),
        ([[1, None, 3]], pnn.InputError, "got dtype object: cast it"),
        (["1", "2", "3"], pnn.InputError, "got a list of str: give numbers"),
        ("x.npy", pnn.InputError, "got str: read the file first, .*; pnn.infer takes its name"),
        (
            np.zeros(2, [("a", "f4"), ("b", "f4")]),
            pnn.InputError,
            "by name, a, b: make them the last axis",
        ),
        ([1j, 2, 3], pnn.InputError, "take the real part"),
    ],
    ids=repr,
)
def test_other_lists(x, kind, message):
    for call in (NAMED, NAMED.predict, NAMED.logits, lambda x: pnn.explain(NAMED, x)):
        with pytest.raises(kind, match=message):
            call(x)


def test_a_list_that_holds_itself():
    endless = []
    endless.append(endless)
    with pytest.raises(pnn.InputError):
        NAMED(endless)


def test_lists_beside_a_bound_network_are_numpys(torch):
    np.testing.assert_array_equal(NAMED.to("numpy")(X.tolist()), WANTED)
    with pytest.raises(pnn.PlacementError, match=r"bound to torch:cpu, .* on numpy"):
        NAMED.to("torch:cpu")(X.tolist())


@pytest.fixture(params=["pandas", "polars"])
def tables(request):
    """A library of tables."""
    return pytest.importorskip(request.param, reason=f"pip install {request.param}")


def test_tables_give_the_features_by_name(tables):
    columns = dict(zip("abc", X.T, strict=True))
    check_same(NAMED, tables.DataFrame(columns), X)
    check_same(NAMED, tables.DataFrame({name: columns[name] for name in "cab"}), X)
    labels = list("xyxyx")
    check_same(NAMED, tables.DataFrame({"label": labels} | {name: columns[name] for name in "cba"}), X)
    with pytest.raises(pnn.InputError, match="DataFrame lacks b, c: name its columns as"):
        NAMED(tables.DataFrame({"a": X[:, 0]}))


def test_tables_give_the_features_in_order_where_no_names_are_known(tables):
    net = pnn.Network(NAMED.layers)
    check_same(net, tables.DataFrame(dict(zip("cab", X.T, strict=True))), X)
    mixed = tables.DataFrame({"a": [True, False], "b": [1, 2], "c": [0.5, 0.25]})
    np.testing.assert_array_equal(net(mixed), net(np.array([[1, 1, 0.5], [0, 2, 0.25]])))
    with pytest.raises(pnn.InputError, match="DataFrame holds no numbers in b: drop these columns"):
        net(tables.DataFrame({"a": [1], "b": ["x"], "c": [2]}))


def test_columns_are_samples_and_labels(tables):
    np.testing.assert_array_equal(NAMED(tables.Series(X[0])), WANTED[0])
    labels = tables.Series(NAMED.predict(X))
    assert pnn.evaluate(NAMED, X, labels).accuracy == 1
    assert compared(NAMED, X, labels).rows[0].labels.accuracy == 1
    named = pnn.Network(NAMED.layers, classes=["no", "yes"])
    words = [named.classes[label] for label in NAMED.predict(X)]
    for truth in (words, tables.Series(words)):
        assert pnn.evaluate(named, X, truth).accuracy == 1
        assert compared(named, X, truth).rows[0].labels.accuracy == 1
    with pytest.raises(pnn.InputError, match="Series holds no numbers, but"):
        NAMED(tables.Series(["x", "y", "z"]))


def test_a_row_of_pandas_goes_by_name():
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    table = pandas.DataFrame(X[:, ::-1], columns=list("cba"))
    np.testing.assert_array_equal(NAMED(table.iloc[0]), WANTED[0])
    np.testing.assert_array_equal(NAMED(pandas.DataFrame(X)), WANTED)  # columns without names: in order


def test_what_a_table_raises_is_said():
    def to_numpy():
        raise RuntimeError("a null in it")

    with pytest.raises(pnn.InputError, match=r"gives no array \(RuntimeError: a null in it\)"):
        NAMED(SimpleNamespace(to_numpy=to_numpy))


def test_data_arrays_are_what_they_hold(backend):
    """As xarray has them: `data` of any library, and a `to_numpy` that would fetch it."""

    def to_numpy():
        pytest.fail("the data moved")

    x = placed(backend, X, "float32")
    found = NAMED(SimpleNamespace(data=x, dims=("sample", "feature"), to_numpy=to_numpy))
    assert type(found) is type(NAMED(x))
    np.testing.assert_array_equal(backend.to_numpy(found), backend.to_numpy(NAMED(x)))


def test_data_arrays_of_xarray():
    xarray = pytest.importorskip("xarray", reason="pip install xarray")
    np.testing.assert_array_equal(NAMED(xarray.DataArray(X)), WANTED)


# Images where vectors are taken


@pytest.mark.parametrize("axes", [(), (1,), (1, 1)], ids=["", "1", "1, 1"])
def test_images_where_vectors_are_taken(backend, axes):
    flat = placed(backend, IMAGES.reshape(6, -1), "float32")
    images = placed(backend, IMAGES.reshape(6, *axes, SIDE, SIDE), "float32")
    for net in (VECTORS, VECTORS.to(backend)):
        for _ in range(2):
            found = net(images)
            assert tuple(found.shape) == (6, 3)
            np.testing.assert_array_equal(backend.to_numpy(found), backend.to_numpy(net(flat)))
            if not axes:
                one = backend.to_numpy(net(images[0, ...]))
                np.testing.assert_array_equal(one, backend.to_numpy(net(flat[0, ...])))


@pytest.mark.parametrize("shape", [(6, SIDE, SIDE), (6, 1, SIDE, SIDE), (6, SIDE, SIDE, 1)], ids=str)
def test_images_in_every_function(shape, tmp_path):
    images, flat = IMAGES.reshape(shape), IMAGES.reshape(6, -1)
    check_same(VECTORS, images, flat)
    labels = VECTORS.predict(flat)
    assert compared(VECTORS, images, labels).rows[0].labels.accuracy == 1
    assert pnn.evaluate(VECTORS, images, labels, per_sample=True).accuracy == 1
    np.save(tmp_path / "x.npy", images)
    np.testing.assert_array_equal(pnn.infer(VECTORS, tmp_path / "x.npy"), labels)
    np.testing.assert_array_equal(VECTORS(np.stack([images, images], axis=1)), VECTORS(np.stack([flat, flat], 1)))


# as test_following.py says
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`:UserWarning")
def test_images_under_tracing(torch, jax):
    flat = IMAGES.reshape(6, -1)
    wanted = VECTORS(flat)
    x = jax.numpy.asarray(IMAGES)
    for call in (jax.jit(lambda x: VECTORS(x)), jax.vmap(VECTORS), jax.jit(jax.vmap(VECTORS))):
        np.testing.assert_allclose(call(x), wanted, rtol=1e-5)
    torch.compiler.reset()
    call = torch.compile(lambda x: VECTORS(x), fullgraph=True, backend="aot_eager")
    np.testing.assert_allclose(call(torch.from_numpy(IMAGES)), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("sample", "came", "hint"),
    [
        ((16,), (16, 1), "samples come first, transpose x"),
        ((16,), (16, 5), "samples come first, transpose x"),
        ((16,), (5, 4, 5), ""),
        ((3, 4, 4), (5, 4, 4, 3), ": the axes of a sample stand in another order, move them"),
        ((2, 8), (5, 4, 4), ": reshape each sample, x.reshape(5, 2, 8)"),
    ],
    ids=str,
)
def test_what_is_not_plain_is_refused(sample, came, hint, tmp_path):
    layers = [] if len(sample) == 1 else [pnn.Flatten(sample)]
    net = pnn.Network([*layers, pnn.Dense(np.ones((np.prod(sample), 2)))])
    x = np.zeros(came)
    np.save(tmp_path / "x.npy", x)
    for call in (net, net.predict, lambda x: pnn.infer(net, x), lambda _: pnn.infer(net, tmp_path / "x.npy")):
        with pytest.raises(pnn.ShapeError) as caught:
            call(x)
        assert str(caught.value).endswith(hint)


def test_one_image_is_no_data():
    for data in (IMAGES[0], iter([IMAGES[0]]), iter([IMAGES, IMAGES[0]])):
        with pytest.raises(pnn.ShapeError, match=r"first axis, got shape \(4, 4\): .* x\[None\]"):
            pnn.infer(VECTORS, data)


def test_warnings_name_the_line_that_called():
    layers = [pnn.Rescaling(1 / 255), *VECTORS.layers]
    data = np.linspace(0, 1, 32, dtype=np.float32).reshape(2, SIDE, SIDE)
    calls = [
        pnn.Network.__call__,
        pnn.Network.predict,
        pnn.infer,
        lambda net, x: net(x.tolist()),
        lambda net, x: pnn.infer(net, np.repeat(x, 500, axis=0), workers=2, batch_size=10),
    ]
    for call in calls:
        with pytest.warns(pnn.InputWarning, match="do not scale them yourself") as caught:
            call(pnn.Network(layers), data)
        assert [warning.filename for warning in caught] == [__file__]


# Names, dtypes, devices


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("ReLU", "relu"),
        ("Softmax", "softmax"),
        ("leakyrelu", "leaky_relu"),
        ("LogSoftmax", "log_softmax"),
        ("swish", "silu"),
        ("linear", "identity"),
        (np.tanh, "tanh"),
    ],
    ids=str,
)
def test_activations_that_are_meant(given, meant):
    message = rf"unknown activation .* \(did you mean '{meant}'\?\): choose one of absolute"
    for layer in (lambda: pnn.Dense(WEIGHT, None, given), lambda: pnn.Activation(given)):
        with pytest.raises(pnn.NetworkError, match=message):
            layer()


def test_a_name_like_no_other_has_no_hint():
    with pytest.raises(pnn.NetworkError, match="unknown activation 'frobnicate': choose one of"):
        pnn.Activation("frobnicate")


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda: NAMED.to("cuda"), "torch:cuda"),
        (lambda: NAMED.to("gpu:1"), "torch:cuda:1"),
        (lambda: NAMED.to("PyTorch"), "torch"),
        (lambda: pnn.infer(NAMED, X, backend="nunpy"), "numpy"),
        (lambda: compared(NAMED, X, None, backends=["Numpy"]), "numpy"),
        (lambda: NAMED.astype("Float32"), "float32"),
        (lambda: compared(NAMED, X, None, dtypes=["float23"]), "float32"),
        (lambda: NAMED.described(task="classifcation"), "classification"),
        (lambda: pnn.load("x.npz", format="onxx"), "onnx"),
        (lambda: pnn.datasets.mnist("trian"), "train"),
    ],
)
def test_other_names_that_are_meant(call, meant):
    with pytest.raises(pnn.PortableNNError, match=rf"\(did you mean '{meant}'\?\): choose one of"):
        call()


@pytest.mark.parametrize("given", [np.int8, np.dtype("int8"), "int8"], ids=str)
def test_dtypes_that_are_none_of_a_network_go_by_name(given):
    message = r"^unknown dtype 'int8': choose one of float16, bfloat16, float32, float64$"
    for call in (NAMED.astype, lambda dtype: compared(NAMED, X, None, dtypes=[dtype])):
        with pytest.raises(pnn.NetworkError, match=message):
            call(given)


def test_models_and_layers_that_are_meant(tmp_path):
    with pytest.raises(pnn.FormatError, match=r"unknown model 'mnsit' \(did you mean 'mnist'\?\): give 'mnist'"):
        pnn.load("mnsit")
    np.savez(tmp_path / "x.npz", **{"0.weight": WEIGHT.T, "0.bias": np.zeros(2)})
    with pytest.raises(pnn.FormatError, match=r"'ReLU' is no module .* \(did you mean 'relu'\?\): it holds 0"):
        pnn.load(tmp_path / "x.npz", layers=["0", "ReLU"])


@pytest.mark.parametrize("dtype", [np.float16, np.dtype("float16"), "float16"], ids=repr)
def test_dtypes_of_numpy(dtype):
    assert NAMED.astype(dtype).dtype == "float16"
    assert compared(NAMED, X, None, dtypes=dtype).rows[0].dtype == "float16"


def test_dtypes_and_devices_of_pytorch(torch):
    assert NAMED.astype(torch.float16).dtype == "float16"
    assert str(NAMED.to(torch.device("cpu")).backend) == "torch:cpu"
    assert compared(NAMED, X, None, backends=[torch.device("cpu")]).rows[0].backend == "torch:cpu"
    assert NAMED.verify(torch.device("cpu")).backend == "torch:cpu"
    labels = pnn.infer(NAMED, X, backend=torch.device("cpu"))
    found = pnn.evaluate(NAMED, X, labels, backend=torch.device("cpu"))
    assert (found.backend, found.correct) == ("torch", len(X))
    with pytest.raises(pnn.BackendError, match=r"a dtype is given to net\.astype\('float16'\)"):
        NAMED.to(torch.float16)


def test_dtypes_and_devices_of_jax(jax):
    assert NAMED.astype(jax.numpy.float16).dtype == "float16"
    assert NAMED.to("jax").astype(jax.numpy.bfloat16).dtype == "bfloat16"
    assert str(NAMED.to(jax.devices("cpu")[0]).backend) == "jax:cpu:0"


@pytest.mark.parametrize("dtype", [None, 3, int, "int8", object, [], "float32 "], ids=repr)
def test_what_is_no_dtype_of_a_network(dtype):
    with pytest.raises(pnn.NetworkError, match=r"unknown dtype .* choose one of float16"):
        NAMED.astype(dtype)


@pytest.mark.parametrize("spec", [None, 3, object], ids=repr)
def test_what_is_no_backend(spec):
    with pytest.raises(pnn.BackendError, match=r"named by a string such as 'torch:cuda:0', got .*[^)]$"):
        NAMED.to(spec)


# A network as a sequence


@pytest.fixture
def deep():
    """Three layers, with all that may be known of them."""
    layers = [pnn.Rescaling(0.5), pnn.Dense(WEIGHT, None, "tanh"), pnn.Dense(np.eye(2), None, "softmax")]
    known = {"inputs": ["a", "b", "c"], "input_range": (0, 1), "input_dtype": "uint8"}
    return pnn.Network(layers, classes=["x", "y"], outputs=["p", "q"], **known)


def test_layers_in_order(deep):
    assert len(deep) == 3
    assert [*deep] == [deep[i] for i in range(3)] == [*deep.layers]
    assert deep[-1] is deep.layers[2]
    with pytest.raises(IndexError):
        deep[3]
    with pytest.raises(pnn.NetworkError, match="at least one layer"):
        deep[1:1]


def test_parts_are_networks_that_keep_what_is_known(backend, deep):
    x = placed(backend, np.abs(X) / 9, "float32")
    for net in (deep, deep.to(backend)):
        first, last = net[:2], net[2:]
        assert (first.backend, last.backend, first.dtype) == (net.backend, net.backend, net.dtype)
        assert first.meaning == replace(net.meaning, classes=None, outputs=None, task=None)
        assert last.meaning == replace(net.meaning, inputs=None, input_range=None, input_dtype=None)
        assert net[:].meaning == net.meaning
        np.testing.assert_allclose(backend.to_numpy(last(first(x))), backend.to_numpy(net(x)), rtol=1e-5)


def test_a_part_of_a_bound_network_keeps_its_dtype(torch):
    net = NAMED.to("torch:cpu").astype("bfloat16")
    assert (net.dtype, net[:1].dtype) == ("bfloat16", "bfloat16")


def test_a_part_of_weights_of_a_library_keeps_them(backend):
    if backend.name == "numpy":
        pytest.skip("the caller's own weights are of another library")
    dense = pnn.Dense(WEIGHT.astype(np.float32)).map(backend.place)
    net = pnn.Network([dense, pnn.Activation("tanh")])
    assert net[:1].layers[0].weight is dense.weight


# What they show of themselves

HOSTILE = "<script>alert(1)</script>"


def test_a_network_shows_itself(deep):
    assert str(deep) == deep.summary()
    html = deep._repr_html_()
    assert "<td>Dense(3, 2, &#x27;tanh&#x27;)</td><td>(2,)</td><td>8</td><td>64</td>" in html
    assert html.count("<tr>") == len(deep) + 2


def test_an_evaluation_shows_itself():
    found = replace(pnn.evaluate(NAMED, X, NAMED.predict(X)), device=HOSTILE)
    assert repr(found) == str(found)
    assert str(found).splitlines()[0] == "backend   numpy"
    assert str(found).splitlines()[-2:] == ["correct   5/5", "accuracy  1.0000"]
    assert "<td>5/5</td>" in found._repr_html_()
    assert "<script" not in found._repr_html_()


def test_a_comparison_shows_itself_in_a_line_for_each_backend():
    found = compared(NAMED, X, NAMED.predict(X), dtypes=["float32", "float64"])
    lines = repr(found).splitlines()
    assert lines == str(found).splitlines()
    assert len(lines) == 3
    assert lines[0].split("  ")[0] == "backend"
    assert "float64  agrees    1.0000" in lines[2]
    assert "accuracy" not in repr(compared(NAMED, X, None))
    assert "error_quantiles" not in repr(found.rows[0])
    failed = replace(found.rows[0], backend=HOSTILE, state="failed", parity=None, labels=None, measured=None)
    html = replace(found, rows=(failed,))._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "<td>failed</td></tr>" in html
    html = replace(found, rows=(failed, found.rows[1]))._repr_html_()
    assert "<td>failed</td><td></td><td></td><td></td><td></td>" in html


def test_the_summary_has_room_for_long_names_and_large_numbers():
    slope = pnn.Activation("learned_swish", alpha=np.ones(4), beta=np.ones(4))
    wide = pnn.Network([pnn.Rescaling(np.ones(4)), slope, pnn.Dense(np.zeros((4, 2_000_000), np.float32))])
    lines = wide.summary().splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert lines[-1].endswith("80000096")
    nodes = [Node("Tanh", (f"x{i}",), (f"x{i + 1}",)) for i in range(40)]
    long = pnn.Network([Graph(nodes, [Value("x0", "float32", (3,))], ["x40"], {"": 20})])
    assert max(map(len, long.summary().splitlines())) <= 100


@pytest.mark.parametrize("name", ["activations", "backends", "datasets"])
def test_modules_list_what_is_for_users(name):
    module = getattr(pnn, name)
    assert dir(module) == sorted(module.__all__)


def test_names_that_are_for_users_alone():
    hidden = {name for name in dir(NAMED) if name.startswith("_") and not name.endswith("__")} | {"passes"}
    assert not hidden & set(dir(NAMED)), hidden
    assert {"layers", "predict", "summary", "classes"} <= set(dir(NAMED))


def test_help_tells_no_internals():
    text = pydoc.plain(pydoc.render_doc(pnn.Network))
    for name in ("_dtype", "_shapes", "Passes", "passes", "__annotations__", "__dataclass"):
        assert name not in text.replace("forward passes", "").replace("input_dtype", "")
    assert "predict(self, x" in text


# Completion


def test_completion_of_backends_imports_one_library_at_most(monkeypatch):
    pytest.importorskip("typer", reason='pip install "portable-nn[cli]"')
    from portable_nn.cli.options import specs

    assert specs("d") == ["dask", "dpnp"]
    assert specs("") == list(pnn.backends.BACKENDS)
    assert specs("numpy:c") == ["numpy:cpu"]
    assert specs("frob:") == []
    monkeypatch.setitem(sys.modules, "torch", None)
    assert specs("torch:") == []


@pytest.mark.parametrize(
    "call",
    [
        lambda net: pnn.evaluate(net, np.ones((2, 2)), [0, 1]),
        lambda net: pnn.infer(net, np.ones((2, 2))),
        lambda net: pnn.explain(net, np.ones((2, 2))),
        lambda net: pnn.compare(net, np.ones((2, 2)), backends=["numpy"]),
        lambda net: pnn.save(net, "net.npz"),
    ],
)
@pytest.mark.parametrize("net", ["mnist", [pnn.Rescaling(2.0)], None], ids=repr)
def test_what_is_no_network(call, net):
    with pytest.raises(pnn.InputError, match=f"a portable_nn.Network, got {type(net).__name__}: load one"):
        call(net)


def test_values_out_of_range_are_told_once(mnist_test):
    images, labels = (array[:200] for array in mnist_test)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pnn.evaluate(pnn.load("mnist"), images / 255, labels)
    assert [warning.category for warning in caught] == [pnn.InputWarning]
