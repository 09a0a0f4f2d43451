"""Options and markers of all tests, and the server that those have who ask for PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import postgres_support

E2E = Path(__file__).parent / "e2e"

# A busy machine draws slowly, and that is no fault of what is tested. The same is drawn each time,
# so that a change is judged by what it changes.
settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
# What was not drawn before is looked for by `make properties`.
settings.register_profile("search", settings.get_profile("any machine"), derandomize=False)
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--with-e2e", action="store_true", help="run the tests that need the product of `make up`"
    )
    parser.addoption("--pods", type=int, default=300, help="how many pods are rendered and judged")
    parser.addoption(
        "--database",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="what the API of the unit tests keeps its data in",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if collection_path.is_relative_to(E2E) and not config.getoption("--with-e2e"):
        return True
    return None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres_support.Server]:
    """Run a server of PostgreSQL."""
    with postgres_support.running() as server:
        yield server
