"""Kernels compiled once each, and run by one thread or by Numba's.

A kernel is a function of ``(worker, tasks, memory, plan)`` that computes its work task by task:
:func:`take` gives the next one, ``memory`` holds addresses, ``plan`` is a record of numbers by
name. It is compiled to native code on first use, for each type of record. Two small launchers
run the workers of any kernel, one after the other or in a ``prange``; so no kernel is compiled
twice. A task has the same result whoever computes it, so both ways give the same bits. Each worker
begins with a share of its own, the same one from call to call, whose memory its core's cache may
still hold; then it helps the others, so that one that was held up leaves its tasks to them. What
Numba's threading layers cannot do is known here:

- ``workqueue`` ends the process when two Python threads launch at once: launches take turns;
- ``omp`` ends a process that was forked after it: a forked child computes serially.

Native code is kept on disk. Numba looks only at a function's own file to see whether what it
kept is stale, so the names it keeps them by carry a hash of all that a kernel may be made of: this
folder, what the wings share, and the processor, since two kinds of machine may share a home but
not a file. Where nothing can be read or written, code is compiled in memory.
:func:`would_compile` tells beforehand whether a call waits for the compiler.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from pathlib import Path
from time import perf_counter
from types import FunctionType
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.caching import FunctionCache
from numba.core.registry import cpu_target

from ...errors import BackendUnavailableError
from ..forks import forked
from .buffers import LINE, address, words

numba: Any = import_module("numba")
"""Untyped: the stubs of its latest versions lack what is used here, older ones have none."""

if numba.config.DISABLE_JIT:
    raise BackendUnavailableError("backend 'numba' must compile; unset NUMBA_DISABLE_JIT")

intrinsic = numba.extending.intrinsic
carray = numba.carray
prange = numba.prange

Function = Callable[..., None]

_OPTIONS = {"nogil": True, "error_model": "numpy"}

compiled = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)
"""Decorates what kernels call: compiled into each kernel that uses it, and for nobody else."""
inlined = numba.njit(
    forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS
)
"""The same for short functions in inner loops, where LLVM would not inline them by itself."""


def _hash_of_all() -> str:
    folder = Path(__file__).parent
    sources = sorted([*folder.glob("*.py"), *folder.parent.glob("*.py")])
    target = cpu_target.target_context.codegen().magic_tuple()
    parts = [*(path.read_bytes() for path in sources), repr(target).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


_ALL = _hash_of_all()


class _NotCompiled(Exception):
    """What :func:`would_compile` waits for."""


_asking: ContextVar[bool] = ContextVar("fastconv_would_compile", default=False)


seconds: dict[str, float] = {}
"""What each function took in this process to be compiled or loaded."""


def would_compile(call: Callable[[], object]) -> bool:
    """Whether ``call`` needs a kernel that is neither in memory nor on disk.

    The call is made, but its kernels do not run: its arrays are neither read nor written.
    """
    token = _asking.set(True)
    try:
        call()
    except _NotCompiled:
        return True
    finally:
        _asking.reset(token)
    return False


def _is_kept(function: FunctionType) -> bool:
    """Whether its native code is on disk, as far as Numba lets that be known."""
    try:
        folder = Path(FunctionCache(function).cache_path)
        return any(folder.glob(f"*.{function.__qualname__}-*.nbi"))
    except Exception:  # there is no folder, or a version of Numba does it differently
        return False


def _compile(function: Function, name: str, decorate: Callable[..., Any], **options: Any) -> Any:
    """``function`` compiled under ``name``, from disk if it is there."""
    named = FunctionType(
        function.__code__, function.__globals__, function.__name__, None, function.__closure__
    )
    named.__module__ = function.__module__
    named.__qualname__ = f"{name}_{_ALL}"
    if _asking.get() and not _is_kept(named):
        raise _NotCompiled
    start = perf_counter()
    try:
        return decorate(cache=True, **_OPTIONS, **options)(named)
    except Exception:  # of whatever kind: a folder, a full disk, a damaged file
        return decorate(cache=False, **_OPTIONS, **options)(named)
    finally:
        seconds[name] = perf_counter() - start


def native(function: Function, name: str, *arguments: types.Type) -> Any:
    """``function`` as a C function of ``arguments``; its ``address`` holds while it lives.

    ``name`` tells all functions apart, those too that differ in what they close over.
    """
    signature = types.void(*arguments)
    return _compile(function, name, lambda **options: numba.cfunc(signature, **options))


# ---------------------------------------------------------------- kernels


class Plan:
    """A record of numbers by name, for kernels to read. ``zero`` is one of the kernel's type."""

    __slots__ = ("address", "dtype", "record")

    def __init__(self, zero: np.generic, **fields: float) -> None:
        self.dtype = _record_type(
            zero.dtype, tuple((name, type(value) is float) for name, value in fields.items())
        )
        self.record = np.array([(*fields.values(), zero)], self.dtype)
        self.address = address(self.record)


