"""The choice of a kernel and what is said about it; settings, plans, import cost."""

from __future__ import annotations

import threading
from itertools import product
from typing import Any

import numpy as np
import pytest
from processes import python

import fastconv as fc
from fastconv import heuristics
from fastconv.dispatch import absent, available
from fastconv.registry import BACKENDS, ROWS, Kernel, rows
from fastconv.spec import Conv2dSpec

RNG = np.random.default_rng(2)
X = RNG.standard_normal((2, 4, 9, 10)).astype(np.float32)
W = RNG.standard_normal((6, 4, 3, 3)).astype(np.float32)
BIAS = RNG.standard_normal(6).astype(np.float32)
SHAPES = (X.shape, W.shape)
TRANSPOSED = (X.shape, (4, 6, 3, 3))
PRESENT = [name for name in BACKENDS if available(name) is None]


def algorithms(backend: str, **kwargs: Any) -> list[str]:
    """Those of the backend's algorithms that can serve ``conv2d(X, W, …)``."""
    spec = Conv2dSpec.of(*SHAPES, **kwargs).kernel_spec
    return [
        row.algorithm for row in rows("conv2d")
        if row.backend == backend and not row.why_not(spec) and not absent(row)
    ]


# ---------------------------------------------------------------- explain


def test_explain_names_every_row_and_its_reason() -> None:
    told = fc.explain("conv2d", *SHAPES, padding=1)
    names = {row.name for row in rows("conv2d")}
    assert told.chosen in names
    assert told.chosen == f"conv2d.{told.algorithm}@{told.backend}"
    assert set(told.rejected) == names - {told.chosen}
    assert all(told.rejected.values())
    assert told.flops == 2 * 2 * 6 * 9 * 10 * 4 * 9
    assert told.bytes == 4 * (X.size + W.size + 2 * 6 * 9 * 10)
    assert told.seconds > 0
    assert told.threads >= 1
    printed = str(told)
    assert all(name in printed for name in names)
    assert "MFLOP" in printed
    assert "2×4×9×10 * 6×4×3×3" in printed


@pytest.mark.parametrize("backend", PRESENT)
def test_explain_tells_the_row_that_runs(backend: str, capfd: Any, monkeypatch: Any) -> None:
    for algorithm in algorithms(backend):
        told = fc.explain("conv2d", *SHAPES, backend=backend, algorithm=algorithm,
                          precision="fast")
        assert (told.backend, told.algorithm) == (backend, algorithm)
        others = [name for name in told.rejected if not name.endswith(f"@{backend}")]
        assert all(f"backend={backend!r} was asked for" in told.rejected[n] for n in others)
        monkeypatch.setenv("FASTCONV_DEBUG", "1")
        fc.conv2d(X, W, backend=backend, algorithm=algorithm, precision="fast")
        assert told.chosen in capfd.readouterr().err


@pytest.mark.parametrize(
    ("call", "operation"),
    [
        (("conv_transpose2d", *TRANSPOSED), "conv2d_input_grad"),
        (("filter2d", (9, 10), (3, 3)), "conv2d"), (("filter2d", (9, 10, 3), (2, 5, 3)), "conv2d"),
        (("max_pool2d", X.shape, 2), "pool2d"), (("avg_pool2d", X.shape, 2), "pool2d"),
        (("sum_pool2d", X.shape, 2), "pool2d"), (("lp_pool2d", X.shape, 2, 2), "pool2d"),
        (("adaptive_avg_pool2d", X.shape, 3), "pool2d"), (("global_max_pool2d", X.shape), "pool2d"),
        (("max_unpool2d", X.shape, 2), "max_unpool2d"), (("relu", X.shape), "activation"),
        (("tanh", (1000,)), "activation"), (("conv2d_pool2d", *SHAPES), "conv2d_pool2d"),
    ],
)
def test_explain_serves_every_operation(call: tuple[Any, ...], operation: str) -> None:
    told = fc.explain(*call)
    assert told.chosen.startswith(operation + ".")
    assert told.chosen in str(told)


def test_explain_tells_what_filter2d_runs(monkeypatch: Any, capfd: Any) -> None:
    image = RNG.standard_normal((40, 50, 3))
    told = fc.explain("filter2d", image.shape, (2, 5, 3), dtype="float64")
    monkeypatch.setenv("FASTCONV_DEBUG", "1")
    fc.filter2d(image, [np.ones((5, 3)), np.eye(5, 3)])
    assert told.case in capfd.readouterr().err
    with pytest.raises(ValueError, match="the shape of image must be"):
        fc.explain("filter2d", (3,), (3, 3))
    with pytest.raises(ValueError, match="the shape of kernels must be"):
        fc.explain("filter2d", (9, 9), 3)


