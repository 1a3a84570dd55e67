"""The cost model: every row has prices for counts that exist, and predicts sensible times."""

from __future__ import annotations

import time

import pytest
from cases import CASES, Case

from fastconv import heuristics
from fastconv.heuristics import SPECIAL, prices
from fastconv.heuristics.features import counts
from fastconv.registry import ROWS, Kernel, rows, too_inexact
from fastconv.spec import Conv2dSpec, ConvPool2dSpec

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
PRICED = [row for row in ROWS if row.op != "conv2d_pool2d"]
"""The others are sums of two of these."""
LARGE = Conv2dSpec.of((4, 64, 56, 56), (64, 64, 3, 3), padding=1)


def cases(row: Kernel) -> list[Case]:
    """Those that the row accepts, in float32 or, where it takes halves alone, in float16."""
    for dtype in ("float32", "float16"):
        all_of_type = (c.with_spec(dtype=dtype) for c in CASES if c.op == row.op)
        if found := [c for c in all_of_type if row.why_not(row.sees(c.spec)) is None]:
            return found
    return []


def test_prices_are_those_of_the_rows() -> None:
    assert set(prices()) == {row.name for row in PRICED}


@pytest.mark.parametrize("processor", heuristics.measured())
def test_every_processor_has_prices_for_known_rows(processor: str) -> None:
    """Rows that were not measured there have those of any."""
    found = heuristics.prices(processor)
    assert set(found) == set(prices())
    for name, price in found.items():
        assert set(price) == set(prices()[name]), name
        assert all(each >= 0 for each in price.values())
    assert heuristics.prices("an unknown one") == prices()


@pytest.mark.parametrize("row", PRICED, ids=lambda row: row.name)
def test_prices_are_seconds_of_something_counted(row: Kernel) -> None:
    found = prices()[row.name]
    assert found["call"] > 0
    assert all(price >= 0 for price in found.values())
    assert 0 <= found.get("serial", 0.0) <= 1
    counted = counts(row.op, row.algorithm, cases(row)[0].spec.kernel_spec, 16)
    assert set(found) <= {*counted, *SPECIAL}
    assert set(found) - {"call", "serial", "team"}, "nothing but overhead has a price"


@every_row
def test_every_case_has_a_prediction(row: Kernel) -> None:
    for case in cases(row):
        spec = case.spec.kernel_spec
        in_call, packed = (heuristics.seconds(row, spec, packed=p) for p in (False, True))
        assert 0 < packed <= in_call < 1e3, case.name


def test_more_work_takes_longer() -> None:
    small = Conv2dSpec.of((1, 64, 28, 28), (64, 64, 3, 3), padding=1)
    for row in rows("conv2d"):
        if row.why_not(small) is None:
            assert heuristics.seconds(row, small) < heuristics.seconds(row, LARGE), row.name
            double = Conv2dSpec.of((4, 64, 56, 56), (64, 64, 3, 3), padding=1, dtype="float64")
            assert heuristics.seconds(row, LARGE) <= heuristics.seconds(row, double)


def test_narrow_vectors_take_longer() -> None:
    row = next(row for row in rows("conv2d") if row.name == "conv2d.direct@cython")
    wide, narrow = (heuristics.seconds(row, LARGE, vector_bytes=n) for n in (64, 16))
    assert 2 < narrow / wide < 5


def test_threads_share_what_is_worth_it() -> None:
    row = next(row for row in rows("conv2d") if row.name == "conv2d.direct@cython")
    tiny = Conv2dSpec.of((1, 1, 8, 8), (1, 1, 3, 3))
    assert heuristics.threads_for(row, tiny, 8) == 1
    assert heuristics.threads_for(row, LARGE, 8) == 8
    assert heuristics.seconds(row, LARGE, 2) < 0.6 * heuristics.seconds(row, LARGE)


