"""Where a fault happens: operators of this checkout behind the proxy, tasks, and what is seen.

The installed operator is scaled to nothing meanwhile. In its place the same program runs on this
host, with the same account, settings and rights, and is led through the proxy by its kubeconfig:
API server, Jobs, kubelet and pods are real.
"""

import base64
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

import httpx

import fault_clock
from e2e_support import BASE_IMAGE, Kubectl, Product, eventually, scale
from fault_proxy import Proxy
from fault_witness import PROGRAM, Witness
from longtask_crds import names, v1alpha1
from longtask_localcluster import processes

SYSTEM = ("-n", "longtask")
DEPLOYMENT = "deploy/longtask-operator"
ACCOUNT = "longtask-operator"
LABEL = "longtask-faults"
QUEUE = "faults"
#: Of the local cluster.
ETCD = "http://127.0.0.1:2379"
MAX_RUNNING = 10
COUNT = 20
_READY_WITHIN = 90


class Operator:
    """One operator process; as a kubelet would, it is started again whenever it ends."""

    def __init__(self, number: int, environment: Mapping[str, str], log: Path) -> None:
        self.name = f"faults-{number}"
        self._port = 18_080 + 2 * number
        self._log = log
        self._environment = {
            **environment,
            "LONGTASK_POD_NAME": self.name,
            "LONGTASK_HEALTH_PORT": str(self._port),
            "LONGTASK_METRICS_PORT": str(self._port + 1),
        }
        self._changed: dict[str, str] = {}
        self._wanted = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self.starts = 0

    def start(self, **changed: str) -> None:
        """Start it, with changed variables, and keep it alive from now on."""
        self._wanted.set()
        self._changed = changed
        self._keeper = threading.Thread(target=self._keep_alive, daemon=True)
        self._keeper.start()

    def ready(self) -> None:
        """Wait until it says that it is ready."""
        eventually(self._is_ready, bool, within=_READY_WITHIN)

    def stop(self) -> None:
        """End it in order, and let it be."""
        self._wanted.clear()
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
        if self._keeper is not None:
            self._keeper.join(20)
            if self._keeper.is_alive():
                self.kill()
                self._keeper.join(10)

    def kill(self) -> None:
        """End it without a word of warning."""
        if self._process is not None:
            self._process.kill()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop it where it stands meanwhile."""
        process = self._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def _keep_alive(self) -> None:
        while self._wanted.is_set():
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "longtask_operator"],
                    env=self._environment | self._changed,
                    stdout=log,
                    stderr=log,
                )
            self.starts += 1
            self._process.wait()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self._port}/readyz", timeout=2).is_success
        except httpx.HTTPError:
            return False


class Watched:
    """Each change of the tasks with a label, in the order of the API server."""

    def __init__(self, selector: str, file: Path) -> None:
        self._command = ["kubectl", "get", "lt", "-l", selector, "-o", "json"]
        self._file = file
        self._wanted = threading.Event()
        self._watch: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._wanted.set()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wanted.clear()
        if self._watch is not None:
            self._watch.terminate()
        self._thread.join(10)

    def _follow(self) -> None:
        while self._wanted.is_set():
            with self._file.open("ab") as file:
                self._watch = subprocess.Popen(
                    [*self._command, "--watch", "--output-watch-events"],
                    stdout=file,
                    stderr=subprocess.DEVNULL,
                )
                self._watch.wait()
                # A line that was broken off ends here.
                file.write(b"\n")

    def history(self) -> list[tuple[str, v1alpha1.LongTask]]:
        """Return what happened to which task, as it was then."""
        return [
            (event["type"], v1alpha1.LongTask.model_validate(event["object"]))
            for event in parsed(self._file.read_text())
        ]


def parsed(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a text; what was broken off is left out."""
    decoder, at = json.JSONDecoder(), 0
    while True:
        at = text.find("{", at)
        if at < 0:
            return
        try:
            found, at = decoder.raw_decode(text, at)
        except ValueError:
            at = text.find("\n{", at + 1)
            if at < 0:
                return
            continue
        yield found


