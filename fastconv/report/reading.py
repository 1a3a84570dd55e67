"""Benchmark JSON taken apart: what pytest-benchmark writes, with or without fastconv's fields.

Nothing in a file is trusted: a field of another type counts as absent, a benchmark without a
time is left out and said to be, and only a file that holds no benchmarks at all is an error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BUSY = 0.7
"""Load average, before anything is timed, from which on times are doubtful."""


class ReportError(ValueError):
    """The results cannot be made into a page; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One benchmark. What a foreign file does not say is None, or empty."""

    name: str
    seconds: float
    """The least of all samples."""
    median: float | None
    rounds: int | None
    source: str
    """The file."""
    operation: str = ""
    layer: str = ""
    case: str = ""
    batch: int | None = None
    flops: float | None = None
    bytes: float | None = None
    backend: str = ""
    algorithm: str = ""
    threads: int = 1
    device: str = ""
    kind: str = ""
    """"cpu" or "gpu"."""
    auto: str = ""
    """The row that fastconv would have chosen."""
    to_device: float | None = None
    from_device: float | None = None

    @property
    def foreign(self) -> bool:
        """Whether it lacks what the comparisons need."""
        return not (self.layer and self.backend and self.algorithm and self.device)

    @property
    def kernel(self) -> str:
        """The row without its operation."""
        return f"{self.algorithm}@{self.backend}"

    @property
    def row(self) -> str:
        """The row's name, as ``auto`` writes it."""
        return f"{self.operation}.{self.kernel}"

    @property
    def images(self) -> int:
        """Pictures in the batch."""
        return self.batch or 1


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a device can do at most, as the benchmark measured it."""

    threads: int | None
    flops: float
    bandwidth: float
    how: str


@dataclass(slots=True)
class DeviceInfo:
    """A device that the files tell of."""

    name: str
    kind: str
    cores: int | None = None
    ceilings: list[Ceiling] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Run:
    """Where, when and with what one file was measured; every value a text."""

    source: str
    when: str
    count: int
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Results:
    """All files together."""

    runs: tuple[Run, ...]
    devices: tuple[DeviceInfo, ...]
    measurements: tuple[Measurement, ...]
    """Of several that measured the same, the least."""
    foreign: tuple[Measurement, ...]
    left_out: tuple[str, ...]
    """Benchmarks without a time, and why."""
    repeated: int
    """How many measurements another one of the same thing has replaced."""


def read(paths: Iterable[Path]) -> Results:
    """Everything in the files.

    Raises
    ------
    ReportError
        A file cannot be read or is no benchmark JSON; there is nothing to show in any of them.
    """
    runs: list[Run] = []
    devices: dict[tuple[str, str], DeviceInfo] = {}
    best: dict[tuple[Any, ...], Measurement] = {}
    foreign: list[Measurement] = []
    left_out: list[str] = []
    repeated = 0
    for path in paths:
        document = _load(path)
        entries = document["benchmarks"]
        for entry in entries:
            found = _measurement(entry, path.name)
            if isinstance(found, str):
                left_out.append(f"{path.name}: {found}")
            elif found.foreign:
                foreign.append(found)
            else:
                key = (found.device, found.kind, found.operation, found.layer, found.case,
                       found.batch, found.threads, found.algorithm, found.backend)
                repeated += key in best
                if key not in best or found.seconds < best[key].seconds:
                    best[key] = found
        for device in _devices(document):
            known = devices.setdefault((device.name, device.kind), device)
            if known is not device:
                _merge(known, device)
        runs.append(_run(document, path.name, len(entries)))
    for each in best.values():
        devices.setdefault((each.device, each.kind), DeviceInfo(each.device, each.kind))
    if not best and not foreign:
        files = ", ".join(run.source for run in runs) or "no file"
        reason = f"; left out: {left_out[0]}" if left_out else ""
        raise ReportError(f"there is no measurement in {files}{reason}")
    return Results(tuple(runs), tuple(devices.values()), tuple(best.values()), tuple(foreign),
                   tuple(left_out), repeated)


def _load(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise ReportError(f"{path} does not exist") from None
    except OSError as error:
        raise ReportError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ReportError(f"{path} is no JSON: it is not UTF-8") from None
    except RecursionError:
        raise ReportError(f"{path} is no benchmark JSON: it is nested too deep") from None
    except ValueError as error:
        raise ReportError(f"{path} is no JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("benchmarks"), list):
        raise ReportError(
            f"{path} is no benchmark JSON: it has no list \"benchmarks\"; make one with "
            "python -m fastconv bench, or pytest --benchmark-json"
        )
    return document


def _measurement(entry: object, source: str) -> Measurement | str:
    """One benchmark, or why it is left out."""
    whole = _mapping(entry)
    name = _text(whole, "name") or _text(whole, "fullname") or "a benchmark without a name"
    stats = _mapping(whole.get("stats"))
    seconds = _positive(stats, "min") or _positive(stats, "mean")
    if seconds is None:
        return f"{name} has no time"
    info = _mapping(whole.get("extra_info"))
    return Measurement(
        name=name, seconds=seconds, median=_positive(stats, "median"),
        rounds=_count(stats, "rounds"), source=source,
        operation=_text(info, "operation"), layer=_layer(info), case=_text(info, "case"),
        batch=_count(info, "batch"), flops=_positive(info, "flops"),
        bytes=_positive(info, "bytes"), backend=_text(info, "backend"),
        algorithm=_text(info, "algorithm"), threads=_count(info, "threads") or 1,
        device=_text(info, "device"),
        kind="gpu" if _text(info, "device_kind") == "gpu" else "cpu", auto=_text(info, "auto"),
        to_device=_positive(info, "to_device_seconds"),
        from_device=_positive(info, "from_device_seconds"),
    )


def _layer(info: Mapping[str, Any]) -> str:
    """Its name; layers of another precision are others."""
    name, precision = _text(info, "layer"), _text(info, "precision")
    return f"{name}, {precision}" if name and precision not in ("", "default") else name


def _devices(document: Mapping[str, Any]) -> Iterable[DeviceInfo]:
    for entry in _sequence(_mapping(document.get("fastconv")).get("devices")):
        told = _mapping(entry)
        if name := _text(told, "name"):
            ceilings = [
                Ceiling(_count(each, "threads"), flops, bandwidth, _text(each, "how"))
                for each in map(_mapping, _sequence(told.get("ceilings")))
                if (flops := _positive(each, "flops"))
                and (bandwidth := _positive(each, "bandwidth"))
            ]
            kind = "gpu" if _text(told, "kind") == "gpu" else "cpu"
            yield DeviceInfo(name, kind, _count(told, "cores"), ceilings)


def _merge(known: DeviceInfo, again: DeviceInfo) -> None:
    """The higher ceiling of each number of threads: a busy machine measures too little."""
    known.cores = max(known.cores or 0, again.cores or 0) or None
    by_threads = {ceiling.threads: ceiling for ceiling in known.ceilings}
    for ceiling in again.ceilings:
        before = by_threads.get(ceiling.threads)
        by_threads[ceiling.threads] = ceiling if before is None else Ceiling(
            ceiling.threads, max(before.flops, ceiling.flops),
            max(before.bandwidth, ceiling.bandwidth), before.how,
        )
    known.ceilings = list(by_threads.values())


def _run(document: Mapping[str, Any], source: str, count: int) -> Run:
    machine = _mapping(document.get("machine_info"))
    cpu = _mapping(machine.get("cpu"))
    ours = _mapping(document.get("fastconv"))
    config = _mapping(ours.get("config"))
    facts = {
        "Processor": _text(cpu, "brand_raw") or _text(machine, "processor"),
        "Processors in use": _text(cpu, "count"),
        "Cards": ", ".join(d.name for d in _devices(document) if d.kind == "gpu"),
        "Instruction set": _text(config, "instruction set"),
        "System": " ".join(
            filter(None, (_text(machine, "system"), _text(machine, "release"),
                          _text(machine, "machine")))
        ),
        "Python": " ".join(
            filter(None, (_text(machine, "python_implementation"),
                          _text(machine, "python_version")))
        ),
        "Versions": ", ".join(
            f"{_clean(str(package))} {_clean(str(number))}"
            for package, number in _mapping(ours.get("versions")).items() if package != "python"
        ),
        "Commit": _commit(_mapping(document.get("commit_info"))),
        "Load before": _load_average(ours),
        "Command": _text(ours, "command"),
    }
    return Run(_clean(source), _text(document, "datetime"), count,
               tuple((name, value) for name, value in facts.items() if value))


def _load_average(ours: Mapping[str, Any]) -> str:
    load = _positive(ours, "load_average")
    if load is None:
        return ""
    return f"{load:.1f}" + (": the machine was busy, its times are doubtful" if load > BUSY else "")


def _commit(info: Mapping[str, Any]) -> str:
    name = _text(info, "id")
    if not name or name.startswith("unversioned") or name == "unknown":
        return ""
    return name[:12] + (", with changes" if info.get("dirty") is True else "")


# ---------------------------------------------------------------- fields of any type


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _text(owner: Mapping[str, Any], key: str) -> str:
    value = owner.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    return _clean(value) if isinstance(value, str) else ""


def _clean(text: str) -> str:
    """Without what neither HTML nor XML can hold: control characters and half surrogates."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() or c == " " else "\ufffd" for c in text)


def _positive(owner: Mapping[str, Any], key: str) -> float | None:
    value = owner.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if number > 0 and math.isfinite(number) else None


def _count(owner: Mapping[str, Any], key: str) -> int | None:
    number = _positive(owner, key)
    return int(number) if number is not None and number == int(number) else None