def test_explain_says_what_is_copied() -> None:
    assert not fc.explain("conv2d", *SHAPES).copies
    assert "float16 widened to float32" in str(fc.explain("conv2d", *SHAPES, dtype="float16"))
    assert "reflect" in str(fc.explain("conv2d", *SHAPES, padding=1, padding_mode="reflect"))


@pytest.mark.usefixtures("free_choice")
def test_explain_tells_why_a_row_cannot_serve() -> None:
    integers = fc.explain("max_pool2d", X.shape, 2, dtype="int32")
    for backend in {"cython", "numba"} & set(PRESENT):
        reason = integers.rejected[f"pool2d.direct@{backend}"]
        assert reason.startswith("int32 is not computed here")
        with pytest.raises(ValueError, match=f"pool2d.direct@{backend}: int32 is not computed"):
            fc.max_pool2d(X.astype(np.int32), 2, backend=backend)
    strict = fc.explain("conv2d", *SHAPES, precision="strict")
    assert "precision='strict'" in strict.rejected["conv2d.fft@numpy"]


@pytest.mark.usefixtures("free_choice")
def test_strict_refuses_fft_by_name_and_says_why() -> None:
    message = r"conv2d\.fft@numpy: precision='strict' admits only direct summation"
    with pytest.raises(ValueError, match=message):
        fc.conv2d(X, W, algorithm="fft", precision="strict")
    with fc.options(precision="strict"), pytest.raises(ValueError, match=message):
        fc.conv2d(X, W, algorithm="fft")
    np.testing.assert_allclose(fc.conv2d(X, W, algorithm="fft"), fc.conv2d(X, W), atol=1e-4)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_can_be_asked_for(row: Kernel) -> None:
    if reason := absent(row):
        pytest.skip(reason)
    call: tuple[Any, ...] = {
        "conv2d": ("conv2d", *SHAPES), "conv2d_input_grad": ("conv_transpose2d", *TRANSPOSED),
        "pool2d": ("max_pool2d", X.shape, 2), "max_unpool2d": ("max_unpool2d", X.shape, 2),
        "activation": ("relu", X.shape), "conv2d_pool2d": ("conv2d_pool2d", *SHAPES),
    }[row.op]
    with fc.options(precision="fast"):
        rank = {"rank": 1} if row.algorithm == "separable" else {}
        told = fc.explain(*call, algorithm=row.algorithm, backend=row.backend, **rank)
    assert told.chosen == row.name


# ---------------------------------------------------------------- absent backends


def test_backends_lists_all_with_a_reason_for_the_absent() -> None:
    found = fc.backends()
    assert tuple(found) == BACKENDS
    assert found["reference"] is None
    assert found["numpy"] is None
    assert found["cuda"] is None or "cuda" in found["cuda"].lower()


def test_backends_stays_a_function_when_kernels_are_loaded() -> None:
    """A package of the same name must not take its place."""
    fc.relu(X, backend="reference")
    fc.conv2d(X, W, backend="numpy")
    assert callable(fc.backends)


def test_an_absent_backend_is_said_with_its_cure() -> None:
    if available("cuda") is not None:
        with pytest.raises(fc.BackendUnavailableError, match="cuda"):
            fc.conv2d(X, W, backend="cuda")
    told = fc.explain("conv2d", *SHAPES)
    assert not told.chosen.endswith("@cuda")
    out = python("""
        import sys
        sys.modules["numba"] = None  # as if it were not installed
        import numpy as np, fastconv as fc
        print(fc.backends()["numba"])
        fc.relu(np.ones(3))
        for call in (lambda: fc.relu(np.ones(3), backend="numba"), lambda: fc.warmup("numba")):
            try:
                call()
            except fc.BackendUnavailableError as error:
                print(error)
        print(fc.explain("relu", (3,)).rejected["activation.elementwise@numba"])
    """).stdout
    assert out.count('pip install "fastconv[numba]"') == 4


def test_without_compiled_modules_the_others_serve() -> None:
    out = python("""
        import sys
        sys.modules["fastconv.backends.cython.isa"] = None
        import numpy as np, fastconv as fc
        assert "pip install" in fc.backends()["cython"]
        assert "instruction set" not in fc.show_config().items
        print(fc.explain("conv2d", (1, 1, 9, 9), (1, 1, 3, 3)).backend)
        print(fc.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3))).item())
    """).stdout.split()
    assert out[0] in ("numba", "numpy")
    assert out[1] == "9.0"


