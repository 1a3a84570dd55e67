"""The choice of a kernel: what is present, what can serve, what is fastest."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from . import choices, config, heuristics, registry
from .device import SIMULATED
from .errors import BackendUnavailableError
from .registry import Kernel
from .spec import Spec


def _cython_reason() -> str | None:
    try:
        import_module("fastconv.backends.cython.isa")
    except ImportError as error:
        return f"the compiled modules are missing ({error}); pip install --force-reinstall fastconv"
    return None


def _numba_reason() -> str | None:
    try:
        present = find_spec("numba") is not None  # without importing it: that takes a second
    except ValueError:  # somebody has blocked the import
        present = False
    if not present:
        return 'numba is not installed; pip install "fastconv[numba]"'
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return "NUMBA_DISABLE_JIT has switched numba's compiler off; unset it"
    return None


INSTALL_CUDA = 'pip install "fastconv[cuda]"'
OLDEST_GPU = (8, 0)
"""Compute capability that the kernels are written for."""


def _cuda_reason() -> str | None:
    """Looked for without importing numba.cuda, which takes a second, until a driver is found."""
    try:
        present = find_spec("numba_cuda") is not None and find_spec("numba") is not None
    except ValueError:  # somebody has blocked the import
        present = False
    if not present:
        return f"numba-cuda is not installed; {INSTALL_CUDA}"
    if SIMULATED:
        return None
    if not _driver():
        return (
            "there is no NVIDIA driver here; the kernels need a GPU with its driver (CUDA 13 or "
            f"newer), and {INSTALL_CUDA}"
        )
    try:
        cuda = import_module("numba.cuda")
        if not cuda.is_available():
            return f"no GPU answers ({cuda.cuda_error()}); its driver may be older than CUDA 13"
        newest = max(gpu.compute_capability for gpu in cuda.list_devices())
        if newest < OLDEST_GPU:
            return (
                f"the GPU has compute capability {'.'.join(map(str, newest))}; the kernels need "
                f"{'.'.join(map(str, OLDEST_GPU))} (Ampere) or newer, for its asynchronous copies "
                f"and its tensor cores"
            )
    except Exception as error:
        return f"numba.cuda does not work here ({error}); {INSTALL_CUDA}"
    return None


def _driver() -> bool:
    """Whether the driver's library can be loaded."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


_ABSENT: dict[str, Callable[[], str | None]] = {
    "reference": lambda: None,
    "numpy": lambda: None,
    "cython": _cython_reason,
    "numba": _numba_reason,
    "cuda": _cuda_reason,
}


@cache
def available(backend: str) -> str | None:
    """None if ``backend`` can be used here, else the reason and the cure."""
    return _ABSENT[backend]()


INSTALL_CUPY = "pip install cupy-cuda13x"


def _cupy_reason() -> str | None:
    """Imports CuPy, which takes a second, if it is there: by then somebody computes on a GPU."""
    try:
        present = find_spec("cupy") is not None
    except ValueError:  # somebody has blocked the import
        present = False
    if not present:
        return f"CuPy is not installed; {INSTALL_CUPY}"
    if SIMULATED:
        return "CuPy computes on a GPU, which numba's simulator is not"
    try:
        import_module("cupyx.scipy.fft")
        if not import_module("cupy").cuda.is_available():
            return "CuPy finds no GPU"
    except Exception as error:
        return f"CuPy does not work here ({error}); {INSTALL_CUPY}"
    return None


_LACKING: dict[str, Callable[[], str | None]] = {"": lambda: None, "cupy": _cupy_reason}


@cache
def lacking(package: str) -> str | None:
    """None if ``package``, which some row needs, can be used here, else the reason and the cure."""
    return _LACKING[package]()


def absent(row: Kernel) -> str | None:
    """None if a row can be used here, else what it or its backend lacks."""
    return available(row.backend) or lacking(row.needs)


def require(backend: str) -> None:
    """Raise BackendUnavailableError if ``backend`` is absent."""
    if absent := available(backend):
        raise BackendUnavailableError(f"backend {backend!r} is not available: {absent}")


@dataclass(frozen=True, slots=True)
class Choice:
    """A row chosen for a spec, ready to run."""

    row: Kernel
    spec: Any
    """What the kernel sees (``row.sees``)."""
    threads: int
    """That it will use."""
    allowed: int = 1
    """Threads that it might have used."""
    tuned: bool = False
    """Whether measurements decided, see ``choices.py``."""

    @property
    def module(self) -> ModuleType:
        """The kernel's module, imported at its first use."""
        return _module(self.row.module)


_module = cache(import_module)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row's part in a choice: the reason against it, or None."""

    row: Kernel
    reason: str | None


def verdicts(op: str, spec: Spec, algorithm: str, backend: str) -> list[Verdict]:
    """Every row of ``op``, with the reason why it is out of the question, if it is."""
    precision = getattr(spec, "precision", "default")
    found = []
    for row in registry.rows(op):
        if backend not in ("auto", row.backend):
            reason: str | None = f"backend={backend!r} was asked for"
        elif backend == "auto" and row.backend == "cuda":
            reason = available("cuda") or "the data decide: only arrays on a GPU go there unasked"
        elif algorithm not in ("auto", row.algorithm):
            reason = f"algorithm={algorithm!r} was asked for"
        else:
            reason = (
                available(row.backend)
                or row.why_not(row.sees(spec))
                or registry.too_inexact(row, precision)
                or lacking(row.needs)
            )
        found.append(Verdict(row, reason))
    return found


