"""tune(): what it measures decides, in this process and the next; nothing else can disturb it."""

from __future__ import annotations

import json
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import python

import fastconv as fc
from fastconv import choices, trial
from fastconv.choices import Timing
from fastconv.dispatch import available, choose_anew, instruction_set
from fastconv.shapes import described

X = np.random.default_rng(4).standard_normal((1, 4, 9, 10)).astype(np.float32)
W = np.random.default_rng(5).standard_normal((6, 4, 3, 3)).astype(np.float32)
CALL = ("conv2d", X.shape, W.shape)
SLOW = "conv2d.im2col@numpy"
"""Never predicted to be the fastest here."""
QUICK: dict[str, Any] = {"seconds": 1e-3, "progress": False}

pytestmark = [
    pytest.mark.skipif(
        available("cython") is not None, reason="nothing is faster than NumPy then"
    ),
    pytest.mark.usefixtures("free_choice"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: Any) -> Iterator[Path]:
    """An empty cache folder, and a process that knows nothing."""
    place = tmp_path / "cache"
    monkeypatch.setenv(choices.VARIABLE, str(place))
    _forget()
    yield place
    _forget()


def _forget() -> None:
    choices.forget()
    choose_anew()


def _keep(call: tuple[Any, ...] = CALL, threads: int | None = None, **seconds: float) -> Path:
    """Pretend that these rows were measured; the file."""
    op, spec = described(*call)
    times = {
        f"{op}.{name.replace('_', '@')}": Timing(s, 0.0, 1) for name, s in seconds.items()
    } or {SLOW: Timing(1e-9, 0.0, 1)}
    count = fc.get_num_threads() if threads is None else threads
    assert choices.keep(op, spec, count, instruction_set(), times) is None
    _forget()
    base = Path(choices.os.environ[choices.VARIABLE])
    (file,) = base.glob("*/*.json")
    return file


# ---------------------------------------------------------------- what decides


def test_the_fastest_measured_row_runs() -> None:
    tuning = fc.tune(*CALL, **QUICK)
    (call,) = tuning.calls
    told = call.explanation
    assert tuning.not_kept is None
    assert told.tuned
    assert told.measured == min(c.measured for c in told.candidates if c.measured is not None)
    assert told.chosen == fc.explain(*CALL).chosen
    assert call.gain >= 1
    assert "chosen: the fastest when tuned" in str(told)
    assert told.chosen in str(tuning)


def test_a_choice_outlives_the_process(folder: Path) -> None:
    assert fc.explain(*CALL).chosen != SLOW
    _keep()
    assert fc.explain(*CALL).chosen == SLOW
    told = python(f"import fastconv as fc; print(fc.explain(*{CALL!r}))",
                  FASTCONV_CACHE_DIR=str(folder)).stdout
    assert f"→ {SLOW}" in told
    assert "chosen: the fastest when tuned" in told
    assert "not measured" in told


def test_what_was_tuned_is_what_runs(monkeypatch: Any, capfd: Any) -> None:
    wanted = fc.conv2d(X, W)
    _keep()
    monkeypatch.setenv("FASTCONV_DEBUG", "2")
    np.testing.assert_allclose(fc.conv2d(X, W), wanted, atol=1e-5)
    told = capfd.readouterr().err
    assert SLOW in told
    assert "measured slower" in told


def test_calls_pay_for_packing_and_plans_do_not() -> None:
    op, spec = described(*CALL)
    times = {
        "conv2d.direct@cython": Timing(2e-6, 1e-6, 1), "conv2d.im2col@cython": Timing(1e-6, 5e-6, 1)
    }
    choices.keep(op, spec, fc.get_num_threads(), instruction_set(), times)
    assert fc.explain(*CALL).chosen == "conv2d.direct@cython"
    assert fc.explain(*CALL).measured == pytest.approx(3e-6)
    plan = fc.plan_conv2d(W, x_shape=X.shape)
    assert plan.algorithm == "im2col"
    assert plan.explain().measured == pytest.approx(1e-6)


def test_calls_and_plans_that_are_known_follow(monkeypatch: Any, capfd: Any) -> None:
    plan = fc.plan_conv2d(W, x_shape=X.shape)
    before = [fc.conv2d(X, W) for _ in range(3)] + [plan(X) for _ in range(3)]
    _keep()
    after = [fc.conv2d(X, W), plan(X)]
    assert plan.backend == "numpy"
    for result in after:
        np.testing.assert_allclose(result, before[0], atol=1e-5)
    monkeypatch.setenv("FASTCONV_DEBUG", "1")
    fc.conv2d(X, W)
    assert SLOW in capfd.readouterr().err


def test_another_call_is_not_concerned() -> None:
    _keep()
    with fc.options(threads=fc.get_num_threads() + 1):
        assert not fc.explain(*CALL).tuned
    assert not fc.explain(*CALL, stride=2).tuned
    assert not fc.explain(*CALL, precision="strict").tuned
    assert not fc.explain(*CALL, dtype="float64").tuned
    assert fc.explain(*CALL, bias=True).tuned  # which does not matter to the choice
    assert fc.explain(*CALL, dtype="float16").tuned  # float32 to a kernel
    assert fc.explain(*CALL, backend="cython").backend == "cython"


def test_a_function_is_tuned_with_all_that_it_calls() -> None:
    plan = fc.plan_conv2d(W, x_shape=X.shape)

    def model() -> None:
        fc.max_pool2d(fc.relu(plan(X)), 2)
        fc.relu(plan(X))

    tuning = fc.tune(model, **QUICK)
    assert [c.explanation.operation for c in tuning.calls] == ["conv2d", "activation", "pool2d"]
    assert all(c.explanation.tuned for c in tuning.calls)
    assert fc.tune(lambda: None, **QUICK).calls == ()


def test_several_calls_at_once() -> None:
    calls = [CALL, ("conv2d", X.shape, W.shape, {"padding": 1}), ("relu", (3, 5)), CALL]
    tuning = fc.tune(calls, **QUICK)
    assert len(tuning.calls) == 3
    assert fc.explain("conv2d", X.shape, W.shape, padding=1).tuned


@pytest.mark.parametrize(
    "call",
    [
        ("conv_transpose2d", X.shape, (4, 6, 3, 3)), ("max_unpool2d", X.shape, 2),
        ("global_avg_pool2d", X.shape), ("tanh", (1000,)),
    ],
)
def test_every_operation_can_be_tuned(call: tuple[Any, ...]) -> None:
    fc.tune(*call, **QUICK)
    assert fc.explain(*call).tuned


def test_integers_and_indices_can_be_tuned() -> None:
    for options in ({"dtype": "int32"}, {"return_indices": True, "layout": "NHWC"}):
        fc.tune("max_pool2d", X.shape, 2, **options, **QUICK)
        assert fc.explain("max_pool2d", X.shape, 2, **options).tuned


def test_nothing_to_compute_is_nothing_to_tune(folder: Path) -> None:
    assert fc.tune("conv2d", (0, 4, 9, 10), W.shape, **QUICK).calls == ()
    assert not folder.exists()


def test_one_disturbed_call_drops_no_row(monkeypatch: Any) -> None:
    """The system takes the processor away for some milliseconds now and then."""
    op, spec = described(*CALL)
    usual, disturbed = trial.promising(op, spec)[:2]
    now, calls = 0.0, 0

    def take(row: Any) -> None:
        nonlocal now, calls
        calls += row is disturbed
        now += 1e-5 if row is usual else 5e-3 if calls == 2 else 5e-6

    monkeypatch.setattr(trial, "_trial", lambda given, spec, row, n: (partial(take, row), None))
    found = trial.measure(op, spec, [usual, disturbed], 1, 1e-4, clock=lambda: now)
    assert found[usual.name].run == pytest.approx(1e-5)
    assert found[disturbed.name].run == pytest.approx(5e-6)


def test_explain_measures_when_asked() -> None:
    told = fc.explain(*CALL, measure=True)
    assert not told.tuned
    assert told.measured is not None
    assert told.measured > 0
    assert "measured" in str(told)
    assert fc.explain(*CALL).measured is None
    assert fc.explain("conv2d", (0, 4, 9, 10), W.shape, measure=True).measured is None
    with pytest.raises(TypeError, match="measure must be True or False"):
        fc.explain(*CALL, measure="yes")


# ---------------------------------------------------------------- files


DAMAGE = {
    "empty": "", "no JSON": "{", "no object": "[1]", "no times": '{"format": 1}',
    "binary": "\x00\xff",
}


@pytest.mark.parametrize("text", DAMAGE.values(), ids=DAMAGE)
def test_damaged_files_are_ignored_and_said(text: str) -> None:
    file = _keep()
    file.write_text(text)
    with pytest.warns(UserWarning, match=r"ignores .*: it is damaged; delete it or tune again"):
        assert fc.explain(*CALL).chosen != SLOW


@pytest.mark.parametrize(
    ("name", "value"),
    [("cpu", "another"), ("fastconv", "9"), ("threads", 99), ("call", "relu"), ("format", 2)],
)
def test_foreign_files_are_ignored_and_said(name: str, value: object) -> None:
    file = _keep()
    file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
    with pytest.warns(UserWarning, match=f"it is for another {name}"):
        assert not fc.explain(*CALL).tuned


@pytest.mark.parametrize("run", [-1.0, 0.0, float("nan"), "1", None])
def test_times_that_are_none_are_damage(run: object) -> None:
    file = _keep()
    content = json.loads(file.read_text())
    content["times"][SLOW]["run"] = run
    file.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="damaged"):
        assert not fc.explain(*CALL).tuned


