"""Networks of PyTorch and scikit-learn against what these libraries compute themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from_frameworks = pytest.importorskip("from_frameworks", reason="pip install torch scikit-learn")
from_torch, from_sklearn = from_frameworks.from_torch, from_frameworks.from_sklearn
torch, nn, MLPClassifier = from_frameworks.torch, from_frameworks.nn, from_frameworks.MLPClassifier

ACTIVATIONS = {
    "sigmoid": nn.Sigmoid(),
    "relu": nn.ReLU(),
    "tanh": nn.Tanh(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU("tanh"),
    "silu": nn.SiLU(),
    "elu": nn.ELU(),
    "leaky_relu": nn.LeakyReLU(),
    "softplus": nn.Softplus(),
    "softmax": nn.Softmax(dim=-1),
    "log_softmax": nn.LogSoftmax(dim=1),
    "identity": None,
}
widths = st.lists(st.integers(1, 6), min_size=2, max_size=4)
seeds = st.integers(0, 2**32 - 1)


@given(widths, st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=3, max_size=3), st.booleans(), seeds)
@settings(deadline=None)
def test_torch(widths, names, bias, seed):
    torch.manual_seed(seed)
    modules = []
    for n_in, n_out, name in zip(widths, widths[1:], names, strict=False):
        modules += [nn.Linear(n_in, n_out, bias=bias, dtype=torch.float64), ACTIVATIONS[name]]
    model = nn.Sequential(*filter(None, modules))
    net, x = from_torch(model), 10 * torch.randn(7, widths[0], dtype=torch.float64)
    assert [layer.activation for layer in net.layers] == names[: len(widths) - 1]
    with torch.no_grad():
        np.testing.assert_allclose(net(x.numpy()), model(x).numpy(), rtol=1e-9, atol=1e-12)


def test_training_on_leaves_the_converted_network_alone():
    linear = nn.Linear(3, 2)
    net, x = from_torch(nn.Sequential(linear)), np.ones(3, dtype=np.float32)
    before = net(x)
    with torch.no_grad():
        linear.weight += 1
        linear.bias += 1
    np.testing.assert_array_equal(net(x), before)


def test_flatten():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    x = torch.randn(4, 3, 4)
    with torch.no_grad():
        torch.testing.assert_close(from_torch(model, sample_shape=(3, 4))(x), model(x))


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([nn.Flatten(), nn.Linear(12, 5)], "give sample_shape"),
        ([nn.Linear(2, 3), nn.Flatten()], "Flatten.* is not in"),
        ([nn.ReLU()], "put a Linear before each activation"),
        ([nn.Linear(2, 3), nn.ReLU(), nn.Tanh()], "module 2, Tanh"),
        ([nn.Conv1d(2, 3, 1)], "module 0, Conv1d"),
        ([nn.Linear(2, 3), nn.Mish()], "Mish.* is not in portable_nn.activations"),
        ([nn.Linear(2, 3), nn.ELU(0.5)], "ELU"),
        ([nn.Linear(2, 3), nn.LeakyReLU(0.2)], "LeakyReLU"),
        ([nn.Linear(2, 3), nn.Softplus(2)], "Softplus"),
        ([nn.Linear(2, 3), nn.Softmax(dim=0)], "Softmax"),
        ([nn.Linear(2, 3), nn.Linear(4, 1)], "layer 0 gives 3 values, layer 1 takes 4"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_torch_has_and_we_have_not(modules, message):
    with pytest.raises(ValueError, match=message):
        from_torch(nn.Sequential(*modules))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@given(
    st.lists(st.integers(1, 6), max_size=3),
    st.sampled_from(["identity", "logistic", "tanh", "relu"]),
    st.integers(2, 4),
    seeds,
)
@settings(deadline=None)
def test_sklearn(hidden, activation, n_classes, seed):
    rng = np.random.default_rng(seed)
    x, classes = rng.standard_normal((20, 3)), np.array(["a", "b", "c", "d"])[:n_classes]
    labels = np.concatenate([classes, rng.choice(classes, 20 - n_classes)])
    classifier = MLPClassifier(hidden, activation, max_iter=3, random_state=0).fit(x, labels)
    net, probabilities = from_sklearn(classifier), classifier.predict_proba(x)
    theirs = probabilities if n_classes > 2 else probabilities[:, 1:]
    np.testing.assert_allclose(net(x), theirs, rtol=1e-9)
    assert (classifier.classes_[net.predict(x)] == classifier.predict(x)).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_several_labels_to_a_sample():
    classifier = MLPClassifier((2,), max_iter=1).fit(np.eye(3), np.array([[1, 0], [0, 1], [1, 1]]))
    with pytest.raises(ValueError, match="several labels"):
        from_sklearn(classifier)
