"""The table of kernels: one row for each (operation, algorithm, backend). Pure data.

The name of a row is its address: ``conv2d.direct@numba`` is the module
``fastconv.backends.numba.conv2d_direct`` (for Cython, ``csrc/conv2d_direct.pyx``).
Tests and benchmarks iterate :data:`ROWS`, so a new row is tested and timed by being here.

The kernel contract
-------------------
A row's module has these functions (``spec`` is a ``kernel_spec`` that ``why_not`` accepted):

=====================  ==============================================================
operation              functions
=====================  ==============================================================
conv2d                 ``pack(spec, w, threads) -> packed``;
                       ``run(spec, x, packed, bias, out, threads)``
conv2d_input_grad      the same, with ``dout`` for ``x`` and ``dx`` for ``out``: the
                       gradient of conv2d with respect to its input, plus ``bias``
                       (IC values) and the activation, which is conv_transpose2d
conv2d_pool2d          the functions of conv2d; ``out`` is the pooled result
pool2d                 ``run(spec, x, out, indices, threads)``; ``indices`` is an int64
                       array like ``out`` or None
max_unpool2d           ``run(spec, x, indices, out, threads)``
activation             ``run(spec, x, out, threads)``; arrays of any shape
all                    ``workspace_bytes(spec, threads) -> int``
=====================  ==============================================================

- Arrays are ndarrays of the spec's dtype, aligned, in native byte order; 4-D ones are
  logically (N, C, H, W) with any element strides, zero and negative ones for inputs
  included, if ``"strided"`` is among the row's ``layouts``; otherwise in one of the orders
  that ``layouts`` lists. ``bias`` has OC contiguous values or is None. ``indices`` are
  ``h * W + w`` within a plane.
- CUDA rows get :class:`~fastconv.device.DeviceArray` in place of ndarrays, in any float type
  (``halves``) and any strides; given ndarrays, they copy them to the card and back.
- Inputs are valid: no checks, no defaults and no choice of algorithm in a kernel. Sizes are
  ≥ 1 in every axis.
- Inputs are read-only, and are not overlapped by ``out``; only an activation may get
  ``out is x``. ``out`` is not initialised and must be written in full.
- ``once(spec, w, threads)``, if there is such a function, returns what a single ``run`` of this
  very spec needs: packing may be left to it where it would cost more than it saves, and terms
  be added in another order than with what ``pack`` returns.
- ``bound(spec, x, packed, bias, out)``, if a CUDA row has such a function, returns what does the
  work of ``run`` again for arrays like these at the addresses of x and out that it is called with.
- ``pack`` returns what ``run`` needs of the weights, for any N, IH and IW and the strides and
  dilations of its ``spec``. It may be ``w`` itself, which nobody changes while that is in use.
- What ``pack`` returns may keep what ``run`` derives from the weights (packed for another kind of
  picture; the spectra of an FFT for its latest shapes), safely for threads, and bounded;
  ``workspace_bytes`` counts spectra.
- Scratch memory is bounded by ``workspace_bytes`` and freed on return, also on errors;
  memory that cannot be had is a MemoryError.
- The result has the same bits for any ``threads`` and from run to run.
- The GIL is released while computing. Several threads may be inside one kernel.
- NaN and infinities pass as in a direct sum; padded zeros take part in the sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .spec import (
    HALF,
    PADDING_MODES,
    ActivationSpec,
    Conv2dSpec,
    ConvPool2dSpec,
    Pool2dSpec,
    UnpoolSpec,
    extent,
    with_dtype,
)

BACKENDS = ("cython", "numba", "numpy", "reference", "cuda")
"""Every backend that has a name, the preferred first."""

NATIVE_FLOATS = ("float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DEFAULT_RMS_ERROR = 5e-6
"""``precision="default"`` admits rows whose stated float32 rms relative error is at most this."""

LONG_SUM = 32
"""Products from which on the stated error of a direct sum grows."""
SINGLE_TO_DOUBLE = 2.0**-29
"""What one bit of float64 is to one of float32."""

LARGEST_PATCH = 1 << 22
"""Cells of one channel that a direct kernel may gather to compute a pixel."""

FEW_IN, FEW_OUT = 8, 16
"""Channels of a group, in and out, for which a convolution goes plane by plane."""

WhyNot = Callable[[Any], "str | None"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One row. ``why_not(spec)`` is None, or the reason why this row cannot serve the spec."""

    op: str
    algorithm: str
    backend: str
    why_not: WhyNot
    layouts: tuple[str, ...] = ("NCHW", "NHWC", "strided")
    """Memory orders read and written without a copy; "strided" is any order at all."""
    direct_sum: bool = True
    """Sums in the input's dtype, term by term: what ``precision="strict"`` asks for."""
    rms_error: float = 2e-7
    """Stated bound of the float32 root-mean-square error, relative to the result's rms, of a
    direct sum for up to 32 products; :meth:`bound` says how it grows."""

    paddings: tuple[str, ...] = ("zeros",)
    """Padding modes that the kernel computes itself; the others it finds written out in x."""

    halves: bool = False
    """Reads and writes float16 and bfloat16 itself; the others find them widened to float32."""

    needs: str = ""
    """A package that it imports beside those of its backend, when it first computes."""

    def sees(self, spec: Any) -> Any:
        """The ``kernel_spec`` that this row gets for a call's ``spec``."""
        seen = self._seen(spec)
        return seen if not self.halves or seen.dtype == spec.dtype else with_dtype(seen, spec.dtype)

    def _seen(self, spec: Any) -> Any:
        if getattr(spec, "padding_mode", "zeros") in self.paddings[1:]:
            return spec.plain_spec
        return spec.kernel_spec

    @property
    def name(self) -> str:
        """``op.algorithm@backend``, the row's address."""
        return f"{self.op}.{self.algorithm}@{self.backend}"

    def bound(self, products: int, dtype: str = "float32") -> float:
        """Stated bound of the rms error for values that are sums of ``products``.

        The roundings of a direct sum add up like a random walk, with the square root of the
        number of its terms (Higham and Mary, "A new approach to probabilistic rounding error
        analysis", 2019). ``python -m benchmarks.accuracy`` holds measured errors against it.
        """
        bound = self.rms_error * (SINGLE_TO_DOUBLE if dtype == "float64" else 1.0)
        return bound * max(1.0, products / LONG_SUM) ** 0.5 if self.direct_sum else bound

    @property
    def module(self) -> str:
        """The module that holds the kernel."""
        return f"fastconv.backends.{self.backend}.{self.op}_{self.algorithm}"


