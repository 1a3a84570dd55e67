"""The geometry of pooling: a window for each output cell, whatever made it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .arguments import (
    HALF,
    LAYOUTS,
    boolean,
    check_padded,
    extent,
    integer,
    itemsize,
    one_of,
    pair,
    resolve_padding,
    shape4,
    short,
    windows_along,
)

IntArray: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planes:
    """Maps of one size to maps of another, channel by channel."""

    N: int
    C: int
    IH: int
    IW: int
    OH: int
    OW: int
    dtype: str = "float32"
    layout: str = "NCHW"

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """Logical (N, C, IH, IW)."""
        return self.N, self.C, self.IH, self.IW

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        """Logical (N, C, OH, OW)."""
        return self.N, self.C, self.OH, self.OW


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool2dSpec(_Planes):
    """One pooling: a window per output cell, reduced by ``mode``.

    Sliding, adaptive and global pooling differ only in their windows, which
    :meth:`rows` and :meth:`columns` list; a kernel needs nothing else.
    """

    mode: str
    KH: int = 1
    KW: int = 1
    SH: int = 1
    SW: int = 1
    DH: int = 1
    DW: int = 1
    PT: int = 0
    PB: int = 0
    PL: int = 0
    PR: int = 0
    adaptive: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None
    norm: float = 2.0
    return_indices: bool = False

    @classmethod
    def of(
        cls, mode: str, x_shape: object, pool_size: object, *, stride: object = None,
        padding: object = 0, dilation: object = 1, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: object = None, norm: object = 2.0,
        return_indices: bool = False, dtype: str = "float32", layout: object = "NCHW",
    ) -> Pool2dSpec:
        """Sliding windows. ``stride=None`` means the pool size."""
        layout = one_of("layout", layout, LAYOUTS)
        n, c, ih, iw = _picture(x_shape, layout)
        kh, kw = pair("pool_size", pool_size, least=1)
        sh, sw = (kh, kw) if stride is None else pair("stride", stride, least=1)
        dh, dw = pair("dilation", dilation, least=1)
        if divisor_override is not None:
            divisor_override = integer("divisor_override", divisor_override, least=1)
        pt, pb, pl, pr = resolve_padding(padding, (ih, iw), (kh, kw), (sh, sw), (dh, dw))
        hang_over = boolean("ceil_mode", ceil_mode)
        sizes: list[int] = []
        for axis, size, k, s, d, before, after in (
            ("height", ih, kh, sh, dh, pt, pb), ("width", iw, kw, sw, dw, pl, pr),
        ):
            reach = extent(k, d)
            if before + after > reach or max(before, after) >= reach:
                raise ValueError(
                    f"pool padding may be at most half of the window: {axis} window {reach} "
                    f"with padding {before} before and {after} after"
                )
            windows = _pool_size(size, k, s, d, before, after, hang_over)
            if windows < 1:
                raise ValueError(
                    f"the pool window is larger than the padded input: {axis} {reach} > "
                    f"{before} + {size} + {after}; pad more or use a smaller pool_size"
                )
            sizes.append(windows)
        check_padded(ih + pt + pb, iw + pl + pr)
        return cls(
            mode=mode, N=n, C=c, IH=ih, IW=iw, OH=sizes[0], OW=sizes[1], KH=kh, KW=kw, SH=sh,
            SW=sw, DH=dh, DW=dw, PT=pt, PB=pb, PL=pl, PR=pr,
            count_include_pad=boolean("count_include_pad", count_include_pad),
            divisor_override=divisor_override, norm=_norm(norm),
            return_indices=boolean("return_indices", return_indices), dtype=dtype, layout=layout,
        )

    @classmethod
    def of_adaptive(
        cls, mode: str, x_shape: object, output_size: object, *, return_indices: bool = False,
        dtype: str = "float32", layout: object = "NCHW",
    ) -> Pool2dSpec:
        """Window i of n cells covers ⌊i·n/out⌋ … ⌈(i+1)·n/out⌉; ``None`` keeps a size."""
        layout = one_of("layout", layout, LAYOUTS)
        n, c, ih, iw = _picture(x_shape, layout)
        if isinstance(output_size, (tuple, list)) and len(output_size) == 2:
            wanted = tuple(
                size if o is None else o for o, size in zip(output_size, (ih, iw), strict=True)
            )
        else:
            wanted = (ih, iw) if output_size is None else output_size  # type: ignore[assignment]
        oh, ow = pair("output_size", wanted, least=1)
        return cls(
            mode=mode, N=n, C=c, IH=ih, IW=iw, OH=oh, OW=ow, adaptive=True,
            return_indices=boolean("return_indices", return_indices), dtype=dtype, layout=layout,
        )

    @property
    def flops(self) -> int:
        """One operation for each cell of each window."""
        if self.adaptive:
            return self.N * self.C * self.IH * self.IW
        return self.N * self.C * self.OH * self.OW * self.KH * self.KW

    @property
    def bytes(self) -> int:
        """Bytes of x and out (and the indices), each counted once."""
        out = self.N * self.C * self.OH * self.OW
        size = itemsize(self.dtype)
        return self.N * self.C * self.IH * self.IW * size + out * (
            size + (8 if self.return_indices else 0)
        )

    @property
    def kernel_spec(self) -> Pool2dSpec:
        """What a kernel sees: half types widened to float32, and no stride or dilation where
        there is a single step: they could be any number."""
        return replace(
            self, dtype="float32" if self.dtype in HALF else self.dtype,
            SH=self.SH if self.OH > 1 else 1, SW=self.SW if self.OW > 1 else 1,
            DH=self.DH if self.KH > 1 else 1, DW=self.DW if self.KW > 1 else 1,
        )

    def rows(self) -> tuple[IntArray, IntArray, IntArray]:
        """(first, stop, count) for each output row: the cells are range(first, stop, DH),
        inside the picture; count is the row's factor of the average's divisor."""
        return self._axis(self.IH, self.OH, self.KH, self.SH, self.DH, self.PT, self.PB)

    def columns(self) -> tuple[IntArray, IntArray, IntArray]:
        """The same for each output column, with step DW."""
        return self._axis(self.IW, self.OW, self.KW, self.SW, self.DW, self.PL, self.PR)

    def _axis(
        self, n: int, out: int, k: int, s: int, d: int, before: int, after: int
    ) -> tuple[IntArray, IntArray, IntArray]:
        if self.adaptive:
            return _adaptive_axis(n, out)
        return _sliding_axis(n, out, k, s, d, before, after, self.count_include_pad)

    def __str__(self) -> str:
        shape = "×".join(map(str, self.x_shape))
        if self.adaptive:
            return f"{self.mode} {shape} to {self.OH}×{self.OW} {self.dtype} {self.layout}"
        return (
            f"{self.mode} {shape} window {self.KH}×{self.KW} "
            f"stride {short(self.SH, self.SW)} {self.dtype} {self.layout}"
        )


def _picture(x_shape: object, layout: str) -> tuple[int, int, int, int]:
    n, c, ih, iw = shape4("x", x_shape, layout)
    if c == 0 or ih == 0 or iw == 0:
        raise ValueError(f"x has an empty axis: shape {x_shape}; only the batch may be empty")
    return n, c, ih, iw


def _norm(norm: object) -> float:
    if isinstance(norm, (bool, str)) or not isinstance(norm, (int, float, np.number)):
        raise TypeError(f"norm_type must be a number; got {type(norm).__name__}")
    value = float(norm)
    if not 0 < value < float("inf"):
        raise ValueError(f"norm_type must be positive and finite; got {norm}")
    return value


def _pool_size(n: int, k: int, s: int, d: int, before: int, after: int, hang_over: bool) -> int:
    """PyTorch's pooling size: with ceil_mode a last window must start inside n + before."""
    if not hang_over:
        return windows_along(n, k, s, d, before, after)
    out = (n + before + after - extent(k, d) + s - 1) // s + 1
    return out - 1 if (out - 1) * s >= n + before else out


