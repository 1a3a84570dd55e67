"""``python -m benchmarks.cuda_compile``: every CUDA kernel compiled, without a GPU or a driver.

numba compiles each kernel that the modules of ``fastconv.backends.cuda`` list in ``sources()`` to
PTX, NVIDIA's ``ptxas`` to machine code, ``nvdisasm`` shows that. Printed are registers, spills and,
where the inner loop is one of products, their share of its instructions. The command fails on
spills, on calls within an innermost loop, and where loads of 16 bytes are expected and missing.
A process for each core compiles one kernel after the other. ``--each-kind`` leaves of kernels that
one builder makes for one type the first. Needs ``pip install "fastconv[cuda,cuda-check]"``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import pkgutil
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, is_dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ARCHITECTURES = (90, 80)
TYPES = ("float32", "float64", "float16", "bfloat16")
_INSTRUCTION = re.compile(
    r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P[0-9T]+\s+)?([A-Z][A-Z0-9_.]*)\s*(.*?);"
)
_LABEL = re.compile(r"^(\.L_x_\d+):")
_TARGET = re.compile(r"`\((\.L_x_\d+)\)")
_FMA = ("FFMA", "DFMA", "HMMA", "HGMMA", "FFMA2")
_WIDE = ("LDG.E.128", "LDS.128", "LDGSTS.E.BYPASS.128", "LDG.E.128.CONSTANT")


SLOW_PATHS = ("slowpath", "div_rn_f64", "div_rn_noftz_f32", "rcp_rn", "sqrt_rn", "dsqrt",
              "accurate_pow", "`(.L_x_")
"""Parts of names of NVIDIA's routines for the rare numbers that a division or a root does not
serve in line, of its power, and the labels by which code for sm_80 leaves a loop."""


@dataclass(frozen=True)
class Found:
    """One kernel for one architecture."""

    label: str
    arch: int
    registers: int
    spills: int
    """Bytes."""
    shared: int
    """Bytes."""
    share: float | None
    """Of products among the instructions of the loop that has most of them."""
    faults: tuple[str, ...]


def tool(name: str) -> Path:
    """One of NVIDIA's tools in a wheel; FileNotFoundError says how to get it."""
    spec = find_spec("nvidia")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in Path(folder).glob(f"**/bin/{name}"):
            return path
    raise FileNotFoundError(
        f'{name} is not here; pip install "fastconv[cuda-check]"'
    )


def why_not() -> str | None:
    """Why nothing can be compiled here, or None."""
    for package in ("numba", "numba_cuda"):
        if find_spec(package) is None:
            return f"{package} is not installed"
    try:
        tool("ptxas"), tool("nvdisasm")
    except FileNotFoundError as error:
        return str(error)
    from fastconv.device import SIMULATED

    return "NUMBA_ENABLE_CUDASIM is set" if SIMULATED else None


@dataclass(frozen=True)
class Listed:
    """A kernel that a module of the wing lists."""

    label: str
    build: Callable[..., Any]
    constants: tuple[Any, ...]

    @property
    def kind(self) -> tuple[Any, ...]:
        """Its builder, and among its constants the types, and the classes of tiles and windows
        with the format that a tensor core multiplies in."""
        types = [c for c in self.constants if isinstance(c, str) and c in TYPES]
        classes = [
            (type(c).__name__, getattr(c, "format", None))
            for c in self.constants if is_dataclass(c)
        ]
        return self.build.__module__, self.build.__qualname__, *types, *classes


@cache
def listed() -> dict[str, Listed]:
    """All kernels by their labels."""
    package = import_module("fastconv.backends.cuda")
    found: dict[str, Listed] = {}
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("twins") or module.name == "simulator":
            continue
        sources = getattr(import_module(f"{package.__name__}.{module.name}"), "sources", None)
        for kernel in (Listed(*entry) for entry in (sources() if sources else ())):
            if found.setdefault(kernel.label, kernel) is not kernel:
                raise ValueError(f"two kernels have the label {kernel.label!r}")
    return found


def chosen(wanted: str = "", *, each_kind: bool = False) -> list[str]:
    """The labels that contain ``wanted``; the first of each kind only, if so asked."""
    firsts: dict[Any, str] = {}
    for label, kernel in listed().items():
        if wanted in label:
            firsts.setdefault(kernel.kind if each_kind else label, label)
    return list(firsts.values())


def checked(label: str, arch: int) -> Found:
    """What :func:`compiled` finds of the kernel with this label."""
    kernel = listed()[label]
    return compiled(label, kernel.build(*kernel.constants), arch)


