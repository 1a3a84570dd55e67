"""The GPU wing through the public functions, on numba's simulator: NUMBA_ENABLE_CUDASIM=1.

Its kernels are tested row by row in ``test_kernels.py``; here is what surrounds them: arrays of a
GPU in and out, where they live, what is refused. What needs no card at all runs everywhere.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import python

import fastconv as fc
from fastconv import device
from fastconv.device import DeviceArray
from fastconv.dispatch import available
from fastconv.spec import ACTIVATIONS, Conv2dSpec

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # for benchmarks, which are not installed
RNG = np.random.default_rng(3)
X = RNG.standard_normal((2, 4, 6, 7)).astype(np.float32)
W = RNG.standard_normal((6, 4, 3, 3)).astype(np.float32)
WT = RNG.standard_normal((4, 6, 3, 3)).astype(np.float32)
BIAS = RNG.standard_normal(6).astype(np.float32)

on_card = pytest.mark.skipif(available("cuda") is not None, reason=str(available("cuda")))
simulated = pytest.mark.skipif(
    available("cuda") is not None or not device.SIMULATED, reason="NUMBA_ENABLE_CUDASIM is not set"
)


def put(a: Any) -> Any:
    """A host array on the GPU, as numba's device array."""
    from numba import cuda

    return cuda.to_device(a)


def get(a: Any) -> Any:
    assert not isinstance(a, (np.ndarray, DeviceArray)), "the result is not the library's own"
    return a.copy_to_host()


CALLS: dict[str, tuple[Any, ...]] = {
    "conv2d": (fc.conv2d, (X, W, BIAS), {"padding": 1, "activation": "silu"}),
    "conv2d strided": (fc.conv2d, (X, W, BIAS), {"stride": (2, 1), "dilation": 2, "padding": 2}),
    "conv2d reflect": (fc.conv2d, (X, W), {"padding": 2, "padding_mode": "reflect"}),
    "conv2d circular": (fc.conv2d, (X, W), {"padding": 2, "padding_mode": "circular"}),
    "conv2d replicate": (fc.conv2d, (X, W), {"padding": 3, "padding_mode": "replicate"}),
    "conv2d groups": (fc.conv2d, (X, W[:, :2]), {"groups": 2}),
    "transposed": (fc.conv_transpose2d, (X, WT, BIAS), {"stride": 2, "output_padding": 1}),
    "transposed holes": (fc.conv_transpose2d, (X, WT[..., :1, :1], BIAS), {"stride": 3}),
    "transposed groups": (
        fc.conv_transpose2d, (X, WT[:, :3]), {"groups": 2, "stride": 2, "activation": "tanh"}
    ),
    "fused": (fc.conv2d_pool2d, (X, W, BIAS), {"padding": 1, "pool": "avg"}),
    "max_pool2d": (fc.max_pool2d, (X, 3), {"stride": 2, "padding": 1, "ceil_mode": True}),
    "avg_pool2d": (fc.avg_pool2d, (X, 2), {"padding": 1, "count_include_pad": False}),
    "lp_pool2d": (fc.lp_pool2d, (X, 3, 2), {}),
    "adaptive": (fc.adaptive_avg_pool2d, (X, (4, 3)), {}),
    "global": (fc.global_max_pool2d, (X,), {}),
    "relu": (fc.relu, (X,), {}),
    "sigmoid": (fc.sigmoid, (X,), {}),
}


@on_card
@pytest.mark.parametrize("name", CALLS)
def test_device_arrays_in_and_out(name: str) -> None:
    function, arguments, options = CALLS[name]
    wanted = function(*arguments, backend="numpy", **options)
    there = [put(np.ascontiguousarray(a)) if isinstance(a, np.ndarray) else a for a in arguments]
    np.testing.assert_allclose(get(function(*there, **options)), wanted, atol=2e-5)
    np.testing.assert_allclose(
        function(*arguments, backend="cuda", **options), wanted, atol=2e-5
    )


