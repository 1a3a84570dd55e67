"""Arrays in and out: dtype, memory order, ``out=``, overlap, with every error about arrays.

Callers' arrays come in any memory order, byte order and alignment. What a kernel gets is an
aligned ndarray of one native dtype, logically (N, C, H, W), copied only where the row cannot
read it as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from . import config, device, halves, memory
from .device import DeviceArray
from .registry import NATIVE_FLOATS, Kernel
from .spec import HALF, Conv2dSpec, dtype_of, in_layout

Array: TypeAlias = npt.NDArray[Any]

FLOATS = (*HALF, *NATIVE_FLOATS)
_TO_NHWC = (0, 2, 3, 1)
_TO_NCHW = (0, 3, 1, 2)
_PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
# Above this many steps an exact overlap test is given up and the arrays count as overlapping.
_OVERLAP_WORK = 10_000


# ---------------------------------------------------------------- in


def array(name: str, a: object) -> Array:
    """``a`` as a plain ndarray, or as the DeviceArray that stands for one on a GPU; anything else
    is an error."""
    if type(a) is np.ndarray:
        return a
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would be lost; fill it first")
    if isinstance(a, (np.ndarray, np.generic)):
        return np.asarray(a)
    on_gpu: Any = device.read(name, a, config.stream())
    if on_gpu is not None:
        return on_gpu  # type: ignore[no-any-return]
    raise TypeError(
        f"{name} must be a NumPy array; got "
        f"{type(a).__module__}.{type(a).__qualname__} (convert it with numpy.asarray)"
    )


def dtype_name(accepted: Sequence[str], **arrays: Array | None) -> str:
    """The one dtype of all arrays, by name and whatever the byte order."""
    first = ""
    name = ""
    for label, a in arrays.items():
        if a is None:
            continue
        found = _name(a.dtype)
        if found not in accepted:
            raise TypeError(f"{label} has dtype {found}; accepted are {', '.join(accepted)}")
        if not first:
            first, name = label, found
        elif found != name:
            raise TypeError(
                f"{first} has dtype {name} but {label} has {found}; they must be "
                f"equal, for example {label}.astype({first}.dtype)"
            )
    return name


@lru_cache(maxsize=256)
def _name(dtype: np.dtype[Any]) -> str:
    """NumPy makes the name anew each time, which takes as long as a small convolution."""
    return str(dtype.name)


def bias_of(bias: object, channels: int) -> Array | None:
    """A call's ``bias`` as an array of shape ``(channels,)``, of whatever dtype and strides it
    has, or None where there is none; a TypeError for what is no array, a ValueError for another
    shape."""
    if bias is None:
        return None
    values = array("bias", bias)
    if values.shape != (channels,):
        raise ValueError(
            f"bias must have shape ({channels},), one value for each output channel; "
            f"got {values.shape}"
        )
    return values


def logical(a: Array, layout: str) -> Array:
    """The (N, C, H, W) view of a 4-D array that is in ``layout`` order, "NCHW" or "NHWC": the
    same memory, nothing is copied."""
    return a if layout == "NCHW" else a.transpose(_TO_NCHW)


def readable(a: Array, row: Kernel, dtype: str, threads: int = 1) -> Array:
    """``a`` as ``row`` can read it: itself, or a copy in the same memory order if possible."""
    if isinstance(a, DeviceArray):
        return a  # CUDA rows read all types and strides
    if a.dtype != dtype_of(dtype):  # half types are widened; byte order is made native
        wide = empty_like(a, dtype)
        halves.widen(a, wide, threads)
        a = wide
    if not _in_whole_cells(a):
        return a.copy("K")
    return a if _in_layout_of(row, a) else np.ascontiguousarray(a)


def _in_whole_cells(a: Array) -> bool:
    """Whether kernels, which count strides in elements, can address every cell."""
    return a.flags.aligned and not any(step % a.itemsize for step in a.strides)


def _in_layout_of(row: Kernel, a: Array) -> bool:
    return "strided" in row.layouts or memory_order(a) in row.layouts


def contiguous(a: Array, dtype: str) -> Array:
    """A one-dimensional array in consecutive, aligned cells of ``dtype``, as kernels read a bias:
    itself where it is that, else a copy. On a GPU always itself, because the rows there read any
    strides and types."""
    if isinstance(a, DeviceArray):
        return a
    return np.require(a, dtype_of(dtype), ["C", "A"])


def memory_order(a: Array) -> str:
    """"NCHW", "NHWC" or "strided": how a logically (N, C, H, W) array lies in memory."""
    if a.flags.c_contiguous:
        return "NCHW"
    return "NHWC" if a.ndim == 4 and a.transpose(_TO_NHWC).flags.c_contiguous else "strided"


def padded(x: Array, spec: Conv2dSpec) -> Array:
    """``x``, in the spec's layout, with a padding mode other than zeros written out."""
    if spec.padding_mode == "zeros":
        return x
    h, w = (spec.PT, spec.PB), (spec.PL, spec.PR)
    widths = ((0, 0), (0, 0), h, w) if spec.layout == "NCHW" else ((0, 0), h, w, (0, 0))
    try:
        return np.pad(x, widths, mode=_PAD_MODES[spec.padding_mode])  # type: ignore[call-overload, no-any-return]
    except ValueError as error:  # a size beyond what NumPy can count
        raise MemoryError(f"the padded input is too large: {error}") from None