def compiled(label: str, source: Any, arch: int) -> Found:
    """Compile one kernel and look at what came out."""
    from numba import cuda

    ptx, _ = cuda.compile(
        source.function, source.signature, device=False, abi="numba",
        cc=(arch // 10, arch % 10), launch_bounds=(source.threads, source.blocks),
    )
    with tempfile.TemporaryDirectory() as folder:
        code, binary = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        code.write_text(ptx)
        told = subprocess.run(
            [tool("ptxas"), f"-arch=sm_{arch}", "-v", code, "-o", binary],
            capture_output=True, text=True, check=True,
        ).stderr
        listing = subprocess.run(
            [tool("nvdisasm"), "-c", binary], capture_output=True, text=True, check=True
        ).stdout
    registers, spills, shared = (
        int(m.group(1)) if (m := re.search(pattern, told)) else 0 for pattern in (
            r"Used (\d+) registers", r"(\d+) bytes spill stores", r"(\d+) bytes smem"
        )
    )
    instructions, loops = read(listing)
    return Found(
        label, arch, registers, spills, shared,
        share(instructions, loops) if source.products else None,
        tuple(faults(source, spills, instructions, loops)),
    )


def read(listing: str) -> tuple[list[str], list[range]]:
    """The names of all instructions, and the places of each loop: from a branch's target back to
    the branch."""
    names: list[str] = []
    labels: dict[str, int] = {}
    branches: list[tuple[int, str]] = []
    for line in listing.splitlines():
        if found := _LABEL.match(line.strip()):
            labels[found.group(1)] = len(names)
        elif found := _INSTRUCTION.search(line):
            if found.group(2).startswith("BRA") and (target := _TARGET.search(found.group(3))):
                branches.append((len(names), target.group(1)))
            names.append(found.group(2) + (
                " " + found.group(3) if found.group(2).startswith("CALL") else ""
            ))
    loops = [
        range(labels[label], at + 1) for at, label in branches
        if label in labels and labels[label] < at
    ]
    return names, loops


def share(names: list[str], loops: list[range]) -> float:
    """Of products in the loop that has most of them."""
    counts = [
        (sum(names[i].split(".")[0] in _FMA for i in loop), len(loop)) for loop in loops
    ]
    most, length = max(counts, default=(0, 1))
    return most / length


def faults(source: Any, spills: int, names: list[str], loops: list[range]) -> Iterator[str]:
    """What must not be."""
    if spills:
        yield f"{spills} bytes of registers spilled"
    inner = [a for a in loops if not any(b != a and a.start <= b.start and b.stop <= a.stop
                                         for b in loops)]
    called = {names[i] for loop in inner for i in loop if names[i].startswith("CALL")}
    if strange := [name for name in called if not any(known in name for known in SLOW_PATHS)]:
        yield f"a call in an innermost loop: {strange[0]}"
    if source.wide and not any(name.startswith(_WIDE) for name in names):
        yield "no load of 16 bytes"


def main() -> int:
    """Compile all, print a line for each, fail if one has a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernel", default="", help="part of a label")
    parser.add_argument("--arch", type=int, action="append", help="90, 80 unless stated")
    parser.add_argument("--each-kind", action="store_true", help="one of each builder and type")
    parser.add_argument("--jobs", type=int, default=0, help="processes; one a core unless stated")
    options = parser.parse_args()
    if reason := why_not():
        print(f"nothing to compile with: {reason}", file=sys.stderr)
        return 2
    if not (labels := chosen(options.kernel, each_kind=options.each_kind)):
        print(f"no kernel's label contains {options.kernel!r}", file=sys.stderr)
        return 2
    work = [(label, arch) for label in labels for arch in options.arch or ARCHITECTURES]
    from fastconv import get_num_threads

    bad = 0
    print(f"{'kernel':<40} {'arch':>4} {'registers':>9} {'spills':>6} {'shared':>6} {'FMA':>5}")
    for found in _all(work, options.jobs or get_num_threads()):
        fma = "" if found.share is None else f"{found.share:.0%}"
        print(
            f"{found.label:<40} {found.arch:>4} {found.registers:>9} {found.spills:>6} "
            f"{found.shared:>6} {fma:>5}  {'; '.join(found.faults)}", flush=True,
        )
        bad += bool(found.faults)
    print(f"{len(work)} compiled, {f'{bad} with faults' if bad else 'no faults'}")
    return 1 if bad else 0


def _all(work: list[tuple[str, int]], jobs: int) -> Iterator[Found]:
    """What was found of each, in order. numba's compiler has a lock: processes, not threads."""
    if min(jobs, len(work)) == 1:
        yield from (checked(*one) for one in work)
        return
    with ProcessPoolExecutor(
        min(jobs, len(work)), multiprocessing.get_context("spawn")
    ) as processes:
        yield from processes.map(checked, *zip(*work, strict=True))


if __name__ == "__main__":
    sys.exit(main())
