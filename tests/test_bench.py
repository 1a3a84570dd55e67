"""The command ``bench``: what it times, what it writes, what it refuses."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv.bench import cases, ceilings, devices, layers, models, records, run, selection

testing = pytest.importorskip("typer.testing", reason="the extra 'report' is not installed")
pytest.importorskip("rich", reason="the extra 'report' is not installed")
commands = importlib.import_module("fastconv.commands")

MEASURE_APART = ceilings.of_processor
SMALL = layers.Layer("small", 1, 4, 12, 12, 8, 3, 3, padding=1)
LEAST = 1e-3
"""Seconds for each row, where nobody reads the time."""
COMPILED = next(
    (name for name in ("cython", "numba") if fastconv.backends()[name] is None), "reference"
)
"""A wing beside NumPy's."""


@pytest.fixture(autouse=True)
def _quick(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ceilings, "SIDE", 64)
    monkeypatch.setattr(ceilings, "COPIED", 1 << 16)
    monkeypatch.setattr(ceilings, "of_processor", ceilings.measure_here)


def invoke(*arguments: object):
    return testing.CliRunner().invoke(commands.app, ["bench", *map(str, arguments)])


def layer_file(*entries: object) -> str:
    Path("layers.json").write_text(json.dumps({"layers": list(entries)}))
    return "layers.json"


def entry(**changes: object) -> dict[str, object]:
    return {"name": "small", "N": 1, "IC": 4, "IH": 12, "IW": 12, "OC": 8, "KH": 3, "KW": 3,
            "padding": 1, **changes}


def planned(
    *found: layers.Layer, backends=("cython", "numpy"), threads=(1,), batches=(),
    precision="default", algorithms=None,
) -> list[cases.Case]:
    return list(cases.cases(
        found, [devices.Processor()], backends=backends,
        algorithms=algorithms or selection.kernels(None), threads=threads, batches=batches,
        precision=precision,
    ))


# ---------------------------------------------------------------- round trip


def test_what_bench_writes_report_reads():
    pytest.importorskip("jinja2", reason="the extra 'report' is not installed")
    pytest.importorskip("matplotlib", reason="the extra 'report' is not installed")
    result = invoke("--layers", layer_file(entry()), "--threads", "1,2", "--batch", "1,3",
                    "--seconds", LEAST, "-o", "small.json")
    assert result.exit_code == 0, result.output
    written = json.loads(Path("small.json").read_text())
    report = importlib.import_module("fastconv.report")
    read = report.read([Path("small.json")])
    assert not read.foreign
    assert not read.left_out
    assert len(read.measurements) == len(written["benchmarks"])
    assert f"{len(read.measurements)} measurements" in result.output
    spec = SMALL.spec()
    for m in read.measurements:
        assert m.layer == "small"
        assert (m.flops, m.bytes) == (m.images * spec.flops, m.bytes)
        assert m.threads in (1, 2)
        assert m.batch in (1, 3)
        assert m.kind == "cpu"
        assert m.device == devices.processor_name()
        assert m.auto.startswith("conv2d.")
        assert m.to_device is None
        assert fastconv.backends()[m.backend] is None
    assert {"im2col", "direct", "fft"} <= {m.algorithm for m in read.measurements}
    (device,) = read.devices
    assert [c.threads for c in device.ceilings] == [1, 2]
    for entries in written["benchmarks"]:
        info = entries["extra_info"]
        row = f"conv2d.{info['algorithm']}@{info['backend']}"
        assert info["chosen_by_auto"] == (row == info["auto"])
    assert "small" in report.page([Path("small.json")])


def test_auto_is_what_a_plan_chooses():
    pick = planned(SMALL)
    (case,) = pick
    found = [o for o in run.run(pick, LEAST) if isinstance(o, run.Measured)]
    plan = fastconv.plan_conv2d(SMALL.weights(), x_shape=SMALL.x_shape, **SMALL.geometry)
    with fastconv.options(threads=1):
        assert {o.auto for o in found} == {plan.prepare(SMALL.x_shape).explain().chosen}
    assert len(found) == len(case.rows)


