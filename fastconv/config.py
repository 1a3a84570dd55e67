"""Settings: every environment variable, the thread count, and scoped options.

A setting is looked up in this order: the call's own argument, :func:`options`, the
environment, the built-in default.

=======================  ================================================================
variable                 meaning
=======================  ================================================================
FASTCONV_BACKEND         the backend of every call that names none
FASTCONV_NUM_THREADS     threads of every call; else OMP_NUM_THREADS; else the CPUs that
                         this process may use
FASTCONV_ISA             instruction set of the Cython wing: baseline, avx2 or avx512
FASTCONV_POOL_BYTES      memory kept for the compiled kernels and for large results: how many
                         bytes may lie idle, 256 MB unless stated, 0 for none
FASTCONV_CACHE_DIR       folder of what tune() keeps; else one in the user's cache folder
FASTCONV_DEBUG           1 prints a line for each call to stderr, 2 also the rejected rows
=======================  ================================================================
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace

from .spec import PRECISIONS, integer, one_of
from .streams import handle_of

ENVIRONMENT = (
    "FASTCONV_BACKEND", "FASTCONV_NUM_THREADS", "FASTCONV_ISA", "FASTCONV_POOL_BYTES",
    "FASTCONV_CACHE_DIR", "FASTCONV_DEBUG", "OMP_NUM_THREADS",
)


MOST_THREADS = 1024
"""OpenMP ends the process when the system refuses it a thread."""


@dataclass(frozen=True, slots=True)
class _Options:
    backend: str = "auto"
    algorithm: str = "auto"
    precision: str = "default"
    threads: int | None = None
    stream: int | None = None
    outer: _Options | None = None
    """What holds again when the block ends: kept here, not in :class:`options`, because each
    thread and each async task has its own."""


_scoped: ContextVar[_Options] = ContextVar("fastconv_options", default=_Options())  # noqa: B039
_threads: int | None = None


class options:
    """Settings for all calls inside a ``with`` block, in this thread or async task.

    Parameters
    ----------
    backend, algorithm : str, optional
        Used by calls that leave the argument at ``"auto"``.
    precision : {"strict", "default", "fast"}, optional
        Used by calls that leave the argument at ``"default"``.
    threads : int, optional
        Number of threads, 1 to 1024.
    stream : object with ``__cuda_stream__``, or int, optional
        The CUDA stream that arrays of a GPU are computed on: one of CuPy, PyTorch, Numba or
        cuda.core, or its handle (1 is the legacy default stream, 2 the thread's own). It waits
        for the streams that the arrays name; what reads the result on another stream must wait
        for it. Without, a call runs on the stream of its first array.

    Raises
    ------
    ValueError, TypeError
        For an unknown precision, a thread count out of range or what is no stream. An unknown
        backend or algorithm is reported by the call that meets it.

    Examples
    --------
    >>> with fastconv.options(backend="numpy", threads=1):
    ...     y = fastconv.conv2d(x, w)
    """

    def __init__(
        self, *, backend: str | None = None, algorithm: str | None = None,
        precision: str | None = None, threads: int | None = None, stream: object = None,
    ) -> None:
        changes: dict[str, object] = {}
        for name, value in (("backend", backend), ("algorithm", algorithm)):
            if value is not None:
                if not isinstance(value, str):
                    raise TypeError(f"{name} must be a string; got {type(value).__name__}")
                changes[name] = value
        if precision is not None:
            changes["precision"] = one_of("precision", precision, PRECISIONS)
        if threads is not None:
            changes["threads"] = integer("threads", threads, least=1, most=MOST_THREADS)
        if stream is not None:
            changes["stream"] = handle_of(stream)
        self._changes = changes

    def __enter__(self) -> None:
        outer = _scoped.get()
        _scoped.set(replace(outer, outer=outer, **self._changes))  # type: ignore[arg-type]

    def __exit__(self, *_: object) -> None:
        _scoped.set(_scoped.get().outer or _Options())


_environ = os.environ
# Reading os.environ encodes the name and decodes the value, each time anew.
_encoded: dict[object, object] | None = getattr(os.environ, "_data", None)
_BACKEND, _DEBUG = map(os.environ.encodekey, ("FASTCONV_BACKEND", "FASTCONV_DEBUG"))


def settings() -> tuple[object, ...] | None:
    """All that the choice of a kernel depends on beside the call, to compare with another
    time's; None while every call has something to say or where reading it would take long."""
    if os.environ is not _environ or _encoded is None or _encoded.get(_DEBUG):
        return None
    scoped = _scoped.get()
    return (
        scoped.backend, scoped.algorithm, scoped.precision, scoped.threads, _threads,
        _encoded.get(_BACKEND), _measurements,
    )


_measurements = 0


def measurements() -> int:
    """How often the measurements that decide (:func:`fastconv.tune`) have changed in this process:
    a choice that was made at another count is made again."""
    return _measurements


def measurements_changed() -> None:
    """Let every call choose its kernel anew."""
    global _measurements
    _measurements += 1


def backend_for(argument: object, valid: Sequence[str]) -> str:
    """The backend that a call asks for, ``"auto"`` if nobody names one."""
    names = ("auto", *valid)
    backend = one_of("backend", argument, names)
    if backend == "auto":
        backend = one_of("backend", _scoped.get().backend, names)
    if backend == "auto":
        backend = one_of("FASTCONV_BACKEND", os.environ.get("FASTCONV_BACKEND") or "auto", names)
    return backend


def algorithm_for(argument: object, valid: Sequence[str], everywhere: Sequence[str]) -> str:
    """The algorithm that a call asks for, ``"auto"`` if nobody names one.

    An algorithm set by :func:`options` holds for the operations that have it; ``everywhere``
    lists those of all operations.
    """
    algorithm = one_of("algorithm", argument, ("auto", *valid))
    if algorithm == "auto":
        scoped = one_of("algorithm", _scoped.get().algorithm, ("auto", *everywhere))
        algorithm = scoped if scoped in valid else "auto"
    return algorithm


def precision_for(argument: object) -> str:
    """The precision that a call asks for."""
    precision = one_of("precision", argument, PRECISIONS)
    return _scoped.get().precision if precision == "default" else precision


def stream() -> int | None:
    """The CUDA stream that calls here and now were told to use, if any."""
    return _scoped.get().stream


def get_num_threads() -> int:
    """The number of threads that calls here and now may use.

    Returns
    -------
    int
        From :func:`options`, :func:`set_num_threads`, ``FASTCONV_NUM_THREADS``,
        ``OMP_NUM_THREADS``, or the number of CPUs this process may use.

    Raises
    ------
    ValueError
        If ``FASTCONV_NUM_THREADS`` is not a positive integer.
    """
    scoped = _scoped.get().threads
    if scoped is not None:
        return scoped
    global _threads
    if _threads is None:
        _threads = _default_threads()
    return _threads


def set_num_threads(n: int) -> int:
    """Set the number of threads for the whole process.

    Parameters
    ----------
    n : int
        1 to 1024. Calls with little work still use one thread.

    Returns
    -------
    int
        The number before.

    Raises
    ------
    ValueError, TypeError
        If ``n`` is not such an integer.
    """
    n = integer("the number of threads", n, least=1, most=MOST_THREADS)
    global _threads
    previous = _default_threads() if _threads is None else _threads
    _threads = n
    return previous


def _default_threads() -> int:
    own = os.environ.get("FASTCONV_NUM_THREADS")
    if own:
        if not own.strip().isdecimal() or not 1 <= int(own) <= MOST_THREADS:
            raise ValueError(
                f"FASTCONV_NUM_THREADS must be a positive integer up to {MOST_THREADS}; "
                f"got {own!r}"
            )
        return int(own)
    openmp = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if openmp.isdecimal() and 1 <= int(openmp) <= MOST_THREADS:
        return int(openmp)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def debug_level() -> int:
    """0, 1 or 2, from ``FASTCONV_DEBUG``."""
    value = os.environ.get("FASTCONV_DEBUG", "")
    return int(value) if value.isdecimal() else 0
