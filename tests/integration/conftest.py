"""What is real here: a namespace of its own for each module that asks, and both databases."""

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import postgres_support

Kubectl = Callable[..., str]


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """Where the cluster is; its CRDs are installed."""
    path = os.environ.get("KUBECONFIG")
    if not path:
        pytest.fail("No cluster: run `make up`, then `. .localcluster/env`.")
    return Path(path)


@pytest.fixture(scope="session")
def kubectl(kubeconfig: Path) -> Kubectl:
    """Run kubectl; a `document` goes to its standard input as JSON."""

    def run(*arguments: str, document: Any = None) -> str:
        done = subprocess.run(
            ["kubectl", "--kubeconfig", str(kubeconfig), *arguments],
            input=None if document is None else json.dumps(document),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """Make a namespace, and take it away again."""
    name = f"it-{uuid.uuid4().hex[:10]}"
    kubectl("create", "namespace", name)
    # A controller makes it; until then no pod is taken.
    account = ("serviceaccount/default", "-n", name, "--for=create", "--timeout=50s")
    kubectl("wait", *account)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Make an empty database of each kind, and return its URL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'longtask.db'}"
    server: postgres_support.Server = request.getfixturevalue("postgresql")
    return server.new_database()