# ---------------------------------------------------------------- environment


def test_backend_from_the_environment(monkeypatch: Any) -> None:
    monkeypatch.setenv("FASTCONV_BACKEND", "numpy")
    assert fc.explain("conv2d", *SHAPES).backend == "numpy"
    assert fc.explain("conv2d", *SHAPES, backend="reference").backend == "reference"
    with fc.options(backend="reference"):
        assert fc.explain("relu", (4,)).backend == "reference"
    monkeypatch.setenv("FASTCONV_BACKEND", "fpga")
    with pytest.raises(ValueError, match="unknown FASTCONV_BACKEND 'fpga'; valid are auto, cython"):
        fc.relu(X)
    monkeypatch.setenv("FASTCONV_BACKEND", "cuda")
    if available("cuda") is not None:
        with pytest.raises(fc.BackendUnavailableError):
            fc.relu(X)


def test_debug_lines(monkeypatch: Any, capfd: Any) -> None:
    fc.conv2d(X, W, backend="numpy")
    assert capfd.readouterr().err == ""
    monkeypatch.setenv("FASTCONV_DEBUG", "1")
    fc.conv2d(X, W, backend="numpy", algorithm="im2col")
    line = capfd.readouterr().err
    assert line.count("\n") == 1
    for part in ("conv2d.im2col@numpy", "threads=", "2×4×9×10 * 6×4×3×3"):
        assert part in line
    monkeypatch.setenv("FASTCONV_DEBUG", "2")
    fc.relu(X, backend="numpy")
    told = capfd.readouterr().err
    assert told.startswith("fastconv: activation.elementwise@numpy")
    assert "not activation.elementwise@reference: backend='numpy' was asked for" in told


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"FASTCONV_NUM_THREADS": "3"}, "3"), ({"OMP_NUM_THREADS": "4"}, "4"),
        ({"OMP_NUM_THREADS": "5,2"}, "5"),
        ({"FASTCONV_NUM_THREADS": "1", "OMP_NUM_THREADS": "4"}, "1"),
    ],
)
def test_threads_from_the_environment(environment: dict[str, str], threads: str) -> None:
    code = "import fastconv as fc; print(fc.get_num_threads(), fc.set_num_threads(7))"
    assert python(code, **environment).stdout.split() == [threads, threads]


@pytest.mark.parametrize("word", ["0", "-1", "two", "1.5"])
def test_nonsense_thread_counts_are_said(word: str) -> None:
    out = python(
        """
        import numpy as np, fastconv as fc
        try:
            fc.relu(np.ones(3))
        except ValueError as error:
            print(error)
        """, FASTCONV_NUM_THREADS=word,
    ).stdout
    assert f"FASTCONV_NUM_THREADS must be a positive integer up to 1024; got '{word}'" in out


def test_default_threads_are_the_cpus_of_this_process() -> None:
    out = python("""
        import os, fastconv as fc
        affinity = getattr(os, "sched_getaffinity", None)
        print(fc.get_num_threads() == (len(affinity(0)) if affinity else os.cpu_count()))
    """).stdout
    assert out.strip() == "True"


# ---------------------------------------------------------------- options and threads


def test_set_num_threads_returns_the_previous() -> None:
    before = fc.get_num_threads()
    try:
        assert fc.set_num_threads(3) == before
        assert fc.get_num_threads() == 3
        assert fc.set_num_threads(before) == 3
    finally:
        fc.set_num_threads(before)


def test_options_nest_and_end() -> None:
    outside = fc.get_num_threads()
    with fc.options(threads=5, backend="numpy"):
        assert fc.get_num_threads() == 5
        with fc.options(threads=2, algorithm="fft"):
            assert fc.get_num_threads() == 2
            told = fc.explain("conv2d", *SHAPES)
            assert (told.backend, told.algorithm) == ("numpy", "fft")
            assert fc.explain("relu", (3,)).backend == "numpy"  # which has no fft: not an error
        assert fc.get_num_threads() == 5
        with pytest.raises(RuntimeError), fc.options(threads=9):
            raise RuntimeError
        assert fc.get_num_threads() == 5
    assert fc.get_num_threads() == outside


def test_the_calls_own_words_go_before_options() -> None:
    with fc.options(backend="numpy", algorithm="im2col"):
        told = fc.explain("conv2d", *SHAPES, backend="reference", algorithm="direct")
    assert told.chosen == "conv2d.direct@reference"


