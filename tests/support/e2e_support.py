"""What the end-to-end tests stand on: waiting with a deadline, kubectl, a callback receiver."""

import collections
import contextlib
import dataclasses
import http.server
import json
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import standardwebhooks

from longtask_localcluster import audit

T = TypeVar("T")

#: On the local cluster there is no registry: this image is the base of our own.
BASE_IMAGE = "localhost/longtask-base:dev"
#: A script that goes on until somebody ends it, and then ends at once.
PATIENT = "trap 'exit 143' TERM; sleep 300 & wait"
SYSTEM = ("-n", "longtask")
PASSWORD = "correct horse battery"
#: Reports, and returns what is answered.
REPORT = """
import json, os, sys, time, urllib.request

def report(**said):
    with open(os.environ["LONGTASK_TOKEN_FILE"]) as file:
        headers = {"Authorization": "Bearer " + file.read(), "Content-Type": "application/json"}
    url = os.environ["LONGTASK_API_URL"] + "/runner/v1/progress"
    request = urllib.request.Request(url, json.dumps(said).encode(), headers)
    return json.load(urllib.request.urlopen(request, timeout=10))
"""


def shell(script: str) -> dict[str, Any]:
    """Return a container that runs a script."""
    return {"image": BASE_IMAGE, "command": ["sh", "-c", script]}


def program(text: str) -> dict[str, Any]:
    """Return a container that runs a program in Python, which may `report`."""
    return {"image": BASE_IMAGE, "command": ["python3", "-c", REPORT + text]}