def asked_for(op: str, algorithm: object, backend: object) -> tuple[str, str]:
    """The algorithm and the backend that a call asks for; "auto" where any will do."""
    return (
        config.algorithm_for(algorithm, registry.algorithms(op), registry.ALGORITHMS),
        config.backend_for(backend, registry.BACKENDS),
    )


def select(
    op: str, spec: Spec, algorithm: object = "auto", backend: object = "auto", *,
    on_gpu: bool = False,
) -> Choice:
    """The fastest row that can serve ``spec`` within what the call asks for. Where the arrays
    are ``on_gpu`` only the CUDA rows can.

    Raises
    ------
    BackendUnavailableError
        The backend asked for is absent; the message has the install command.
    ValueError, TypeError
        An unknown backend or algorithm, or one that cannot serve this case and why.
    """
    if on_gpu:
        backend = decided_by_data(backend)
    algorithm, backend = asked_for(op, algorithm, backend)
    choice = choose(op, spec, algorithm, backend, config.get_num_threads())
    report(op, spec, algorithm, backend, choice)
    return choice


def decided_by_data(backend: object) -> str:
    """The backend of arrays on a GPU, whatever options and environment say of others."""
    if backend not in ("auto", "cuda"):
        raise ValueError(
            f"the arrays live on a GPU, where backend={backend!r} cannot work; leave it out, or "
            f"copy them to the host"
        )
    return "cuda"


@cache
def instruction_set() -> str:
    """Of the compiled kernels here; "none" if they are absent or refuse the set asked for,
    which is an error only for who runs them."""
    if available("cython") is not None:
        return "none"
    try:
        return str(import_module("fastconv.backends.cython.isa").active())
    except ValueError:
        return "none"


def predicted(
    row: Kernel, spec: Spec, threads: int = 1, *, packed: bool = False
) -> float:
    """Seconds that the cost model gives a row here."""
    return heuristics.seconds(row, spec.kernel_spec, threads, packed=packed, **machine())


@cache
def processor() -> str:
    """Vendor and family of this processor, and the instruction set in use: what the cost model
    knows its prices by."""
    chosen = instruction_set()
    if chosen == "none":
        return heuristics.ANY
    return f"{import_module('fastconv.backends.cython.isa').processor()} {chosen}".strip()


def machine() -> dict[str, Any]:
    """What the cost model must know of this process, as its functions take it."""
    width = {"baseline": 16, "avx2": 32}.get(instruction_set(), heuristics.VECTOR_BYTES)
    return {"vector_bytes": width, "processor": processor()}


_calls: list[tuple[str, Spec]] | None = None


@contextmanager
def recorded() -> Iterator[list[tuple[str, Spec]]]:
    """The operation and spec of every choice made in this block, by any thread."""
    global _calls
    choose_anew()
    calls = _calls = []
    try:
        yield calls
    finally:
        _calls = None


def choose_anew() -> None:
    """Forget all choices: what they rest on has changed, or somebody wants to hear of them."""
    choose.cache_clear()
    config.measurements_changed()


@lru_cache(maxsize=4096)
def choose(
    op: str, spec: Spec, algorithm: str, backend: str, threads: int, packed: bool = False
) -> Choice:
    """The same from what :func:`asked_for` found: no setting is read. ``packed`` if the weights
    will have been packed when the kernel is called."""
    if backend != "auto":
        require(backend)
    found = verdicts(op, spec, algorithm, backend)
    accepted = [v.row for v in found if v.reason is None]
    if not accepted:
        asked = [
            v for v in found
            if backend in ("auto", v.row.backend) and algorithm in ("auto", v.row.algorithm)
        ]
        reasons = "".join(f"\n  {v.row.name}: {v.reason}" for v in asked)
        if not asked:
            cells = ", ".join(v.row.name for v in found)
            reasons = f"\n  there is no such kernel; {op} has {cells}"
        raise ValueError(f"no kernel can serve {op} {spec}:{reasons}")
    if _calls is not None:
        _calls.append((op, spec))
    times = choices.times_of(op, spec, threads, instruction_set())
    timed = [row for row in accepted if row.name in times]
    if timed:
        row = min(timed, key=lambda row: times[row.name].seconds(packed))
        return Choice(row, row.sees(spec), times[row.name].threads, threads, tuned=True)
    model = {"packed": packed, **machine()}
    row = heuristics.rank(accepted, spec.kernel_spec, **model)[0]
    worthwhile = heuristics.threads_for(row, spec.kernel_spec, threads, **model)
    return Choice(row, row.sees(spec), worthwhile, threads)


def report(op: str, spec: Spec, algorithm: str, backend: str, choice: Choice) -> None:
    """The debug line of one call, if ``FASTCONV_DEBUG`` asks for it."""
    if level := config.debug_level():
        print(_debug_line(op, spec, algorithm, backend, choice, level), file=sys.stderr)


def _debug_line(
    op: str, spec: Spec, algorithm: str, backend: str, choice: Choice, level: int
) -> str:
    line = f"fastconv: {choice.row.name} threads={choice.threads} {spec}"
    slower = "measured slower" if choice.tuned else "predicted slower"
    if level >= 2:
        for verdict in verdicts(op, spec, algorithm, backend):
            if verdict.row is not choice.row:
                line += f"\n  not {verdict.row.name}: {verdict.reason or slower}"
    return line
