from collections.abc import Callable
from typing import Any

import httpx
import pytest

import client_support


@pytest.fixture
def api() -> client_support.FakeApi:
    return client_support.FakeApi()


@pytest.fixture
def a_task() -> Callable[..., dict[str, Any]]:
    """Builds a task as the API shows it."""
    return client_support.a_task


@pytest.fixture
def a_problem() -> Callable[..., httpx.Response]:
    """Builds an answer that is a problem."""
    return client_support.a_problem