def together(**arrays: Any) -> tuple[Any, ...]:
    """The arrays of a call, which live in one place, else an error; on a GPU, in the order of the
    call's stream."""
    return device.together(config.stream(), **arrays)


def on_gpu(a: object) -> bool:
    """Whether an array lives on a GPU; asked of one that :func:`array` has read, since there all
    of a call's arrays are in one place (:func:`together`)."""
    return isinstance(a, DeviceArray)


def handed_back(result: Array) -> Array:
    """What the caller gets: on a GPU, the array of his own library."""
    given: Any = result.owner if isinstance(result, DeviceArray) else result
    return given  # type: ignore[no-any-return]


# ---------------------------------------------------------------- out


def empty(shape: tuple[int, ...], dtype: np.dtype[Any], beside: Array | None = None) -> Array:
    """A fresh array, filled while ``beside`` is read; a size that no memory could hold is a
    MemoryError too."""
    try:
        return memory.make(
            np.empty, (shape, dtype), math.prod(shape) * dtype.itemsize, beside
        )
    except ValueError:
        raise MemoryError(f"a result of shape {shape} and dtype {dtype} is too large") from None


def empty_like(a: Array, dtype: str) -> Array:
    """A fresh array of the shape and, where it is dense, the memory order of ``a``."""
    if isinstance(a, DeviceArray):
        made: Any = device.empty_like(a, dtype_of(dtype))
        return made  # type: ignore[no-any-return,unused-ignore]
    wanted = dtype_of(dtype)
    return memory.make(np.empty_like, (a, wanted, "K", False), a.size * wanted.itemsize, a)


def result(
    out: object, nchw: tuple[int, int, int, int], dtype: str, layout: str, **inputs: Array | None
) -> Array:
    """The checked ``out=``, or a fresh array, in ``layout`` order. The first input is the one
    that is read while the result is written."""
    shape = in_layout(nchw, layout)
    first: Any = next(iter(inputs.values()), None)
    if isinstance(first, DeviceArray):
        made: Any = device.empty(shape, dtype_of(dtype), first) if out is None else \
            device.checked_out(out, shape, dtype, inputs)
        return made  # type: ignore[no-any-return]
    if out is None:
        return empty(shape, dtype_of(dtype), first)
    return checked_out(out, shape, dtype, **inputs)


def result_like(x: Array, dtype: str, out: object) -> Array:
    """The same on a GPU for a result of the shape of ``x``, which may be ``x`` itself."""
    made: Any = None
    if out is None:
        return empty_like(x, dtype)
    on_card: Any = x
    target = device.read("out", out, config.stream())
    same = target is not None and target.pointer == on_card.pointer and (
        target.strides == on_card.strides
    )
    read = out if target is None else target
    made = device.checked_out(read, x.shape, dtype, {} if same else {"x": x})
    given: Any = device.together(None, x=x, out=made)[1] if same else made
    return given  # type: ignore[no-any-return]


def checked_out(
    out: object, shape: tuple[int, ...], dtype: str, **inputs: Array | None
) -> Array:
    """``out`` if the result can be written there, else an error that says why not."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"out must be a NumPy array; got {type(out).__name__}")
    if out.dtype.name != dtype:
        raise TypeError(f"out has dtype {out.dtype.name} but the result is {dtype}")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape} but the result has shape {shape}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    if overlaps_itself(out):
        raise ValueError("out overlaps itself in memory; pass a real array")
    for name, a in inputs.items():
        if a is not None and overlap(out, a):
            raise ValueError(f"out overlaps {name} in memory; pass a separate array")
    return out


def overlaps_itself(a: Array) -> bool:
    """Whether two cells may share a byte: each axis must step over all that vary faster."""
    reach = a.itemsize
    for step, size in sorted((abs(s), n) for s, n in zip(a.strides, a.shape, strict=True)):
        if size > 1 and a.size:
            if step < reach:
                return True
            reach += step * (size - 1)
    return False


def overlap(a: Array, b: Array) -> bool:
    """Whether two arrays share a byte of memory; True when that is too costly to know."""
    if not np.may_share_memory(a, b):
        return False
    try:
        return np.shares_memory(a, b, max_work=_OVERLAP_WORK)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def same_cells(a: Array, b: Array) -> bool:
    """Whether two arrays are the same cells in the same places: exact in-place work."""
    return (
        a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
        and a.strides == b.strides
        and a.shape == b.shape
    )


def landing(out: Array, row: Kernel, dtype: str) -> Array:
    """Where the kernel writes: ``out`` itself, or a temporary that :func:`land` rounds."""
    if isinstance(out, DeviceArray):
        return out
    direct = (
        out.dtype == dtype_of(dtype) and _in_whole_cells(out) and _in_layout_of(row, out)
    )
    return out if direct else empty_like(out, dtype)


def land(target: Array, out: Array, threads: int = 1) -> None:
    """Move a temporary result into ``out``, rounding each value once to its dtype; nothing is
    done where the kernel has written to ``out`` itself (:func:`landing`)."""
    if target is not out:
        halves.narrow(target, out, threads)