def test_options_hold_in_their_own_thread_only() -> None:
    inside, go, seen = threading.Event(), threading.Event(), []

    def other() -> None:
        inside.wait(10)
        seen.append((fc.get_num_threads(), fc.explain("relu", (3,)).backend))
        go.set()

    thread = threading.Thread(target=other)
    thread.start()
    outside = fc.get_num_threads(), fc.explain("relu", (3,)).backend
    with fc.options(threads=outside[0] + 4, backend="reference"):
        inside.set()
        assert go.wait(10)
    thread.join()
    assert seen == [outside]


def test_one_options_object_in_several_threads() -> None:
    shared, results = fc.options(threads=6), []
    both_in = threading.Barrier(2)

    def work() -> None:
        before = fc.get_num_threads()
        with shared:
            both_in.wait(10)
            results.append(fc.get_num_threads())
            both_in.wait(10)
        results.append(fc.get_num_threads() == before)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(results) == [True, True, 6, 6]


def test_small_work_gets_one_thread() -> None:
    with fc.options(threads=8):
        assert fc.explain("conv2d", (1, 1, 8, 8), (1, 1, 3, 3)).threads == 1
        assert fc.explain("conv2d", (8, 64, 56, 56), (64, 64, 3, 3)).threads == 8
        assert fc.explain("relu", (10,)).threads == 1