def eventually(fetch: Callable[[], T], is_so: Callable[[T], bool], *, within: float) -> T:
    """Return what `fetch` gives once it is so; fail with the last of it at the deadline."""
    pause = threading.Event()
    deadline = time.monotonic() + within
    while True:
        seen = fetch()
        if is_so(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s; last seen: {seen!r}")
        pause.wait(0.1)


def submit(rest: httpx.Client, **order: Any) -> dict[str, Any]:
    """Hand a task over and return what the API answers."""
    answer = rest.post("/api/v1/tasks", json=order)
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    return body


def finished(rest: httpx.Client, task: str, *, within: float = 240) -> dict[str, Any]:
    """Wait for a task's end and return it as the API shows it."""

    def fetch() -> dict[str, Any]:
        answer = rest.get(f"/api/v1/tasks/{task}", headers={"Prefer": "wait=20"})
        assert answer.status_code == 200, answer.text
        view: dict[str, Any] = answer.json()
        return view

    return eventually(
        fetch, lambda view: view["phase"] in {"Succeeded", "Failed", "Cancelled"}, within=within
    )


def callback_key(rest: httpx.Client) -> str:
    """Return the key that signs our callbacks."""
    return str(rest.get("/api/v1/me/callback-key").json()["key"])


@dataclasses.dataclass(frozen=True)
class Product:
    """Where the product is and how one gets in."""

    url: str
    token: str
    host_address: str
    audit_log: str
    #: A folder that each node has too, under the same path.
    volumes: str

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Product":
        """Read what `.localcluster/env` exports."""
        missing = [
            name
            for name in ("LONGTASK_URL", "LONGTASK_TOKEN", "LONGTASK_HOST_ADDRESS", "KUBECONFIG")
            if not environ.get(name)
        ]
        if missing:
            raise AssertionError(f"run `make up`, then `. .localcluster/env`: no {missing}")
        return cls(
            environ["LONGTASK_URL"],
            environ["LONGTASK_TOKEN"],
            environ["LONGTASK_HOST_ADDRESS"],
            environ.get("LONGTASK_AUDIT_LOG", ""),
            environ.get("LONGTASK_VOLUMES", ""),
        )


class _Patient(httpx.HTTPTransport):
    """Asks again while the ingress has nobody to ask: then nothing was done."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        until = time.monotonic() + 60
        while True:
            answer = super().handle_request(request)
            is_the_apis = "problem" in answer.headers.get("Content-Type", "")
            if answer.status_code != 503 or is_the_apis or time.monotonic() > until:
                return answer
            answer.close()
            time.sleep(0.5)


def client_of(product: Product, token: str | None = None) -> httpx.Client:
    """Return a client of the API, through the ingress."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=product.url, headers=headers, timeout=70, transport=_Patient())


def a_user(product: Product) -> httpx.Client:
    """Register somebody, log them in, and return their client."""
    name = f"e2e-{uuid.uuid4().hex[:10]}"
    order = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    with client_of(product) as anybody:
        made = _in_its_turn(lambda: anybody.post("/api/v1/register", json=order))
    assert made.status_code == 201, made.text
    return logged_in(product, name, PASSWORD)


def logged_in(product: Product, name: str, password: str) -> httpx.Client:
    """Log somebody in, and return their client."""
    client = client_of(product)
    order = {"username": name, "password": password}
    login = _in_its_turn(lambda: client.post("/api/v1/login", json=order))
    assert login.status_code == 200, login.text
    client.headers["Authorization"] = f"Bearer {login.json()['token']}"
    return client


def _in_its_turn(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Ask until it is taken: of one address, as all tests have, only so much is a minute."""
    return eventually(ask, lambda answer: answer.status_code != 429, within=180)


class Kubectl:
    """kubectl in the tasks' namespace, where the kubeconfig's context points."""

    def __call__(self, *words: str, stdin: str | None = None, check: bool = True) -> str:
        """Run it and return what it says; with check=False, its errors too."""
        done = subprocess.run(
            ["kubectl", *words], input=stdin, capture_output=True, text=True, timeout=180
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(words)}: {done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def get(self, *words: str) -> dict[str, Any]:
        """Return an object or a list as JSON."""
        parsed: dict[str, Any] = json.loads(self("get", *words, "-o", "json"))
        return parsed

    def apply_task(self, name: str, spec: dict[str, Any]) -> None:
        """Make a task as a kubectl user does."""
        task = {
            "apiVersion": "longtask.dev/v1alpha1",
            "kind": "LongTask",
            "metadata": {"name": name},
            "spec": spec,
        }
        self.apply(json.dumps(task))

    def apply(self, manifest: str) -> None:
        """Apply a manifest as it is."""
        self("apply", "-f", "-", stdin=manifest)

    def wait_finished(self, name: str, *, within: int = 170) -> dict[str, Any]:
        """Wait as the docs say, and return the task."""
        self("wait", "--for=condition=Finished", f"lt/{name}", f"--timeout={within}s")
        return self.get("lt", name)


def seconds_of(view: Mapping[str, Any]) -> float:
    """Return for how long a task's last attempt ran, to the second."""
    last = view["attempts"][-1]
    began, ended = (datetime.fromisoformat(last[at]) for at in ("startedAt", "finishedAt"))
    return (ended - began).total_seconds()


@contextlib.contextmanager
def a_queue(kubectl: Kubectl, **spec: Any) -> Iterator[str]:
    """Make a queue of a name that nothing else has, and take it away."""
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    manifest = {
        "apiVersion": "longtask.dev/v1alpha1",
        "kind": "LongTaskQueue",
        "metadata": {"name": name},
        "spec": {"maxRunning": 1} | spec,
    }
    kubectl.apply(json.dumps(manifest))
    try:
        yield name
    finally:
        kubectl("delete", "ltq", name)


def pods_of(kubectl: Kubectl, component: str) -> list[dict[str, Any]]:
    """Return all pods of a component, those too that are to end."""
    selector = f"app.kubernetes.io/component={component}"
    pods: list[dict[str, Any]] = kubectl.get("pods", *SYSTEM, "-l", selector)["items"]
    return pods


def kill(kubectl: Kubectl, component: str) -> None:
    """End all pods of a component at once, without a word of warning."""
    kubectl(
        *("delete", "pod", *SYSTEM, "-l", f"app.kubernetes.io/component={component}"),
        *("--force", "--grace-period=0", "--wait=false"),
    )


def scale(kubectl: Kubectl, component: str, replicas: int) -> None:
    """Have that many pods of a component, and wait until it is so."""
    kubectl("scale", f"deploy/longtask-{component}", *SYSTEM, f"--replicas={replicas}")
    ready(kubectl, component)


def restart(kubectl: Kubectl, component: str) -> None:
    """Have a component's pods made anew, in peace, and wait until it is so."""
    kubectl("rollout", "restart", f"deploy/longtask-{component}", *SYSTEM)
    ready(kubectl, component)


def ready(kubectl: Kubectl, component: str) -> None:
    """Wait until a component is whole again: all its pods are ready, and none is to end.

    One that is to end acts until it has ended, in the next test, too. And right after a kill the
    Deployment still counts those that are gone.
    """
    deployment = f"deploy/longtask-{component}"
    kubectl("rollout", "status", deployment, *SYSTEM, "--timeout=170s")
    wanted = kubectl.get(deployment, *SYSTEM)["spec"]["replicas"]
    eventually(
        lambda: [_is_ready(pod) for pod in pods_of(kubectl, component)],
        lambda found: found == [True] * wanted,
        within=120,
    )


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def answers(rest: httpx.Client) -> bool:
    """Tell whether the API is reached, and says that it serves."""
    with contextlib.suppress(httpx.HTTPError):
        return rest.get("/readyz").status_code == 200
    return False


def jobs_ever_created(product: Product, task: str) -> int:
    """Count the Jobs that were ever created for a task, by the API server's own record."""
    created = 0
    for line in audit.lines(Path(product.audit_log)):
        if task in line and '"verb":"create"' in line and '"resource":"jobs"' in line:
            event = json.loads(line)
            created += event["responseStatus"]["code"] == 201
    return created


def evict(kubectl: Kubectl, pod: str) -> None:
    """Evict a pod, as a drain does."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    namespace = kubectl("config", "view", "--minify", "-o", "jsonpath={..namespace}") or "default"
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


@dataclasses.dataclass(frozen=True)
class Delivery:
    """One request that the receiver got, raw."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        """Return the webhook-id."""
        return self.headers["webhook-id"]

    @property
    def data(self) -> dict[str, Any]:
        """Return the data part of the body."""
        data: dict[str, Any] = json.loads(self.body)["data"]
        return data

    def verify(self, key: str) -> dict[str, Any]:
        """Verify the signature with the library that receivers use; return the body."""
        verified: dict[str, Any] = standardwebhooks.Webhook(key).verify(
            self.body.decode(), self.headers
        )
        return verified


class Receiver:
    """An HTTP server on this host that keeps each request and answers as it is told.

    Before it is entered it has its port, and refuses whoever connects.
    """

    def __init__(self, address: str) -> None:
        self.deliveries: list[Delivery] = []
        self.answers: list[int] = []  #: status codes to give first; then 204
        #: Likewise, to what comes to a path: several who come there are not told apart else.
        self.answers_at: dict[str, list[int]] = collections.defaultdict(list)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.deliveries.append(Delivery(self.path, headers, body, time.time()))
                due = outer.answers_at[self.path] or outer.answers
                self.send_response(due.pop(0) if due else 204)
                self.end_headers()

            def do_GET(self) -> None:
                body = b"hello from the host"
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(
            (address, 0), Handler, bind_and_activate=False
        )
        self._server.server_bind()
        host, self.port = self._server.server_address[:2]
        self.base = f"http://{host!s}:{self.port}"

    def __enter__(self) -> "Receiver":
        self._server.server_activate()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str = "/hook") -> str:
        """Return a callback URL that leads here."""
        return self.base + path

    def of(self, task: str) -> list[Delivery]:
        """Return what came for one task."""
        return [d for d in list(self.deliveries) if d.data["id"] == task]

    def wait_for(self, task: str, *, count: int = 1, within: float = 180) -> list[Delivery]:
        """Wait until that many deliveries have come for a task."""
        return eventually(lambda: self.of(task), lambda got: len(got) >= count, within=within)

    def wait_for_count(self, count: int, *, within: float) -> None:
        """Wait until that many deliveries have come in all."""
        eventually(lambda: len(self.deliveries), lambda seen: seen >= count, within=within)
