"""Installing the product into a cluster, and waiting until it serves."""

import json
from pathlib import Path
from typing import Any

from longtask_localcluster import digest, errors, progress, shell
from longtask_localcluster.images import Images
from longtask_localcluster.kubectl import Kubectl
from longtask_localcluster.settings import Settings

RELEASE = "longtask"
NAMESPACE = "longtask"
ROLLOUT_SECONDS = 180
#: A pod may die while another one is not there yet, but not again and again.
RESTARTS_OF_A_BROKEN_POD = 5


def ensure(settings: Settings, kubectl: Kubectl, known_here: dict[str, Any]) -> None:
    """Install or upgrade the product, unless what is installed came from the same inputs."""
    chart = settings.repository / "charts" / "longtask"
    crds = settings.repository / "crds"
    if not (chart / "Chart.yaml").exists():
        raise errors.LocalClusterError(f"There is no chart at {chart}")
    computed = settings.state / "values.json"
    computed.write_text(json.dumps(known_here, indent=2))
    fixed = settings.project / "values.yaml"

    inputs = digest.of_files([chart, *sorted(crds.glob("*.yaml")), fixed, computed])
    stamp = settings.state / "installed"
    if stamp.exists() and stamp.read_text() == inputs and is_available(kubectl):
        progress.say("The product is installed already")
        return
    stamp.unlink(missing_ok=True)
    with progress.step("Custom resource definitions"):
        kubectl.apply(crds)
        kubectl.run("wait", "--for=condition=Established", "--timeout=30s", "-f", crds)
    older = {pod["metadata"]["name"] for pod in _pods(kubectl)}
    with progress.step(f"helm upgrade --install {RELEASE}"):
        _helm(settings, kubectl, chart, [fixed, computed])
    with progress.step("Rollout") as step:
        _wait(kubectl, older, step)
    stamp.write_text(inputs)


def values(
    images: Images, *, url: str, host_address: str, persistence: dict[str, str]
) -> dict[str, Any]:
    """Return the chart's values that are only known here."""
    return {
        "publicUrl": url,
        "api": {"image": image_values(images.api)},
        "runner": {"image": image_values(images.runner)},
        # The receiver of callbacks, in the demo and in the tests, is a process of this machine.
        "callbacks": {"allow": [host_address]},
        # And the API's own page for examples: there may be no internet here.
        "types": {"httpFetchAllow": [host_address, f"longtask-api.{NAMESPACE}.svc:8080"]},
        "networkPolicy": {"tasksExtraEgress": [_TO_THE_API]},
        "persistence": persistence,
    }


_TO_THE_API: dict[str, Any] = {
    "to": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
            "podSelector": {"matchLabels": {"app.kubernetes.io/component": "api"}},
        }
    ],
    "ports": [{"protocol": "TCP", "port": 8080}],
}


def image_values(name: str) -> dict[str, str]:
    """Return an image's name as the chart wants it."""
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        raise errors.LocalClusterError(f"The image {name} needs a tag")
    return {"registry": "", "repository": repository, "tag": tag}


def is_available(kubectl: Kubectl) -> bool:
    """Tell whether the product is there and all of it serves."""
    found = deployments(kubectl)
    return bool(found) and all(serves for _, serves in found)


def deployments(kubectl: Kubectl) -> list[tuple[str, bool]]:
    """Return the product's deployments, each with whether its newest version serves."""
    items = kubectl.get("deployments", f"--namespace={NAMESPACE}")["items"]
    return [(item["metadata"]["name"], serves(item)) for item in items]


def serves(deployment: dict[str, Any]) -> bool:
    """Tell whether every replica of the newest version is available and no older one is left."""
    wanted = deployment["spec"]["replicas"]
    status = deployment["status"]
    counted = ("replicas", "updatedReplicas", "availableReplicas")
    counts = [status.get(name, 0) for name in counted]
    seen = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return bool(seen) and all(count == wanted for count in counts)


def _helm(settings: Settings, kubectl: Kubectl, chart: Path, files: list[Path]) -> None:
    command: list[str | Path] = [settings.bin / "helm", "upgrade", "--install", RELEASE, chart]
    command += ["--kubeconfig", kubectl.kubeconfig, "--namespace", NAMESPACE]
    command += ["--create-namespace", "--skip-crds"]
    for file in files:
        command += ["--values", file]
    shell.run(command)


def _wait(kubectl: Kubectl, older: set[str], step: progress.Step) -> None:
    def settled() -> bool:
        found = deployments(kubectl)
        step.detail = ", ".join(f"{name}: {'serves' if ok else 'not yet'}" for name, ok in found)
        if found and all(ok for _, ok in found):
            return True
        newer = [pod for pod in _pods(kubectl) if pod["metadata"]["name"] not in older]
        return restarts(newer) >= RESTARTS_OF_A_BROKEN_POD

    shell.wait_until(settled, within=ROLLOUT_SECONDS, every=0.5)
    if not is_available(kubectl):
        raise errors.NotReady(f"The product does not serve ({step.detail})\n{_why(kubectl)}")


def restarts(pods: list[dict[str, Any]]) -> int:
    """Return how often the container that restarts most did so."""
    return max(
        (
            container["restartCount"]
            for pod in pods
            for container in pod["status"].get("containerStatuses", [])
        ),
        default=0,
    )


def _pods(kubectl: Kubectl) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = kubectl.get("pods", f"--namespace={NAMESPACE}")["items"]
    return found


def _why(kubectl: Kubectl) -> str:
    """Return what the cluster says about the product's pods."""
    here = f"--namespace={NAMESPACE}"
    parts = [
        kubectl.run("get", "pods", here, "--output=wide"),
        kubectl.run("get", "events", here, "--sort-by=.lastTimestamp"),
    ]
    for pod in _pods(kubectl):
        name = pod["metadata"]["name"]
        for previous in ("--previous=true", "--previous=false"):
            words = ("logs", here, name, "--all-containers", "--tail=30", previous)
            # A container that never started has no log, and one that never died no previous one.
            if kubectl.succeeds(*words):
                parts.append(f"--- log of {name} ({previous})\n{kubectl.run(*words)}")
    return "\n".join(parts)