@cache
def _record_type(zero: np.dtype[Any], fields: tuple[tuple[str, bool], ...]) -> np.dtype[Any]:
    columns = [(name, np.float64 if is_float else np.int64) for name, is_float in fields]
    return np.dtype([*columns, ("zero", zero)], align=True)


def strides(array: str, steps: tuple[int, ...]) -> dict[str, int]:
    """The strides of a 4-D array as fields of a plan."""
    names = (f"{array}_{axis}" for axis in ("image", "channel", "row", "column"))
    return dict(zip(names, steps, strict=True))


class Kernel:
    """A function of ``(worker, tasks, memory, plan)``; ``carray(plan, 1)[0]`` is the record.

    ``kernel(threads, tasks, memory, plan)`` has all tasks done, by one worker a thread or fewer.
    """

    def __init__(self, function: Function, name: str = "") -> None:
        """``name`` tells functions apart that differ in nothing but what they close over."""
        self._function = function
        self._name = name or function.__name__.strip("_")
        self._codes: dict[np.dtype[Any], Any] = {}
        self._addresses: dict[np.dtype[Any], int] = {}
        self.__doc__ = function.__doc__

    def __call__(
        self, threads: int, tasks: int, memory: tuple[int, ...], plan: Plan
    ) -> None:
        code = self._addresses.get(plan.dtype) or self.code(plan).address
        _launch(threads, tasks, code, memory, plan.address)

    def code(self, plan: Plan) -> Any:
        """The native function for plans like this one, for another kernel to :data:`call`."""
        code = self._codes.get(plan.dtype)
        if code is None:
            code = self._codes[plan.dtype] = self._compiled(plan.dtype)
            self._addresses[plan.dtype] = code.address
        return code

    def _compiled(self, record: np.dtype[Any]) -> Any:
        name = f"{self._name}_{record['zero'].name}"
        return native(self._function, name, types.intp, types.intp, MEMORY, _pointer_to(record))


MEMORY = types.CPointer(types.intp)
"""The type of a kernel's ``memory``."""


def _pointer_to(record: np.dtype[Any]) -> Any:
    """Numba names the functions that take a record by a number that each process counts up for
    itself. Code that two processes have left on disk could call two functions by one name, and
    be linked to one of them: here the record's contents make the number, of 31 bits and larger
    than any that is counted up."""
    kind = numba.from_dtype(record)
    digest = hashlib.sha256(kind.name.encode()).digest()
    kind._code = 1 << 30 | int.from_bytes(digest[:4], "big") >> 2
    return types.CPointer(kind)


@cache
def part(function: Function, name: str, words: int, record: np.dtype[Any]) -> Any:
    """A part of a kernel, compiled by itself: a function of ``(memory, plan)`` and some words,
    which the kernel gets to by :data:`call`. What is compiled at one go is kept small so."""
    full_name = f"{name}_{record['zero'].name}"
    return native(function, full_name, MEMORY, _pointer_to(record), *[types.intp] * words)


_NEXT, _STOP, _WORKER, _WORKERS, _TASKS = range(5)
"""What the words of a worker's line tell: the next task of its share and the end of that share;
which worker this is and of how many, whose lines follow each other; the number of all tasks."""


@compiled
def _deal(lines, workers, tasks):
    """Give each worker its line, and its share of the tasks."""
    for worker in range(workers):
        line = _words_at(lines + worker * LINE)
        line[_NEXT] = worker * tasks // workers
        line[_STOP] = (worker + 1) * tasks // workers
        line[_WORKER] = worker
        line[_WORKERS] = workers
        line[_TASKS] = tasks


