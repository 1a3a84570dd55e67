"""Memory: nothing is touched beside an array, scratch is bounded and given back."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import harness
import numpy as np
import pytest
from cases import CASES, Case
from processes import python

import fastconv as fc
from fastconv.dispatch import absent, available
from fastconv.registry import BACKENDS, ROWS, Kernel
from fastconv.spec import Conv2dSpec

TESTS = str(Path(__file__).parent)
SLACK = 4 << 20
"""Stacks of threads and what allocators keep."""
COMPILED = [row for row in ROWS if row.backend in ("cython", "numba")]

AT_THE_EDGE = """
    import sys
    sys.path.insert(0, sys.argv[1])
    import ctypes, mmap
    import numpy as np
    import harness
    from cases import CASES
    from fastconv.registry import ROWS
    from fastconv.spec import ActivationSpec

    page = mmap.PAGESIZE
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def fenced(shape, dtype, at_end):
        # Pages of their own between two that may not be touched; the array starts or ends there.
        dtype = np.dtype(dtype)
        need = int(np.prod(shape)) * dtype.itemsize
        inner = -(-max(need, 1) // page) * page
        memory = mmap.mmap(-1, inner + 2 * page)
        start = np.frombuffer(memory, np.uint8).ctypes.data
        for fence in (start, start + page + inner):
            assert libc.mprotect(fence, page, 0) == 0
        offset = page + (inner - need if at_end else 0)
        return np.ndarray(shape, dtype, memory, offset)

    def like(a, at_end):
        if a is None:
            return None
        b = fenced(a.shape, a.dtype, at_end)
        b[...] = a
        return b

    def in_memory_order(shape, dtype, at_end, order):
        if order == "NCHW" or len(shape) != 4:
            return fenced(shape, dtype, at_end)
        n, c, h, w = shape
        return fenced((n, h, w, c), dtype, at_end).transpose(0, 3, 1, 2)

    row = next(row for row in ROWS if row.name == sys.argv[2])
    module = harness.kernel(row)
    done = 0
    for case in [c for c in CASES if c.finite and harness.serves(row, c)][:: int(sys.argv[3])]:
        for order in ("NCHW", "NHWC"):
            for at_end in (False, True):
                given = harness.data(case)
                x = in_memory_order(given.x.shape, "f4", at_end, order)
                x[...] = given.x
                w, bias = like(given.w, at_end), like(given.bias, at_end)
                indices = like(given.indices, at_end)
                out = in_memory_order(harness.out_shape(case), "f4", at_end, order)
                where = None
                if harness.wants_indices(case):
                    where = in_memory_order(out.shape, "i8", at_end, order)
                layout = {} if isinstance(case.spec, ActivationSpec) else {"layout": order}
                harness.call(module, case.with_spec(**layout), harness.Data(x, w, bias, indices),
                              harness.Result(out, where), 2)
                done += 1
    print(done)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="fences pages with mprotect")
@pytest.mark.parametrize("row", COMPILED, ids=lambda row: row.name)
def test_no_byte_beside_an_array_is_read(row: Kernel) -> None:
    """Arrays between forbidden pages: a load beyond either end would end the process."""
    if reason := available(row.backend):
        pytest.skip(reason)
    every = "2" if row.op in ("conv2d", "pool2d") else "1"
    done = python(AT_THE_EDGE, TESTS, row.name, every, timeout=300)
    assert int(done.stdout) >= 4 * 4  # both orders and both ends of four cases


WIDE = Case("conv2d", "wide", Conv2dSpec.of((1, 16, 90, 90), (8, 16, 7, 7), padding=3, bias=True))


@pytest.mark.parametrize("row", [r for r in ROWS if r.backend == "numpy"], ids=lambda row: row.name)
def test_scratch_is_bounded_and_given_back(row: Kernel) -> None:
    """NumPy tells its allocations: none may outlive the call, and no more than was said."""
    module = harness.kernel(row)
    for case in [c for c in (WIDE, *CASES) if harness.serves(row, c)]:
        given, shape = harness.data(case), harness.out_shape(case)
        indices = np.empty(shape, np.int64) if harness.wants_indices(case) else None
        result = harness.Result(np.empty(shape, np.float32), indices)
        packed = given.w.nbytes * 2 if given.w is not None else 0  # packing may copy them
        allowed = module.workspace_bytes(case.spec, 1) + packed
        harness.call(module, case, given, result, 1)  # imports and tables are not its scratch
        tracemalloc.start()
        harness.call(module, case, given, result, 1)
        left, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert left < 4096, (case.name, left)
        assert most <= allowed + 65536, (case.name, most, allowed)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize(
    "row", [r for r in ROWS if r.op == "conv2d" and r.backend != "reference"],
    ids=lambda row: row.name,
)
def test_a_large_kernel_does_not_unfold_the_picture(row: Kernel) -> None:
    """Written out, the windows of 63×63 on 512² would take 3 GB; what the kernel states must do."""
    spec = Conv2dSpec.of((1, 1, 512, 512), (1, 1, 63, 63))
    if reason := absent(row) or row.why_not(spec):
        pytest.skip(reason)
    used, stated = map(int, python(f"""
        import numpy as np, fastconv as fc
        def peak():
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        x, w = np.ones((1, 1, 512, 512), "f4"), np.ones((1, 1, 63, 63), "f4")
        fc.set_num_threads(2)
        plan = fc.plan_conv2d(w, backend="{row.backend}", algorithm="{row.algorithm}")
        plan(x[:, :, :90, :90])  # the first call loads modules and starts threads
        plan.prepare(x.shape)
        out = np.ones((1, 1, 450, 450), "f4")
        before = peak()
        plan(x, out=out)
        print(1024 * (peak() - before), plan.workspace_bytes)
        assert np.allclose(out, 63 * 63, rtol=1e-4)
    """, timeout=300).stdout.split())
    assert stated < 64 << 20
    assert used <= stated + SLACK, (used, stated)


@pytest.mark.parametrize("backend", [b for b in BACKENDS if available(b) is None])
def test_distances_beyond_32_bits(backend: str, tmp_path: Path) -> None:
    """Rows a billion elements apart: a sparse file has them without their memory."""
    far = (1 << 30) + 7
    rng = np.random.default_rng(1)

    def spread(name: str, dtype: str = "f4") -> np.ndarray:
        file = np.memmap(tmp_path / name, dtype, "w+", shape=(3 * far,))
        size = file.itemsize
        strides = (size, 9 * size, far * size, size)
        return np.lib.stride_tricks.as_strided(file, (1, 2, 3, 8), strides)

    x, out = spread("x"), spread("out")
    x[...] = rng.integers(-4, 5, x.shape)
    near = np.ascontiguousarray(x)
    w = rng.integers(-4, 5, (2, 2, 3, 3)).astype(np.float32)
    for call in (
        lambda a, **k: fc.conv2d(a, w, padding=1, backend=backend, precision="strict", **k),
        lambda a, **k: fc.conv2d(a, w[:, :, :1, :1], backend=backend, precision="strict", **k),
        lambda a, **k: fc.conv_transpose2d(a, w, padding=1, backend=backend, **k),
        lambda a, **k: fc.max_pool2d(a, 3, stride=1, padding=1, backend=backend, **k),
        lambda a, **k: fc.relu(a, backend=backend, **k),
    ):
        wanted = call(near)
        np.testing.assert_array_equal(call(x), wanted)
        out[...] = np.nan
        call(x, out=out)
        np.testing.assert_array_equal(out, wanted)
