"""Networks in ONNX files: ONNX Runtime and the frameworks that exported them are the oracles."""

from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from helpers import EPSILON, check_beside, placed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import special

import portable_nn as pnn
from portable_nn.errors import FormatError
from portable_nn.formats.onnx import read_onnx

onnx = pytest.importorskip("onnx", reason="pip install onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
helper = onnx.helper

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"
)

RNG = np.random.default_rng(20)
SAMPLES = RNG.normal(size=(7, 6)).astype(np.float32)


def run(path, x):
    """All outputs of ONNX Runtime, by name; maps of probabilities as arrays."""
    session = onnxruntime.InferenceSession(path)
    names = [value.name for value in session.get_outputs()]
    found = dict(zip(names, session.run(None, {session.get_inputs()[0].name: x}), strict=True))
    return {
        k: np.array([list(row.values()) for row in y]) if isinstance(y, list) else y for k, y in found.items()
    }


def model_of(nodes, constants, outputs=("y",), shape=("n", 6), opsets=(("", 20), ("ai.onnx.ml", 3)), dtype=1):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset_imports = [helper.make_opsetid(*opset) for opset in opsets]
    return helper.make_model(graph, opset_imports=opset_imports, ir_version=9)


@pytest.fixture
def write(tmp_path):
    def written(*args, **kwargs):
        path = tmp_path / "net.onnx"
        path.write_bytes(model_of(*args, **kwargs).SerializeToString())
        return path

    return written


def activations(nn):
    return {
        "silu": nn.SiLU(), "gelu": nn.GELU(), "gelu_tanh": nn.GELU("tanh"), "mish": nn.Mish(),
        "softsign": nn.Softsign(), "log_sigmoid": nn.LogSigmoid(), "hard_swish": nn.Hardswish(),
        "relu6": nn.ReLU6(), "hard_tanh": nn.Hardtanh(), "tanhshrink": nn.Tanhshrink(),
        "leaky_relu": nn.LeakyReLU(0.2), "elu": nn.ELU(0.5), "selu": nn.SELU(), "softplus": nn.Softplus(),
        "celu": nn.CELU(0.7), "hard_sigmoid": nn.Hardsigmoid(), "prelu": nn.PReLU(8),
    }  # fmt: skip


@pytest.fixture(scope="module")
def exported(torch, tmp_path_factory):
    """A function that exports a module by one of PyTorch's exporters; the path."""

    def export(module, dynamo, opset=18, samples=SAMPLES):
        path = tmp_path_factory.mktemp("torch") / "net.onnx"
        how = {"dynamic_shapes": ({0: torch.export.Dim("n")},)} if dynamo else {"dynamic_axes": {"x": {0: "n"}}}
        module.eval()
        torch.onnx.export(
            module, (torch.from_numpy(samples),), path, input_names=["x"], dynamo=dynamo, verbose=False,
            opset_version=opset, **how,
        )  # fmt: skip
        return path

    return export


