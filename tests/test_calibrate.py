"""The calibration: prices that made some times are found again, and bad choices are counted."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from fastconv import dispatch, heuristics
from fastconv.registry import Kernel, rows

ROOT = Path(__file__).parent.parent
if not (ROOT / "benchmarks" / "calibrate").is_dir():
    pytest.skip("only the installed package is here", allow_module_level=True)
sys.path.append(str(ROOT))
fit = pytest.importorskip("benchmarks.calibrate.fit")
from benchmarks.calibrate import regret  # noqa: E402
from benchmarks.calibrate.measure import Measured, Times, read, write  # noqa: E402
from benchmarks.calibrate.shapes import spread  # noqa: E402

DIRECT = next(row for row in rows("conv2d") if row.name == "conv2d.direct@cython")
# Neither is taken only where it is predicted to be far ahead.
OTHER = next(row for row in rows("conv2d") if row.name == "conv2d.planar@cython")


def measured(count: int, *able: Kernel) -> list[Any]:
    """Calls that took exactly what the present prices predict."""
    found = []
    for op, spec in islice((call for call in spread(3) if call[0] == "conv2d"), count):
        times = {}
        for row in able:
            seen = spec.kernel_spec
            run, both = (
                heuristics.seconds(row, seen, n, packed=True, **dispatch.machine()) for n in (1, 2)
            )
            in_call = heuristics.seconds(row, seen, **dispatch.machine())
            times[row.name] = Times(run, both, in_call - run)
        found.append(Measured(op, spec, times))
    return found


def test_prices_are_found_again(monkeypatch: Any) -> None:
    known = heuristics.prices(dispatch.processor())
    true = known[DIRECT.name]
    wrong = {name: price * (3 if i % 2 else 0.4) for i, (name, price) in enumerate(true.items())}
    calls = measured(80, DIRECT)
    found = fit.prices(DIRECT, calls, wrong)
    assert set(found) >= set(true)
    monkeypatch.setitem(known, DIRECT.name, found)
    for call in calls:
        for packed in (True, False):
            t = call.times[DIRECT.name]
            predicted = dispatch.predicted(DIRECT, call.spec, packed=packed)
            assert predicted == pytest.approx(t.run + (0 if packed else t.pack), rel=0.15)


def test_few_measurements_change_nothing() -> None:
    before = heuristics.prices()[DIRECT.name]
    assert fit.prices(DIRECT, measured(fit.FEWEST - 1, DIRECT), before) == before


def test_regret_counts_bad_choices() -> None:
    calls = measured(10, DIRECT, OTHER)
    assert {loss.ratio for loss in regret.losses(calls, "conv2d", packed=True,
                                                precision="default")} == {1.0}
    for call in calls[:4]:  # what was predicted best proves three times slower than the other
        best = min(call.times, key=lambda name: call.times[name].run)
        other = next(name for name in call.times if name != best)
        call.times[best] = Times(3 * call.times[other].run)
    found = regret.losses(calls, "conv2d", packed=True, precision="default")
    assert sum(loss.ratio > 2.9 for loss in found) == 4
    assert "within 10 % of the fastest row 60.0%" in regret.summary(found)


def test_measurements_are_kept_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "times.jsonl"
    assert read(path) == {}
    calls = measured(5, DIRECT)
    write(path, calls)
    assert list(read(path).values()) == calls
    with path.open("a") as file:
        file.write(calls[0].line()[:40])  # a run that was interrupted
    assert list(read(path).values()) == calls


def test_the_spread_is_the_same_each_time_and_has_all_kinds() -> None:
    calls = list(islice(spread(1), 300))
    assert calls == list(islice(spread(1), 300))
    assert {op for op, _ in calls} == {"conv2d", "conv2d_input_grad", "pool2d", "activation"}
    convs = [spec for op, spec in calls if op == "conv2d"]
    assert {spec.layout for spec in convs} == {"NCHW", "NHWC"}
    assert any(spec.G == spec.IC > 1 for spec in convs)
    assert any(spec.IH % 2 and spec.IW % 2 for spec in convs)
    assert any(spec.SH > 1 for spec in convs)
    assert any(spec.DH > 1 for spec in convs)
