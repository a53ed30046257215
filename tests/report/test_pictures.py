"""Pictures show what they must: axes are labelled, there is one line for each backend."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import ORACLES

import portable_nn as pnn

matplotlib = pytest.importorskip("matplotlib", reason='pip install "portable-nn[plot]"')
pictures = pytest.importorskip("portable_nn.report.pictures")
save = pytest.importorskip("portable_nn.report.style").save


@pytest.fixture(params=[False, True], ids=["light", "dark"])
def dark(request):
    return request.param


def labelled(figure):
    return all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


def test_throughput_has_a_line_for_each_backend(comparison, dark):
    figure = pictures.throughput(comparison, dark=dark)
    measured = [row for row in comparison.rows if row.measured]
    for axes, transfers in zip(figure.axes, (False, True), strict=True):
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert axes.get_xlabel()
        assert len(axes.lines) == len(measured) == 4
        for line, row in zip(axes.lines, measured, strict=True):
            assert line.get_label().startswith(row.backend)
            np.testing.assert_array_equal(line.get_xdata(), [1, 10, 500])
            expected = [row.measured.speed(size, transfers).images_per_second for size in (1, 10, 500)]
            np.testing.assert_array_equal(line.get_ydata(), expected)
    assert figure.axes[0].get_ylabel()
    assert [text.get_text() for text in figure.legends[0].texts] == [
        "numpy",
        "array_api_strict",
        "faulty:NOISY (differs)",
        "faulty:WRONG_AXIS (differs)",
    ]


def test_errors_has_a_line_for_each_backend(comparison, dark):
    figure = pictures.errors(comparison, dark=dark)
    (axes,) = figure.axes
    assert labelled(figure)
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["numpy"].get_xdata()[-1] == comparison.rows[0].parity.max_abs_error
    assert {"numpy", "array_api_strict", "faulty:NOISY (differs)"} <= set(lines)
    assert "allowed in float32" in [text.get_text() for text in axes.texts]


def test_errors_draws_no_line_for_what_is_allowed_relative_to_outputs(comparison):
    row = comparison.rows[0]
    relative = replace(row, dtype="float64", parity=replace(row.parity, atol=0.0))
    figure = pictures.errors(replace(comparison, rows=(row, relative)))
    assert [text.get_text() for text in figure.axes[0].texts] == ["allowed in float32"]


def test_confusion_shows_every_count(comparison, dark):
    counts = comparison.rows[0].labels.confusion
    figure = pictures.confusion(counts, dark=dark)
    assert labelled(figure)
    assert [int(text.get_text()) for text in figure.axes[0].texts] == list(np.ravel(counts))
    assert figure.axes[0].get_title() == f"{comparison.rows[0].labels.correct} of 500 right"


@pytest.mark.parametrize("classes", [("cat", "dog", "eel"), (3, -1, 70_000)])
def test_confusion_names_the_classes(classes):
    (axes, *_) = pictures.confusion(np.eye(3, dtype=int), classes).axes
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [text.get_text() for text in ticks] == list(map(str, classes))


@pytest.mark.parametrize(("classes", "title"), [(("cat", "dog"), "cat read as dog"), ((0, 1), "0 read as 1")])
def test_mistakes_name_the_classes(classes, title):
    one = np.array([0]), np.array([1]), np.array([0.75])
    figure = pictures.mistakes(np.zeros((1, 64)), *one, classes)
    assert figure.axes[0].get_title() == f"{title}\n75%"


def test_mistakes_tell_both_labels_and_the_probability(images, dark):
    truth = pnn.datasets.mnist("test")[1][:500]
    outputs = pnn.load("mnist")(images)
    figure = pictures.mistakes(images, truth, outputs.argmax(axis=1), outputs.max(axis=1), dark=dark)
    wrong = np.flatnonzero(outputs.argmax(axis=1) != truth)
    surest = max(wrong, key=lambda i: outputs[i].max())
    first = figure.axes[0]
    assert first.get_title() == f"{truth[surest]} read as {outputs[surest].argmax()}\n{outputs[surest].max():.0%}"
    np.testing.assert_array_equal(first.images[0].get_array(), images[surest].reshape(28, 28))
    assert sum(len(axes.images) for axes in figure.axes) == min(24, len(wrong))


@pytest.mark.parametrize("features", [3, 16])
def test_images_that_are_no_squares_are_refused(features):
    with pytest.raises(pnn.ShapeError, match="no square"):
        pictures.mistakes(np.zeros((1, features)), np.array([0]), np.array([1]), np.array([1.0]))


def names_of(figure):
    return [axes.get_title().partition(":")[0] for axes in figure.axes]


def test_activations_are_the_four_of_the_chapter(dark):
    figure = pictures.activations(dark=dark)
    assert names_of(figure) == ["step", "sigmoid", "relu", "tanh"]
    assert labelled(figure)
    for axes, name in zip(figure.axes, names_of(figure), strict=True):
        (line,) = axes.lines
        np.testing.assert_allclose(line.get_ydata(), ORACLES[name](line.get_xdata()), atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, len(ORACLES)])
def test_any_activations_have_a_panel_each(count):
    names = list(ORACLES)[-count:]
    figure = pictures.activations(names)
    assert names_of(figure) == names
    assert labelled(figure)


def test_softmax_is_drawn_of_several_scores(dark):
    (axes,) = pictures.activations(["softmax"], dark=dark).axes
    x = axes.lines[0].get_xdata()
    expected = ORACLES["softmax"](np.stack([x, np.zeros_like(x), np.ones_like(x)], axis=-1))
    np.testing.assert_allclose(np.stack([line.get_ydata() for line in axes.lines], axis=-1), expected)
    assert len(axes.get_legend().texts) == 3


def test_unknown_activations_are_told_the_choices():
    with pytest.raises(pnn.InputError, match=r"'swish' \(did you mean 'silu'\?\): choose one of absolute"):
        pictures.activations(["relu", "swish"])


def test_saving(tmp_path):
    figure = pictures.activations()
    save(figure, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    save(figure, tmp_path / "sheet.svg")
    assert (tmp_path / "sheet.svg").read_text(encoding="utf-8").count("<svg ") == 1
    with pytest.raises(pnn.FormatError, match=r"\.png or \.svg"):
        save(figure, tmp_path / "sheet.bmp")


def test_the_users_settings_stay(comparison):
    before = dict(matplotlib.rcParams)
    pictures.throughput(comparison, dark=True)
    assert dict(matplotlib.rcParams) == before