class Stage:
    """One fault's stage: its tasks, and all that may be broken."""

    def __init__(
        self,
        fault: str,
        *,
        product: Product,
        witness: Witness,
        proxy: Proxy,
        operators: "Operators",
        rest: httpx.Client,
        folder: Path,
    ) -> None:
        self.fault = fault
        self.product: Final = product
        self.witness: Final = witness
        self.proxy: Final = proxy
        self.operators: Final = operators
        self.rest: Final = rest
        self.kubectl: Final = Kubectl()
        self.stamp = f"{fault.lower().replace('.', '-')}-{uuid.uuid4().hex[:6]}"
        self.selector = f"{LABEL}={self.stamp}"
        self.watched = Watched(self.selector, folder / "watched.json")
        self._clock = folder / "clock"
        self.acknowledged: list[str] = []
        self.deleted: set[str] = set()  #: by us
        self.refused: list[str] = []  #: what was refused as it must be
        self.problems: list[str] = []  #: what else did not hold
        self.marks: list[float] = []  #: when things could go on
        self.measured: list[float] = []  #: how long it took until they did, seen otherwise
        self.may_go_back = False  #: the status itself was taken away by hand

    @property
    def operator(self) -> Operator:
        """Return the first operator."""
        return self.operators[0]

    # --- tasks

    def order(self, *, seconds: float = 2, manner: str = "well", **changed: Any) -> dict[str, Any]:
        """Return an order for a program that says when it starts and ends."""
        given = {"host": self.witness.host, "port": self.witness.port, "seconds": seconds}
        usual = {
            "container": {"image": BASE_IMAGE, "command": ["python3", "-c", PROGRAM]},
            "input": given | changed.pop("given", {}),
            "queue": QUEUE,
            "resources": {
                "requests": {"cpu": "10m", "memory": "24Mi"},
                "limits": {"memory": "64Mi"},
            },
            "labels": {LABEL: self.stamp},
            "callback": {"url": self.witness.hook(manner)},
        }
        return usual | changed

    def submit(self, count: int = COUNT, **changed: Any) -> list[str]:
        """Hand tasks over by REST; return the ids of those that were acknowledged."""
        return [self.submit_one(**changed) for _ in range(count)]

    def submit_one(self, **changed: Any) -> str:
        """Hand a task over by REST; return its id."""
        name = f"{self.stamp}-{len(self.acknowledged):02}"
        answer = self.rest.post("/api/v1/tasks", json=self.order(**changed) | {"name": name})
        assert answer.status_code == 202, answer.text
        self.acknowledged.append(name)
        return name

    def tasks(self) -> list[v1alpha1.LongTask]:
        """Return the tasks as they are now."""
        found = self.kubectl.get("lt", "-l", self.selector)["items"]
        return [v1alpha1.LongTask.model_validate(raw) for raw in found]

    def wait_for(
        self,
        is_so: Callable[[v1alpha1.LongTask], bool],
        *,
        count: int | None = None,
        within: float = 120,
    ) -> list[v1alpha1.LongTask]:
        """Wait until it is so of this many tasks, of all by default; return those."""
        enough = len(self.acknowledged) - len(self.deleted) if count is None else count

        def fetch() -> list[v1alpha1.LongTask]:
            return [task for task in self.tasks() if is_so(task)]

        return eventually(fetch, lambda found: len(found) >= enough, within=within)

    def wait_until_running(self, count: int = MAX_RUNNING, within: float = 120) -> list[str]:
        """Wait until this many programs run; return the names of their tasks."""
        found = self.wait_for(
            lambda task: task.phase is v1alpha1.Phase.RUNNING, count=count, within=within
        )
        return [task.metadata.name for task in found]

    def pods(self, *tasks: str) -> list[dict[str, Any]]:
        """Return the pods of these tasks that have not ended."""
        found: list[dict[str, Any]] = self.kubectl.get(
            "pods", "-l", f"{names.TASK_LABEL} in ({','.join(tasks)})"
        )["items"]
        return [pod for pod in found if pod["status"].get("phase") in ("Pending", "Running")]

    def wait_until_stopped(self, *tasks: str) -> None:
        """Wait until no pod of these tasks runs."""
        eventually(lambda: self.pods(*tasks), lambda pods: not pods, within=90)

    # --- faults

    def kill_operator(self) -> None:
        """End the first operator without a word of warning; the time until it goes on counts."""
        self.operator.kill()
        self.mark()

    def mark(self) -> None:
        """Say that from now on things can go on: the time until they do is measured."""
        self.marks.append(time.time())

    def patch_status(self, task: str, patch: list[dict[str, Any]]) -> None:
        """Patch a task's status as the operator's account, which alone may do so."""
        token = self.kubectl("create", "token", ACCOUNT, *SYSTEM).strip()
        answer = httpx.patch(
            f"{self.proxy.url}/apis/{names.API_VERSION}/namespaces/longtasks/longtasks/{task}/status",
            json=patch,
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json-patch+json",
            },
            verify=ssl.create_default_context(cadata=self.proxy.authority.decode()),
        )
        assert answer.is_success, answer.text

    @contextlib.contextmanager
    def frozen(self, *parts: str) -> Iterator[None]:
        """Stop processes of the cluster where they stand meanwhile."""
        state = Path(self.product.audit_log).parent
        found = [process for process in processes.recorded(state) if process.name in parts]
        assert {process.name for process in found} == set(parts)
        handles = [os.pidfd_open(process.pid) for process in found]
        try:
            for handle, process in zip(handles, found, strict=True):
                # Checked after the handle was taken, so the handle is of this very process.
                assert process.is_alive()
                signal.pidfd_send_signal(handle, signal.SIGSTOP)
            yield
        finally:
            for handle in handles:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGCONT)
                os.close(handle)

    @contextlib.contextmanager
    def other_clock(self, seconds: int) -> Iterator[Callable[[int], None]]:
        """Start the first operator with a clock that is so far ahead; yield what sets it again."""

        def set_clock(ahead: int) -> None:
            self._clock.write_text(fault_clock.off_by(ahead))

        set_clock(seconds)
        self.operator.stop()
        self.operator.start(**fault_clock.environment(FAKETIME_TIMESTAMP_FILE=str(self._clock)))
        self.operator.ready()
        try:
            yield set_clock
        finally:
            self.operator.stop()
            self.operator.start()
            self.operator.ready()

    @contextlib.contextmanager
    def etcd_full(self) -> Iterator[None]:
        """Raise the alarm that etcd raises itself when its quota is used up; take it back."""
        alarm = {"memberID": "1", "alarm": "NOSPACE"}
        self._alarm(alarm | {"action": "ACTIVATE"})
        try:
            yield
        finally:
            self._alarm(alarm | {"action": "DEACTIVATE"})

    def _alarm(self, asked: dict[str, str]) -> None:
        httpx.post(f"{ETCD}/v3/maintenance/alarm", json=asked).raise_for_status()

    @contextlib.contextmanager
    def installed_operator_back(self) -> Iterator[None]:
        """Let the installed operator take over from ours meanwhile."""
        self.operator.stop()
        scale(self.kubectl, "operator", 1)
        try:
            yield
        finally:
            scale(self.kubectl, "operator", 0)
            self.operator.start()
            self.operator.ready()

    def pause(self, seconds: float) -> None:
        """Let a fault last."""
        threading.Event().wait(seconds)


