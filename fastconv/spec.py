"""All geometry: what an operation computes, in numbers, with every error about numbers.

A spec is frozen and hashable, so that the choice of a kernel can be cached on it. Output
sizes are computed here and nowhere else; kernels only read them.

Names are those of the field: N batch; IC, OC; IH, IW; OH, OW; KH, KW; SH, SW strides;
PT, PB, PL, PR padding; DH, DW dilation; G groups.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Layout: TypeAlias = Literal["NCHW", "NHWC"]
Precision: TypeAlias = Literal["strict", "default", "fast"]
PaddingMode: TypeAlias = Literal["zeros", "reflect", "replicate", "circular"]
PaddingLike: TypeAlias = "int | str | Sequence[int] | Sequence[Sequence[int]]"
IntPair: TypeAlias = "int | Sequence[int]"
Shape: TypeAlias = "tuple[int, ...]"
IntArray: TypeAlias = npt.NDArray[np.int64]

LAYOUTS = ("NCHW", "NHWC")
PRECISIONS = ("strict", "default", "fast")
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
PADDING_NAMES = ("valid", "same", "same_lower", "full")
ACTIVATIONS = ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "hardswish")
POOL_MODES = ("max", "avg", "sum", "lp")
HALF = ("float16", "bfloat16")
LEAKY_SLOPE = 0.01
"""The slope that ``activation="leaky_relu"`` means, as in ``torch.nn.functional``."""


# ---------------------------------------------------------------- reading arguments


def one_of(name: str, value: object, valid: Sequence[str]) -> str:
    """``value`` if it is one of ``valid``, else an error that lists them."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(valid)}; got {type(value).__name__}")
    if value not in valid:
        raise ValueError(f"unknown {name} {value!r}; valid are {', '.join(valid)}")
    return value


def integer(name: str, value: object, *, least: int) -> int:
    """``value`` as an int that is at least ``least``."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, not a boolean")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer; got {type(value).__name__}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}; got {number}")
    return number


def pair(name: str, value: object, *, least: int) -> tuple[int, int]:
    """An int for both axes, or a pair (height, width)."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{name} must be an int or a pair (height, width); got {value!r}")
        return integer(name, value[0], least=least), integer(name, value[1], least=least)
    number = integer(name, value, least=least)
    return number, number


def shape4(name: str, shape: object, layout: str) -> tuple[int, int, int, int]:
    """A 4-D shape in ``layout`` order, returned as (N, C, H, W)."""
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"the shape of {name} must be a tuple; got {type(shape).__name__}")
    dims = tuple(integer(f"each size of {name}", d, least=0) for d in shape)
    if len(dims) != 4:
        hint = "; one image needs a batch axis, x[None]" if len(dims) == 3 else ""
        raise ValueError(f"{name} must have the 4 axes {layout}; got shape {dims}{hint}")
    n, c, h, w = dims if layout == "NCHW" else (dims[0], dims[3], dims[1], dims[2])
    return n, c, h, w


def in_layout(nchw: tuple[int, int, int, int], layout: str) -> tuple[int, int, int, int]:
    """(N, C, H, W) written in ``layout`` order."""
    n, c, h, w = nchw
    return nchw if layout == "NCHW" else (n, h, w, c)


def extent(k: int, d: int) -> int:
    """Cells from the first to the last tap of a dilated kernel."""
    return d * (k - 1) + 1