def test_maps_that_are_pooled_nearby_cost_less_than_maps_in_memory() -> None:
    fused = ConvPool2dSpec.of((1, 3, 224, 224), (32, 3, 3, 3), padding=1)
    able = {row.name: row for row in (*rows("conv2d"), *rows("conv2d_pool2d"), *rows("pool2d"))}
    pooling = heuristics.seconds(able["pool2d.direct@cython"], fused.pool)
    for algorithm in ("direct", "winograd4", "winograd_planar"):
        convolution = heuristics.seconds(able[f"conv2d.{algorithm}@cython"], fused.conv)
        both = heuristics.seconds(able[f"conv2d_pool2d.{algorithm}@cython"], fused)
        if algorithm != "direct":  # before results leave the tiles
            assert both <= convolution
        else:
            assert convolution < both < convolution + pooling


@pytest.mark.parametrize(("gain", "algorithm"), [(1.05, "direct"), (1.2, "winograd4")])
def test_a_transform_must_gain_more_than_the_model_errs(
    monkeypatch: pytest.MonkeyPatch, gain: float, algorithm: str
) -> None:
    """Direct sums of small integers are exact."""
    able = [row for row in rows("conv2d") if row.algorithm in ("direct", "winograd4")]
    monkeypatch.setattr(
        heuristics, "_seconds", lambda row, *_: 1.0 if row.direct_sum else 1 / gain
    )
    assert heuristics.rank(able, LARGE)[0].algorithm == algorithm


def test_a_ranking_is_quick() -> None:
    """At most 50 µs for a convolution: the choice is cached, but each new shape pays once."""
    able = [row for row in rows("conv2d") if row.why_not(LARGE) is None]
    best = min(_timed(able) for _ in range(50))
    assert best < 4 * 50e-6  # other work may run beside the tests


def _timed(able: list[Kernel]) -> float:
    start = time.perf_counter()
    heuristics.rank(able, LARGE)
    return time.perf_counter() - start


@pytest.mark.parametrize(("x", "w", "precision", "dtype", "wanted"), [
    ((32, 64, 56, 56), (64, 64, 3, 3), "default", "float32", "winograd4"),
    ((32, 512, 7, 7), (512, 512, 3, 3), "default", "float32", "winograd4"),
    ((32, 16, 224, 224), (16, 16, 3, 3), "default", "float64", "winograd4"),
    ((32, 256, 56, 56), (64, 256, 1, 1), "default", "float32", "tf32x3"),
    ((32, 64, 56, 56), (64, 64, 7, 7), "default", "float32", "tf32x3"),
    ((32, 64, 56, 56), (64, 64, 3, 3), "default", "bfloat16", "tensor"),
    ((32, 64, 56, 56), (64, 64, 3, 3), "fast", "float32", "bf16"),
    ((32, 64, 56, 56), (64, 64, 3, 3), "strict", "float32", "direct"),
    ((1, 3, 8, 8), (4, 3, 3, 3), "default", "float32", "planar"),
    ((32, 64, 56, 56), (64, 64, 11, 11), "default", "float32", "fft"),
    ((32, 64, 56, 56), (64, 64, 11, 11), "strict", "float32", "direct"),
    ((1, 1, 2048, 2048), (1, 1, 63, 63), "default", "float32", "fft"),
    ((1, 64, 14, 14), (64, 64, 11, 11), "default", "float32", "tf32x3"),
])
def test_a_card_gets_what_its_model_says(
    x: tuple[int, ...], w: tuple[int, ...], precision: str, dtype: str, wanted: str
) -> None:
    """The prices are guesses; this holds what they were meant to say."""
    spec = Conv2dSpec.of(x, w, padding=w[2] // 2, precision=precision, dtype=dtype)
    able = [
        row for row in rows("conv2d") if row.backend == "cuda"
        and row.why_not(row.sees(spec)) is None and too_inexact(row, precision) is None
    ]
    assert heuristics.rank(able, spec.kernel_spec, packed=True)[0].algorithm == wanted
