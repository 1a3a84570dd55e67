"""Any geometry, any arrays, every backend: Hypothesis against the reference.

All numbers are small integers, so that sums are exact in every dtype and order of summation:
what sums directly must equal the reference bit for bit, tolerances aside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import fastconv as fc
from fastconv.dispatch import available
from fastconv.registry import Kernel, rows
from fastconv.spec import PADDING_MODES, PADDING_NAMES

HALF_MAX_ROUNDING = 2e-3

Draw = Any
sizes = st.sampled_from([1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17])
pairs = st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 4)))
dtypes = st.sampled_from(["float32", "float32", "float64", "float16"])
layouts = st.sampled_from(["NCHW", "NHWC"])


def both(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


@st.composite
def arrays(draw: Draw, shape: tuple[int, ...], dtype: str, low: int = -4) -> np.ndarray:
    """Integers of ``shape`` in a dtype, somehow in memory."""
    seed = draw(st.integers(0, 2**32 - 1))
    values = np.random.default_rng(seed).integers(low, 5, shape).astype(dtype)
    return draw(placed(values))


@st.composite
def placed(draw: Draw, values: np.ndarray) -> np.ndarray:
    """The same numbers with other strides, byte order and alignment."""
    axes = draw(st.permutations(range(values.ndim)))
    steps = [draw(st.sampled_from([1, 1, -1, 2, -3])) for _ in axes]
    dtype = values.dtype
    if draw(st.booleans()) and draw(st.booleans()):
        dtype = dtype.newbyteorder()
    memory = np.zeros([values.shape[a] * abs(steps[a]) for a in axes], dtype)
    whole = memory.transpose(np.argsort(axes)) if axes else memory
    view = whole[(*(slice(None, None, step) for step in steps), ...)]
    view[...] = values
    if draw(st.booleans()):
        view.flags.writeable = False
    return view


@st.composite
def paddings(draw: Draw, names: tuple[str, ...] = PADDING_NAMES, most: int = 4) -> Any:
    """Every form that padding may have."""
    cells = st.integers(0, most)
    return draw(st.one_of(
        cells, st.tuples(cells, cells), st.tuples(st.tuples(cells, cells), st.tuples(cells, cells)),
        st.sampled_from(names),
    ))


def padded_cells(padding: Any) -> tuple[int, int]:
    """How many cells an explicit padding adds in height and in width; 0 for a name."""
    if isinstance(padding, str):
        return 0, 0
    return tuple(sum(both(p)) for p in both(padding))  # type: ignore[return-value]


def outs(draw: Draw, wanted: np.ndarray) -> np.ndarray | None:
    """No ``out``, or one full of NaN with any strides."""
    if draw(st.booleans()):
        return None
    empty = np.full(wanted.shape, 7 if wanted.dtype.kind in "iu" else np.nan).astype(wanted.dtype)
    out = draw(placed(empty))
    out.flags.writeable = True
    return out


def against_reference(
    draw: Draw, op: str, call: Any, largest: float | None = None, **spec: Any
) -> None:
    """Every present row, asked for by name, gives what the reference gives. ``largest`` is the
    largest sum before its activation, which errors of transforms are relative to."""
    wanted = call(backend="reference", **spec)
    for row in rows(op):
        if row.backend == "reference" or available(row.backend):
            continue
        names = {"backend": row.backend}
        if "algorithm" in spec:
            names["algorithm"] = row.algorithm
        out = outs(draw, wanted)
        try:
            got = call(**{**spec, **names}, out=out)
        except ValueError as error:
            if "no kernel can serve" in str(error):  # why_not said so
                continue
            raise
        assert out is None or got is out
        compare(row, got, wanted, largest)


def compare(
    row: Kernel, got: np.ndarray, wanted: np.ndarray, largest: float | None = None
) -> None:
    assert got.shape == wanted.shape
    assert got.dtype.name == wanted.dtype.name
    if row.direct_sum:
        np.testing.assert_array_equal(got, wanted, row.name)
    else:
        precision = HALF_MAX_ROUNDING if got.dtype.name == "float16" else 1e-5
        scale = max(1.0, float(np.abs(wanted).max(initial=0)) if largest is None else largest)
        np.testing.assert_allclose(got / scale, wanted / scale, atol=precision, err_msg=row.name)


def in_layout(shape: tuple[int, int, int, int], layout: str) -> tuple[int, ...]:
    n, c, h, w = shape
    return shape if layout == "NCHW" else (n, h, w, c)


# ---------------------------------------------------------------- convolution


@given(st.data())
def test_conv2d(data: Any) -> None:
    draw = data.draw
    groups, kernel = draw(st.integers(1, 3)), (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    icg, ocg = draw(sizes), draw(sizes)
    stride, dilation, padding = draw(pairs), draw(pairs), draw(paddings())
    mode = draw(st.sampled_from(("zeros", "zeros", *PADDING_MODES)))
    dtype, layout = draw(dtypes), draw(layouts)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, both(dilation), strict=True)]
    # reflect needs a picture larger than the padding, which for "full" is all of the reach.
    least = [
        max(r if mode != "zeros" else r - p, 5 if mode != "zeros" else 1)
        for r, p in zip(reach, padded_cells(padding), strict=True)
    ]
    h, w = (low + draw(st.integers(0, 9)) for low in least)
    shape = (draw(st.integers(0, 3)), icg * groups, h, w)
    x = draw(arrays(in_layout(shape, layout), dtype))
    weights = draw(arrays((ocg * groups, icg, *kernel), dtype))
    bias = draw(st.none() | arrays((ocg * groups,), dtype))
    activation = draw(st.sampled_from([None, "relu", "relu6"]))

    def call(**options: Any) -> np.ndarray:
        return fc.conv2d(x, weights, bias, stride=stride, padding=padding, dilation=dilation,
                         groups=groups, padding_mode=mode, layout=layout,
                         **{"activation": activation, **options})

    sums = call(backend="reference", activation=None)
    largest = float(np.abs(sums).max(initial=0))
    against_reference(draw, "conv2d", call, largest, algorithm="auto")


@given(st.data())
def test_conv_transpose2d(data: Any) -> None:
    draw = data.draw
    groups, kernel = draw(st.integers(1, 3)), (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    stride, dilation = both(draw(pairs)), both(draw(pairs))
    padding = draw(paddings(("valid", "same", "same_lower"), most=2))
    extra = 0 if isinstance(padding, str) else tuple(
        draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
    )
    dtype, layout = draw(dtypes), draw(layouts)
    size = [
        # Large enough that something is left when the padding has been cut off.
        max(1, -(-(p - d * (k - 1)) // s) + 1) + draw(st.integers(0, 5))
        for p, d, k, s in zip(padded_cells(padding), dilation, kernel, stride, strict=True)
    ]
    shape = (draw(st.integers(0, 2)), draw(sizes) * groups, *size)
    x = draw(arrays(in_layout(shape, layout), dtype))  # type: ignore[arg-type]
    ocg = draw(sizes)
    weights = draw(arrays((shape[1], ocg, *kernel), dtype))
    bias = draw(st.none() | arrays((ocg * groups,), dtype))
    activation = draw(st.sampled_from([None, "relu", "relu6"]))

    def call(**options: Any) -> np.ndarray:
        return fc.conv_transpose2d(x, weights, bias, stride=stride, padding=padding,
                                   output_padding=extra, dilation=dilation, groups=groups,
                                   activation=activation, layout=layout, **options)

    against_reference(draw, "conv2d_input_grad", call, algorithm="auto")


@given(st.data())
def test_filter2d(data: Any) -> None:
    draw = data.draw
    dtype = draw(dtypes)
    kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    shape = (draw(st.integers(5, 14)), draw(st.integers(5, 24)))
    image = draw(arrays(draw(st.sampled_from([shape, (*shape, 1), (*shape, 3)])), dtype))
    count = draw(st.integers(0, 4))
    kernels: Any = [draw(arrays(kernel, dtype)) for _ in range(count)]
    kernels = kernels or draw(arrays(kernel, dtype))
    mode = draw(st.sampled_from(PADDING_MODES))

    def call(**options: Any) -> np.ndarray:
        return fc.filter2d(image, kernels, padding_mode=mode, **options)

    against_reference(draw, "conv2d", call, algorithm="auto")


# ---------------------------------------------------------------- pooling


@st.composite
def windows(draw: Draw) -> tuple[Any, dict[str, Any], tuple[int, int]]:
    """pool_size with its keywords, and the least picture that it fits."""
    size, dilation = both(draw(pairs)), both(draw(pairs))
    reach = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    before_after = []
    for r in reach:
        before = draw(st.integers(0, r // 2))
        after = draw(st.integers(0, min(r - before, r // 2)))
        before_after.append((min(before, r - 1), min(after, r - 1)))
    keywords = {
        "stride": draw(st.none() | pairs), "padding": tuple(before_after),
        "dilation": dilation, "ceil_mode": draw(st.booleans()),
    }
    least = tuple(max(1, r - sum(p)) for r, p in zip(reach, before_after, strict=True))
    return size, keywords, least  # type: ignore[return-value]


@given(st.data())
def test_pools(data: Any) -> None:
    draw = data.draw
    size, keywords, least = draw(windows())
    dtype, layout = draw(dtypes), draw(layouts)
    h, w = (low + draw(st.integers(0, 12)) for low in least)
    shape = in_layout((draw(st.integers(0, 3)), draw(sizes), h, w), layout)
    mode = draw(st.sampled_from(["max", "indices", "avg", "sum", "lp"]))
    if mode in ("max", "indices"):
        dtype = draw(st.sampled_from([dtype, "int8", "uint16", "int64"]))
    x = draw(arrays(shape, dtype, low=0 if dtype.startswith("u") or mode == "lp" else -4))
    if mode in ("avg", "sum"):
        del keywords["dilation"]
        keywords["padding"] = tuple(
            (min(a, k // 2), min(b, k // 2)) for (a, b), k in zip(keywords["padding"], size,
                                                                  strict=True)
        )
        if any(k > n + sum(p) for k, n, p in zip(size, (h, w), keywords["padding"], strict=True)):
            keywords["padding"] = 0
    if mode == "avg":
        # Powers of two keep the means exact.
        keywords["divisor_override"] = draw(st.sampled_from([1, 2, 4]))

    def call(**options: Any) -> np.ndarray:
        options.update(keywords, layout=layout)
        if mode == "indices":
            values, indices = fc.max_pool2d(x, size, return_indices=True, **options)
            np.testing.assert_array_equal(
                indices, fc.max_pool2d(x, size, return_indices=True,
                                       **{**options, "backend": "reference", "out": None})[1]
            )
            return values
        if mode == "lp":
            return fc.lp_pool2d(x, 1, size, **options)
        return getattr(fc, f"{mode}_pool2d")(x, size, **options)

    against_reference(draw, "pool2d", call)


@given(st.data())
def test_adaptive_pools(data: Any) -> None:
    draw = data.draw
    layout = draw(layouts)
    shape = in_layout(
        (draw(st.integers(0, 2)), draw(sizes), draw(st.integers(1, 20)), draw(st.integers(1, 40))),
        layout,
    )
    size = (draw(st.none() | st.integers(1, 12)), draw(st.none() | st.integers(1, 12)))
    x = draw(arrays(shape, draw(dtypes)))
    name = draw(st.sampled_from(["adaptive_max_pool2d", "global_max_pool2d", "global_sum_pool2d"]))

    def call(**options: Any) -> np.ndarray:
        sized = (size,) if name.startswith("adaptive") else ()
        return getattr(fc, name)(x, *sized, layout=layout, **options)

    against_reference(draw, "pool2d", call)


@given(st.data())
def test_unpool(data: Any) -> None:
    draw = data.draw
    size, layout = both(draw(pairs)), draw(layouts)
    n, c, h, w = draw(st.integers(0, 3)), draw(sizes), *draw(pairs.map(both))
    x = draw(arrays(in_layout((n, c, h, w), layout), draw(dtypes)))
    cells = h * size[0] * w * size[1]
    # Every index once at most, in any order.
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    where = np.array([rng.permutation(cells)[: h * w] for _ in range(n * c)], np.int64)
    where = where.reshape(n, c, h, w)
    indices = draw(placed(where if layout == "NCHW" else where.transpose(0, 2, 3, 1)))

    def call(**options: Any) -> np.ndarray:
        return fc.max_unpool2d(x, indices, size, layout=layout, **options)

    against_reference(draw, "max_unpool2d", call)


@given(st.data())
def test_activations(data: Any) -> None:
    draw = data.draw
    shape = tuple(draw(st.lists(st.integers(0, 9), max_size=4)))
    x = draw(arrays(shape, draw(st.sampled_from(["float32", "float64", "float16", "int8"]))))
    name = draw(st.sampled_from(["relu", "relu6"]))
    against_reference(draw, "activation", lambda **options: getattr(fc, name)(x, **options))
