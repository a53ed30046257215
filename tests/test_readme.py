"""What the README shows on the command line, and what it promises; its Python runs as doctests beside these."""

import re
import subprocess
from pathlib import Path

import pytest
from commands import MODULE, environment, without_speed

import portable_nn as pnn

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
