"""Compiles ``csrc/``; everything declarative stands in pyproject.toml.

Each ``csrc/*.pyx`` becomes ``fastconv.backends.cython.<stem>``. The C kernels of ``csrc/simd``
are compiled once per instruction set and element type and linked into the module ``isa``,
through which the others reach them. Generated files stay in the build folder.

Environment: ``FASTCONV_NO_OPENMP=1`` builds without threads, ``FASTCONV_DEBUG_BUILD=1`` with
Cython's bounds checks, ``FASTCONV_SANITIZE=1`` with the compiler's sanitizers (``.ci/sanitize``
does that, in a folder of its own). After changing one of them build with ``--force``.
"""

import os
import subprocess
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError
from setuptools.modified import newer_group

DEBUG = os.environ.get("FASTCONV_DEBUG_BUILD") == "1"
SANITIZE = os.environ.get("FASTCONV_SANITIZE") == "1"
WANT_OPENMP = os.environ.get("FASTCONV_NO_OPENMP") != "1"
X86_64 = sysconfig.get_platform().endswith(("x86_64", "amd64"))

# NaN, infinities and signed zeros keep their meaning: no -ffast-math. What is relaxed here
# (errno, floating-point traps, contraction to fused multiply-add) changes none of them.
C_FLAGS = [
    "-O3", "-g" if DEBUG else "-g0", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden",
]
# Python's own -fwrapv would hide overflows, and GCC compiles many times as long under it. The
# checks left out take minutes a unit: what such a pointer reaches is AddressSanitizer's to find.
SANITIZERS = [
    "-fsanitize=address,undefined", "-fno-sanitize=null,alignment,object-size,pointer-overflow",
    "-fno-wrapv",
]
if SANITIZE:
    C_FLAGS += ["-O1", "-g1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all", *SANITIZERS]
KERNEL_FLAGS = [
    *C_FLAGS, "-std=gnu11", "-ffp-contract=fast", "-fPIC", "-Wno-unused-function",
    "-MMD",  # the compiler writes down which headers a unit includes
]
ISA_FLAGS = {"baseline": []}
if X86_64:
    ISA_FLAGS["avx2"] = ["-mavx2", "-mfma"]
    ISA_FLAGS["avx512"] = [
        "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma",
        "-mprefer-vector-width=512",
    ]

ONCE = ["csrc/simd/isa.c", "csrc/simd/team.c"]  # for the baseline only
UNITS = sorted({str(path) for path in Path("csrc/simd").glob("*.c")} - set(ONCE))
SIMD_HEADERS = sorted(map(str, Path("csrc/simd").glob("*.h")))
OPENMP_PROBE = """
#include <omp.h>
#include <stdio.h>
int main(void) {
    int n = 0;
    #pragma omp parallel for reduction(+:n) num_threads(2)
    for (int i = 0; i < 100; i++) n += i;
    printf("%d\\n", n);
    return omp_get_max_threads() < 1;
}
"""


def openmp_works(compiler) -> bool:
    """Compile, link and run a small parallel program, as the extensions will be."""
    if not WANT_OPENMP:
        return False
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(OPENMP_PROBE)
        try:
            objects = compiler.compile([str(source)], folder, extra_postargs=["-fopenmp"])
            program = Path(folder, "probe")
            compiler.link_executable(objects, str(program), extra_postargs=["-fopenmp"])
            result = subprocess.run([str(program)], capture_output=True, text=True, timeout=60)
        except (CompileError, LinkError, OSError, subprocess.TimeoutExpired):
            return False
    return result.returncode == 0 and result.stdout.strip() == "4950"


def is_stale(unit: Path) -> bool:
    """Whether a unit must be compiled again, its object and dependencies being ``unit.o, .d``."""
    try:
        sources = unit.with_suffix(".d").read_text().partition(":")[2].replace("\\\n", " ").split()
    except FileNotFoundError:
        return True
    return newer_group([*sources, "setup.py"], str(unit.with_suffix(".o")), "newer")


class BuildKernels(build_ext):
    """build_ext that probes OpenMP and adds the kernels of every instruction set to ``isa``."""

    def build_extensions(self) -> None:
        if openmp_works(self.compiler):
            for extension in self.extensions:
                extension.extra_compile_args.append("-fopenmp")
                extension.extra_link_args.append("-fopenmp")
        else:
            self.warn("OpenMP is not used: the compiled backend will run on one thread")
        super().build_extensions()

    def build_extension(self, ext: Extension) -> None:
        if ext.name.endswith(".isa"):
            ext.extra_objects = self.kernel_objects()
        super().build_extension(ext)

    def kernel_objects(self) -> list[str]:
        """Every unit of ``csrc/simd`` for every instruction set and element type, on all cores."""
        objects, compiling = [], []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for isa, flags in ISA_FLAGS.items():
                for bits in ("32", "64"):
                    kind = f"f{bits}_{isa}"
                    folder = os.path.join(self.build_temp, "kernels", kind)
                    for unit in UNITS:
                        objects.append(str(Path(folder, unit).with_suffix(".o")))
                        if self.force or is_stale(Path(folder, unit)):
                            compiling.append(pool.submit(
                                self.compiler.compile, [unit], folder,
                                macros=[("KIND", kind), ("REAL_BITS", bits)],
                                extra_postargs=[*KERNEL_FLAGS, *flags],
                            ))
        for unit in compiling:
            unit.result()  # or its error
        return objects


def extension(pyx: Path) -> Extension:
    is_home = pyx.stem == "isa"
    return Extension(
        f"fastconv.backends.cython.{pyx.stem}",
        [str(pyx), *(ONCE if is_home else [])],
        include_dirs=["csrc", np.get_include()],
        define_macros=[
            ("NPY_NO_DEPRECATED_API", "NPY_1_22_API_VERSION"),
            *([("FASTCONV_X86_SETS", None)] if X86_64 else []),
        ],
        libraries=["m"] if os.name == "posix" else [],
        extra_compile_args=list(C_FLAGS),
        extra_link_args=list(SANITIZERS) if SANITIZE else [],
        depends=["setup.py", *([*UNITS, *SIMD_HEADERS] if is_home else ["csrc/simd/table.h"])],
    )


setup(
    ext_modules=cythonize(
        [extension(pyx) for pyx in sorted(Path("csrc").glob("*.pyx"))],
        build_dir="build/cython-debug" if DEBUG else "build/cython",
        include_path=["."],
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": False,
            "initializedcheck": DEBUG,
            "cdivision": True,
            "embedsignature": True,
            "freethreading_compatible": True,
        },
    ),
    cmdclass={"build_ext": BuildKernels},
)
