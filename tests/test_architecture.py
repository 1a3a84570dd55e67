"""The shape of the house: who imports whom, a file for each row, public names with docstrings."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import fastconv as fc
from fastconv.dispatch import available
from fastconv.registry import BACKENDS, ROWS

PACKAGE = Path(fc.__file__).parent
CSRC = Path(__file__).parent.parent / "csrc"

LEVELS = (
    ("errors",), ("spec", "streams"),
    ("config", "memory", "halves", "progress", "device", "registry"),
    ("heuristics", "choices", "arrays"), ("rank",), ("dispatch", "shapes"),
    ("environment", "warm"), ("ops",), ("trial",), ("explanation",), ("plan",), ("tuner",),
    ("compat",), ("demo", "bench"), ("commands",), ("cli",), ("__init__",), ("__main__",),
)
"""From the ground up: a module imports from lower levels, and from its own package."""
LEVEL = {name: i for i, names in enumerate(LEVELS) for name in names}
BACKENDS_MAY_IMPORT = {"spec", "streams", "errors", "device", "backends"}
APART = {"report"}
"""Stands alone and reads JSON."""

ONLY_IN = {
    "numba": ("backends/numba", "backends/cuda", "bench/multiply_adds"),
    "llvmlite": ("backends/numba", "backends/cuda"),
    "scipy": ("backends/numpy", "backends/fft_plan", "compat"),
    "torch": ("compat",), "ml_dtypes": (),
    "jinja2": ("report",), "matplotlib": ("report",), "rich": ("commands", "report"),
    "typer": ("commands", "report"),
    "skimage": (), "PIL": (), "cupy": ("compat",), "dask": ("compat",), "onnx": ("compat",),
    "platformdirs": (),
}
"""Where a heavy package may be imported at the top of a module."""

SOURCES = sorted(p for p in PACKAGE.rglob("*.py") if "__pycache__" not in p.parts)


def relative(path: Path) -> Path:
    return path.relative_to(PACKAGE)


def part(path: Path) -> str:
    """The module or folder right below the package that a file belongs to."""
    return relative(path).parts[0].removesuffix(".py")


def imports(path: Path, *, top_level: bool = False) -> Iterator[str]:
    """Full names of the modules that a file imports, ``fastconv.x`` for its own package."""
    tree = ast.parse(path.read_text())
    package = ["fastconv", *relative(path).parent.parts]
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            # ``from . import x`` imports the module x; ``from .m import x`` the module m.
            yield from (
                f"{stem}.{alias.name}" if (node.level and not node.module) or stem == "fastconv"
                else stem
                for alias in node.names
            )


def own(names: Iterator[str]) -> set[str]:
    """The parts of fastconv among the imported modules."""
    return {name.split(".")[1] for name in names if name.startswith("fastconv.")}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(relative(p)))
def test_imports_go_downwards(path: Path) -> None:
    here = part(path)
    found = own(imports(path)) - {here}
    if here == "backends":
        assert found <= BACKENDS_MAY_IMPORT, f"a backend imports {found - BACKENDS_MAY_IMPORT}"
        return
    if here in APART:
        assert not found
        return
    assert here in LEVEL, f"{here} has no level: say in this test where it belongs"
    upwards = {name for name in found if name in LEVEL and LEVEL[name] >= LEVEL[here]}
    assert not upwards, f"{here} imports {upwards}"
    # __init__ imports the empty package only, to give its name to the function backends().
    assert here == "__init__" or "backends" not in found, "backends are loaded by dispatch"


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if part(p) == "backends"], ids=lambda p: str(relative(p))
)
def test_wings_do_not_know_each_other(path: Path) -> None:
    parts = relative(path).parts
    if len(parts) < 3:  # shared by the wings
        return
    for name in imports(path):
        if name.startswith("fastconv.backends."):
            wing = name.split(".")[2]
            assert wing not in BACKENDS or wing == parts[1], f"{parts[1]} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(relative(p)))
def test_heavy_packages_stay_in_their_wings(path: Path) -> None:
    where = str(relative(path)).removesuffix(".py")
    for name in imports(path, top_level=True):
        heavy = name.split(".")[0]
        if heavy in ONLY_IN:
            assert where.startswith(ONLY_IN[heavy]) if ONLY_IN[heavy] else False, (
                f"{where} imports {name} when it is itself imported"
            )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_row_has_its_file(row: object) -> None:
    if reason := available(row.backend):  # type: ignore[attr-defined]
        pytest.skip(reason)
    module = import_module(row.module)  # type: ignore[attr-defined]
    wanted = {"run", "workspace_bytes"}
    if row.op in ("conv2d", "conv2d_input_grad"):  # type: ignore[attr-defined]
        wanted.add("pack")
    assert wanted <= set(dir(module))
    for name in wanted:
        assert getattr(module, name).__doc__, f"{name} has no docstring"


def test_each_kernel_file_has_its_row() -> None:
    operations = {row.op for row in ROWS}
    known = {row.module for row in ROWS}
    for backend in BACKENDS:
        folder = PACKAGE / "backends" / backend
        if not folder.is_dir():
            assert not any(row.backend == backend for row in ROWS)
            continue
        found = {m.name for m in pkgutil.iter_modules([str(folder)])}
        kernels = {n for n in found if any(n.startswith(f"{op}_") for op in operations)}
        strays = {n for n in kernels if f"fastconv.backends.{backend}.{n}" not in known}
        assert not strays, f"{backend}: {strays} have no row"


@pytest.mark.skipif(not CSRC.is_dir(), reason="only the installed package is here")
def test_each_cython_row_has_its_source() -> None:
    sources = {p.stem for p in CSRC.glob("*.pyx")}
    pure = {p.stem for p in (PACKAGE / "backends" / "cython").glob("*.py")}
    for row in ROWS:
        if row.backend == "cython":
            assert row.module.rsplit(".", 1)[1] in sources | pure
    assert not list(CSRC.glob("*.c")), "no generated C in the tree"
    assert not list((PACKAGE / "backends" / "cython").glob("*.c"))


# ---------------------------------------------------------------- public names

PUBLIC = {
    "conv2d", "conv_transpose2d", "conv2d_pool2d", "filter2d", "relu", "relu6", "leaky_relu",
    "sigmoid", "tanh", "max_pool2d", "avg_pool2d", "sum_pool2d", "lp_pool2d",
    "adaptive_max_pool2d", "adaptive_avg_pool2d", "global_max_pool2d", "global_avg_pool2d",
    "global_sum_pool2d", "max_unpool2d", "plan_conv2d", "Conv2dPlan", "explain", "backends",
    "show_config", "options", "set_num_threads", "get_num_threads", "tune", "warmup",
    "BackendUnavailableError",
}
FUNCTIONS = sorted(n for n in PUBLIC if inspect.isfunction(getattr(fc, n, None)))


def test_public_names_are_exported() -> None:
    assert set(fc.__all__) >= PUBLIC
    assert all(hasattr(fc, name) for name in fc.__all__)
    assert list(fc.__all__) == sorted(fc.__all__)
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_are_documented(name: str) -> None:
    function = getattr(fc, name)
    doc = inspect.getdoc(function) or ""
    parameters = inspect.signature(function).parameters
    for section in ("Returns", "Raises", *(["Parameters"] if parameters else [])):
        if section == "Returns" and name == "warmup":
            continue
        assert re.search(rf"^{section}\n-+$", doc, re.M), f"{name} has no section {section}"
    for parameter in parameters:
        if parameter == "args":
            continue
        assert re.search(rf"\b{re.escape(parameter)}\b", doc), f"{name} says nothing of {parameter}"
    hints = function.__annotations__
    assert set(hints) >= set(parameters) | {"return"}, f"{name} is not typed in full"


SIGNATURES = {
    "conv2d": "x w bias=None * stride=1 padding=0 dilation=1 groups=1 padding_mode='zeros' "
              "activation=None layout='NCHW' algorithm='auto' backend='auto' precision='default' "
              "out=None",
    "max_pool2d": "x pool_size * stride=None padding=0 dilation=1 ceil_mode=False "
                  "return_indices=False layout='NCHW' backend='auto' out=None",
    "avg_pool2d": "x pool_size * stride=None padding=0 ceil_mode=False count_include_pad=True "
                  "divisor_override=None layout='NCHW' backend='auto' out=None",
    "relu": "x * out=None backend='auto'",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_as_promised(name: str) -> None:
    parameters = inspect.signature(getattr(fc, name)).parameters.values()
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    named = [p for p in parameters if p.kind is p.KEYWORD_ONLY]

    def shown(p: inspect.Parameter) -> str:
        return p.name if p.default is p.empty else f"{p.name}={p.default!r}"

    assert " ".join([*map(shown, positional), "*", *map(shown, named)]) == SIGNATURES[name]
