"""What this installation can do here: backends() and show_config()."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from . import config, memory, registry
from .dispatch import available, processor


def backends() -> dict[str, str | None]:
    """The backends and whether they can be used here.

    Returns
    -------
    dict
        Name → None, or the reason why it is absent, with the cure.

    Raises
    ------
    Nothing: an absent backend is a value here, not an error.
    """
    return {name: available(name) for name in registry.BACKENDS}


@dataclass(frozen=True, slots=True)
class Configuration:
    """The environment of fastconv; print it for a table, or read ``items``."""

    items: dict[str, str]

    def __str__(self) -> str:
        width = max(map(len, self.items))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in self.items.items())


def show_config() -> Configuration:
    """Versions, instruction sets, threads, backends and environment variables.

    Returns
    -------
    Configuration
        Printable; ``items`` is a dict of strings.

    Raises
    ------
    ValueError
        If ``FASTCONV_NUM_THREADS``, ``FASTCONV_ISA`` or ``FASTCONV_POOL_BYTES`` cannot be
        understood.
    """
    items = {
        "fastconv": _version("fastconv"),
        "python": f"{platform.python_version()} ({platform.machine()}, {platform.system()})",
        "numpy": _version("numpy"),
        "scipy": _version("scipy"),
        "numba": _version("numba"),
        "threads": str(config.get_num_threads()),
        "idle pages": memory.status(),
    }
    if available("cython") is None:
        isa = import_module("fastconv.backends.cython.isa")
        items["instruction set"] = isa.active()
        items["processor"] = processor()
        items["instruction sets built"] = ", ".join(isa.built())
        items["instruction sets usable"] = ", ".join(isa.supported())
        items["OpenMP"] = "yes" if isa.openmp() else "no: the compiled kernels use one thread"
    for name, reason in backends().items():
        items[f"backend {name}"] = reason or "available"
    for name in config.ENVIRONMENT:
        items[name] = os.environ.get(name, "(not set)")
    return Configuration(items)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