def test_rows_that_are_gone_are_ignored() -> None:
    _keep(numpy_im2col=1.0)
    op, spec = described(*CALL)
    choices.keep(op, spec, fc.get_num_threads(), instruction_set(), {
        "conv2d.gone@cython": Timing(1e-9, 0.0, 1), SLOW: Timing(1e-6, 0.0, 1)
    })
    assert fc.explain(*CALL).chosen == SLOW


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(choices.VARIABLE, str(tmp_path / "file"))
    _forget()
    with pytest.warns(UserWarning, match="tuned for this process only: .* cannot be written"):
        tuning = fc.tune(*CALL, **QUICK)
    assert tuning.not_kept is not None
    assert "not kept" in str(tuning)
    assert fc.explain(*CALL).tuned


def test_without_platformdirs_it_says_what_to_do(monkeypatch: Any) -> None:
    monkeypatch.delenv(choices.VARIABLE)
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    _forget()
    with pytest.warns(UserWarning, match=r'pip install "fastconv\[tune\]"'):
        fc.tune(*CALL, **QUICK)
    assert fc.explain(*CALL).tuned


def test_without_rich_there_is_no_bar(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert fc.tune(*CALL, seconds=1e-3).calls


def test_readers_never_see_half_a_file(folder: Path) -> None:
    """Writers replace files as a whole."""
    op, spec = described(*CALL)
    times = {SLOW: Timing(1e-6, 0.0, 1), **{f"row {i}": Timing(1.0, 1.0, 1) for i in range(2000)}}
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            choices.keep(op, spec, 1, instruction_set(), times)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(100):
                choices.forget()
                found = choices.times_of(op, spec, 1, instruction_set())
                assert len(found) in (0, len(times))
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert len(list(folder.glob("*/*"))) == 1


def test_importing_and_calling_read_nothing_that_is_not_there() -> None:
    out = python("""
        import sys, numpy as np, fastconv as fc
        print("platformdirs" in sys.modules, "rich" in sys.modules)
        fc.relu(np.ones(3))
        print("rich" in sys.modules)
    """).stdout.split()
    assert out == ["False"] * 3


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("conv3d", X.shape), {}, ValueError, "unknown operation 'conv3d'; valid are conv2d"),
        (("conv2d", X.shape, (6, 3, 3, 3)), {}, ValueError, "channels"),
        ((7,), {}, TypeError, "a function to call"),
        (([7],), {}, TypeError, "each call must be a tuple"),
        (([("conv2d", X.shape)],), {}, TypeError, "w_shape"),
        ((lambda: None, X.shape), {}, TypeError, "first argument"),
        ((lambda: None,), {"stride": 1}, TypeError, "first argument"),
        (CALL, {"seconds": 0}, ValueError, "seconds must be positive"),
        (CALL, {"seconds": "1"}, TypeError, "seconds must be a number"),
        (CALL, {"progress": 1}, TypeError, "progress must be True or False"),
    ],
)
def test_bad_requests(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], message: str,
    folder: Path,
) -> None:
    with pytest.raises(error, match=message):
        fc.tune(*arguments, **options)
    assert not folder.exists()


def test_a_failing_function_leaves_nothing_behind(folder: Path) -> None:
    def model() -> None:
        fc.relu(X)
        raise RuntimeError("the model's own error")

    with pytest.raises(RuntimeError, match="the model's own error"):
        fc.tune(model, **QUICK)
    assert not folder.exists()
    assert not fc.explain("relu", X.shape).tuned