@compiled
def take(tasks):
    """A task that nobody has taken yet, of this worker's share while there are; the number of
    all tasks when none is left. ``tasks`` is what the kernel got."""
    line = _words_at(tasks)
    task = _count(tasks + 8 * _NEXT)
    if task < line[_STOP]:
        return task
    worker, workers = line[_WORKER], line[_WORKERS]
    for i in range(1, workers):
        other = tasks + ((worker + i) % workers - worker) * LINE
        task = _count(other + 8 * _NEXT)
        if task < _words_at(other)[_STOP]:
            return task
    return line[_TASKS]


@intrinsic
def _count(typingctx, address):
    """The number there, which is then one more for whoever asks next."""
    def codegen(context, builder, signature, args):
        word = ir.IntType(64)
        count = builder.inttoptr(args[0], word.as_pointer())
        return builder.atomic_rmw("add", count, word(1), "monotonic")

    return types.intp(types.intp), codegen


@intrinsic
def _words_at(typingctx, address):
    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], ir.IntType(64).as_pointer())

    return MEMORY(types.intp), codegen


@intrinsic
def _on_stack(typingctx, nbytes):
    """So much memory, from a cache line on, until the function that asks returns."""
    def codegen(context, builder, signature, args):
        memory = builder.alloca(ir.IntType(8), size=args[0])
        memory.align = LINE
        return builder.ptrtoint(memory, ir.IntType(64))

    return types.intp(types.intp), codegen


def _run_serial(code, memory, plan, tasks):
    line = _on_stack(LINE)
    _deal(line, 1, tasks)
    call(code, (0, line, memory, plan))


def _run_parallel(code, memory, plan, tasks, workers):
    lines = _on_stack(workers * LINE)
    _deal(lines, workers, tasks)
    before = _get_num_threads()
    _set_num_threads(workers)  # here it takes nanoseconds, and microseconds in Python
    for worker in prange(workers):
        call(code, (worker, lines + worker * LINE, memory, plan))
    _set_num_threads(before)


# What numba.get_num_threads and numba.set_num_threads call, when a layer runs; code that calls
# those themselves could not be kept on disk.
_get_num_threads = numba.types.ExternalFunction("get_num_threads", types.intp())
_set_num_threads = numba.types.ExternalFunction("set_num_threads", types.void(types.intc))


@intrinsic
def call(typingctx, code, arguments):
    """Call the native function at the address ``code`` with the tuple ``arguments``: words, as
    which all integers and truth values pass, and floating-point numbers."""
    def codegen(context, builder, signature, args):
        values = cgutils.unpack_tuple(builder, args[1])
        function = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(builder.inttoptr(args[0], function.as_pointer()), values)
        return context.get_dummy_value()

    passed = [
        types.intp if isinstance(ty, (types.Integer, types.Boolean)) else ty for ty in arguments
    ]
    return types.void(types.intp, types.Tuple(passed)), codegen


@cache
def _launcher(parallel: bool) -> Any:
    function = _run_parallel if parallel else _run_serial
    if parallel:
        _layer()  # which brings the functions that it calls
    return _compile(
        function, function.__name__.strip("_"),
        lambda **options: numba.njit(
            types.void(*[types.intp] * function.__code__.co_argcount), **options
        ),
        parallel=parallel,
    )


def _launch(threads: int, tasks: int, code: int, memory: tuple[int, ...], plan: int) -> None:
    workers = min(threads, tasks, numba.config.NUMBA_NUM_THREADS)
    alone = workers <= 1 or (forked() and _layer() == "omp")
    run = _launcher(not alone)
    if _asking.get():
        return
    at, _kept = words(memory)
    if alone:
        run(code, at, plan, tasks)
    elif _layer() == "workqueue":
        with _one_at_a_time:
            run(code, at, plan, tasks, workers)
    else:
        run(code, at, plan, tasks, workers)


# ---------------------------------------------------------------- threading layers

_one_at_a_time = threading.Lock()


@cache
def _layer() -> str:
    numba.get_num_threads()  # the first question starts the layer
    return str(numba.threading_layer())


def _after_fork() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.Lock()  # its holder did not come along


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
