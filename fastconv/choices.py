"""What tune() has measured, kept from run to run: a small file for each call.

The files lie in the folder that ``FASTCONV_CACHE_DIR`` names, else in the user's cache folder as
the package ``platformdirs`` finds it, apart for each version of fastconv, CPU and instruction
set. One file holds one call on one number of threads and is replaced as a whole, so any number
of processes may tune at once. What cannot be read is ignored with a warning; where nothing can
be written, the measurements serve this process only.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import NamedTemporaryFile

from .spec import Conv2dSpec, Spec

VARIABLE = "FASTCONV_CACHE_DIR"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Timing:
    """Measured seconds of one row: of a call on packed weights, and what packing adds to one
    that makes its own."""

    run: float
    pack: float
    threads: int

    def seconds(self, packed: bool) -> float:
        """Of a plan's call, or of a functional one."""
        return self.run if packed else self.run + self.pack


Times = Mapping[str, Timing]
"""Row name → timing."""

_here: dict[tuple[str, int, str], Times] = {}
"""What this process has measured itself, by call, threads and instruction set."""


def times_of(op: str, spec: Spec, threads: int, instruction_set: str) -> Times:
    """The measurements of a call on ``threads`` threads, a timing for each row's name: this
    process's own, else those kept on disk for this processor and version. Empty where there are
    none, or a file cannot be read."""
    folder = _folder(instruction_set)
    if folder is None and not _here:  # nobody has ever tuned here
        return {}
    call = _call(op, spec)
    found = _here.get((call, threads, instruction_set))
    if found is None and folder is not None:
        found = _read(_file(folder, call, threads), call, threads, instruction_set)
    return found or {}


def keep(op: str, spec: Spec, threads: int, instruction_set: str, times: Times) -> str | None:
    """Remember measurements; the reason if they will not outlive this process."""
    call = _call(op, spec)
    _here[call, threads, instruction_set] = times
    base = _base()
    if base is None:
        cure = f'pip install "fastconv[tune]" or set {VARIABLE}'
        return f"the user's cache folder is not known without platformdirs; {cure}"
    folder = base / _machine_name(instruction_set)
    content = {
        "format": FORMAT, **_machine(instruction_set), "call": call, "threads": threads,
        "times": {name: asdict(timing) for name, timing in times.items()},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace(_file(folder, call, threads), json.dumps(content, indent=1))
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror}"
    _folder.cache_clear()
    return None


def _replace(path: Path, text: str) -> None:
    """All at once: whoever reads meanwhile finds the old file or the new one."""
    with NamedTemporaryFile(
        "w", dir=path.parent, prefix="writing-", delete=False, encoding="utf-8"
    ) as file:
        try:
            file.write(text)
            file.close()
            os.replace(file.name, path)
        except OSError:
            os.unlink(file.name)
            raise


def forget() -> None:
    """Drop what this process has measured, and where it looks for more, as if it had just
    started. What is kept on disk stays."""
    _here.clear()
    _folder.cache_clear()


# ---------------------------------------------------------------- names


def _call(op: str, spec: Spec) -> str:
    """A call with all that matters to the choice: half types count as float32."""
    if isinstance(spec, Conv2dSpec):
        return f"{op} {replace(spec.plain_spec, bias=False, activation=None)!r}"
    return f"{op} {spec.kernel_spec!r}"


def _base() -> Path | None:
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given)
    try:
        from platformdirs import user_cache_path
    except ModuleNotFoundError:
        return None
    return user_cache_path("fastconv", appauthor=False)


@cache
def _folder(instruction_set: str) -> Path | None:
    """Where measurements for this machine are, or None if there are none."""
    base = _base()
    if base is None or not base.is_dir():
        return None
    folder = base / _machine_name(instruction_set)
    return folder if folder.is_dir() else None


def _file(folder: Path, call: str, threads: int) -> Path:
    return folder / f"{_digest(f'{call} {threads}')}.json"


def _digest(text: str) -> str:
    return hashlib.blake2s(text.encode(), digest_size=10).hexdigest()


@cache
def _machine(instruction_set: str) -> dict[str, str]:
    """What measurements hold for."""
    try:
        ours = version("fastconv")
    except PackageNotFoundError:
        ours = "not installed"
    return {"fastconv": ours, "cpu": _cpu(), "instruction set": instruction_set}


def _machine_name(instruction_set: str) -> str:
    found = _machine(instruction_set)
    return f"{found['fastconv']}-{instruction_set}-{_digest(found['cpu'])}".replace(" ", "-")


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


# ---------------------------------------------------------------- reading


def _read(path: Path, call: str, threads: int, instruction_set: str) -> Times | None:
    wanted = {"format": FORMAT, **_machine(instruction_set), "call": call, "threads": threads}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        wrong = [name for name, value in wanted.items() if content[name] != value]
        if not wrong:
            return {str(name): _timing(**entry) for name, entry in content["times"].items()}
        why = f"it is for another {wrong[0]}"
    except FileNotFoundError:
        return None
    except OSError as error:
        why = f"it cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, AttributeError):
        why = "it is damaged"
    warnings.warn(
        f"fastconv ignores {path}: {why}; delete it or tune again", UserWarning, stacklevel=2
    )
    return None


def _timing(run: float, pack: float, threads: int) -> Timing:
    numbers = isinstance(run, float) and isinstance(pack, float) and isinstance(threads, int)
    if not (numbers and 0 < run < math.inf and 0 <= pack < math.inf and threads >= 1):
        raise ValueError
    return Timing(run, pack, threads)