def same_padding(n: int, k: int, s: int, d: int) -> int:
    """Total padding of TensorFlow's SAME: the output has ⌈n/s⌉ cells."""
    return max(0, (-(-n // s) - 1) * s + extent(k, d) - n)


def resolve_padding(
    padding: object, sizes: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int, int, int]:
    """Any padding form of the interface as (PT, PB, PL, PR).

    ``"same"`` puts the odd cell after, ``"same_lower"`` before (ONNX SAME_LOWER); ``"full"``
    is the wide convolution, every overlap of at least one cell.
    """
    if isinstance(padding, str):
        one_of("padding", padding, PADDING_NAMES)
        before_after: list[int] = []
        for n, k, s, d in zip(sizes, kernel, stride, dilation, strict=True):
            if padding == "valid":
                low = high = 0
            elif padding == "full":
                low = high = extent(k, d) - 1
            else:
                total = same_padding(n, k, s, d)
                low = total // 2 if padding == "same" else total - total // 2
                high = total - low
            before_after += [low, high]
        pt, pb, pl, pr = before_after
        return pt, pb, pl, pr
    if isinstance(padding, (tuple, list)) and any(isinstance(p, (tuple, list)) for p in padding):
        if len(padding) != 2 or not all(
            isinstance(p, (tuple, list)) and len(p) == 2 for p in padding
        ):
            raise ValueError(
                f"padding must be an int, (PH, PW), ((PT, PB), (PL, PR)) or one of "
                f"{', '.join(PADDING_NAMES)}; got {padding!r}"
            )
        (pt, pb), (pl, pr) = (
            (integer("padding", p[0], least=0), integer("padding", p[1], least=0)) for p in padding
        )
        return pt, pb, pl, pr
    ph, pw = pair("padding", padding, least=0)
    return ph, ph, pw, pw


def windows_along(n: int, k: int, s: int, d: int, before: int, after: int) -> int:
    """⌊(n + before + after − d(k−1) − 1)/s⌋ + 1: the number of windows along one axis."""
    return (n + before + after - extent(k, d)) // s + 1


# ---------------------------------------------------------------- convolution


@dataclass(frozen=True, slots=True)
class Conv2dSpec:
    """One 2-D convolution, shared by the forward operation and by both gradients.

    ``OH`` and ``OW`` are stored because a transposed convolution may ask for an input that
    the forward formula would map to more windows (``output_padding``).
    """

    N: int
    IC: int
    IH: int
    IW: int
    OC: int
    OH: int
    OW: int
    KH: int
    KW: int
    SH: int = 1
    SW: int = 1
    DH: int = 1
    DW: int = 1
    PT: int = 0
    PB: int = 0
    PL: int = 0
    PR: int = 0
    G: int = 1
    padding_mode: str = "zeros"
    dtype: str = "float32"
    layout: str = "NCHW"
    bias: bool = False
    activation: str | None = None
    precision: str = "default"

    @classmethod
    def of(
        cls, x_shape: object, w_shape: object, *, stride: object = 1, padding: object = 0,
        dilation: object = 1, groups: object = 1, padding_mode: object = "zeros",
        dtype: str = "float32", layout: object = "NCHW", bias: bool = False,
        activation: object = None, precision: object = "default",
    ) -> Conv2dSpec:
        """The spec of ``conv2d(x, w, …)`` from the two shapes; raises what the interface says."""
        layout = one_of("layout", layout, LAYOUTS)
        n, ic, ih, iw = shape4("x", x_shape, layout)
        oc, icg, kh, kw = _weight_shape(w_shape)
        sh, sw = pair("stride", stride, least=1)
        dh, dw = pair("dilation", dilation, least=1)
        g = integer("groups", groups, least=1)
        mode = one_of("padding_mode", padding_mode, PADDING_MODES)
        if activation is not None:
            activation = one_of("activation", activation, ACTIVATIONS)
        precision = one_of("precision", precision, PRECISIONS)
        pt, pb, pl, pr = resolve_padding(padding, (ih, iw), (kh, kw), (sh, sw), (dh, dw))
        _check_channels(ic, oc, icg, g, x_shape, w_shape)
        if ih == 0 or iw == 0:
            raise ValueError(f"x has an empty picture ({ih}×{iw}); height and width must be ≥ 1")
        for axis, size, k, d, before, after in (
            ("height", ih, kh, dh, pt, pb), ("width", iw, kw, dw, pl, pr),
        ):
            if extent(k, d) > size + before + after:
                raise ValueError(
                    f"the kernel is larger than the padded input: {axis} {extent(k, d)} "
                    f"(size {k}, dilation {d}) > {before} + {size} + {after}; "
                    f"pad more or use a smaller kernel"
                )
            if mode == "reflect" and max(before, after) >= size:
                raise ValueError(
                    f"padding_mode='reflect' needs padding < {axis}; got {max(before, after)} "
                    f"for {axis} {size}"
                )
            if mode == "circular" and max(before, after) > size:
                raise ValueError(
                    f"padding_mode='circular' needs padding ≤ {axis}; got {max(before, after)} "
                    f"for {axis} {size}"
                )
        return cls(
            N=n, IC=ic, IH=ih, IW=iw, OC=oc,
            OH=windows_along(ih, kh, sh, dh, pt, pb), OW=windows_along(iw, kw, sw, dw, pl, pr),
            KH=kh, KW=kw, SH=sh, SW=sw, DH=dh, DW=dw, PT=pt, PB=pb, PL=pl, PR=pr, G=g,
            padding_mode=mode if pt or pb or pl or pr else "zeros", dtype=dtype, layout=layout,
            bias=bias, activation=activation, precision=precision,
        )

    @classmethod
    def of_transpose(
        cls, x_shape: object, w_shape: object, *, stride: object = 1, padding: object = 0,
        output_padding: object = 0, dilation: object = 1, groups: object = 1,
        dtype: str = "float32", layout: object = "NCHW", bias: bool = False,
        activation: object = None, precision: object = "default",
    ) -> Conv2dSpec:
        """The spec whose input gradient is ``conv_transpose2d(x, w, …)``.

        ``x`` plays the output (OC, OH, OW) and the result plays the input (IC, IH, IW):
        IH = (OH − 1)·SH − PT − PB + DH(KH − 1) + output_padding + 1. With ``padding="same"``
        the result has OH·SH rows.
        """
        layout = one_of("layout", layout, LAYOUTS)
        n, oc, oh, ow = shape4("x", x_shape, layout)
        woc, icg, kh, kw = _weight_shape(w_shape)
        sh, sw = pair("stride", stride, least=1)
        dh, dw = pair("dilation", dilation, least=1)
        oph, opw = pair("output_padding", output_padding, least=0)
        g = integer("groups", groups, least=1)
        if activation is not None:
            activation = one_of("activation", activation, ACTIVATIONS)
        precision = one_of("precision", precision, PRECISIONS)
        _check_transpose_channels(oc, woc, icg, g, x_shape, w_shape)
        if oh == 0 or ow == 0:
            raise ValueError(f"x has an empty picture ({oh}×{ow}); height and width must be ≥ 1")
        for axis, op, s, d in (("height", oph, sh, dh), ("width", opw, sw, dw)):
            if op >= max(s, d):
                raise ValueError(
                    f"output_padding must be smaller than stride or dilation; got {op} for "
                    f"{axis} with stride {s}, dilation {d}"
                )
        same = padding in ("same", "same_lower") if isinstance(padding, str) else False
        if same and (oph or opw):
            raise ValueError("output_padding cannot be combined with padding='same'")
        pt, pb, pl, pr = resolve_padding(
            padding, (oh * sh, ow * sw), (kh, kw), (sh, sw), (dh, dw)
        )
        ih = oh * sh if same else (oh - 1) * sh - pt - pb + extent(kh, dh) + oph
        iw = ow * sw if same else (ow - 1) * sw - pl - pr + extent(kw, dw) + opw
        if ih < 1 or iw < 1:
            raise ValueError(
                f"the result of this transposed convolution would be empty ({ih}×{iw}); "
                f"use less padding"
            )
        return cls(
            N=n, IC=icg * g, IH=ih, IW=iw, OC=oc, OH=oh, OW=ow, KH=kh, KW=kw, SH=sh, SW=sw,
            DH=dh, DW=dw, PT=pt, PB=pb, PL=pl, PR=pr, G=g, dtype=dtype, layout=layout, bias=bias,
            activation=activation, precision=precision,
        )

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """Logical (N, IC, IH, IW)."""
        return self.N, self.IC, self.IH, self.IW

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        """(OC, IC/G, KH, KW)."""
        return self.OC, self.IC // self.G, self.KH, self.KW

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        """Logical (N, OC, OH, OW)."""
        return self.N, self.OC, self.OH, self.OW

    @property
    def flops(self) -> int:
        """Operations of the direct method: 2·N·OC·OH·OW·(IC/G)·KH·KW."""
        return 2 * self.N * self.OC * self.OH * self.OW * (self.IC // self.G) * self.KH * self.KW

    @property
    def bytes(self) -> int:
        """Bytes of x, w and out, each counted once."""
        cells = (
            self.N * self.IC * self.IH * self.IW
            + self.OC * (self.IC // self.G) * self.KH * self.KW
            + self.N * self.OC * self.OH * self.OW
        )
        return cells * itemsize(self.dtype)

    @property
    def kernel_spec(self) -> Conv2dSpec:
        """What a kernel sees: half types widened, a non-zero padding mode already in memory."""
        spec = self
        if spec.dtype in HALF:
            spec = replace(spec, dtype="float32")
        if spec.padding_mode != "zeros":
            spec = replace(
                spec, IH=self.IH + self.PT + self.PB, IW=self.IW + self.PL + self.PR,
                PT=0, PB=0, PL=0, PR=0, padding_mode="zeros",
            )
        return spec

    def __str__(self) -> str:
        pads = (self.PT, self.PB, self.PL, self.PR)
        pad = f"{pads[0]}" if len(set(pads)) == 1 else f"({pads[0]},{pads[1]},{pads[2]},{pads[3]})"
        parts = [
            "×".join(map(str, self.x_shape)), "*", "×".join(map(str, self.w_shape)),
            f"stride {_short(self.SH, self.SW)}", f"padding {pad}",
        ]
        if (self.DH, self.DW) != (1, 1):
            parts.append(f"dilation {_short(self.DH, self.DW)}")
        if self.G != 1:
            parts.append(f"groups {self.G}")
        parts += [self.dtype, self.layout]
        return " ".join(parts)


def _weight_shape(w_shape: object) -> tuple[int, int, int, int]:
    if not isinstance(w_shape, (tuple, list)):
        raise TypeError(f"the shape of w must be a tuple; got {type(w_shape).__name__}")
    dims = tuple(integer("each size of w", d, least=0) for d in w_shape)
    if len(dims) != 4:
        raise ValueError(f"w must have the 4 axes (OC, IC/groups, KH, KW); got shape {dims}")
    if 0 in dims:
        raise ValueError(
            f"w has an empty axis: shape {dims}; output channels, input channels, height and "
            f"width must be ≥ 1"
        )
    oc, icg, kh, kw = dims
    return oc, icg, kh, kw


def _check_channels(
    ic: int, oc: int, icg: int, g: int, x_shape: object, w_shape: object
) -> None:
    if ic == 0:
        raise ValueError(f"x has no channels: shape {x_shape}")
    if ic % g:
        raise ValueError(
            f"groups={g} does not divide the {ic} channels of x {x_shape}; "
            f"choose groups that divide both {ic} and {oc}"
        )
    if oc % g:
        raise ValueError(
            f"groups={g} does not divide the {oc} output channels of w {w_shape}; "
            f"choose groups that divide both {ic} and {oc}"
        )
    if icg * g != ic:
        raise ValueError(
            f"x {x_shape} has {ic} channels but w {w_shape} with groups={g} takes "
            f"{icg}×{g} = {icg * g}; w must have shape (OC, {ic // g}, KH, KW)"
        )


def _check_transpose_channels(
    oc: int, woc: int, icg: int, g: int, x_shape: object, w_shape: object
) -> None:
    if oc == 0:
        raise ValueError(f"x has no channels: shape {x_shape}")
    if oc != woc:
        raise ValueError(
            f"x {x_shape} has {oc} channels but w {w_shape} takes {woc}; for a transposed "
            f"convolution w has shape (channels of x, OC/groups, KH, KW)"
        )
    if oc % g:
        raise ValueError(f"groups={g} does not divide the {oc} channels of x {x_shape}")


def _short(h: int, w: int) -> str:
    return str(h) if h == w else f"({h},{w})"


# ---------------------------------------------------------------- pooling


@dataclass(frozen=True, slots=True)
class Pool2dSpec:
    """One pooling: a window per output cell, reduced by ``mode``.

    Sliding, adaptive and global pooling differ only in their windows, which
    :meth:`rows` and :meth:`columns` list; a kernel needs nothing else.
    """

    mode: str
    N: int
    C: int
    IH: int
    IW: int
    OH: int
    OW: int
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
    dtype: str = "float32"
    layout: str = "NCHW"

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
            if reach > size + before + after:
                raise ValueError(
                    f"the pool window is larger than the padded input: {axis} {reach} > "
                    f"{before} + {size} + {after}; pad more or use a smaller pool_size"
                )
            sizes.append(_pool_size(size, k, s, d, before, after, ceil_mode))
        return cls(
            mode=mode, N=n, C=c, IH=ih, IW=iw, OH=sizes[0], OW=sizes[1], KH=kh, KW=kw, SH=sh,
            SW=sw, DH=dh, DW=dw, PT=pt, PB=pb, PL=pl, PR=pr,
            count_include_pad=bool(count_include_pad), divisor_override=divisor_override,
            norm=_norm(norm), return_indices=bool(return_indices), dtype=dtype, layout=layout,
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
            return_indices=bool(return_indices), dtype=dtype, layout=layout,
        )

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """Logical (N, C, IH, IW)."""
        return self.N, self.C, self.IH, self.IW

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        """Logical (N, C, OH, OW)."""
        return self.N, self.C, self.OH, self.OW

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
        """What a kernel sees: half types widened to float32."""
        return replace(self, dtype="float32") if self.dtype in HALF else self

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
            f"stride {_short(self.SH, self.SW)} {self.dtype} {self.layout}"
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


def _pool_size(n: int, k: int, s: int, d: int, before: int, after: int, ceil_mode: bool) -> int:
    """PyTorch's pooling size: with ceil_mode a last window must start inside n + before."""
    if not ceil_mode:
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


@dataclass(frozen=True, slots=True)
class UnpoolSpec:
    """Max unpooling: each value goes to its index in an otherwise zero (OH, OW) plane."""

    N: int
    C: int
    IH: int
    IW: int
    OH: int
    OW: int
    dtype: str = "float32"
    layout: str = "NCHW"

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
    def x_shape(self) -> tuple[int, int, int, int]:
        """Logical (N, C, IH, IW)."""
        return self.N, self.C, self.IH, self.IW

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        """Logical (N, C, OH, OW)."""
        return self.N, self.C, self.OH, self.OW

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
        """What a kernel sees: values are only moved, so every type stays as it is."""
        return self

    def __str__(self) -> str:
        return f"{'×'.join(map(str, self.x_shape))} to {self.OH}×{self.OW} {self.dtype}"


# ---------------------------------------------------------------- activations


@dataclass(frozen=True, slots=True)
class ActivationSpec:
    """An element-wise activation over ``size`` values."""

    name: str
    size: int
    dtype: str = "float32"
    slope: float = LEAKY_SLOPE

    @property
    def flops(self) -> int:
        """One operation for each value."""
        return self.size

    @property
    def bytes(self) -> int:
        """Bytes of x and out."""
        return 2 * self.size * itemsize(self.dtype)

    @property
    def kernel_spec(self) -> ActivationSpec:
        """What a kernel sees: half types widened to float32."""
        return replace(self, dtype="float32") if self.dtype in HALF else self

    def __str__(self) -> str:
        return f"{self.name} {self.size} {self.dtype}"


Spec: TypeAlias = "Conv2dSpec | Pool2dSpec | UnpoolSpec | ActivationSpec"


def itemsize(dtype: str) -> int:
    """Bytes of one element, by dtype name (bfloat16 is unknown to NumPy itself)."""
    return 2 if dtype == "bfloat16" else int(np.dtype(dtype).itemsize)


def dtype_of(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a name; bfloat16 comes from ml_dtypes, imported only when met."""
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)
