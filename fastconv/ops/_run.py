"""From a spec and checked arrays to a filled ``out``: the last part of every call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import arrays
from ..arrays import Array
from ..dispatch import Choice, select
from ..spec import ActivationSpec, Conv2dSpec, ConvPool2dSpec, Pool2dSpec, UnpoolSpec
from . import _again


def convolve(
    choice: Choice, spec: Conv2dSpec | ConvPool2dSpec, x: Array, packed: Any, bias: Array | None,
    out: Array,
) -> None:
    """Run a kernel that has weights on packed ones. ``x``, ``out`` as the caller has them, in the
    spec's layout."""
    if out.size == 0:
        return
    row, dtype, threads = choice.row, choice.spec.dtype, choice.threads
    if choice.spec.padding_mode == "zeros" and spec.padding_mode != "zeros":
        x = arrays.padded(x, spec.conv if isinstance(spec, ConvPool2dSpec) else spec)
    x = arrays.readable(arrays.logical(x, spec.layout), row, dtype, threads)
    if bias is not None:
        bias = arrays.contiguous(bias, dtype)
    out = arrays.logical(out, spec.layout)
    target = arrays.landing(out, row, dtype)
    choice.module.run(choice.spec, x, packed, bias, target, threads)
    arrays.land(target, out, threads)


def packer(choice: Choice, *, once: bool) -> Callable[..., Any]:
    """The kernel's function that packs weights, for a single call if ``once``."""
    pack: Callable[..., Any] = choice.module.pack
    return getattr(choice.module, "once", pack) if once else pack


def pack(choice: Choice, w: Array, *, once: bool = False) -> Any:
    """The weights as the chosen kernel wants them, for a single call if ``once``."""
    w = arrays.readable(w, choice.row, choice.spec.dtype, choice.threads)
    return packer(choice, once=once)(choice.spec, w, choice.threads)


def pool(
    spec: Pool2dSpec, x: Array, backend: str, out: object, asked: _again.Asked
) -> Array | tuple[Array, Array]:
    """Choose and run a pooling kernel."""
    (x,) = arrays.together(x=x)
    choice = select("pool2d", spec, backend=backend, on_gpu=arrays.on_gpu(x))
    result = arrays.result(out, spec.out_shape, spec.dtype, spec.layout, x=x)
    indices = None
    if spec.return_indices:
        indices = arrays.result(None, spec.out_shape, "int64", spec.layout, x=x)
    if result.size:
        dtype = choice.spec.dtype
        x = arrays.readable(arrays.logical(x, spec.layout), choice.row, dtype, choice.threads)
        final = arrays.logical(result, spec.layout)
        target = arrays.landing(final, choice.row, dtype)
        where = None if indices is None else arrays.logical(indices, spec.layout)
        choice.module.run(choice.spec, x, target, where, choice.threads)
        arrays.land(target, final, choice.threads)
        _again.remember(asked, choice, spec, spec.out_shape, pooling=True)
    result = arrays.handed_back(result)
    return result if indices is None else (result, arrays.handed_back(indices))


def unpool(spec: UnpoolSpec, x: Array, indices: Array, backend: str, out: object) -> Array:
    """Choose and run an unpooling kernel."""
    x, indices = arrays.together(x=x, indices=indices)
    choice = select("max_unpool2d", spec, backend=backend, on_gpu=arrays.on_gpu(x))
    result = arrays.result(
        out, spec.out_shape, spec.dtype, spec.layout, x=x, indices=indices
    )
    if result.size:
        final = arrays.logical(result, spec.layout)
        target = arrays.landing(final, choice.row, choice.spec.dtype)
        x = arrays.readable(
            arrays.logical(x, spec.layout), choice.row, choice.spec.dtype, choice.threads
        )
        where = arrays.readable(arrays.logical(indices, spec.layout), choice.row, "int64")
        choice.module.run(choice.spec, x, where, target, choice.threads)
        arrays.land(target, final, choice.threads)
    return arrays.handed_back(result)


def activate(
    spec: ActivationSpec, x: Array, backend: str, out: object, asked: _again.Asked
) -> Array:
    """Choose and run an element-wise kernel; ``out`` may be ``x`` itself."""
    (x,) = arrays.together(x=x)
    on_gpu = arrays.on_gpu(x)
    choice = select("activation", spec, backend=backend, on_gpu=on_gpu)
    if on_gpu:
        result = arrays.result_like(x, spec.dtype, out)
    elif out is None:
        result = arrays.empty_like(x, spec.dtype)
    else:
        in_place = isinstance(out, type(x)) and arrays.same_cells(out, x)
        result = arrays.checked_out(out, x.shape, spec.dtype, **({} if in_place else {"x": x}))
    if result.size:
        x = arrays.readable(x, choice.row, choice.spec.dtype, choice.threads)
        target = arrays.landing(result, choice.row, choice.spec.dtype)
        choice.module.run(choice.spec, x, target, choice.threads)
        arrays.land(target, result, choice.threads)
        _again.remember(asked, choice, spec, None)
    return arrays.handed_back(result)