@on_card
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("algorithm", ["direct", "planar"])
def test_activations_of_a_convolution(algorithm: str, activation: str | None) -> None:
    x, w = 4 * X[:1, :, :4, :5], W[:5]
    for bias in (None, BIAS[:5]):
        got = fc.conv2d(
            x, w, bias, activation=activation, algorithm=algorithm, backend="cuda"
        )
        wanted = fc.conv2d(x, w, bias, activation=activation, backend="reference")
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)


@on_card
def test_channels_last() -> None:
    x = np.ascontiguousarray(X.transpose(0, 2, 3, 1))
    for function, more in (
        (fc.conv2d, (W, BIAS)), (fc.max_pool2d, (2,)), (fc.conv2d_pool2d, (W, BIAS)),
    ):
        there = [put(a) if isinstance(a, np.ndarray) else a for a in (x, *more)]
        got = get(function(*there, layout="NHWC"))
        np.testing.assert_allclose(
            got, function(x, *more, layout="NHWC", backend="numpy"), atol=2e-5
        )


@on_card
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_types_are_read_and_rounded_once(dtype: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kind = getattr(ml_dtypes, dtype, None) or np.dtype(dtype)
    x, w, bias = (a.astype(kind) for a in (X, W, BIAS))
    for call in (
        lambda **b: fc.conv2d(x, w, bias, padding=1, **b), lambda **b: fc.tanh(x, **b),
        lambda **b: fc.max_pool2d(x, 2, **b), lambda **b: fc.avg_pool2d(x, 3, **b),
    ):
        got, wanted = call(backend="cuda"), call(backend="numpy")
        assert got.dtype == wanted.dtype == kind
        wanted = wanted.astype(np.float64)
        last_place = {"float16": 2.0**-10, "bfloat16": 2.0**-7}.get(dtype, 1e-13)
        np.testing.assert_allclose(
            got.astype(np.float64), wanted, rtol=last_place, atol=last_place * abs(wanted).max()
        )


@on_card
def test_indices_go_there_and_back() -> None:
    values, indices = fc.max_pool2d(put(X), 2, return_indices=True)
    wanted = fc.max_pool2d(X, 2, return_indices=True, backend="numpy")
    np.testing.assert_array_equal(get(values), wanted[0])
    np.testing.assert_array_equal(get(indices), wanted[1])
    np.testing.assert_array_equal(
        get(fc.max_unpool2d(values, indices, 2, output_size=(6, 7))),
        fc.max_unpool2d(*wanted, 2, output_size=(6, 7), backend="numpy"),
    )
    for wrong in (99, -1):
        with pytest.raises(ValueError, match="indices must lie in 0 … 35"):
            fc.max_unpool2d(values, put(np.full(values.shape, wrong)), 2)


@on_card
def test_out_on_the_gpu() -> None:
    out = put(np.full((2, 6, 4, 5), np.nan, np.float32))
    assert fc.conv2d(put(X), put(W), out=out) is out
    np.testing.assert_allclose(get(out), fc.conv2d(X, W, backend="numpy"), atol=2e-5)
    x = put(X)
    assert fc.relu(x, out=x) is x
    np.testing.assert_array_equal(get(x), np.maximum(X, 0))
    for wrong, error, words in (
        (np.empty((2, 6, 4, 5), np.float32), TypeError, "out must live on the GPU"),
        (put(np.empty((2, 6, 4, 4), np.float32)), ValueError, "out has shape"),
        (put(np.empty((2, 6, 4, 5))), TypeError, "out has dtype float64"),
    ):
        with pytest.raises(error, match=words):
            fc.conv2d(put(X), put(W), out=wrong)
    x = put(np.zeros((2, 1, 4, 4), np.float32))
    with pytest.raises(ValueError, match="out overlaps x"):
        fc.relu(x[:1], out=x.transpose((0, 1, 3, 2))[:1])
    with pytest.raises(TypeError, match="out must be a NumPy array"):
        fc.relu(X, out=put(X))


@on_card
def test_places_are_not_mixed() -> None:
    for call in (
        lambda: fc.conv2d(put(X), W), lambda: fc.conv2d(X, put(W)),
        lambda: fc.conv2d(put(X), put(W), BIAS), lambda: fc.plan_conv2d(put(W), BIAS),
        lambda: fc.plan_conv2d(put(W))(X), lambda: fc.plan_conv2d(W)(put(X)),
        lambda: fc.max_unpool2d(put(X), np.zeros(X.shape, np.int64), 2),
    ):
        with pytest.raises(ValueError, match="all arrays must live in one place; got"):
            call()
    other = device.borrowed(W) if device.SIMULATED else None
    if other is not None:
        other.device = 1
        with pytest.raises(ValueError, match="x on GPU 0, w on GPU 1"):
            fc.conv2d(put(X), other)


@on_card
def test_the_data_decide(monkeypatch: Any) -> None:
    with pytest.raises(ValueError, match="backend='numpy' cannot work"):
        fc.relu(put(X), backend="numpy")
    monkeypatch.setenv("FASTCONV_BACKEND", "numpy")
    with fc.options(backend="reference"):
        get(fc.relu(put(X)))
    monkeypatch.delenv("FASTCONV_BACKEND")
    told = fc.explain("conv2d", X.shape, W.shape)
    assert told.backend != "cuda"
    assert "only arrays on a GPU" in told.rejected["conv2d.direct@cuda"]
    assert fc.explain("conv2d", X.shape, W.shape, backend="cuda").backend == "cuda"
    with pytest.raises(ValueError, match="int32 is not computed here"):
        fc.max_pool2d(put(X.astype(np.int32)), 2)


@on_card
def test_weights_of_a_plan_stay_on_the_card() -> None:
    wanted = fc.conv2d(X, W, BIAS, padding=1, backend="numpy")
    w, bias = put(W), put(BIAS)
    plan = fc.plan_conv2d(w, bias, padding=1, x_shape=X.shape)
    assert plan.backend == "cuda"
    w.copy_to_device(np.zeros_like(W))  # the plan has its own
    np.testing.assert_allclose(get(plan(put(X))), wanted, atol=2e-5)
    host = fc.plan_conv2d(W, BIAS, padding=1, backend="cuda")
    np.testing.assert_allclose(host(X), wanted, atol=2e-5)
    np.testing.assert_allclose(get(host(put(X))), wanted, atol=2e-5)


@simulated
@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
def test_every_tile(order: str) -> None:
    """Each tile on more pixels and channels than it has, ends that fill no vector."""
    from fastconv.backends.cuda import conv2d_direct, tiles

    for dtype, several in (("float32", tiles.FLOAT32), ("float64", tiles.FLOAT64)):
        for tile in several:
            oc, width = tile.channels + 3, tile.pixels // 2 + 1
            shape = (1, 2, 2, width) if order == "NCHW" else (1, 2, width, 2)
            spec = Conv2dSpec.of(
                shape, (oc, 2, 1, 3), padding=(0, 1), dtype=dtype, layout=order, bias=True,
                activation="relu",
            )
            x, w = RNG.standard_normal(spec.x_shape), RNG.standard_normal(spec.w_shape)
            bias = RNG.standard_normal(oc)
            x, w, bias = (a.astype(dtype) for a in (x, w, bias))
            out = np.full(spec.out_shape, np.nan, dtype)
            if order == "NHWC":
                x, out = (
                    np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
                    for a in (x, out)
                )
            there = [device.borrowed(a) for a in (x, w, bias, out)]
            packed = conv2d_direct.pack(spec, there[1], 1)
            conv2d_direct.launch(spec, there[0], packed, there[2], there[3], tile)
            wanted = fc.conv2d(x, w, bias, padding=(0, 1), activation="relu", backend="numpy")
            np.testing.assert_allclose(out, wanted, atol=1e-5 if dtype == "float32" else 1e-13)


@simulated
@pytest.mark.parametrize(
    ("number", "dtype", "order", "pool"), [
        (0, "float32", "NCHW", ("max", 2, None, 0)), (0, "float32", "NHWC", ("avg", 3, 2, 1)),
        (2, "float32", "NHWC", ("max", 3, 1, 1)), (1, "float64", "NCHW", ("sum", (1, 3), 2, 0)),
    ],
)
def test_windows_are_pooled_by_the_block_that_computes_them(
    number: int, dtype: str, order: str, pool: Any, monkeypatch: Any
) -> None:
    """Several patches down and across, the last ones ragged, and more channels than a tile has."""
    from fastconv.backends.cuda import conv2d_direct, patches, tiles
    from fastconv.spec import ConvPool2dSpec

    monkeypatch.setattr(patches, "WORTH", 1 << 30)
    tile = (tiles.FLOAT64 if dtype == "float64" else tiles.FLOAT32)[number]
    mode, size, stride, padding = pool
    oc = tile.channels // 2 + 3
    shape = (2, 2, 9, tile.pixels // 5) if order == "NCHW" else (2, 9, tile.pixels // 5, 2)
    options = {"pool": mode, "pool_size": size, "pool_stride": stride, "pool_padding": padding}
    spec = ConvPool2dSpec.of(
        shape, (oc, 2, 2, 2), padding=(0, 1), dtype=dtype, layout=order, bias=True, **options
    )
    patches.patches_for.cache_clear()
    cut = patches.patches_for(spec, tile)
    assert cut is not None
    assert cut.count > spec.conv.N
    x, w, bias = (
        RNG.standard_normal(n).astype(dtype) for n in (shape, spec.w_shape, oc)
    )
    wanted = fc.conv2d_pool2d(
        x, w, bias, padding=(0, 1), layout=order, backend="numpy", **options
    )
    out = np.full(wanted.shape, np.nan, dtype)
    there = [device.borrowed(a) for a in (x, w, bias, out)]
    if order == "NHWC":
        there[0], there[3] = (a.transpose(0, 3, 1, 2) for a in (there[0], there[3]))
    packed = conv2d_direct.pack(spec.conv, there[1], 1)
    conv2d_direct.launch(spec.conv, there[0], packed, there[2], there[3], tile, cut)
    np.testing.assert_allclose(out, wanted, atol=1e-5 if dtype == "float32" else 1e-13)
    patches.patches_for.cache_clear()


@simulated
def test_maps_are_written_only_where_windows_do_not_fit(monkeypatch: Any) -> None:
    made: list[Any] = []
    empty = device.empty
    monkeypatch.setattr(
        device, "empty", lambda shape, *more: made.append(shape) or empty(shape, *more)
    )
    x, w = X[:1], np.ascontiguousarray(W[:, :, :1, :1])
    maps = (1, 6, 6, 7)
    for options, written in (
        ({"pool_size": 2}, False), ({"pool_size": 6, "pool": "avg"}, True),  # summed in float64
    ):
        made.clear()
        got = fc.conv2d_pool2d(put(x), put(w), algorithm="direct", **options)
        np.testing.assert_allclose(
            get(got), fc.conv2d_pool2d(x, w, backend="numpy", **options), atol=2e-5
        )
        assert (maps in made) == written
    from fastconv.backends.cuda import conv2d_pool2d_direct
    from fastconv.spec import ConvPool2dSpec

    for channels, size, stride, scratch in (
        (3, 2, 2, False), (3, 3, 2, False), (3, 12, 1, True), (128, 3, 2, True),
    ):
        spec = ConvPool2dSpec.of(
            (8, channels, 56, 56), (64, channels, 3, 3), padding=1, pool_size=size,
            pool_stride=stride,
        )
        bytes_needed = conv2d_pool2d_direct.workspace_bytes(spec, 1)
        assert (bytes_needed > 0) == scratch, (channels, size, stride)


# ---------------------------------------------------------------- arrays of other libraries


class Foreign:
    """An array with the CUDA array interface, over the simulator's memory."""

    def __init__(self, a: Any, **more: Any) -> None:
        self.array = a
        self.__cuda_array_interface__ = {
            "shape": a.shape, "typestr": a.dtype.str, "data": (a.ctypes.data, False),
            "version": 3, "strides": None if a.flags.c_contiguous else a.strides, **more,
        }


class Capsule:
    """An array that speaks DLPack only; NumPy makes the capsule, the device is pretended."""

    def __init__(self, a: Any) -> None:
        self.array = a

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, **_: Any) -> Any:
        return self.array.__dlpack__()


@simulated
@pytest.mark.parametrize("kind", [Foreign, Capsule])
def test_anything_with_an_interface(kind: Any) -> None:
    got = fc.conv2d(kind(X), kind(W), kind(BIAS))
    np.testing.assert_allclose(get(got), fc.conv2d(X, W, BIAS, backend="numpy"), atol=2e-5)
    turned = X[:, ::-1, ::2].transpose(0, 1, 3, 2)
    np.testing.assert_array_equal(get(fc.relu(kind(turned))), np.maximum(turned, 0))


class FakeTensor:
    """What is asked of a PyTorch CUDA tensor, over the simulator's memory."""

    __module__ = "torch"
    is_cuda, requires_grad, device = True, False, type("device", (), {"index": 0})()

    def __init__(self, a: Any) -> None:
        self.a, self.shape, self.dtype = a, a.shape, f"torch.{a.dtype.name}"

    def element_size(self) -> int:
        return self.a.itemsize

    def data_ptr(self) -> int:
        return self.a.ctypes.data

    def stride(self) -> tuple[int, ...]:
        return tuple(s // self.a.itemsize for s in self.a.strides)

    def clone(self) -> Any:
        return FakeTensor(self.a.copy("K"))


@simulated
def test_tensors_of_torch(monkeypatch: Any) -> None:
    """PyTorch itself allocates no CUDA tensor here: a stand-in has what is asked of one."""
    streams: list[Any] = []

    class Cuda:
        @staticmethod
        def current_stream(where: Any) -> Any:
            streams.append(where)
            return type("Stream", (), {"cuda_stream": 7})

    class Torch:
        cuda = Cuda
        float32 = np.float32
        is_grad_enabled = staticmethod(lambda: True)
        empty = staticmethod(lambda shape, dtype, device: FakeTensor(np.empty(shape, dtype)))
        empty_like = staticmethod(lambda t: FakeTensor(np.empty_like(t.a)))

    monkeypatch.setitem(sys.modules, "torch", Torch)
    x, w = FakeTensor(X), FakeTensor(W)
    got = fc.conv2d(x, w, FakeTensor(BIAS), padding=1)
    assert type(got) is FakeTensor
    np.testing.assert_allclose(
        got.a, fc.conv2d(X, W, BIAS, padding=1, backend="numpy"), atol=2e-5
    )
    assert set(streams) == {0}  # the current stream of that device
    assert device.read("x", x).stream == 7
    last = np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    result = fc.relu(FakeTensor(last)).a
    np.testing.assert_array_equal(result, np.maximum(X, 0))
    assert result.strides == last.strides  # channels_last stays
    np.testing.assert_allclose(
        fc.plan_conv2d(w)(x).a, fc.conv2d(X, W, backend="numpy"), atol=2e-5
    )
    monkeypatch.setattr(FakeTensor, "requires_grad", True)
    with pytest.raises(TypeError, match=r"pass x\.detach\(\)"):
        fc.relu(FakeTensor(X))


@simulated
def test_arrays_of_cupy(monkeypatch: Any) -> None:
    """CuPy needs a driver: a stand-in has what is asked of it."""

    class FakeCupy:
        __module__ = "cupy"
        device = type("Device", (), {"id": 0})

        def __init__(self, a: Any) -> None:
            self.a = a
            self.data = type("Memory", (), {"ptr": a.ctypes.data})
            self.__cuda_array_interface__ = Foreign(a).__cuda_array_interface__

        def transpose(self, axes: Any) -> Any:
            return FakeCupy(self.a.transpose(axes))

        def copy(self) -> Any:
            return FakeCupy(self.a.copy())

    class Cupy:
        class cuda:
            Device = staticmethod(lambda index: contextlib.nullcontext())
            get_current_stream = staticmethod(lambda index: type("Stream", (), {"ptr": 9}))

        empty = staticmethod(lambda shape, dtype: FakeCupy(np.empty(shape, dtype)))

    monkeypatch.setitem(sys.modules, "cupy", Cupy)
    got = fc.conv2d(FakeCupy(X), FakeCupy(W))
    assert type(got) is FakeCupy
    np.testing.assert_allclose(got.a, fc.conv2d(X, W, backend="numpy"), atol=2e-5)
    assert device.read("x", FakeCupy(X)).stream == 9
    last = np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    result = fc.relu(FakeCupy(last)).a
    np.testing.assert_array_equal(result, np.maximum(X, 0))
    assert result.strides == last.strides
    np.testing.assert_allclose(
        fc.plan_conv2d(FakeCupy(W))(FakeCupy(X)).a, fc.conv2d(X, W, backend="numpy"), atol=2e-5
    )


@simulated
def test_interfaces_that_cannot_be_read() -> None:
    for a, error, words in (
        (Foreign(X, mask=Foreign(X)), TypeError, "masked"),
        (Foreign(X.astype(">f4")), TypeError, "other order"),
        (Foreign(X, data=None), TypeError, "broken __cuda_array_interface__"),
        (Foreign(X.astype(complex)), TypeError, "complex128; accepted are"),
    ):
        with pytest.raises(error, match=words):
            fc.conv2d(a, Foreign(W))
    frozen = Foreign(np.zeros_like(X), data=(X.ctypes.data, True))
    with pytest.raises(ValueError, match="out is read-only"):
        fc.relu(Foreign(X), out=frozen)


def test_views_are_those_of_numpy() -> None:
    a = np.zeros((3, 4, 5, 6), np.float32)[:, ::-1, 1:]
    there = DeviceArray(a.ctypes.data, a.shape, a.strides, a.dtype, "numba")
    for take in (
        lambda b: b.transpose(0, 2, 3, 1), lambda b: b[1:, ::2], lambda b: b[:, :, 1:3, ::-1],
        lambda b: b[None, 1:2], lambda b: b[2:1],
    ):
        host, view = take(a), take(there)
        assert view.shape == host.shape
        assert not host.size or view.strides == host.strides
        assert not host.size or view.pointer == host.__array_interface__["data"][0]
    assert device.overlaps_itself(
        DeviceArray(0, (4, 4), (4, 4), np.dtype("f4"), "numba")
    )


@simulated
def test_host_arrays_are_copied_in_any_order() -> None:
    for a in (X, X.transpose(0, 3, 1, 2), X[:, ::-1], np.broadcast_to(X[:1], X.shape), X[0, 0, 0]):
        there = device.upload(a)
        assert there.shape == a.shape
        back = np.full(a.shape, np.nan, a.dtype)
        device.download(there, back)
        np.testing.assert_array_equal(back, a)


# ---------------------------------------------------------------- without a card


def _plain(code: str) -> str:
    return python(code, NUMBA_ENABLE_CUDASIM="0").stdout


def test_importing_fastconv_leaves_cuda_alone() -> None:
    out = _plain("""
        import sys, fastconv as fc
        fc.backends()
        print([m for m in sys.modules if m.split(".")[0] in ("cuda", "cupy", "torch")
               or m.startswith("numba.cuda")])
    """)
    if "driver" in str(available("cuda")) or "not installed" in str(available("cuda")):
        assert out.strip() == "[]"


def test_a_card_that_is_too_old_is_refused(monkeypatch: Any) -> None:
    from fastconv import dispatch

    def found(*capabilities: tuple[int, int]) -> str | None:
        gpus = [type("Gpu", (), {"compute_capability": c}) for c in capabilities]
        cuda = type("Cuda", (), {"is_available": staticmethod(lambda: True),
                                 "list_devices": staticmethod(lambda: gpus)})
        monkeypatch.setattr(dispatch, "import_module", lambda name: cuda)
        return dispatch._cuda_reason()

    monkeypatch.setattr(dispatch, "SIMULATED", False)
    monkeypatch.setattr(dispatch, "find_spec", lambda name: name)
    monkeypatch.setattr(dispatch, "_driver", lambda: True)
    assert "has compute capability 7.5; the kernels need 8.0" in str(found((6, 1), (7, 5)))
    assert found((8, 0)) is None
    assert found((6, 1), (9, 0)) is None


def test_an_absent_card_is_said_with_the_cure() -> None:
    out = _plain("""
        import numpy as np, fastconv as fc
        reason = fc.backends()["cuda"]
        print(reason)
        if reason:
            for call in (lambda: fc.relu(np.ones(3), backend="cuda"),
                         lambda: fc.plan_conv2d(np.ones((1, 1, 3, 3)), backend="cuda")):
                try:
                    call()
                except fc.BackendUnavailableError as error:
                    print(error)
    """)
    if out.strip() != "None":
        assert out.count('pip install "fastconv[cuda]"') == 3


# ---------------------------------------------------------------- tools


def _tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "0", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, env=environment, capture_output=True,
        text=True, timeout=600,
    )


@pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="only the package is here")
@pytest.mark.parametrize(
    "kernel", ["128×128 float32 planes 3×3", "stream relu float32", "max float32 pairs", "columns"]
)
def test_kernels_compile_without_faults(kernel: str) -> None:
    done = _tool("benchmarks.cuda_compile", "--arch", "90", "--kernel", kernel)
    if done.returncode == 2:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no faults" in done.stdout


