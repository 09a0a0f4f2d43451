import socket
from collections.abc import Iterator

import pytest

from longtask_adapters import testing
from longtask_adapters.kube import connection


@pytest.fixture
def kubernetes() -> testing.MemoryKubernetes:
    return testing.MemoryKubernetes()


@pytest.fixture
def connected(kubernetes: testing.MemoryKubernetes) -> connection.Connection:
    return connection.Connection(kubernetes, user_agent="longtask-test")


@pytest.fixture
def nobodys_port() -> Iterator[int]:
    """A port at which nobody listens, and that nobody else can take meanwhile."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield nobody.getsockname()[1]
