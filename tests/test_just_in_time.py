"""Kernels compiled just in time: kept on disk, found again, and announced by explain()."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from processes import python

from fastconv.dispatch import available

pytestmark = pytest.mark.skipif(
    available("numba") is not None, reason=str(available("numba"))
)

CALL = """
    import numpy as np, fastconv as fc
    def told():
        return fc.explain("max_pool2d", (1, 3, 9, 20), 2, backend="numba").compiles
    before = told()
    y = fc.max_pool2d(np.arange(540.0, dtype="f4").reshape(1, 3, 9, 20), 2, backend="numba")
    assert y[0, 0, 0, 0] == 21 and y[0, 2, 3, 9] == 519
    print(before, told(), "compiles first" in str(fc.explain(
        "max_pool2d", (1, 3, 9, 20), 5, stride=3, backend="numba")))
"""
COMPILES, FINDS = ["True", "False", "True"], ["False", "False", "True"]


def _call(cache: Path | str, **environment: str) -> list[str]:
    return python(CALL, NUMBA_CACHE_DIR=str(cache), **environment).stdout.split()


def test_explain_tells_whether_a_call_compiles(tmp_path: Path) -> None:
    assert _call(tmp_path) == COMPILES
    assert _call(tmp_path) == FINDS


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names x86-64 processors")
def test_kernels_of_two_processors_lie_side_by_side(tmp_path: Path) -> None:
    for name in ("x86-64", "haswell"):
        assert _call(tmp_path, NUMBA_CPU_NAME=name) == COMPILES
    for name in ("x86-64", "haswell"):
        assert _call(tmp_path, NUMBA_CPU_NAME=name) == FINDS
    files = {path.name for path in tmp_path.rglob("*.nbc")}
    indices = {path.name for path in tmp_path.rglob("*.nbi")}
    assert len(files) == len(indices), "two processors share an index"


def test_nowhere_to_keep_kernels() -> None:
    """As in a container whose file system is read-only."""
    nowhere = "/proc/nowhere"
    found = _call(
        nowhere, HOME=nowhere, XDG_CACHE_HOME=nowhere,
        NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator",
    )
    assert found[1] == "False"


def test_damaged_files_are_compiled_anew(tmp_path: Path) -> None:
    _call(tmp_path)
    for path in [*tmp_path.rglob("*.nbc"), *tmp_path.rglob("*.nbi")]:
        path.write_bytes(b"no code")
    assert _call(tmp_path)[1] == "False"


def test_a_full_disk(tmp_path: Path) -> None:
    out = python("""
        import errno
        import numpy as np, fastconv as fc
        from numba.core.caching import IndexDataCacheFile
        def save(self, key, data):
            raise OSError(errno.ENOSPC, "no space left")
        IndexDataCacheFile.save = save
        print(fc.relu(np.array([-1.0, 2.0]), backend="numba").tolist())
    """, NUMBA_CACHE_DIR=str(tmp_path)).stdout
    assert out.strip() == "[0.0, 2.0]"


def test_first_use_compiles_nothing_else(tmp_path: Path) -> None:
    """One call, one process: only the functions that this call runs."""
    _call(tmp_path)
    names = {path.name.split(".")[1].rsplit("_", 1)[0] for path in tmp_path.rglob("*.nbi")}
    slide, = names - {"run_serial", "planes_float32"}
    assert slide.startswith("slide_max_2_2_")
