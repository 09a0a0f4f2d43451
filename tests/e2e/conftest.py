"""The product as its users meet it: the CLI, REST through the ingress, kubectl, a receiver."""

import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

import e2e_support
import people_support
from browser_support import Visits, started


@pytest.fixture(scope="session")
def product() -> e2e_support.Product:
    """What `make up` has brought up; its absence is a failure, never a skip."""
    return e2e_support.Product.from_environ(os.environ)


@pytest.fixture
def rest(product: e2e_support.Product) -> Iterator[httpx.Client]:
    with e2e_support.client_of(product, product.token) as client:
        yield client


@pytest.fixture
def kubectl() -> e2e_support.Kubectl:
    return e2e_support.Kubectl()


@pytest.fixture
def receiver(product: e2e_support.Product) -> Iterator[e2e_support.Receiver]:
    with e2e_support.Receiver(product.host_address) as running:
        yield running


@pytest.fixture
def name() -> str:
    """A task's name that nothing else has."""
    return f"e2e-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def longtask() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command, as a user runs it."""

    def run(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["longtask", *words], capture_output=True, text=True, timeout=120, check=False
        )

    return run


@pytest.fixture
def root() -> Path:
    return Path(__file__).resolve().parents[2]


@pytest.fixture
def scaled_back(kubectl: e2e_support.Kubectl) -> Iterator[None]:
    """As many operators afterwards as before."""
    before = kubectl.get("deploy/longtask-operator", *e2e_support.SYSTEM)["spec"]["replicas"]
    yield
    e2e_support.scale(kubectl, "operator", before)


@pytest.fixture
async def visits(product: e2e_support.Product) -> AsyncIterator[Visits]:
    """A browser; what its pages may not say fails the test."""
    async with started() as browser:
        made = Visits(browser, product.url)
        yield made
        # An answer that is an error, or none, is told so too; tests name those.
        assert [one for one in made.complaints if "Failed to load resource" not in one] == []


@pytest.fixture
def people(
    product: e2e_support.Product, rest: httpx.Client, visits: Visits
) -> Iterator[people_support.People]:
    """Who uses it; they leave with all that is theirs."""
    made = people_support.People(product, rest, visits)
    yield made
    made.leave()
