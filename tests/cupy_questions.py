"""Questions whose answers take a GPU, put to whichever CuPy is imported: `answer("f @ f.T")`.

`cupy_answers.json` holds what a real one said, to which `test_cupy_answers.py` holds the stand-in. On a machine
with a GPU, `python tests/cupy_questions.py` asks it all again, what was added with any answer too.
"""

import copy
import json
import math
import operator
import pickle
import warnings
from pathlib import Path

import numpy as np

ANSWERS = Path(__file__).with_name("cupy_answers.json")


def arrays(cupy):
    """What the questions are about, new for each."""
    f = np.asarray([[-1.5, 0, 2], [3, 0.5, -0.25]], "float32")
    given = {"f": f, "d": f.astype("float64"), "h": f.astype("float16"), "n": np.where(f == 0, np.nan, f)}
    given |= {"i": np.arange(6).reshape(2, 3), "u": np.arange(6, dtype="uint8").reshape(2, 3), "b": f > 0}
    given |= {"e": np.zeros((0, 3), "float32"), "z": np.float32(1.5)}
    return {name: cupy.array(host, blocking=True) for name, host in given.items()}


def described(found, names, cupy):
    """A result in words: an array's dtype, shape, numbers to four digits, and whose memory it shares."""
    if isinstance(found, (tuple, list)):
        return f"{type(found).__name__}({', '.join(described(part, names, cupy) for part in found)})"
    if not isinstance(found, (cupy.ndarray, np.ndarray)):
        return repr(found).replace(str(id(found)), "id")
    host = cupy.asnumpy(found)
    numbers = np.array2string(host, formatter={"float": "{:.4g}".format}, separator=", ").replace("\n", "")
    said = f"{type(found).__module__.partition('.')[0]} {host.dtype} {host.shape} {numbers}"
    if isinstance(found, cupy.ndarray):
        sharing = [name for name, x in names.items() if found.size and x.size and cupy.may_share_memory(found, x)]
        said += "".join(f" of {name}" for name in sharing)
    return said


def answer(question):
    """What CuPy says: a result with its warnings, or the class of an error, whose words differ."""
    import array_api_compat as compat
    import array_api_compat.cupy as xp
    import cupy

    names = arrays(cupy)
    modules = {"cupy": cupy, "xp": xp, "compat": compat, "np": np, "operator": operator}
    modules |= {"pickle": pickle, "copy": copy, "math": math}
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            found = described(eval(question, modules | names), names, cupy)
    except Exception as error:
        return type(error).__name__
    return "; ".join([found, *(f"{w.category.__name__}: {w.message}" for w in warned)])


if __name__ == "__main__":
    import cupy

    before = json.loads(ANSWERS.read_text())
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    found = {"device": properties["name"].decode(), "cupy": cupy.__version__, "numpy": np.__version__}
    found["answers"] = {question: answer(question) for question in before["answers"]}
    ANSWERS.write_text(json.dumps(found, indent=1) + "\n")
