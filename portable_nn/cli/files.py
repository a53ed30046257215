"""`portable-nn convert`, `inspect` and `verify`: model files."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

import portable_nn as pnn
from portable_nn.cli.options import BackendSpecs, Force, Given, check_outputs, load
from portable_nn.formats import WRITERS, format_of

FAILS = 1

ModelFile = Annotated[str, typer.Argument(metavar="FILE", help="A model file of any format that is read.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead, for other programs.")]


def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="A model file of any format that is read.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write; its suffix says the format.")],
    given: Given = None,
    force: Force = False,
) -> None:
    """Write a network to a file of another format.

    What is known of its inputs and outputs goes along. What IN does not say is given by --set. Example:
    portable-nn convert weights.pt digits.safetensors --set activation=relu --set last=softmax
    """
    if target.suffix.lower() not in WRITERS:
        raise typer.BadParameter(f"networks are written as {' or '.join(WRITERS)}: let OUT end so, got {target}")
    check_outputs([target], [Path(source)], force=force)
    net = load(source, given)
    pnn.save(net, target)
    print(f"{net!r}\nwritten to {target}")


def inspect(file: ModelFile, given: Given = None, as_json: Json = False) -> None:
    """Say what a model file holds. Nothing that the file names is run, and none of it would be.

    Example: portable-nn inspect model.keras
    """
    net = load(file, given, verify=False)
    path = Path(file)
    kind, size = (format_of(path), path.stat().st_size) if path.is_file() else ("in the package", None)
    parameters = sum(array.size for layer in net.layers for array in layer.arrays.values())
    if as_json:
        record: dict[str, Any] = {
            "file": file,
            "format": kind,
            "bytes": size,
            "dtype": net.dtype,
            "parameters": parameters,
            "input_shape": net.input_shape,
            "output_shape": net.output_shape,
            "layers": [repr(layer) for layer in net.layers],
            "takes": {name: [value.dtype, value.shape] for name, value in net.passes.inputs.items()} or None,
            "gives": net.passes.outputs or None,
            **net.meaning.given(),
            "task": net.task,
            "executes": [],
        }
        print(json.dumps(record, indent=2))
        return
    print(f"file      {file}{'' if size is None else f' ({size:,} bytes)'}")
    print(f"format    {kind}")
    print(f"task      {net.task or 'not said, and the last layer does not tell: --set task=NAME does'}")
    takes: tuple[Any, ...] = tuple(
        f"{name} {value.dtype} {value.shape}" for name, value in net.passes.inputs.items()
    )
    told: dict[str, tuple[Any, ...]] = {"takes": takes, "gives": net.passes.outputs}
    told |= {name: getattr(net.meaning, name) or () for name in ("inputs", "outputs", "classes")}
    for name, values in told.items():
        if values:
            print(f"{name:<9} {_shortened(values)}")
    if net.input_range is not None:
        low, high = net.input_range
        print(f"range     {low:g} to {high:g}{f' ({net.input_dtype})' if net.input_dtype else ''}")
    print("executes  nothing: the file is read as data")
    print(f"\n{net.summary()}")


def verify(file: ModelFile, backend: BackendSpecs = None, given: Given = None, as_json: Json = False) -> int:
    """Try a model file, and backends with it.

    The network is held to the samples that the file carries, and each backend to the network in NumPy float64.
    The exit status is 1 if one differs.

    Example: portable-nn verify digits.safetensors -b numpy -b torch:cuda
    """
    net = load(file, given)
    specs = backend or [str(ready) for ready in pnn.backends.ready()]
    rows = [_verified(net, spec) for spec in specs]
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            print(f"{row['backend']:<28} {row['dtype']:<9} {row['verdict']}")
    return 0 if all(row["verdict"].startswith("agrees") for row in rows) else FAILS


def _verified(net: pnn.Network, spec: str) -> dict[str, Any]:
    try:
        found = net.verify(spec)
    except pnn.AccuracyError as error:
        return {"backend": spec, "dtype": net.dtype, "verdict": f"differs: {error}"}
    return {
        "backend": found.backend,
        "dtype": found.dtype,
        "verdict": f"agrees: {found.max_abs_error:.1e} off at most, {found.share:.0%} of what rounding may do",
        "max_abs_error": found.max_abs_error,
        "share": found.share,
    }


def _shortened(values: tuple[Any, ...], most: int = 8) -> str:
    shown = ", ".join(map(str, values[:most]))
    return shown if len(values) <= most else f"{shown}, … ({len(values)} in all)"
