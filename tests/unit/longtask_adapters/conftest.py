import pytest

from longtask_adapters import testing
from longtask_adapters.kube import connection


@pytest.fixture
def kubernetes() -> testing.MemoryKubernetes:
    return testing.MemoryKubernetes()


@pytest.fixture
def connected(kubernetes: testing.MemoryKubernetes) -> connection.Connection:
    return connection.Connection(kubernetes, user_agent="longtask-test")
