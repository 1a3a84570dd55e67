"""Arrays on a GPU, of any library: read without a copy, results made by the library they came from.

A :class:`DeviceArray` is to the CUDA kernels what an ndarray is to the others: an address, a
shape, strides and a dtype, with the views that the public functions need of it. This module
imports no GPU library: an array that came from one has imported it.

Sources: "CUDA Array Interface (Version 3)", Numba documentation; "DLPack: open in-memory tensor
structure", dmlc/dlpack.
"""

from __future__ import annotations

import ctypes
import math
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from . import streams
from .spec import dtype_of
from .streams import SIMULATED as SIMULATED


@dataclass(slots=True, eq=False)
class DeviceArray:
    """Cells of a GPU's memory; strides are in bytes. Never changed: frozen, it would take four
    times as long to make."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    library: str
    device: int = 0
    stream: int | None = None
    """Of the work that fills it, where its library says so; then of the call's. See
    :mod:`.streams`."""
    owner: Any = None
    """The array of the library, which the caller has or gets."""
    writeable: bool = True

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of a cell."""
        return self.dtype.itemsize

    @property
    def steps(self) -> tuple[int, ...]:
        """Strides in cells."""
        size = self.dtype.itemsize
        return tuple([s // size for s in self.strides])

    @property
    def contiguous(self) -> bool:
        """Whether the cells follow one another in row-major order."""
        dense = dense_strides(self.shape, self.dtype.itemsize)
        return self.strides == dense or not self.size or all(
            n == 1 or s == d for n, s, d in zip(self.shape, self.strides, dense, strict=True)
        )

    def transpose(self, *axes: Any) -> DeviceArray:
        """The same cells with the axes in another order."""
        order = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
        return DeviceArray(
            self.pointer, tuple([self.shape[a] for a in order]),
            tuple([self.strides[a] for a in order]), self.dtype, self.library, self.device,
            self.stream, self.owner, self.writeable,
        )

    def __getitem__(self, key: Any) -> DeviceArray:
        """Slices of leading axes, as of an ndarray; None for a new axis."""
        keys = list(key) if isinstance(key, tuple) else [key]
        pointer, shape, strides, axis = self.pointer, [], [], 0
        for part in keys:
            if part is None:
                shape.append(1)
                strides.append(0)
                continue
            n, step = self.shape[axis], self.strides[axis]
            start, stop, by = part.indices(n)
            count = len(range(start, stop, by))
            pointer += start * step if count else 0
            shape.append(count)
            strides.append(step * by)
            axis += 1
        return replace(
            self, pointer=pointer, shape=(*shape, *self.shape[axis:]),
            strides=(*strides, *self.strides[axis:]),
        )

    def reshape(self, *shape: Any) -> DeviceArray:
        """Another shape of cells that follow one another."""
        new = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        if not self.contiguous or math.prod(new) != self.size:
            raise ValueError(f"cannot reshape {self.shape} with strides {self.strides} to {new}")
        return replace(self, shape=new, strides=dense_strides(new, self.itemsize))

    def range(self) -> tuple[int, int]:
        """The first byte's address, and the one past the last."""
        if self.contiguous:
            return self.pointer, self.pointer + self.size * self.dtype.itemsize
        if not self.size:
            return self.pointer, self.pointer
        reach = [s * (n - 1) for s, n in zip(self.strides, self.shape, strict=True)]
        low = self.pointer + sum(r for r in reach if r < 0)
        return low, self.pointer + sum(r for r in reach if r > 0) + self.itemsize


@lru_cache(maxsize=1024)
def dense_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Bytes from cell to cell in row-major order."""
    strides, step = [], itemsize
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


# ---------------------------------------------------------------- in


def read(name: str, a: Any, stream: int | None = None) -> DeviceArray | None:
    """``a`` as a DeviceArray if it lives on a GPU, else None. ``stream`` is where it will be used,
    if that is known: DLPack asks."""
    if isinstance(a, DeviceArray):
        return a
    library = _library_of(a)
    if library == "torch":
        return _of_torch(name, a)
    if SIMULATED and getattr(a, "__cuda_ndarray__", False):
        host = a._ary
        return DeviceArray(
            int(host.ctypes.data), host.shape, host.strides, host.dtype, "numba", owner=a
        )
    try:
        interface = getattr(a, "__cuda_array_interface__", None)
    except Exception as error:
        raise TypeError(f"{name} gives no access to its memory on the GPU: {error}") from None
    if interface is not None:
        return _of_interface(name, a, interface, library if library == "cupy" else "numba")
    if hasattr(a, "__dlpack_device__") and not isinstance(a, (np.ndarray, np.generic)):
        kind, device = a.__dlpack_device__()
        if int(kind) in (_DL_CUDA, _DL_CUDA_MANAGED):
            return _of_dlpack(name, a, int(device), stream or streams.LEGACY)
    return None


def _library_of(a: object) -> str:
    kind: Any = type(a)
    return _library(kind)


@lru_cache(maxsize=256)
def _library(kind: type) -> str:
    for base in kind.__mro__:
        found = (base.__module__ or "").split(".")[0]
        if found in ("torch", "cupy"):
            return found
    return ""


def _of_torch(name: str, a: Any) -> DeviceArray | None:
    if not getattr(a, "is_cuda", False):
        return None
    if a.requires_grad and sys.modules["torch"].is_grad_enabled():
        raise TypeError(
            f"{name} is a tensor that requires a gradient, which the result would not have; "
            f"pass {name}.detach(), or use torch.no_grad()"
        )
    size = a.element_size()
    return DeviceArray(
        a.data_ptr(), tuple(a.shape), tuple(s * size for s in a.stride()),
        _dtype(name, str(a.dtype).removeprefix("torch.")), "torch", a.device.index,
        _current("torch", a.device.index), a,
    )


def _current(library: str, device: int) -> int:
    """The current stream of PyTorch or CuPy, on which their arrays are ready."""
    cuda = sys.modules[library].cuda
    if library == "torch":
        return streams.named(cuda.current_stream(device).cuda_stream)
    return streams.named(cuda.get_current_stream(device).ptr)


def _dtype(name: str, dtype: str) -> np.dtype[Any]:
    try:
        return dtype_of(dtype)
    except ImportError:
        raise TypeError(f"{name} is bfloat16; pip install ml_dtypes to use it") from None
    except TypeError:
        raise TypeError(f"{name} has a dtype that is not accepted: {dtype}") from None


def _of_interface(
    name: str, a: Any, interface: dict[str, Any], library: str
) -> DeviceArray:
    if interface.get("mask") is not None:
        raise TypeError(f"{name} is a masked array, whose mask would be lost; fill it first")
    try:
        shape, (pointer, frozen) = tuple(interface["shape"]), interface["data"]
        dtype = np.dtype(getattr(a, "dtype", None) or interface["typestr"])
    except (KeyError, TypeError, ValueError) as error:
        raise TypeError(f"{name} has a broken __cuda_array_interface__: {error!r}") from None
    strides = interface.get("strides")
    if strides is None:
        strides = dense_strides(shape, dtype.itemsize)
    if not dtype.isnative:
        raise TypeError(f"{name} has bytes in the other order, which no GPU kernel reads")
    device = _device_of(a, int(pointer or 0))
    stream = _current("cupy", device) if library == "cupy" else _stream_of(name, interface)
    return DeviceArray(
        int(pointer or 0), shape, tuple(strides), dtype, library, device, stream, a, not frozen
    )


def _stream_of(name: str, interface: dict[str, Any]) -> int | None:
    """On which an array is ready. The interface forbids 0; numba says it of its default stream."""
    stream = interface.get("stream")
    if stream is None:
        return None
    if not isinstance(stream, int) or stream < 0:
        raise TypeError(f"{name} has a broken __cuda_array_interface__: stream {stream!r}")
    return streams.named(stream)


def _device_of(a: Any, pointer: int) -> int:
    if SIMULATED:
        return 0
    if _library_of(a) == "cupy":
        return int(a.device.id)
    try:
        driver = import_module("cuda.bindings.driver")
        attribute = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        error, device = driver.cuPointerGetAttribute(attribute, pointer)
    except Exception:  # no driver: whoever wants to compute will say so
        return 0
    return int(device) if int(error) == 0 else 0


# ---------------------------------------------------------------- DLPack

_DL_CUDA, _DL_CUDA_MANAGED = 2, 13
_DL_KINDS = {0: "int", 1: "uint", 2: "float", 4: "bfloat"}


class _Tensor(ctypes.Structure):
    """DLTensor, as dlpack.h lays it out."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16), ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64),
    )


def _of_dlpack(name: str, a: Any, device: int, stream: int) -> DeviceArray:
    """The capsule is only looked into: its owner, which lives as long as the array, frees it. The
    producer lets ``stream`` wait until the array is ready."""
    capsule = a.__dlpack__(stream=stream)
    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = _Tensor.from_address(address(capsule, b"dltensor"))
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    kind = _DL_KINDS.get(tensor.code)
    if kind is None or tensor.lanes != 1:
        raise TypeError(f"{name} has a dtype that is not accepted (DLPack code {tensor.code})")
    dtype = _dtype(name, f"{kind}{tensor.bits}")
    strides = dense_strides(shape, dtype.itemsize)
    if tensor.strides:
        strides = tuple(tensor.strides[i] * dtype.itemsize for i in range(tensor.ndim))
    return DeviceArray(
        (tensor.data or 0) + tensor.byte_offset, shape, strides, dtype, "numba", device, stream,
        (a, capsule),
    )


# ---------------------------------------------------------------- out


def empty(shape: tuple[int, ...], dtype: np.dtype[Any], beside: DeviceArray) -> DeviceArray:
    """A fresh array on the device of ``beside``, made by its library for its stream."""
    if beside.library == "torch":
        torch = sys.modules["torch"]
        with _allocating_for(beside):
            made = torch.empty(shape, dtype=getattr(torch, dtype.name), device=beside.owner.device)
        pointer = made.data_ptr()
    elif beside.library == "cupy":
        cupy = sys.modules["cupy"]
        with cupy.cuda.Device(beside.device), _allocating_for(beside):
            made = cupy.empty(shape, dtype)
        pointer = made.data.ptr
    else:
        cuda = streams.numba_cuda()
        # numba knows no bfloat16: nobody gets such an array, kernels have it as scratch.
        kept = np.dtype(np.uint16) if dtype.name == "bfloat16" else dtype
        with cuda.gpus[beside.device]:
            stream = streams.numba_stream(beside.device, beside.stream)
            made = cuda.device_array(shape, kept, stream=stream)
        pointer = _address(made)
    return DeviceArray(
        pointer, shape, dense_strides(shape, dtype.itemsize), dtype, beside.library,
        beside.device, beside.stream, made,
    )


def _allocating_for(beside: DeviceArray) -> AbstractContextManager[Any]:
    """PyTorch and CuPy give freed memory to later work of the stream that it was made for: enter
    the stream of ``beside`` unless it is their current one."""
    if beside.stream is None or beside.stream == _current(beside.library, beside.device):
        return nullcontext()
    cuda = sys.modules[beside.library].cuda
    if beside.library == "cupy":
        given: Any = cuda.ExternalStream(beside.stream, beside.device)
        return given  # type: ignore[no-any-return]
    entered: Any = cuda.stream(_torch_stream(beside.stream, beside.device))
    return entered  # type: ignore[no-any-return]


def _torch_stream(stream: int | None, device: int) -> Any:
    cuda = sys.modules["torch"].cuda
    if (stream or streams.LEGACY) == streams.LEGACY:
        return cuda.default_stream(device)
    return cuda.ExternalStream(stream, device=device)


def copied(a: DeviceArray) -> DeviceArray:
    """The same cells in memory of their own, by the array's library."""
    if a.library in ("torch", "cupy"):
        with _allocating_for(a):
            made = a.owner.clone() if a.library == "torch" else a.owner.copy()
        found = read("array", made)
        assert found is not None
        return replace(found, stream=a.stream)
    if not a.contiguous:
        raise ValueError("weights for a plan must be contiguous on the GPU; copy them first")
    twin = empty(a.shape, a.dtype, a)
    nbytes = a.size * a.itemsize
    if SIMULATED:
        ctypes.memmove(twin.pointer, a.pointer, nbytes)
        return twin
    cuda = streams.numba_cuda()
    with cuda.gpus[a.device]:
        driver = import_module("cuda.bindings.driver")
        (error,) = driver.cuMemcpyDtoDAsync(twin.pointer, a.pointer, nbytes, a.stream or 0)
    if int(error):
        raise RuntimeError(f"weights for a plan could not be copied on the GPU: {error}")
    return twin


def scratch(shape: tuple[int, ...], dtype: np.dtype[Any], beside: DeviceArray) -> DeviceArray:
    """Memory for a kernel's own use, of numba: it reads such arrays back in any library."""
    return empty(shape, dtype, replace(beside, library="numba"))


def _address(made: Any) -> int:
    """Of an array that numba made."""
    if SIMULATED:
        return int(made._ary.ctypes.data)
    return int(made.__cuda_array_interface__["data"][0] or 0)


def empty_like(a: DeviceArray, dtype: np.dtype[Any]) -> DeviceArray:
    """A fresh array of the shape and, where that is dense, the memory order of ``a``."""
    order = sorted(range(a.ndim), key=lambda axis: -abs(a.strides[axis]))
    if a.library == "torch":
        torch = sys.modules["torch"]
        with _allocating_for(a):
            made = torch.empty_like(a.owner)
        strides = tuple(s * dtype.itemsize for s in made.stride())
        return replace(a, pointer=made.data_ptr(), strides=strides, owner=made, writeable=True)
    if a.contiguous or a.library != "cupy" or not a.transpose(order).contiguous:
        return empty(a.shape, dtype, a)
    made = empty(a.transpose(order).shape, dtype, a)
    back = tuple(order.index(axis) for axis in range(a.ndim))
    return replace(made.transpose(back), owner=made.owner.transpose(back))


def upload(a: np.ndarray[Any, Any]) -> DeviceArray:
    """A host array copied to the current device, NHWC memory order kept."""
    cuda = streams.numba_cuda()
    last = a.ndim == 4 and not a.flags.c_contiguous and a.transpose(0, 2, 3, 1).flags.c_contiguous
    dense = np.ascontiguousarray(a.transpose(0, 2, 3, 1) if last else a)
    sent = dense.view(np.uint16) if dense.dtype.itemsize == 2 else dense
    made = cuda.to_device(sent)
    device = 0 if SIMULATED else int(cuda.current_context().device.id)
    array = DeviceArray(
        _address(made), dense.shape, dense_strides(dense.shape, a.dtype.itemsize),
        a.dtype, "numba", device, owner=made,
    )
    return array.transpose(0, 3, 1, 2) if last else array


def download(a: DeviceArray, out: np.ndarray[Any, Any]) -> None:
    """The cells of an array that :func:`upload` made, into a host array; waits for them."""
    host = a.owner.copy_to_host().view(a.dtype)
    out[...] = host.transpose(0, 3, 1, 2) if host.shape != a.shape or not a.contiguous else host


def borrowed(a: np.ndarray[Any, Any]) -> DeviceArray:
    """A host array as the simulator's device array, over the same memory."""
    if not SIMULATED:
        raise RuntimeError("only the simulator's memory is that of the host")
    return DeviceArray(
        int(a.__array_interface__["data"][0]), a.shape, a.strides, a.dtype, "numba", owner=a,
        writeable=a.flags.writeable,
    )


def checked_out(
    out: Any, shape: tuple[int, ...], dtype: str, inputs: dict[str, Any]
) -> DeviceArray:
    """``out`` if the result can be written there, else an error that says why not."""
    target: Any = read("out", out)
    if target is None:
        raise TypeError(
            f"out must live on the GPU, as x does; got {type(out).__module__}."
            f"{type(out).__qualname__}"
        )
    if target.dtype.name != dtype:
        raise TypeError(f"out has dtype {target.dtype.name} but the result is {dtype}")
    if target.shape != shape:
        raise ValueError(f"out has shape {target.shape} but the result has shape {shape}")
    if not target.writeable:
        raise ValueError("out is read-only")
    *_, target = together(None, **inputs, out=target)
    if overlaps_itself(target):
        raise ValueError("out overlaps itself in memory; pass a real array")
    low, high = target.range()
    for name, a in inputs.items():
        if a is not None:
            first, last = a.range()
            if low < last and first < high:
                raise ValueError(f"out overlaps {name} in memory; pass a separate array")
    return target  # type: ignore[no-any-return]


def overlaps_itself(a: DeviceArray) -> bool:
    """Whether two cells may share a byte: each axis must step over all that vary faster."""
    if a.contiguous:
        return False
    reach = a.itemsize
    for step, n in sorted((abs(s), n) for s, n in zip(a.strides, a.shape, strict=True)):
        if n > 1 and a.size:
            if step < reach:
                return True
            reach += step * (n - 1)
    return False


def together(stream: int | None, **arrays: Any) -> tuple[Any, ...]:
    """The arrays of one call, which all live in one place, else an error. On a GPU the work goes
    on ``stream``, or else on the first array's: that waits for what fills the others, and stands
    in all of them afterwards; the host goes on."""
    given = [a for a in arrays.values() if a is not None]
    places = {a.device if isinstance(a, DeviceArray) else None for a in given}
    if len(places) > 1:
        where = ", ".join(
            f"{name} on {f'GPU {a.device}' if isinstance(a, DeviceArray) else 'the host'}"
            for name, a in arrays.items() if a is not None
        )
        raise ValueError(f"all arrays must live in one place; got {where}")
    if not given or not isinstance(given[0], DeviceArray):
        return tuple(arrays.values())
    work = given[0].stream if stream is None else stream
    if any(a.stream != work for a in given):
        streams.follow(given[0].device, work, [a.stream for a in given])
        return tuple([None if a is None else moved(a, work) for a in arrays.values()])
    return tuple(arrays.values())


def moved(a: DeviceArray, stream: int | None) -> DeviceArray:
    """The same array for work on ``stream``. PyTorch is told, so that it gives the memory to
    nobody before that is done."""
    if a.stream == stream:
        return a
    if a.library == "torch":
        a.owner.record_stream(_torch_stream(stream, a.device))
    return replace(a, stream=stream)
