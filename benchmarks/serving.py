"""The other end of a `Worker`: ``python -m benchmarks.serving MODULE ARGUMENTS``."""

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, TextIO

__all__ = ["main"]

STDOUT, STDERR = 1, 2


def main(module: str, arguments: str) -> None:
    """Set up the module, then answer each call until no more can come."""
    answers = os.fdopen(os.dup(STDOUT), "w")
    os.dup2(STDERR, STDOUT)  # what libraries print is no answer
    functions = answered(answers, lambda: import_module(module).functions(**json.loads(arguments)), tell=False)
    for line in sys.stdin if functions else ():
        name, keywords = json.loads(line)
        answered(answers, lambda name=name, keywords=keywords: functions[name](**keywords))


def answered(answers: TextIO, function: Callable[[], Any], tell: bool = True) -> Any:
    """Call a function, and answer with its result or with what went wrong."""
    result = None
    try:
        result = function()
        answer = {"result": result if tell else None}
    except ModuleNotFoundError as error:
        answer = {"missing": error.name}
    except Exception as error:  # whatever a library raises is that contender's result
        answer = {"error": f"{type(error).__name__}: {error}".partition("\n")[0]}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
