"""Comma-separated values: against pandas; what is no table of numbers is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn.readers import csv
from portable_nn.readers.csv import read_csv

pandas = pytest.importorskip("pandas", reason="the oracle: pip install pandas")

NAMES = ["width (cm)", 'a "wide" one', "comma, inside", "z"]


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_a_table_that_would_not_fit_in_memory(write, monkeypatch):
    monkeypatch.setattr(csv, "MAX_BYTES", 8 * 6)
    assert read_csv(write("1,2\n3,4\n5,6\n")).values.shape == (3, 2)
    with pytest.raises(
        pnn.FormatError, match=r"it holds more than 6 values: save them as \.npy, which is mapped"
    ):
        read_csv(write("1,2\n3,4\n5,6\n7,8\n"))


@pytest.mark.parametrize("header", [True, False])
def test_what_pandas_writes(tmp_path, header):
    values = np.random.default_rng(0).normal(size=(7, 4)) * 10.0 ** np.arange(-8, 8, 4)
    frame = pandas.DataFrame(values, columns=NAMES)
    frame.to_csv(tmp_path / "x.csv", index=False, header=header)
    table = read_csv(tmp_path / "x.csv")
    np.testing.assert_array_equal(table.values, values)
    assert table.values.dtype == np.float64
    assert table.labels is None


def test_columns_go_by_their_names(tmp_path):
    values = np.random.default_rng(0).normal(size=(3, 4))
    frame = pandas.DataFrame(values, columns=NAMES)
    frame.insert(2, "Label", ["eel, grey", "7", ""])
    frame[frame.columns[::-1]].to_csv(tmp_path / "x.csv", index=False)
    table = read_csv(tmp_path / "x.csv", NAMES)
    np.testing.assert_array_equal(table.values, values)
    assert table.labels.tolist() == ["eel, grey", "7", ""]


@pytest.mark.parametrize(
    ("inputs", "content", "values"),
    [
        (["a", "b"], "1,2\n3,4\n", [[1, 2], [3, 4]]),
        (["0", "1"], "1,0\n3,4\n", [[4, 3]]),
        (["0", "1"], "1,0,label\n3,4,5\n", [[4, 3]]),
        (["0", "1"], "1,2\n3,4\n", [[1, 2], [3, 4]]),
    ],
)
def test_numbers_are_names_where_the_features_are_called_so(write, inputs, content, values):
    np.testing.assert_array_equal(read_csv(write(content), inputs).values, values)


def test_a_feature_may_be_named_label(write):
    table = read_csv(write("label,x\n1,2\n"), ["x", "label"])
    assert table.values.tolist() == [[2, 1]]
    assert table.labels is None


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ("1,2\n3,4", [[1, 2], [3, 4]]),
        ("\ufeffa,b\r\n 1, 2.5e3\r\n\r\n-inf,nan\r\n", [[1, 2500], [-np.inf, np.nan]]),
        ("x\n1\n", [[1]]),
        ("0,1\n", [[0, 1]]),
        ("label,0,1\n5,3,4\n", [[3, 4]]),
    ],
)
def test_tables(write, content, values):
    np.testing.assert_array_equal(read_csv(write(content)).values, values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        ("a,b\n", "it names columns and has no sample"),
        ("label\n1\n", "it names columns and has no sample"),
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 values, the first has 2"),
        ("a,b\n1,2\n1,two\n", "line 3 holds 'two', which is no number"),
        ("a,b\n1,\n", "line 2 holds '', which is no number"),
        ("a,b\n1,1_000\n", "line 2 holds '1_000', which is no number"),
        ("1,5;2,5\n1,5;2,5\n", "line 2 holds '5;2', which is no number"),
        ("1.O,2.5\n3,4\n", "line 1 holds both names and numbers: 2.5"),
        ("0,1,2\n7,8,9\n", "line 1 counts the columns"),
        (",a,b\n0,1,2\n", "column 1 has no name: leave it out, as index=False does in pandas"),
        ("a,b,a\n1,2,3\n", "several columns are named a"),
        ("label,labels,x\n1,2,3\n", "label and labels both name labels"),
        (b"a,b\n1,\xff\n", "can't decode"),
        ('a,b\n1,"2\n', "unexpected end of data"),
        ('a,label\n1,"2\n2"\n', "unexpected end of data"),
        (b"," * 2_100_000, "line 1 has 2,100,000 signs, the limit is 2,097,152"),
        (b"PK\x03\x04\x00", "it names columns and has no sample"),
    ],
)
def test_what_is_no_table(write, content, message):
    with pytest.raises(pnn.FormatError, match=r"table\.csv is not a table of numbers") as caught:
        read_csv(write(content))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            "a,c",
            "table.csv lacks the columns b and has c besides, where labels would be named label: the network "
            "takes a, b",
        ),
        ("a,B", "lacks the columns b and has B besides"),
        ("a,b,c", "table.csv has c besides"),
        ("a", "table.csv lacks the columns b: the network takes a, b"),
        ("c,d,e,f,g,h,i", "has c, d, e, f, g, … (7 in all) besides"),
    ],
)
def test_columns_that_do_not_fit(write, names, message):
    with pytest.raises(pnn.FormatError) as caught:
        read_csv(write(f"{names}\n"), ["a", "b"])
    assert message in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(pnn.FormatError, match="cannot be read: No such file"):
        read_csv(tmp_path / "none.csv")


@given(
    st.lists(
        st.sampled_from(["a", "label", "1", "2.5", ",", ",", "\n", "\r\n", '"', " ", "\0", "é", "_"]), max_size=40
    )
)
@settings(deadline=None)
def test_any_text_is_a_table_or_refused(tmp_path_factory, parts):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text("".join(parts), newline="")
    try:
        table = read_csv(path)
    except pnn.FormatError:
        return
    assert table.values.ndim == 2
    assert table.labels is None or len(table.labels) == len(table.values)
