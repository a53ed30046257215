"""What the README shows on the command line, and what it promises; its Python runs as doctests beside these."""

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from commands import MODULE, environment, without_speed
from helpers import run_python

import portable_nn as pnn
from portable_nn.__main__ import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands_and_outputs():
    for block in blocks("console"):
        for command, output in re.findall(r"^\$ portable-nn (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE):
            yield pytest.param(command.split(), output, id=command)


@pytest.mark.parametrize(("arguments", "output"), list(commands_and_outputs()))
def test_commands(arguments, output, torch):
    pytest.importorskip("typer", reason='pip install "portable-nn[cli]"')
    done = subprocess.run([*MODULE, *arguments], capture_output=True, text=True, env=environment(), check=False)
    assert without_speed(done.stdout) == without_speed(output)
    assert (done.returncode, done.stderr) == (0, "")


def shell_commands():
    """The commands that show no output, without their comments."""
    commands = re.findall(r"^portable-nn (.*?)(?: +#.*)?$", "".join(blocks("sh")), re.MULTILINE)
    return [pytest.param(command.split(), id=command) for command in commands]


@pytest.mark.parametrize("arguments", shell_commands())
def test_commands_that_write_files(arguments, tmp_path, mnist_test, monkeypatch, capsys):
    for extra in ("typer", "matplotlib", "jinja2"):
        pytest.importorskip(extra, reason='pip install "portable-nn[cli,plot]"')
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", mnist_test[0][:100])
    quick = ["--backend", "numpy", "--iterations", "1", "--warm-up", "0"] if "compare" in arguments else []
    monkeypatch.setattr(sys, "argv", ["portable-nn", *arguments, *quick])
    with pytest.raises(SystemExit) as caught:
        main()
    assert (caught.value.code or 0, capsys.readouterr().err) == (0, "")
    assert all((tmp_path / name).stat().st_size for name in re.findall(r"--\w+ (\w+\.\w+)", " ".join(arguments)))


def test_the_oldest_version_of_the_standard():
    """One older lacks what the README says it does; what array_api_strict lacks in this one is not used."""
    pytest.importorskip("array_api_strict", reason="pip install array-api-strict")
    (version,) = re.findall(r"array API standard of (\d{4}\.\d{2}) or later", README)
    code = dedent("""
        import sys
        import array_api_strict as xp
        xp.set_array_api_strict_flags(api_version=sys.argv[1])
        import numpy as np
        import portable_nn as pnn
        from portable_nn.activations import ACTIVATIONS, PLAIN
        x = xp.asarray(np.linspace(0, 255, 784)[None])
        net = pnn.load("mnist")
        np.testing.assert_allclose(np.asarray(net(x)), net(np.asarray(x)), rtol=1e-12)
        np.testing.assert_array_equal(np.asarray(net.predict(x)), net.predict(np.asarray(x)))
        for name in PLAIN:
            function, x = ACTIVATIONS[name], xp.asarray(np.linspace(0.1, 3, 784)[None])
            np.testing.assert_allclose(np.asarray(function(x)), function(np.asarray(x)), rtol=1e-12, err_msg=name)
            function(xp.asarray([1, 2]))
        print(xp.__array_api_version__)
    """)
    assert run_python("-W", "error", "-c", code, version) == f"{version}\n"
    with pytest.raises(AssertionError, match=f"requires API version {version}"):
        run_python("-c", code, "2022.12")


def test_the_first_command_evaluates_and_an_example_follows_at_once():
    assert blocks("sh")[0].endswith("portable-nn evaluate\n")
    assert blocks("python")[0] in "".join(README.splitlines(keepends=True)[:25])


def test_ci_runs_the_test_commands():
    (tests,) = (block for block in blocks("sh") if "pytest" in block)
    assert tests in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_backend_has_a_row():
    assert set(re.findall(r"^\| `(\w+)`", README, re.MULTILINE)) == set(pnn.backends.BACKENDS)


def test_what_is_where():
    named = re.findall(r"`([\w/.]+(?:/|\.py|\.md|\.txt))`", README)
    assert named
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "portable_nn" / name).exists(), name
