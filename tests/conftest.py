"""Settings of the whole suite, made before any test module is imported.

Hypothesis: with ``HYPOTHESIS_PROFILE=ci`` the same few examples every time. OpenMP: thousands of
tiny loops on a busy machine are faster if waiting threads sleep. What somebody has tuned on this
machine decides no test.
"""

import os

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["FASTCONV_CACHE_DIR"] = os.path.join(os.path.dirname(__file__), "no such folder")

settings.register_profile("dev", max_examples=40, deadline=None, print_blob=True)
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True)
settings.register_profile("thorough", parent=settings.get_profile("dev"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture
def free_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody names a backend, whatever this process was started with."""
    monkeypatch.delenv("FASTCONV_BACKEND", raising=False)
