"""The arithmetic of the goals, on figures made up for it."""

from __future__ import annotations

from typing import Any

import pytest

from . import goals


def _result(work: str, threads: int, labels: list[str], **milliseconds: float) -> dict[str, Any]:
    times = {name.replace("__", "/"): value for name, value in milliseconds.items()}
    return {"work": work, "threads": threads, "labels": labels, "milliseconds": times,
            "megabytes": {}, "failed": {}}


def _report(*results: dict[str, Any]) -> dict[str, Any]:
    sides = [("cython/plan", "fastconv"), ("torch", "network"), ("ort", "network"),
             ("opencv", "picture")]
    return {"sides": [{"name": name, "title": name, "family": f} for name, f in sides],
            "results": list(results)}


def _verdict(report: dict[str, Any], goal: str) -> goals.Verdict:
    return next(v for v in goals.judge(report, "cython") if v.goal.goal == goal)


def test_the_best_peer_counts_and_the_mean_is_geometric() -> None:
    report = _report(
        _result("a", 1, ["layers", "5x5"], cython__plan=1, torch=9, ort=8, opencv=0.1),
        _result("b", 1, ["layers", "5x5"], cython__plan=1, torch=2, ort=3),
        _result("c", 1, ["layers", "1x1"], cython__plan=1, torch=1, ort=1),
    )
    verdict = _verdict(report, "5×5")
    assert verdict.figures == {1: pytest.approx(4)}
    assert verdict.worst == (2, "b", 1)
    assert verdict.met is True
    assert verdict.floor_met is True
    assert _verdict(report, "all layers").figures == {1: pytest.approx(16 ** (1 / 3))}


def test_every_number_of_threads_must_reach_the_goal() -> None:
    report = _report(
        _result("a", 1, ["layers", "5x5"], cython__plan=1, torch=4),
        _result("a", 2, ["layers", "5x5"], cython__plan=1, torch=3),
    )
    assert _verdict(report, "5×5").met is False
    assert _verdict(report, "5×5").worst == (3, "a", 2)
    gain = _verdict(report, "2 threads, against 1")
    assert gain.figures == {2: 1}


def test_a_failure_of_ours_is_a_goal_missed() -> None:
    bad = _result("b", 1, ["layers", "5x5"], torch=1)
    bad["failed"] = {"cython/plan": "wrong result"}
    report = _report(_result("a", 1, ["layers", "5x5"], cython__plan=1, torch=9), bad)
    assert _verdict(report, "5×5").met is False


def test_a_limit_is_held_by_the_largest() -> None:
    report = _report(_result("1x1x8x8", 1, ["calls"], cython__plan=0.0016))
    verdict = _verdict(report, "1×1×8×8, plan")
    assert verdict.figures == {1: pytest.approx(1.6)}
    assert verdict.met is False


def test_what_was_not_measured_has_no_verdict() -> None:
    assert _verdict(_report(), "all layers").met is None
