"""Run this checkout's API and operator on this machine, against the cluster: `make dev`.

The installed ones are scaled to nothing meanwhile, and come back at the end. Each part is started
again whenever a file that it is made of changes. They have the installed ones' settings, accounts
and rights; only the database is another one, a file in the state folder. Pods report to this
machine. With `--without` a part is left to a debugger, which finds its variables in a file.
"""

import argparse
import base64
import contextlib
import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import watchfiles

from longtask_localcluster import install
from longtask_localcluster.kubectl import Kubectl

REPOSITORY = Path(__file__).resolve().parents[3]
#: Where the variables of each part are written, and the keys that they name.
STATE = REPOSITORY / ".localcluster" / "dev"
SYSTEM = f"--namespace={install.NAMESPACE}"
#: None of the ports that the local cluster has on this machine.
PORTS = {"public": 18080, "runner": 18081, "api": 19090, "health": 18082, "operator": 19091}
TOKEN_HOURS = 24
#: So long a part that is to end may take; it is only a change of ours that waits.
PATIENCE_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Part:
    """One of the two processes."""

    name: str
    #: Folders of the workspace that it is made of.
    made_of: tuple[str, ...]

    @property
    def deployment(self) -> str:
        """The installed one."""
        return f"{install.RELEASE}-{self.name}"

    @property
    def module(self) -> str:
        """What Python runs."""
        return f"longtask_{self.name}"

    def is_made_of(self, path: Path) -> bool:
        """Tell whether a changed file belongs to it."""
        return path.relative_to(REPOSITORY).parts[0] in self.made_of


PARTS = (
    Part("api", ("crds", "adapters", "client", "api")),
    Part("operator", ("crds", "adapters", "operator")),
)


