"""Options and threads of the row benchmarks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fastconv


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--threads", type=int, default=1, help="threads that every kernel may use (default 1)"
    )


@pytest.fixture(autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """The number of threads asked for, in force during the test."""
    number = request.config.getoption("--threads")
    with fastconv.options(threads=number):
        yield number