def test_the_ranking_is_a_pure_order() -> None:
    spec = Conv2dSpec.of((1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    direct = [
        row for row in rows("conv2d") if row.why_not(spec) is None and row.backend != "cuda"
    ]
    ranked = heuristics.rank(direct, spec)
    assert sorted(r.name for r in ranked) == sorted(r.name for r in direct)
    assert ranked == heuristics.rank(direct, spec)
    assert ranked[-1].backend == "reference"
    assert heuristics.threads_for(ranked[0], spec, 4) == 4


def test_no_number_of_threads_changes_the_kernel() -> None:
    """Another kernel would give other bits."""
    for channels, size in ((1, 512), (3, 224), (16, 7), (64, 56), (256, 14), (512, 7)):
        chosen = set()
        for threads in (1, 2, 7, 64):
            with fc.options(threads=threads):
                x_shape, w_shape = (1, channels, size, size), (channels, channels, 3, 3)
                chosen.add(fc.explain("conv2d", x_shape, w_shape, padding=1).chosen)
        assert len(chosen) == 1


# ---------------------------------------------------------------- plans


@pytest.mark.parametrize("backend", PRESENT)
def test_plan_computes_what_conv2d_computes(backend: str) -> None:
    for algorithm in algorithms(backend, padding="same", stride=2):
        plan = fc.plan_conv2d(W, BIAS, x_shape=X.shape, padding="same", stride=2,
                              activation="relu", backend=backend, algorithm=algorithm)
        assert (plan.algorithm, plan.backend) == (algorithm, backend)
        wanted = fc.conv2d(X, W, BIAS, padding="same", stride=2, activation="relu",
                           backend=backend, algorithm=algorithm)
        np.testing.assert_array_equal(plan(X), wanted)
        out = np.full_like(wanted, np.nan)
        assert plan(X, out=out) is out
        np.testing.assert_array_equal(out, wanted)
        assert isinstance(plan.workspace_bytes, int)
        assert plan.workspace_bytes >= 0
        assert plan.explain().chosen == f"conv2d.{algorithm}@{backend}"


def test_plan_serves_several_shapes_layouts_and_dtypes() -> None:
    plan = fc.plan_conv2d(W, BIAS, padding=1)
    assert plan.algorithm is plan.backend is plan.workspace_bytes is None
    for shape in ((2, 4, 9, 10), (1, 4, 3, 3), (3, 4, 20, 31), (2, 4, 9, 10), (0, 4, 5, 5)):
        x = RNG.standard_normal(shape).astype(np.float32)
        # The choices may differ: the call pays for packing, the plan does not.
        np.testing.assert_allclose(plan(x), fc.conv2d(x, W, BIAS, padding=1), atol=1e-4)
    channels_last = fc.plan_conv2d(W, layout="NHWC")
    x = np.ascontiguousarray(X.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(channels_last(x), fc.conv2d(x, W, layout="NHWC"), atol=1e-4)
    half = fc.plan_conv2d(W.astype(np.float16))
    assert half(X.astype(np.float16)).dtype == np.float16
    mirrored = fc.plan_conv2d(W, padding=2, padding_mode="reflect")
    np.testing.assert_allclose(
        mirrored(X), fc.conv2d(X, W, padding=2, padding_mode="reflect"), atol=1e-4
    )


@pytest.mark.parametrize("backend", PRESENT)
def test_plan_serves_pictures_that_end_after_a_step(backend: str) -> None:
    """A result of one row or column has no stride there, and other packed weights."""
    sizes = [(21, 21), (3, 21), (21, 3), (3, 3)]
    for algorithm, first in product(algorithms(backend, stride=2), sizes):
        try:
            plan = fc.plan_conv2d(
                W, stride=2, x_shape=(1, 4, *first), backend=backend, algorithm=algorithm
            )
        except ValueError:  # a row that wants equal strides
            continue
        for size in sizes:
            x = RNG.standard_normal((1, 4, *size)).astype(np.float32)
            try:
                found = plan(x)
            except ValueError:
                continue
            wanted = fc.conv2d(x, W, stride=2, backend="reference")
            np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("backend", PRESENT)
def test_plan_keeps_its_own_weights(backend: str) -> None:
    w, bias = W.copy(), BIAS.copy()
    plan = fc.plan_conv2d(w, bias, backend=backend)
    before = plan(X)
    w[...] = np.nan
    bias[...] = np.nan
    np.testing.assert_array_equal(plan(X), before)
    other = fc.plan_conv2d(W, BIAS, backend=backend)
    np.testing.assert_array_equal(plan(X[:, :, :5]), other(X[:, :, :5]))


def test_plan_from_several_threads() -> None:
    plan = fc.plan_conv2d(W, BIAS, padding=1)
    inputs = [RNG.standard_normal((1 + i % 3, 4, 7 + i, 9)).astype(np.float32) for i in range(8)]
    wanted = [fc.plan_conv2d(W, BIAS, padding=1)(x) for x in inputs]
    wrong: list[int] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait(10)
        for _ in range(10):
            for i, x in enumerate(inputs):
                if not np.array_equal(plan(x), wanted[i]):
                    wrong.append(i)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_plan_says_what_it_is() -> None:
    plan = fc.plan_conv2d(W, backend="numpy", algorithm="im2col", x_shape=X.shape)
    assert "conv2d.im2col@numpy" in repr(plan)
    assert "not chosen yet" in repr(fc.plan_conv2d(W))


# ---------------------------------------------------------------- the rest


def test_show_config_prints_what_matters() -> None:
    shown = fc.show_config()
    printed = str(shown)
    for word in ("fastconv", "numpy", "threads", "FASTCONV_ISA", "FASTCONV_DEBUG",
                 *(f"backend {name}" for name in BACKENDS)):
        assert word in printed
    assert shown.items["threads"] == str(fc.get_num_threads())
    if "cython" in PRESENT:
        assert shown.items["instruction set"] in shown.items["instruction sets usable"]


@pytest.mark.parametrize("backend", PRESENT)
def test_warmup_leaves_nothing_to_compile(backend: str) -> None:
    fc.warmup(backend, dtypes=["float32"])
    if backend == "numba":
        out = python("""
            import time, numpy as np, fastconv as fc
            fc.warmup("numba", ["float32"])
            x, w = np.ones((1, 8, 12, 12), "f4"), np.ones((16, 8, 3, 3), "f4")
            calls = (lambda: fc.conv2d(x, w, padding=1, backend="numba"),
                     lambda: fc.max_pool2d(x, 2, backend="numba"),
                     lambda: fc.tanh(x, backend="numba"))
            for call in calls:
                start = time.perf_counter()
                call()
                print(time.perf_counter() - start)
        """, timeout=300).stdout
        # Compiling one kernel takes a quarter of a second at least.
        assert max(map(float, out.split())) < 0.2


def test_import_is_light() -> None:
    heavy = "numba", "scipy", "torch", "matplotlib", "llvmlite", "rich", "typer", "ml_dtypes"
    out = python(f"""
        import sys, fastconv
        print(*({{name.split(".")[0] for name in sys.modules}} & set({heavy!r})))
        print(*(m for m in sys.modules if m.startswith("fastconv.backends.")))
    """).stdout.splitlines()
    assert out[0] == ""
    assert "numba" not in out[1]
    assert "numpy" not in out[1]


def test_import_costs_little_on_top_of_numpy() -> None:
    """At most 0.15 s of this process's own time, whatever else the machine does."""
    out = python("""
        import resource, subprocess, sys
        def cost(what):
            def spent():
                usage = resource.getrusage(resource.RUSAGE_CHILDREN)
                return usage.ru_utime + usage.ru_stime
            before = spent()
            subprocess.run([sys.executable, "-P", "-c", f"import {what}"], check=True)
            return spent() - before
        print(min(cost("fastconv") for _ in range(5)) - min(cost("numpy") for _ in range(5)))
    """).stdout
    assert float(out) < 0.15