@lru_cache(maxsize=512)
def _sliding_axis(
    n: int, out: int, k: int, s: int, d: int, before: int, after: int, count_include_pad: bool
) -> tuple[IntArray, IntArray, IntArray]:
    start = np.arange(out, dtype=np.int64) * s - before
    stop = start + extent(k, d)
    first = start + (np.maximum(-start, 0) + d - 1) // d * d
    last = np.minimum(stop, n)
    if count_include_pad:
        count = (np.minimum(stop, n + after) - start + d - 1) // d
    else:
        count = np.maximum(last - first + d - 1, 0) // d
    return _frozen(first), _frozen(last), _frozen(count)


@lru_cache(maxsize=512)
def _adaptive_axis(n: int, out: int) -> tuple[IntArray, IntArray, IntArray]:
    i = np.arange(out, dtype=np.int64)
    first, stop = i * n // out, -(-(i + 1) * n // out)
    return _frozen(first), _frozen(stop), _frozen(stop - first)


def _frozen(a: IntArray) -> IntArray:
    a = np.ascontiguousarray(a, dtype=np.int64)
    a.flags.writeable = False
    return a


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpoolSpec(_Planes):
    """Max unpooling: each value goes to its index in an otherwise zero (OH, OW) plane."""

    @classmethod
    def of(
        cls, x_shape: object, pool_size: object, *, stride: object = None, padding: object = 0,
        output_size: object = None, dtype: str = "float32", layout: object = "NCHW",
    ) -> UnpoolSpec:
        """OH = (IH − 1)·stride − 2·padding + pool, unless ``output_size`` says otherwise."""
        layout = one_of("layout", layout, LAYOUTS)
        n, c, ih, iw = _picture(x_shape, layout)
        k = pair("pool_size", pool_size, least=1)
        s = k if stride is None else pair("stride", stride, least=1)
        p = pair("padding", padding, least=0)
        default = tuple((size - 1) * s[i] - 2 * p[i] + k[i] for i, size in enumerate((ih, iw)))
        if output_size is None:
            oh, ow = default
        else:
            oh, ow = pair("output_size", output_size, least=1)
            for axis, got, usual, step in zip(
                ("height", "width"), (oh, ow), default, s, strict=True
            ):
                if not usual - step < got < usual + step:
                    raise ValueError(
                        f"output_size {axis} must lie between {usual - step} and "
                        f"{usual + step}, both excluded; got {got}"
                    )
        if oh < 1 or ow < 1:
            raise ValueError(f"the result would be empty ({oh}×{ow}); use less padding")
        return cls(N=n, C=c, IH=ih, IW=iw, OH=oh, OW=ow, dtype=dtype, layout=layout)

    @property
    def flops(self) -> int:
        """One move for each value."""
        return self.N * self.C * self.IH * self.IW

    @property
    def bytes(self) -> int:
        """Bytes of x, the indices and out."""
        cells = self.N * self.C * self.IH * self.IW
        size = itemsize(self.dtype)
        return cells * (size + 8) + self.N * self.C * self.OH * self.OW * size

    @property
    def kernel_spec(self) -> UnpoolSpec:
        """What a kernel sees: half types widened to float32, which is exact."""
        return replace(self, dtype="float32") if self.dtype in HALF else self

    def __str__(self) -> str:
        return f"{'×'.join(map(str, self.x_shape))} to {self.OH}×{self.OW} {self.dtype}"
