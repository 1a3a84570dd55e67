"""Options and threads of the row benchmarks, and what the report asks of their JSON."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import fastconv
from fastconv.bench import records
from fastconv.bench.devices import Processor


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


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: object, output_json: dict[str, Any]
) -> None:
    """Add versions and what the processor can do at most, as ``fastconv bench`` writes them."""
    command = shlex.join(["pytest", *sys.argv[1:]])
    output_json["fastconv"] = records.environment(
        [Processor()], [config.getoption("--threads")], command
    )