def test_one_of_each_kind_leaves_no_builder_out() -> None:
    tool = pytest.importorskip("benchmarks.cuda_compile")
    if tool.find_spec("numba_cuda") is None:
        pytest.skip("numba-cuda is not installed")
    everything = tool.listed()
    few = [everything[label] for label in tool.chosen(each_kind=True)]
    assert len(few) < len(everything) / 2
    assert {kernel.kind for kernel in few} == {kernel.kind for kernel in everything.values()}
    assert len({kernel.kind for kernel in few}) == len(few)
    assert {kernel.build for kernel in few} == {kernel.build for kernel in everything.values()}
    assert tool.chosen("max float32", each_kind=True)
    assert not tool.chosen("no such kernel")


LISTING = """
.L_x_1:
        /*0010*/                   LDS.128 R4, [R2] ;
        /*0020*/                   FFMA R0, R1, R2, R3 ;
        /*0030*/                   FFMA R0, R1, R2, R3 ;
        /*0040*/               @P0 CALL.REL.NOINC `($__internal_0_$__cuda_sm20_div_s64) ;
        /*0050*/               @P0 BRA `(.L_x_1) ;
"""


def test_faults_are_seen() -> None:
    tool = pytest.importorskip("benchmarks.cuda_compile")
    source = type("Source", (), {"wide": True, "products": True})
    names, loops = tool.read(LISTING)
    assert loops == [range(5)]
    assert tool.share(names, loops) == 2 / 5
    assert len(list(tool.faults(source, 0, names, loops))) == 1
    names, loops = tool.read(LISTING.replace("div_s64", "div_rn_f64").replace(".128", ""))
    assert list(tool.faults(source, 8, names, loops)) == [
        "8 bytes of registers spilled", "no load of 16 bytes"
    ]


@pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="only the package is here")
def test_the_run_on_a_card_is_rehearsed(tmp_path: Path) -> None:
    if available("cuda") is not None and "numba-cuda is not installed" in str(available("cuda")):
        pytest.skip(str(available("cuda")))
    pytest.importorskip("rich")
    output = tmp_path / "card.json"
    done = _tool("benchmarks.cuda_card", "--simulate", "--output", str(output))
    assert done.returncode == 0, done.stdout + done.stderr
    import json

    found = json.loads(output.read_text())
    assert found["simulated"]
    conv = ("direct", "planar", "winograd4", "tf32x3", "tf32", "bf16", "tensor")
    assert {row["row"] for row in found["layers"]} >= {f"conv2d.{name}@cuda" for name in conv}
    assert len(found["correctness"]) > 40
    assert all(row["seconds"] > 0 for row in found["memory_bound"])
    (left_out,) = found["left_out"]
    assert left_out.startswith("conv2d.fft@cuda: CuPy ")


def test_layers_of_the_card_are_those_of_the_tables() -> None:
    tool, layers = (pytest.importorskip(f"benchmarks.{m}") for m in ("cuda_card", "layers"))
    found = tool.layers(tiny=False)
    assert all(spec.N == tool.BATCH for _, spec in found)
    large = {f"{side}x{side} of 64" for side in tool.LARGE}
    assert {name for name, _ in found} - large <= {layer.name for layer in layers.LAYERS}