class Operators:
    """The operators, none of them running at first."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._made = [
            Operator(number, environment, folder / f"operator-{number}.log") for number in range(2)
        ]

    def __getitem__(self, number: int) -> Operator:
        return self._made[number]

    def stop(self) -> None:
        """End all of them."""
        for operator in self._made:
            operator.stop()


@contextlib.contextmanager
def installed_operator_away(kubectl: Kubectl) -> Iterator[dict[str, Any]]:
    """Scale the installed operator to nothing meanwhile; yield its Deployment as it was."""
    deployment = kubectl.get(DEPLOYMENT, *SYSTEM)
    try:
        scale(kubectl, "operator", 0)
        yield deployment
    finally:
        scale(kubectl, "operator", deployment["spec"]["replicas"])


def environment_of(deployment: Mapping[str, Any], kubeconfig: Path) -> dict[str, str]:
    """Return what the installed operator is told, for one that finds Kubernetes by a file."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    return {"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig)} | told


def write_kubeconfig(path: Path, proxy: Proxy, kubectl: Kubectl) -> None:
    """Write how the operator's account reaches the API server through the proxy."""
    token = kubectl("create", "token", ACCOUNT, *SYSTEM, "--duration=4h").strip()
    cluster = {
        "server": proxy.url,
        "certificate-authority-data": base64.b64encode(proxy.authority).decode(),
    }
    context = {"cluster": "faults", "user": "operator", "namespace": "longtasks"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "faults", "cluster": cluster}],
        "users": [{"name": "operator", "user": {"token": token}}],
        "contexts": [{"name": "faults", "context": context}],
        "current-context": "faults",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document))


@contextlib.contextmanager
def queue_made(kubectl: Kubectl, host: str) -> Iterator[None]:
    """Make the queue of the tasks that meet faults, and let their programs speak to this host."""
    kubectl.apply(json.dumps(QUEUE_MANIFEST))
    kubectl.apply(json.dumps(egress_to(host)))
    try:
        yield
    finally:
        kubectl("delete", f"ltq/{QUEUE}", f"networkpolicy/{LABEL}", "--ignore-not-found")


def egress_to(host: str) -> dict[str, Any]:
    """Return a policy that opens the way to a host, where policies are enforced."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": LABEL},
        "spec": {
            "podSelector": {"matchLabels": {names.QUEUE_LABEL: QUEUE}},
            "policyTypes": ["Egress"],
            "egress": [{"to": [{"ipBlock": {"cidr": f"{host}/32"}}]}],
        },
    }


QUEUE_MANIFEST: Final = {
    "apiVersion": names.API_VERSION,
    "kind": "LongTaskQueue",
    "metadata": {"name": QUEUE},
    "spec": {"maxRunning": MAX_RUNNING},
}
