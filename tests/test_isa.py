"""The Cython wing on every instruction set that this CPU has, chosen by ``FASTCONV_ISA``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import python

from fastconv.dispatch import available

if reason := available("cython"):
    pytest.skip(reason, allow_module_level=True)

from fastconv.backends.cython import isa

SELECTION = (
    "(cython and test_row_is_right and (float32 or float64) "
    "and (oc or ic or ow or pixels or width or channels or 3x3 or 5x5 or picture or deep or wide)) "
    "or (cython and (test_epilogue or digits))"
)
"""Sizes over every vector's border; the plain run of test_kernels has the rest."""


@pytest.mark.parametrize("name", isa.built())
def test_kernels_on(name: str) -> None:
    if name not in isa.supported():
        pytest.skip(f"this CPU does not have {name}")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider",
         "-k", SELECTION, str(Path(__file__).with_name("test_kernels.py"))],
        env={**os.environ, "FASTCONV_ISA": name}, capture_output=True, text=True, timeout=600,
        check=False, cwd=Path(__file__).parent.parent,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.parametrize("name", isa.supported())
def test_the_name_decides(name: str) -> None:
    out = python("import fastconv as fc; print(fc.show_config().items['instruction set'])",
                 FASTCONV_ISA=name).stdout
    assert out.strip() == name


def test_the_best_is_taken_unless_named() -> None:
    out = python("import fastconv as fc; print(fc.show_config().items['instruction set'])").stdout
    assert out.strip() == isa.supported()[-1]


def test_sets_agree() -> None:
    """Different vectors, the same sums up to rounding."""
    code = """
        import numpy as np, fastconv as fc
        rng = np.random.default_rng(0)
        x = rng.standard_normal((1, 7, 9, 21)).astype("f4")
        w = rng.standard_normal((19, 7, 3, 3)).astype("f4")
        y = fc.conv2d(x, w, padding=1, activation="tanh", backend="cython")
        print(float(np.abs(y).astype("f8").sum()))
    """
    sums = [float(python(code, FASTCONV_ISA=name).stdout) for name in isa.supported()]
    assert max(sums) - min(sums) < 1e-2
    assert sums[0] > 100


@pytest.mark.parametrize("word", ["sse9", "AVX2", "1"])
def test_an_unknown_word_lists_the_usable(word: str) -> None:
    code = """
        import numpy as np, fastconv as fc
        for call in (lambda: fc.relu(np.ones(4, "f4"), backend="cython"), fc.show_config):
            try:
                call()
            except ValueError as error:
                print(error)
        fc.relu(np.ones(4, "f4"), backend="numpy")
    """
    out = python(code, FASTCONV_ISA=word).stdout
    assert out.count(f"FASTCONV_ISA='{word}' cannot be used") == 2
    for name in isa.supported():
        assert name in out