# ---------------------------------------------------------------- reasons


def _float_only(spec: Conv2dSpec | Pool2dSpec | UnpoolSpec | ActivationSpec) -> str | None:
    if spec.dtype not in NATIVE_FLOATS:
        return f"{spec.dtype} is not computed here, only {' and '.join(NATIVE_FLOATS)}"
    return None


def _patch(spec: Conv2dSpec) -> str | None:
    height, width = extent(spec.KH, spec.DH), extent(spec.KW, spec.DW)
    if height * width > LARGEST_PATCH:
        return f"a window spans {height}×{width} cells, too many to gather for each pixel"
    return _float_only(spec)


def _few_channels(spec: Conv2dSpec) -> str | None:
    channels_in, channels_out = spec.IC // spec.G, spec.OC // spec.G
    if channels_in > FEW_IN or channels_out > FEW_OUT:
        return (
            f"{channels_in} channels in and {channels_out} out of a group; planes are summed one "
            f"by one up to {FEW_IN} and {FEW_OUT}"
        )
    return _patch(spec)


def _anything(spec: object) -> str | None:
    return None


FACTORS_AT_ONCE = 32
"""Input channels × rank: rows that lie in the cache between the two passes of a kernel of low
rank."""


def _separable(spec: Conv2dSpec) -> str | None:
    if spec.rank == 0:
        return "the rank of its weights is not known: not asked for, or too costly to find out"
    if spec.SH > 1 or spec.SW > 1:
        return "passes down the columns and across the rows are made without a stride only"
    if spec.rank * (spec.KH + spec.KW) >= spec.KH * spec.KW:
        return (
            f"its rank is {spec.rank}: so many passes cost more than the {spec.KH}×{spec.KW} kernel"
        )
    if spec.rank * (spec.IC // spec.G) > FACTORS_AT_ONCE:
        return (
            f"its rank is {spec.rank} for each of {spec.IC // spec.G} input channels, together "
            f"more than {FACTORS_AT_ONCE}"
        )
    return _float_only(spec)


WINOGRAD = {2: (2, 3, 5), 4: (2, 3, 4, 5), 6: (3,)}
"""Side of a Winograd tile of outputs → the numbers of kernel taps that it has transforms for."""


def _winograd(m: int, else_why_not: WhyNot = _patch) -> WhyNot:
    def why_not(spec: Conv2dSpec) -> str | None:
        if spec.KH != spec.KW or spec.SH != spec.SW:
            return "Winograd's transforms here take square kernels and one stride for both axes"
        if spec.SH > 1 and (spec.DH > 1 or spec.DW > 1):
            return "Winograd's tiles have no stride together with dilation"
        if -(-spec.KH // spec.SH) not in WINOGRAD[m]:
            return (
                f"there is no transform to {m}×{m} outputs for a {spec.KH}×{spec.KW} kernel at "
                f"stride {spec.SH}"
            )
        return else_why_not(spec)

    return why_not


def _tiles_of_few(spec: Conv2dSpec) -> str | None:
    if (spec.KH, spec.KW) != (3, 3) or max(spec.SH, spec.SW, spec.DH, spec.DW) > 1:
        return "tiles lie in the lanes for 3×3 kernels without stride or dilation only"
    if spec.IC // spec.G > FEW_IN:
        return (
            f"{spec.IC // spec.G} input channels of a group; tiles lie in the lanes up to {FEW_IN}"
        )
    return _float_only(spec)


LONGEST_COLUMNS = 8192
"""Products of a sum up to which transforms down the columns keep to their stated error."""
GROUPS_OF_TAPS = 169
"""Groups of 4×4 taps, of all input channels, up to which transforms along both axes do: 52×52."""


def _columns(spec: Conv2dSpec) -> str | None:
    if spec.SH > 1 or spec.SW > 1 or spec.DH > 1:
        return "tiles of rows are made without a stride, and without a dilation of rows"
    products = spec.IC // spec.G * spec.KH * spec.KW
    if products > LONGEST_COLUMNS:
        return f"its sums of {products} products would be too inexact; {LONGEST_COLUMNS} are not"
    return _few_channels(spec)


def _squares(spec: Conv2dSpec) -> str | None:
    if spec.SH > 1 or spec.SW > 1 or spec.DH > 1 or spec.DW > 1:
        return "tiles of both axes are made without a stride or a dilation"
    if spec.KH == 1 or spec.KW == 1:
        return "tiles of both axes are made for kernels of several rows and columns"
    groups = spec.IC // spec.G * -(-spec.KH // 4) * -(-spec.KW // 4)
    if groups > GROUPS_OF_TAPS:
        return (
            f"its sums of {groups} groups of taps would be too inexact; {GROUPS_OF_TAPS} are not"
        )
    return _few_channels(spec)


MOST_ON_CARD = (1 << 31) - 1
"""Pixels of all images together, or terms of a sum, that a CUDA kernel counts."""


def _card(spec: Any) -> str | None:
    if spec.dtype not in (*NATIVE_FLOATS, *HALF):
        return f"{spec.dtype} is not computed here, only {', '.join((*NATIVE_FLOATS, *HALF))}"
    return None


def _card_conv(spec: Conv2dSpec) -> str | None:
    if max(spec.N * max(spec.OH * spec.OW, spec.IH * spec.IW),
           spec.IC * spec.KH * spec.KW * spec.OC) > MOST_ON_CARD:
        return "it has more pixels, or weights, than CUDA kernels count"
    return _card(spec)


def _card_winograd(m: int) -> WhyNot:
    transforms = _winograd(m, _card_conv)

    def why_not(spec: Conv2dSpec) -> str | None:
        if spec.SH > 1 or spec.SW > 1:
            return "Winograd's transforms on a GPU have no stride"
        return transforms(spec)

    return why_not


def _card_planes(spec: Pool2dSpec | UnpoolSpec) -> str | None:
    if spec.N * spec.C * max(spec.OH * spec.OW, spec.IH * spec.IW) > MOST_ON_CARD:
        return "it has more cells than CUDA kernels count"
    return _card(spec)


def _card_few(spec: Conv2dSpec) -> str | None:
    channels_in, channels_out = spec.IC // spec.G, spec.OC // spec.G
    if channels_in > FEW_IN or channels_out > FEW_OUT:
        return (
            f"{channels_in} channels in and {channels_out} out of a group; each result is summed "
            f"by one thread up to {FEW_IN} and {FEW_OUT}"
        )
    return _card_conv(spec)


NARROWEST_TENSOR = 8
"""Output channels of a group below which an instruction of the tensor cores is mostly padding."""
LONGEST_TENSOR = 1 << 15
"""Products of a sum up to which tensor cores, which cut off what they add, keep to their stated
errors."""


def _card_tensor(*dtypes: str) -> WhyNot:
    """For products of numbers in a format that holds or approximates those of ``dtypes``."""

    def why_not(spec: Conv2dSpec) -> str | None:
        channels, products = spec.OC // spec.G, spec.IC // spec.G * spec.KH * spec.KW
        if spec.dtype not in dtypes:
            return f"its tensor-core format takes {' and '.join(dtypes)}, not {spec.dtype}"
        if channels < NARROWEST_TENSOR:
            return (
                f"{channels} output channels in a group; tensor cores compute "
                f"{NARROWEST_TENSOR} at once and would be idle for the most part"
            )
        if products > LONGEST_TENSOR:
            return f"its sums of {products} products would be too inexact; {LONGEST_TENSOR} are not"
        return _card_conv(spec)

    return why_not


def _on_card(op: str, algorithm: str, why_not: WhyNot, **more: Any) -> Kernel:
    """A CUDA row: half types and every padding mode are computed natively."""
    return Kernel(op, algorithm, "cuda", why_not, paddings=PADDING_MODES, halves=True, **more)


_CONV2D = (
    Kernel("conv2d", "direct", "cython", _patch),
    Kernel("conv2d", "im2col", "cython", _float_only),
    Kernel("conv2d", "winograd2", "cython", _winograd(2), direct_sum=False, rms_error=2e-6),
    Kernel("conv2d", "winograd4", "cython", _winograd(4), direct_sum=False, rms_error=5e-6),
    Kernel("conv2d", "winograd6", "cython", _winograd(6), direct_sum=False, rms_error=6e-6),
    Kernel("conv2d", "planar", "cython", _few_channels),
    Kernel("conv2d", "winograd1d", "cython", _columns, direct_sum=False, rms_error=4e-6),
    Kernel("conv2d", "winograd2d", "cython", _squares, direct_sum=False, rms_error=5e-6),
    Kernel("conv2d", "winograd_planar", "cython", _tiles_of_few, direct_sum=False, rms_error=1e-6),
    Kernel("conv2d", "separable", "cython", _separable, direct_sum=False, rms_error=1e-6),
    Kernel("conv2d", "direct", "numba", _float_only),
    Kernel("conv2d", "im2col", "numba", _float_only),
    Kernel("conv2d", "winograd2", "numba", _winograd(2), direct_sum=False, rms_error=2e-6),
    Kernel("conv2d", "winograd4", "numba", _winograd(4), direct_sum=False, rms_error=5e-6),
    Kernel("conv2d", "winograd6", "numba", _winograd(6), direct_sum=False, rms_error=6e-6),
    Kernel("conv2d", "winograd1d", "numba", _columns, direct_sum=False, rms_error=4e-6),
    Kernel("conv2d", "winograd2d", "numba", _squares, direct_sum=False, rms_error=5e-6),
    Kernel("conv2d", "winograd_planar", "numba", _tiles_of_few, direct_sum=False, rms_error=1e-6),
    Kernel("conv2d", "planar", "numba", _few_channels),
    Kernel("conv2d", "separable", "numba", _separable, direct_sum=False, rms_error=1e-6),
    Kernel("conv2d", "im2col", "numpy", _float_only),
    Kernel("conv2d", "fft", "numpy", _float_only, direct_sum=False, rms_error=2e-6,
           paddings=("zeros", "circular")),
    Kernel("conv2d", "direct", "reference", _float_only),
)

_CUDA = (
    _on_card("conv2d", "direct", _card_conv),
    _on_card("conv2d", "winograd4", _card_winograd(4), direct_sum=False, rms_error=5e-6),
    _on_card("conv2d", "tf32x3", _card_tensor("float32"), direct_sum=False, rms_error=2e-6),
    _on_card("conv2d", "tf32", _card_tensor("float32"), direct_sum=False, rms_error=2e-3),
    _on_card("conv2d", "bf16", _card_tensor("float32"), direct_sum=False, rms_error=4e-3),
    _on_card("conv2d", "tensor", _card_tensor(*HALF), direct_sum=False, rms_error=2e-6),
    _on_card("conv2d", "im2col", _card_conv),
    _on_card("conv2d", "planar", _card_few),
    _on_card("conv2d", "fft", _card_conv, direct_sum=False, rms_error=2e-6, needs="cupy"),
    _on_card("conv2d_input_grad", "phases", _card_conv),
    _on_card("pool2d", "direct", _card_planes),
    _on_card("max_unpool2d", "scatter", _card_planes),
    _on_card("activation", "elementwise", _card),
)


_OF_PICTURES = ("winograd1d", "winograd2d", "separable")
"""Algorithms for large filters, which nobody pools after."""


def _pooled(row: Kernel) -> Kernel:
    """The row of conv2d_pool2d that runs a convolution's kernel band by band."""

    def why_not(spec: ConvPool2dSpec) -> str | None:
        return row.why_not(spec.conv)

    return replace(row, op="conv2d_pool2d", why_not=why_not, paddings=("zeros",))


ROWS: tuple[Kernel, ...] = (
    *_CONV2D,
    *(_pooled(row) for row in _CONV2D if row.algorithm not in _OF_PICTURES),
    Kernel("conv2d_input_grad", "phases", "cython", _patch),
    Kernel("conv2d_input_grad", "phases", "numba", _float_only),
    Kernel("conv2d_input_grad", "phases", "numpy", _float_only),
    Kernel("conv2d_input_grad", "direct", "reference", _float_only),
    Kernel("pool2d", "direct", "cython", _float_only),
    Kernel("pool2d", "direct", "numba", _float_only),
    Kernel("pool2d", "direct", "numpy", _anything),
    Kernel("pool2d", "direct", "reference", _anything),
    Kernel("max_unpool2d", "scatter", "cython", _float_only),
    Kernel("max_unpool2d", "scatter", "numba", _float_only),
    Kernel("max_unpool2d", "scatter", "numpy", _anything),
    Kernel("max_unpool2d", "scatter", "reference", _anything),
    Kernel("activation", "elementwise", "cython", _float_only),
    Kernel("activation", "elementwise", "numba", _float_only),
    Kernel("activation", "elementwise", "numpy", _anything),
    Kernel("activation", "elementwise", "reference", _anything),
    *_CUDA,
    *(replace(_pooled(row), paddings=row.paddings) for row in _CUDA if row.op == "conv2d"),
)

OPERATIONS = tuple(dict.fromkeys(row.op for row in ROWS))


ALGORITHMS = tuple(dict.fromkeys(row.algorithm for row in ROWS))


def rows(op: str) -> tuple[Kernel, ...]:
    """The rows of one operation, in order of preference."""
    return tuple(row for row in ROWS if row.op == op)


def algorithms(op: str) -> tuple[str, ...]:
    """The algorithms that some row of ``op`` has."""
    return tuple(dict.fromkeys(row.algorithm for row in rows(op)))


def too_inexact(row: Kernel, precision: str) -> str | None:
    """Why ``precision`` refuses this row, or None."""
    if precision == "strict" and not row.direct_sum:
        return "precision='strict' admits only direct summation in the input's dtype"
    if precision == "default" and row.rms_error > DEFAULT_RMS_ERROR:
        return f"its rms error {row.rms_error:.0e} exceeds {DEFAULT_RMS_ERROR:.0e}"
    return None