@pytest.mark.parametrize(("dynamo", "opset"), [(False, 9), (False, 13), (False, 17), (False, 20), (True, 18)])
def test_every_activation_of_pytorch_is_a_layer(torch, exported, dynamo, opset):
    nn = torch.nn
    named = activations(nn)
    if opset < 14:
        named.pop("hard_swish"), named.pop("celu")
    module = nn.Sequential(
        nn.Linear(6, 8), *(part for each in named.values() for part in (each, nn.Linear(8, 8))), nn.Softmax(1)
    )
    with torch.no_grad():
        wanted = module(torch.from_numpy(SAMPLES)).numpy()
    path = exported(module, dynamo, opset)
    net = read_onnx(path)
    assert not any(isinstance(layer, pnn.layers.Graph) for layer in net.layers)
    found = [
        layer.activation if isinstance(layer, pnn.Dense) else layer.name
        for layer in net.layers
        if getattr(layer, "activation", "") != "identity"
    ]
    assert found == [*named, "softmax"]
    np.testing.assert_allclose(net(SAMPLES), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net(SAMPLES), next(iter(run(path, SAMPLES).values())), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dynamo", [False, True])
def test_stock_layers_of_pytorch(torch, exported, dynamo):
    nn = torch.nn
    torch.manual_seed(1)
    module = nn.Sequential(
        nn.Flatten(),
        nn.Linear(6, 8, bias=False),
        nn.LayerNorm(8),
        nn.Dropout(),
        nn.BatchNorm1d(8),
        nn.Linear(8, 1),
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
        module[4].running_mean.normal_(), module[4].running_var.uniform_(0.5, 2)
    samples = SAMPLES.reshape(7, 2, 3)
    net = read_onnx(exported(module, dynamo, samples=samples))
    kinds = [type(layer).__name__ for layer in net.layers]
    assert kinds == ["Flatten", "Dense", "Normalize", "Rescaling", "Dense"]
    with torch.no_grad():
        np.testing.assert_allclose(net(samples), module(torch.from_numpy(samples)).numpy(), rtol=1e-4, atol=1e-5)


def residual(torch):
    class Residual(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.inner = torch.nn.Linear(6, 5), torch.nn.Linear(5, 5)
            self.norm, self.last = torch.nn.LayerNorm(5), torch.nn.Linear(5, 3)

        def forward(self, x):
            h = torch.tanh(self.first(x))
            h = self.norm(h + torch.nn.functional.silu(self.inner(h)))
            return torch.softmax(self.last(h), -1)

    torch.manual_seed(0)
    return Residual()


@pytest.mark.parametrize("dynamo", [False, True])
def test_a_residual_network_is_a_graph_between_chains(torch, exported, dynamo):
    net = read_onnx(exported(residual(torch), dynamo))
    assert [type(layer).__name__ for layer in net.layers] == ["Dense", "Graph", "Normalize", "Dense"]
    assert (net.input_shape, net.output_shape, net.task) == ((6,), (3,), "classification")


@pytest.fixture(scope="module")
def residual_net(torch, exported):
    path = exported(residual(torch), False)
    return read_onnx(path), next(iter(run(path, SAMPLES).values()))


def test_a_graph_on_every_library(backend, dtype, residual_net):
    net, wanted = residual_net
    x = placed(backend, SAMPLES, dtype)
    for shape in ((7, 6), (1, 7, 6), (6,), (0, 6)):
        some = x[0, ...] if shape == (6,) else x[:0, ...] if shape == (0, 6) else backend.xp.reshape(x, shape)
        check_beside(net(some), some, x.dtype, (*shape[:-1], 3))
    found = backend.to_numpy(net(x)).astype(np.float64)
    np.testing.assert_allclose(found, wanted, atol=8 * max(EPSILON[dtype], EPSILON["float32"]))
    bound = net.to(backend)
    np.testing.assert_array_equal(backend.to_numpy(bound(x)), backend.to_numpy(net(x)))


def estimators():
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler

    x = RNG.normal(size=(60, 6)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
    few = {"hidden_layer_sizes": (5,), "max_iter": 200, "tol": 1.0}
    return {
        "three": MLPClassifier(**few).fit(x, y * 10),
        "two": make_pipeline(StandardScaler(), MLPClassifier(activation="logistic", **few)).fit(x, y > 0),
        "names": MLPClassifier(activation="tanh", **few).fit(x, np.array(["a", "b", "c"])[y]),
        "logistic": LogisticRegression().fit(x, y),
        "logistic of two": make_pipeline(Normalizer(), LogisticRegression()).fit(x, np.array(["a", "b"])[y // 2]),
        "one value": make_pipeline(MinMaxScaler(), MLPRegressor(**few)).fit(x, x[:, 0]),
        "two values": MLPRegressor(**few).fit(x, x[:, :2]),
        "ridge": Ridge().fit(x, x[:, 2]),
        "labels": MLPClassifier(**few).fit(x, np.stack([y > 0, y > 1], 1).astype(int)),
    }


@pytest.mark.parametrize("zipmap", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_what_skl2onnx_makes_predicts_as_scikit_learn_does(tmp_path, zipmap):
    pytest.importorskip("sklearn", reason="pip install scikit-learn")
    skl2onnx = pytest.importorskip("skl2onnx", reason="pip install skl2onnx")
    for name, estimator in estimators().items():
        classifies = hasattr(estimator, "predict_proba")
        options = {id(estimator): {"zipmap": zipmap}} if classifies and name != "labels" else None
        path = tmp_path / "net.onnx"
        path.write_bytes(skl2onnx.to_onnx(estimator, SAMPLES[:1], options=options).SerializeToString())
        net = read_onnx(path)
        wanted = estimator.predict_proba(SAMPLES) if classifies else estimator.predict(SAMPLES)
        np.testing.assert_allclose(net(SAMPLES), np.reshape(wanted, net(SAMPLES).shape), rtol=1e-4, atol=1e-5)
        if not classifies:
            continue
        labels = net.predict(SAMPLES)
        assert net.task == ("multilabel" if name == "labels" else "classification")
        if name != "labels":
            assert list(net.classes) == estimator.classes_.tolist()
        if net.classes and isinstance(net.classes[0], str):
            labels = np.array(net.classes)[labels]
        np.testing.assert_array_equal(labels, estimator.predict(SAMPLES))


def test_what_ndonnx_traced_of_this_package(tmp_path):
    ndonnx = pytest.importorskip("ndonnx", reason="pip install ndonnx")
    net, (images, _) = pnn.load("mnist"), pnn.datasets.mnist("test")
    x = ndonnx.argument(shape=("N", 784), dtype=ndonnx.float32)
    onnx.save(ndonnx.build({"x": x}, {"y": net(x)}), tmp_path / "net.onnx")
    found = pnn.load(tmp_path / "net.onnx")
    some = images[:50].astype(np.float32)
    np.testing.assert_allclose(found(some), net(some), atol=1e-6)
    np.testing.assert_array_equal(found.predict(some), net.predict(some))


def test_external_data_of_the_newer_exporter(torch, exported):
    path = exported(torch.nn.Linear(6, 2), True)
    assert read_onnx(path).layers[0].weight.shape == (6, 2)


def f(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def test_fixed_batches_and_older_opsets(write):
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["h"], alpha=0.5, beta=2.0),
        helper.make_node("Clip", ["h"], ["c"], min=0.0, max=6.0),
        helper.make_node("Softmax", ["c"], ["y"]),
    ]
    constants = {"shape": np.array([1, -1]), "w": f(6, 4), "b": f(1, 4)}
    path = write(nodes, constants, shape=(1, 2, 3), opsets=[("", 9)])
    net = read_onnx(path)
    assert [type(layer).__name__ for layer in net.layers] == ["Flatten", "Dense", "Activation"]
    x = SAMPLES.reshape(7, 2, 3)
    np.testing.assert_allclose(net(x)[:1], run(path, x[:1])["y"], rtol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "constants", "shape", "match"),
    [
        ([helper.make_node("Conv", ["x", "w"], ["y"], "first")], {"w": f(6, 6)}, ("n", 6),
         "Conv 'first'.*not computed"),
        ([helper.make_node("Relu", ["z"], ["y"])], {}, ("n", 6), "reads 'z', which no node before it makes"),
        ([helper.make_node("Reshape", ["x", "s"], ["h"]), helper.make_node("Abs", ["h"], ["y"])],
         {"s": np.array([-1, 2])}, ("n", 6), "made for one number of samples"),
        ([helper.make_node("Tile", ["x", "s"], ["y"])], {"s": np.array([1, 2**40])}, ("n", 6), "too large"),
        ([helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "x"], ["y"])],
         {"w": f(6, 5)}, ("n", 6), "does not take what it is given"),
        ([helper.make_node("Gemm", ["x", "w"], ["y"])], {"w": np.nan * f(6, 2)}, ("n", 6), "nan"),
        ([helper.make_node("Relu", ["x"], ["y"])], {}, None, None),
    ],
)  # fmt: skip
def test_refusals_name_the_file_and_the_node(write, nodes, constants, shape, match):
    path = write(nodes, constants, shape=shape)
    if match is None:
        assert read_onnx(path)(SAMPLES).shape == (7, 6)
        return
    with pytest.raises(FormatError, match=f"net.onnx.*{match}"):
        read_onnx(path)


def test_a_product_that_a_chain_ends_in_stays(write):
    nodes = [
        helper.make_node("Sin", ["x"], ["s"]),
        helper.make_node("Add", ["x", "s"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["k"]),
        helper.make_node("Mul", ["k", "k"], ["y"]),
    ]
    path = write(nodes, {"w": f(6, 3), "b": f(3)})
    net = read_onnx(path)
    np.testing.assert_allclose(net(SAMPLES), run(path, SAMPLES)["y"], rtol=1e-5, atol=1e-5)


def test_outputs_by_name_and_several_inputs(write, tmp_path):
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Gather", ["table", "i"], ["e"]),
        helper.make_node("Add", ["h", "e"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"]),
        helper.make_node("Gather", ["s", "two"], ["g"], axis=1),
    ]
    constants = {"w": f(6, 3), "b": f(3), "table": f(5, 3), "two": np.array([2, 0])}
    model = model_of(nodes, constants, outputs=("p", "g"))
    model.graph.input.append(helper.make_tensor_value_info("i", onnx.TensorProto.INT64, ["n"]))
    (tmp_path / "two.onnx").write_bytes(model.SerializeToString())
    inputs = {"x": SAMPLES, "i": RNG.integers(0, 5, 7)}
    net = read_onnx(tmp_path / "two.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "two.onnx")
    found = net(inputs)
    assert list(found) == ["p", "g"]
    for name, wanted in zip(found, session.run(None, inputs), strict=True):
        np.testing.assert_allclose(found[name], wanted, rtol=1e-5)


def test_chains_that_double_take_no_memory(write):
    names = ["x", *(f"h{i}" for i in range(60))]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=1) for a, b in pairwise(names)]
    path = write([*nodes, helper.make_node("ReduceSum", [names[-1]], ["y"])], {})
    with pytest.raises(FormatError, match="too large"):
        read_onnx(path)


def test_format_is_told_by_content(write, tmp_path):
    path = write([helper.make_node("Relu", ["x"], ["y"])], {})
    path.rename(tmp_path / "model.bin")
    assert pnn.load(tmp_path / "model.bin").layers[0].name == "relu"


def honest():
    """Files that use what the reader has: chains, branches, classical operators, subgraphs."""
    keys = {"keys_int64s": [0, 1, 2], "values_int64s": [5, 6, 7]}
    scaled = helper.make_node("Scaler", ["x"], ["a"], domain="ai.onnx.ml", offset=[0.5] * 6, scale=[2.0] * 6)
    label = helper.make_node("LabelEncoder", ["i"], ["y"], domain="ai.onnx.ml", **keys)
    zipped = helper.make_node("ZipMap", ["p"], ["y"], domain="ai.onnx.ml", classlabels_strings=["a", "b", "c"])
    gemm = helper.make_node("Gemm", ["a", "w", "b"], ["h"], transB=1)
    softmax = helper.make_node("Softmax", ["h"], ["p"])
    weights = {"w": f(3, 6), "b": f(3)}
    yield model_of([scaled, gemm, softmax, zipped], weights)
    yield model_of([scaled, gemm, helper.make_node("ArgMax", ["h"], ["i"], axis=1), label], weights)
    shape = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["r"]),
        helper.make_node("ReduceMean", ["r"], ["m"], keepdims=0, noop_with_empty_axes=0),
        helper.make_node("Expand", ["m", "s"], ["e"]),
        helper.make_node("Concat", ["x", "e"], ["y"], axis=1),
    ]
    yield model_of(shape, {"zero": np.array([0]), "rest": np.array([2, 3])})


def test_a_map_of_no_classes(write):
    weight = RNG.normal(size=(6, 3)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Softmax", ["h"], ["p"]),
        helper.make_node("ZipMap", ["p"], ["y"], domain="ai.onnx.ml"),
    ]
    net = read_onnx(write(nodes, {"w": weight}))
    assert net.classes is None
    np.testing.assert_allclose(net(SAMPLES), special.softmax(SAMPLES @ weight, axis=1), rtol=1e-5)


HONEST = [model.SerializeToString() for model in honest()]


@given(data=st.data())
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutations_raise_only_errors_of_this_package(tmp_path, data):
    mutated = bytearray(data.draw(st.sampled_from(HONEST)))
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "net.onnx"
    path.write_bytes(mutated)
    with suppress(FormatError):
        assert isinstance(read_onnx(path), pnn.Network)
