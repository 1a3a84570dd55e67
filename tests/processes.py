"""Code in a Python process of its own: for imports, environment variables, forks and crashes."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from subprocess import PIPE, CompletedProcess, Popen, TimeoutExpired

OWN = ("FASTCONV_", "OMP_NUM_THREADS")
KEPT = "FASTCONV_CACHE_DIR"


def python(
    code: str, *arguments: str, timeout: float = 120, **environment: str
) -> CompletedProcess[str]:
    """Run ``code`` with only those fastconv variables that are given; a failure is an error.

    ``-P`` keeps the current folder out of the path: the installed package is what is tested.
    """
    inherited = {k: v for k, v in os.environ.items() if k == KEPT or not k.startswith(OWN)}
    command = [sys.executable, "-P", "-c", textwrap.dedent(code), *arguments]
    with Popen(command, stdout=PIPE, stderr=PIPE, text=True, env={**inherited, **environment},
               start_new_session=True) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its children too
            raise
    assert process.returncode == 0, f"exit {process.returncode}\n{out}\n{err}"
    return CompletedProcess(command, 0, out, err)
