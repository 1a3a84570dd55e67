"""What arguments mean: the words of the interface, and numbers read with clear errors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

Layout: TypeAlias = Literal["NCHW", "NHWC"]
Precision: TypeAlias = Literal["strict", "default", "fast"]
PaddingMode: TypeAlias = Literal["zeros", "reflect", "replicate", "circular"]
PaddingLike: TypeAlias = "int | str | Sequence[int] | Sequence[Sequence[int]]"
IntPair: TypeAlias = "int | Sequence[int]"
LAYOUTS = ("NCHW", "NHWC")
PRECISIONS = ("strict", "default", "fast")
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
PADDING_NAMES = ("valid", "same", "same_lower", "full")
ACTIVATIONS = ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "hardswish")
POOL_MODES = ("max", "avg", "sum", "lp")
HALF = ("float16", "bfloat16")
LARGEST = 1 << 40
"""Bound of every number, and of the cells of a padded picture: products of a few such sizes
still fit into 64 bits, so no kernel need fear an overflow."""
LEAKY_SLOPE = 0.01
"""The slope that ``activation="leaky_relu"`` means, as in ``torch.nn.functional``."""


def one_of(name: str, value: object, valid: Sequence[str]) -> str:
    """``value`` if it is one of ``valid``, else an error that lists them."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(valid)}; got {type(value).__name__}")
    if value not in valid:
        raise ValueError(f"unknown {name} {value!r}; valid are {', '.join(valid)}")
    return value


def integer(name: str, value: object, *, least: int, most: int | None = LARGEST) -> int:
    """``value`` as an int from ``least`` to ``most``; None bounds nothing."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, not a boolean")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer; got {type(value).__name__}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}; got {number}")
    if most is not None and number > most:
        raise ValueError(f"{name} must be at most {most}; got {number}")
    return number


def boolean(name: str, value: object) -> bool:
    """``value`` if it is True or False: "no" would count as true."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False; got {type(value).__name__}")
    return bool(value)


def pair(
    name: str, value: object, *, least: int, most: int | None = LARGEST
) -> tuple[int, int]:
    """An int for both axes, or a pair (height, width)."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{name} must be an int or a pair (height, width); got {value!r}")
        height, width = (integer(name, v, least=least, most=most) for v in value)
        return height, width
    number = integer(name, value, least=least, most=most)
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
            pair("padding", p, least=0, most=None) for p in padding
        )
        return pt, pb, pl, pr
    ph, pw = pair("padding", padding, least=0, most=None)  # what it adds is bounded later
    return ph, ph, pw, pw


def check_padded(height: int, width: int) -> None:
    """Refuse a padded picture that no memory could hold, whatever the output's size."""
    if height * width > LARGEST:
        raise MemoryError(f"the padded input would be too large: {height}×{width} cells")


def windows_along(n: int, k: int, s: int, d: int, before: int, after: int) -> int:
    """⌊(n + before + after − d(k−1) − 1)/s⌋ + 1: the number of windows along one axis."""
    return (n + before + after - extent(k, d)) // s + 1


def itemsize(dtype: str) -> int:
    """Bytes of one element, by dtype name (bfloat16 is unknown to NumPy itself)."""
    return 2 if dtype == "bfloat16" else int(np.dtype(dtype).itemsize)


def dtype_of(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a name; bfloat16 comes from ml_dtypes, imported only when met."""
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes

    bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return bfloat16


def short(h: int, w: int) -> str:
    """One number where both axes agree."""
    return str(h) if h == w else f"({h},{w})"