def test_the_json_has_the_fields_of_pytest_benchmark():
    outcomes = [o for o in run.run(planned(SMALL), LEAST) if isinstance(o, run.Measured)]
    written = records.document(outcomes, {})
    assert {"machine_info", "commit_info", "benchmarks", "datetime", "version"} <= set(written)
    assert {"cpu", "node", "system", "python_version"} <= set(written["machine_info"])
    json.loads(json.dumps(written, allow_nan=False))
    for each in written["benchmarks"]:
        assert {"group", "name", "fullname", "params", "param", "extra_info", "options",
                "stats"} == set(each)
        stats = each["stats"]
        assert 0 < stats["min"] <= stats["q1"] <= stats["median"] <= stats["q3"] <= stats["max"]


def test_the_statistics_are_those_of_pytest_benchmark():
    theirs = pytest.importorskip("pytest_benchmark.stats", reason="pytest-benchmark is absent")
    samples = [1.0, 1.1, 1.2, 1.25, 1.3, 9.0]
    right = theirs.Stats()
    for sample in samples:
        right.update(sample)
    found = records.statistics_of(samples, 1)
    assert set(right.as_dict()) <= set(found)
    for name in ("min", "max", "mean", "stddev", "rounds", "median", "total", "ops"):
        assert found[name] == pytest.approx(right.as_dict()[name])


def test_one_sample_has_statistics():
    found = records.statistics_of([2.0], 3)
    assert (found["min"], found["q1"], found["stddev"], found["iterations"]) == (2.0, 2.0, 0.0, 3)


# ---------------------------------------------------------------- what is timed


def test_a_wrong_row_is_named_and_not_timed(monkeypatch):
    right = run.plan_conv2d

    def wrong(*arguments, backend, **options):
        plan = right(*arguments, backend=backend, **options)
        if backend != "numpy":
            return plan
        return lambda x: plan(x) * np.float32(1.01)

    monkeypatch.setattr(run, "plan_conv2d", wrong)
    result = invoke("--layers", layer_file(entry()), "--backends", f"{COMPILED},numpy",
                    "--threads", 1, "--seconds", LEAST)
    assert result.exit_code == 1
    assert "not timed: conv2d.im2col@numpy on small, batch 1: its rms error is" in result.output
    backends = {b["extra_info"]["backend"] for b in
                json.loads(Path("bench.json").read_text())["benchmarks"]}
    assert backends == {COMPILED}


def test_a_row_without_memory_leaves_the_others(monkeypatch):
    right = run.plan_conv2d

    def hungry(*arguments, algorithm, **options):
        if algorithm == "im2col":
            raise MemoryError
        return right(*arguments, algorithm=algorithm, **options)

    monkeypatch.setattr(run, "plan_conv2d", hungry)
    outcomes = list(run.run(planned(SMALL), LEAST))
    failed = [o.row.algorithm for o in outcomes if isinstance(o, run.Failed)]
    assert set(failed) == {"im2col"}
    assert any(isinstance(o, run.Measured) for o in outcomes)


def test_every_row_that_is_planned_is_told_of():
    told = []
    planned_cases = planned(SMALL, threads=(1, 2), batches=(1, 2))
    list(run.run(planned_cases, LEAST, lambda: told.append(1)))
    assert len(told) == sum(len(case.rows) for case in planned_cases)
    assert len(planned_cases) == 4


def test_a_geometry_is_timed_once():
    twice = layers.Layer("again", 16, 4, 12, 12, 8, 3, 3, padding=1)
    assert [c.layer.name for c in planned(SMALL, twice, batches=(1, 4))] == ["small"] * 2
    assert [c.layer.N for c in planned(SMALL, twice)] == [1, 16]


