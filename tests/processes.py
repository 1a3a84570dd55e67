"""Code in a Python process of its own: for imports, environment variables, forks and crashes."""

from __future__ import annotations

import os
import sys
import textwrap
from subprocess import CompletedProcess, run

OWN = ("FASTCONV_", "OMP_NUM_THREADS")


def python(
    code: str, *arguments: str, timeout: float = 120, **environment: str
) -> CompletedProcess[str]:
    """Run ``code`` with only those fastconv variables that are given; a failure is an error."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(OWN)}
    done = run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], capture_output=True, text=True,
        timeout=timeout, check=False, env={**inherited, **environment},
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