class Process:
    """A part that runs here."""

    def __init__(self, part: Part, environment: Mapping[str, str]) -> None:
        self.part = part
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        # Ctrl-C is for us: we end it.
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.part.module],
            env={**os.environ, **self._environment},
            start_new_session=True,
        )

    def stop(self) -> None:
        """End it, and take no longer than somebody waits who has just saved a file."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main() -> int:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="longtask_localcluster.dev", description=__doc__)
    parser.add_argument("--without", choices=[part.name for part in PARTS], default="")
    without = parser.parse_args().without
    missing = [name for name in ("KUBECONFIG", "LONGTASK_HOST_ADDRESS") if name not in os.environ]
    if missing:
        print(f"run `make up`, then `. .localcluster/env`: no {missing}", file=sys.stderr)
        return 1
    kubectl = Kubectl(Path("kubectl"), Path(os.environ["KUBECONFIG"]))
    address = os.environ["LONGTASK_HOST_ADDRESS"]
    ended = threading.Event()

    def end(_: int, __: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    STATE.mkdir(parents=True, exist_ok=True)
    with installed_ones_away(kubectl) as deployments, contextlib.ExitStack() as stack:
        stack.callback(forget_secrets)
        processes = []
        for part in PARTS:
            environment = told(part, deployments[part.name], kubectl, address)
            write_variables(STATE / f"{part.name}.env", environment)
            if part.name != without:
                processes.append(Process(part, environment))
        for process in processes:
            process.start()
            stack.callback(process.stop)
        door = STATE / "url"
        door.write_text(f"export LONGTASK_URL=http://{address}:{PORTS['public']}\n")
        stack.callback(door.unlink)
        say(f"ready: . {door.relative_to(REPOSITORY)}")
        follow(processes, ended)
    return 0


def follow(processes: list[Process], ended: threading.Event) -> None:
    """Start again what a change concerns, until the end."""
    folders = {folder for process in processes for folder in process.part.made_of}
    sources = [REPOSITORY / folder / "src" for folder in sorted(folders)]
    for changes in watchfiles.watch(*sources, stop_event=ended, raise_interrupt=False):
        paths = {Path(path) for _, path in changes}
        for process in processes:
            concerned = sorted(path for path in paths if process.part.is_made_of(path))
            if concerned:
                say(f"{process.part.name} starts again: {concerned[0].relative_to(REPOSITORY)}")
                process.stop()
                process.start()


@contextlib.contextmanager
def installed_ones_away(kubectl: Kubectl) -> Iterator[dict[str, Any]]:
    """Scale the installed ones to nothing meanwhile; yield their Deployments, as they were."""
    found = {part.name: kubectl.get("deployment", part.deployment, SYSTEM) for part in PARTS}
    try:
        for part in PARTS:
            scale(kubectl, part, 0)
        for part in PARTS:
            label = f"app.kubernetes.io/component={part.name}"
            kubectl.run("wait", "pods", SYSTEM, "-l", label, "--for=delete", "--timeout=90s")
        yield found
    finally:
        for part in PARTS:
            # None, if somebody killed us the last time.
            scale(kubectl, part, found[part.name]["spec"]["replicas"] or 1)
        say("the installed ones come back")


def scale(kubectl: Kubectl, part: Part, replicas: int) -> None:
    """Have so many of the installed part."""
    kubectl.run("scale", "deployment", part.deployment, SYSTEM, f"--replicas={replicas}")


def told(
    part: Part, deployment: Mapping[str, Any], kubectl: Kubectl, address: str
) -> dict[str, str]:
    """Return the variables of a part: those of the installed one, but for where it is."""
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    installed = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    account = pod["serviceAccountName"]
    kubeconfig = STATE / f"{part.name}.kubeconfig"
    write_secret(kubeconfig, json.dumps(kubeconfig_of(kubectl, token_of(kubectl, account))))
    common = {"KUBECONFIG": str(kubeconfig), "LONGTASK_LOG_LEVEL": "DEBUG"}
    if part.name == "operator":
        # The API's runner port asks for a token of the operator's account.
        write_secret(STATE / "api-token", token_of(kubectl, account, audience="longtask-operator"))
        own = {
            "LONGTASK_POD_NAME": "dev",
            "LONGTASK_API_TOKEN_FILE": str(STATE / "api-token"),
            "LONGTASK_RUNNER_API_URL": f"http://{address}:{PORTS['runner']}",
            "LONGTASK_HEALTH_PORT": str(PORTS["health"]),
            "LONGTASK_METRICS_PORT": str(PORTS["operator"]),
        }
        return installed | common | own
    for name in ("LONGTASK_DATABASE_URL_FILE", "LONGTASK_TOKEN_FILE"):
        installed.pop(name, None)
    write_secret(STATE / "token", token_of_users(kubectl))
    (STATE / "data").mkdir(exist_ok=True)
    own = {
        # Not on all addresses: of this machine, only the cluster's own reaches it.
        "LONGTASK_HOST": address,
        "LONGTASK_PUBLIC_PORT": str(PORTS["public"]),
        "LONGTASK_RUNNER_PORT": str(PORTS["runner"]),
        "LONGTASK_METRICS_PORT": str(PORTS["api"]),
        "LONGTASK_TOKEN_FILE": str(STATE / "token"),
        "LONGTASK_DATA_DIRECTORY": str(STATE / "data"),
    }
    return installed | common | own


def token_of(kubectl: Kubectl, account: str, *, audience: str = "") -> str:
    """Return a token of a service account, for a day's work."""
    words = ["create", "token", account, SYSTEM, f"--duration={TOKEN_HOURS}h"]
    return kubectl.run(*words, *([f"--audience={audience}"] if audience else [])).strip()


def token_of_users(kubectl: Kubectl) -> str:
    """Return the token by which users reach the installed API, and this one too."""
    secret = kubectl.get("secret", f"{install.RELEASE}-api-token", SYSTEM)
    return base64.b64decode(secret["data"]["token"]).decode()


def kubeconfig_of(kubectl: Kubectl, token: str) -> dict[str, Any]:
    """Return how somebody with that token reaches the cluster of our own kubeconfig."""
    given = json.loads(kubectl.run("config", "view", "--raw", "--minify", "--output=json"))
    (context,) = given["contexts"]
    user = {"name": context["context"]["user"], "user": {"token": token}}
    return {**given, "users": [user]}


def write_secret(path: Path, text: str) -> None:
    """Write a file that nobody else may read."""
    path.touch(mode=0o600)
    path.write_text(text)


def forget_secrets() -> None:
    """Remove the keys: they are good for hours."""
    for path in (*STATE.glob("*.kubeconfig"), STATE / "api-token", STATE / "token"):
        path.unlink(missing_ok=True)


def write_variables(path: Path, environment: Mapping[str, str]) -> None:
    """Write variables as debuggers and shells read them."""
    lines = [f"{name}={shlex.quote(value)}" for name, value in sorted(environment.items())]
    path.write_text("\n".join([*lines, ""]))


def say(line: str) -> None:
    """Print a line of our own between those of the parts; VS Code waits for it."""
    print(f"dev: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