def test_precision_decides_which_rows_take_part():
    def names(precision: str) -> set[str]:
        (case,) = planned(SMALL, precision=precision)
        return {row.algorithm for row in case.rows}

    if fastconv.backends()["cython"]:
        pytest.skip(fastconv.backends()["cython"])
    assert "winograd4" not in names("strict")
    assert "winograd4" in names("default")
    assert "winograd6" in names("fast") - names("default")


def test_rows_that_take_seconds_are_left_out():
    large = layers.Layer("large", 16, 64, 112, 112, 64, 3, 3, padding=1)
    (case,) = planned(large, backends=("numpy", "reference"))
    assert {row.backend for row in case.rows} == {"numpy"}


def test_samples_go_round_the_inputs():
    class Device:
        kind = "cpu"
        name = "made up"
        seen: list[object]

        def __init__(self) -> None:
            self.seen = []

        def seconds(self, calls):
            self.seen += [call() for call in calls]
            return 0.1

    device = Device()
    side = run._Side(device, [lambda: "a", lambda: "b", lambda: "c"])
    device.seen.clear()
    side.turn(0.35)
    assert len(side.samples) == 4
    assert device.seen == ["a", "b", "c", "a", "b"]


# ---------------------------------------------------------------- devices


class FakeCuda:
    """As much of ``numba.cuda`` as a card is asked for; a copy is a view of a host array."""

    class Event:
        def record(self) -> None: ...

        def synchronize(self) -> None: ...

        def elapsed_time(self, _other: object) -> float:
            return 6.0

    class Array(np.ndarray):
        def copy_to_host(self):
            return np.asarray(self).copy()

    def event(self) -> Event:
        return self.Event()

    def to_device(self, array):
        return array.copy().view(self.Array)

    def synchronize(self) -> None: ...


def test_a_card_is_timed_by_its_events_and_its_transfers_apart(monkeypatch):
    monkeypatch.setattr(devices.Card, "__init__", lambda self: None)
    card = devices.Card()
    card._cuda, card.name = FakeCuda(), "A card"
    assert card.seconds([lambda: None] * 3) == pytest.approx(2e-3)
    # The kernels of a processor play those of the card, since there may be none.
    monkeypatch.setattr(cases, "ON_CARD", ("numpy",))
    monkeypatch.setattr(run, "ON_CARD", ("numpy",))
    plan = run.plan_conv2d

    def on_card(w, **options):
        prepared = plan(np.asarray(w), **options)
        if options["algorithm"] == "auto":
            return prepared
        return lambda x: prepared(np.asarray(x)).view(FakeCuda.Array)

    monkeypatch.setattr(run, "plan_conv2d", on_card)
    both = [devices.Processor(), card]
    found = list(cases.cases(
        [SMALL], both, backends=(COMPILED, "numpy"), algorithms=selection.kernels(None),
        threads=(1, 2), batches=(), precision="default",
    ))
    assert [c.device.kind for c in found] == ["cpu", "cpu", "gpu"]
    outcomes = list(run.run(found[2:], LEAST))
    assert outcomes
    for outcome in outcomes:
        assert isinstance(outcome, run.Measured), outcome
        assert outcome.auto.endswith("@numpy")
        assert outcome.to_device > 0
        assert outcome.from_device > 0
    info = records.document(outcomes, {})["benchmarks"][0]["extra_info"]
    assert (info["device"], info["device_kind"]) == ("A card", "gpu")
    assert info["to_device_seconds"] > 0


def test_ceilings_are_measured_in_a_process_of_their_own():
    found = MEASURE_APART(1)
    assert found is not None
    assert found.threads == 1
    assert 1e8 < found.flops < 1e13
    assert 1e8 < found.bandwidth < 1e13


