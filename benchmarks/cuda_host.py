"""``python -m benchmarks.cuda_host``: what a call on a GPU takes the host, without a GPU.

All of a call runs but the driver: cuLaunchKernel and cuCtxGetDevice are C functions that do
nothing, called as those are. Arrays are stand-ins for PyTorch's over host memory, whose methods
cost less than the real ones. Printed are microseconds of this process, the least of several rounds.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

ROUNDS, CALLS = 7, 2000


class Tensor:
    """What is asked of a CUDA tensor."""

    is_cuda, requires_grad = True, False
    device = type("device", (), {"index": 0})()

    def __init__(self, a: np.ndarray[Any, Any]) -> None:
        self.a, self.shape, self.dtype = a, a.shape, f"torch.{a.dtype.name}"
        self._pointer, self._steps = a.ctypes.data, tuple(s // a.itemsize for s in a.strides)

    def element_size(self) -> int:
        """Bytes."""
        return 4

    def data_ptr(self) -> int:
        """The address."""
        return self._pointer

    def stride(self) -> tuple[int, ...]:
        """In elements."""
        return self._steps

    def clone(self) -> Tensor:
        """A copy."""
        return Tensor(self.a.copy())


Tensor.__module__ = "torch"


class Torch:
    """The module, with a pool of one array for each shape."""

    float32 = np.float32
    made: ClassVar[dict[Any, Tensor]] = {}

    @staticmethod
    def is_grad_enabled() -> bool:
        """As in training."""
        return True

    @classmethod
    def empty(cls, shape: tuple[int, ...], dtype: Any, device: Any) -> Tensor:
        """From the pool."""
        return cls.made.get(shape) or cls.made.setdefault(shape, Tensor(np.empty(shape, dtype)))

    @classmethod
    def empty_like(cls, a: Tensor) -> Tensor:
        """Likewise."""
        return cls.empty(a.shape, np.float32, None)

    class cuda:
        """One stream."""

        stream = type("Stream", (), {"cuda_stream": 7})()

        @classmethod
        def current_stream(cls, device: int) -> Any:
            """That."""
            return cls.stream


class Driver:
    """The two functions of the driver that a call needs, as C functions that do nothing."""

    def __init__(self) -> None:
        from numba import carray, cfunc, types

        words, pointer = [types.uint32] * 7, types.voidptr

        @cfunc(types.int32(pointer, *words, pointer, pointer, pointer))
        def launch(f, a, b, c, d, e, g, h, stream, values, extra):  # type: ignore[no-untyped-def]
            return 0

        @cfunc(types.int32(types.CPointer(types.int32)))
        def device(place):  # type: ignore[no-untyped-def]
            carray(place, 1)[0] = 0
            return 0

        self.kept = launch, device
        self.cuLaunchKernel, self.cuCtxGetDevice = launch.ctypes, self._device(device)

    @staticmethod
    def _device(compiled: Any) -> Any:
        import ctypes

        return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(compiled.address)


def microseconds(call: Callable[[], object]) -> float:
    """Of one call."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(CALLS):
            call()
        best = min(best, (time.process_time() - start) / CALLS)
    return best * 1e6


def main() -> int:
    """Print a line for each kind of call."""
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
    sys.modules["torch"] = Torch  # type: ignore[assignment]
    import fastconv as fc

    if reason := fc.backends()["cuda"]:
        print(reason, file=sys.stderr)
        return 2
    from fastconv.backends.cuda import launcher

    driver, known = Driver(), dict[Any, Any]()

    def compiled(build: Any, constants: Any, device: int) -> Any:
        """The handle of a kernel that nobody has."""
        key = build, constants
        return known.get(key) or known.setdefault(key, (4096, None, build(*constants)))

    rng = np.random.default_rng(0)
    x, w = (
        Tensor(rng.standard_normal(shape).astype(np.float32))
        for shape in ((1, 8, 8, 8), (8, 8, 3, 3))
    )
    launcher.SIMULATED, launcher._driver, launcher._compiled = False, lambda: driver, compiled
    launcher._processors = lambda device: 132
    for name, algorithm in (("direct", "direct"), ("planar", "planar")):
        plan = fc.plan_conv2d(w, padding=1, algorithm=algorithm)
        out = plan(x)
        print(f"plan, {name:<8} {microseconds(lambda: plan(x)):6.1f} µs, "  # noqa: B023
              f"with out= {microseconds(lambda: plan(x, out=out)):6.1f} µs")  # noqa: B023
    y = Tensor(np.empty_like(x.a))
    print(f"conv2d          {microseconds(lambda: fc.conv2d(x, w, padding=1)):6.1f} µs")
    print(f"relu            {microseconds(lambda: fc.relu(x, out=y)):6.1f} µs")
    print(f"max_pool2d      {microseconds(lambda: fc.max_pool2d(x, 2)):6.1f} µs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