def test_a_ceiling_that_cannot_be_measured_is_none(monkeypatch):
    monkeypatch.setattr(ceilings.sys, "executable", "/nowhere/python")
    assert MEASURE_APART(1) is None


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("model", "count"), [("resnet50", 23), ("vgg16", 9), ("mobilenet", 19)]
)
def test_models_have_each_layer_once(model, count):
    table = tuple(models.MODELS[model]())
    names = [layer.name for layer in table]
    assert len(names) == len(set(names))
    shapes = [(layer.x_shape, layer.w_shape, layer.stride, layer.groups) for layer in table]
    assert len(shapes) == len(set(shapes))
    assert len(table) == count


def test_layers_follow_each_other():
    """Channels and sizes of a layer's result are those that a later one takes."""
    for model in models.MODELS.values():
        table = tuple(model())
        results = {(layer.OC, layer.spec().OH) for layer in table}
        pooled = {(channels, size // 2) for channels, size in results}
        taken = {(layer.IC, layer.IH) for layer in table} - {(3, 224)}
        assert taken <= results | pooled


def test_patterns_choose_layers():
    assert [x.name for x in selection.layers("alexnet*,resnext.g32", [])] == [
        "alexnet.5x5", "resnext.g32"
    ]
    assert selection.layers(None, []) == layers.LAYERS
    assert all(x.name.startswith("vgg16.1") for x in selection.layers("*.1_*", ["vgg16"]))
    assert set(selection.kernels("winograd?")) == {"winograd2", "winograd4", "winograd6"}


def test_the_naive_loops_are_timed_only_when_named():
    assert "reference" not in selection.backends(None)
    assert selection.backends("reference") == ("reference",)
    assert selection.backends("num*, numpy")[-1] == "numpy"


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "lenet"], "unknown model 'lenet'; there are resnet50, vgg16, mobilenet"),
        (["--layers", "no-such"], "no layer is called 'no-such'"),
        (["--layers", "absent.json"], "absent.json"),
        (["--layers", "text.json"], "text.json does not list layers"),
        (["--layers", "none.json"], "none.json lists no layers"),
        (["--layers", "odd.json"], "odd.json does not list layers"),
        (["--layers", "big.json"], "big.json does not list layers"),
        (["--layers", "odd.json", "--model", "vgg16"], "from a file or from models"),
        (["--backends", "abacus"], "unknown backend 'abacus'"),
        (["--backends", ","], "name at least one backend"),
        (["--algorithms", "magic"], "unknown algorithm 'magic'"),
        (["--threads", "0"], "--threads must be positive whole numbers"),
        (["--threads", "one"], "--threads must be positive whole numbers"),
        (["--batch", "-1"], "--batch must be positive whole numbers"),
        (["--precision", "some"], "precision"),
        (["--seconds", "-1"], "Invalid value"),
        (["--algorithms", "planar", "--layers", "vgg16.3_2"], "no kernel of these backends"),
        (["-o", "bench.txt"], "--output must end in .json"),
        (["-o", "nowhere/bench.json"], "the folder nowhere does not exist"),
        (["-o", "taken.json"], "taken.json cannot be written"),
    ],
    ids=" ".join,
)
def test_bench_refuses(arguments, words):
    Path("text.json").write_text("not JSON")
    Path("none.json").write_text('{"layers": []}')
    Path("odd.json").write_text(json.dumps({"layers": [entry(colour="red")]}))
    Path("big.json").write_text(json.dumps({"layers": [entry(KH=99)]}))
    Path("taken.json").mkdir()
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert not Path("bench.json").exists()


def test_an_absent_backend_is_refused():
    if fastconv.backends()["cuda"] is None:
        pytest.skip("there is a CUDA device")
    result = invoke("--backends", "cuda")
    assert result.exit_code == 2
    assert "backend 'cuda' is not available" in result.output


def test_errors_are_measured_against_the_layer():
    data = run._Data(SMALL)
    assert data.error(data.right) == 0
    assert data.error(data.right[:, :-1]) == math.inf
    assert data.error(data.right * np.nan) == math.inf
    assert data.error(data.right * 1.01) == pytest.approx(0.01)
