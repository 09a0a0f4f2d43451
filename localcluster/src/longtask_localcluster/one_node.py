"""A one-node cluster on this machine itself, from upstream's own programs."""

import dataclasses
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

from longtask_localcluster import (
    base_image,
    binaries,
    buildah,
    certificates,
    cgroups,
    components,
    configuration,
    errors,
    images,
    kubeconfig,
    leftovers,
    network,
    packages,
    processes,
    progress,
    runtime,
    shell,
)
from longtask_localcluster.kubectl import Kubectl
from longtask_localcluster.settings import Settings

ENVIRONMENT = {"PATH": base_image.PATH, "HOME": "/root", "LANG": "C.UTF-8"}
#: Written when a start has succeeded.
COMPLETE = "complete"
LOG_LINES = 15


@dataclasses.dataclass(frozen=True)
class OneNode:
    """The cluster of this clone; a machine can have one."""

    settings: Settings

    def start(self) -> None:
        """Start it unless it runs; a cluster of which any part died begins anew."""
        settings = self.settings
        if is_running(settings.state):
            progress.say("The cluster runs already")
            return
        settings.check()
        base_image.check_machine()
        packages.ensure()
        # One waits for the processor, the other mostly for the network and the disk.
        with futures.ThreadPoolExecutor() as pool:
            base = pool.submit(base_image.ensure_base, settings)
            programs = pool.submit(binaries.ensure, settings)
            made = programs.result(), base.result()
        _clear_machine(settings)
        network.check_free(settings.port)
        _start(settings, *made)
        (settings.state / COMPLETE).touch()

    def stop(self) -> None:
        """End it and leave nothing of it; another clone's is left alone."""
        other = network.owner()
        if other and other != self.settings.state and is_running(other):
            progress.say(f"The cluster on this machine is that of {other.parent}: left alone")
            return
        with progress.step("Cluster ended; links, mounts, tables and groups removed"):
            leftovers.clear(self.settings.state)

    def bring_images(self) -> images.Images:
        """Build what changed and import it."""
        return images.Images(api=self._bring(images.API), runner=self._bring(images.RUNNER))

    def storage(self) -> dict[str, str]:
        """Make the volume for the API's database."""
        folder = self.settings.volumes / "api"
        folder.mkdir(parents=True, exist_ok=True)
        node = certificates.NODE_NAME
        manifest = configuration.api_volume(self.settings, path=folder, node=node)
        self.kubectl().run("apply", "--server-side", "--filename=-", stdin=manifest)
        return {"storageClass": "-"}

    def open_door(self) -> None:
        """Do nothing: Traefik runs."""

    def kubectl(self) -> Kubectl:
        """Return the administrator's access."""
        return Kubectl(self.settings.bin / "kubectl", self.settings.kubeconfig)

    def host_address(self) -> str:
        """Return the address of the node's link."""
        return network.NODE

    def exports(self) -> dict[str, str]:
        """Return nothing more."""
        return {}

    def report(self) -> list[tuple[str, bool]]:
        """Return a line for each process and one for the node."""
        everything = processes.recorded(self.settings.state)
        lines = [(f"process {p.name} ({p.pid})", p.is_alive()) for p in everything]
        ready = is_running(self.settings.state) and node_is_ready(self.kubectl())
        return [*lines, (f"node {certificates.NODE_NAME}", ready)]

    def _bring(self, image: images.Image) -> str:
        name = image.name(self.settings, base_image.base_name())
        if not runtime.has(self.settings, name):
            with progress.step(f"Image {name}") as step:
                archive = buildah.ensure(self.settings, image, step)
                step.detail = "import"
                runtime.load(self.settings, archive)
        return name


def is_running(state: Path) -> bool:
    """Tell whether a start was completed and every process of it lives."""
    everything = processes.recorded(state)
    return (state / COMPLETE).exists() and all(process.is_alive() for process in everything)


def _clear_machine(settings: Settings) -> None:
    """Clear what dead clusters left; refuse if another clone's cluster lives."""
    other = network.owner()
    if other and other != settings.state and is_running(other):
        raise errors.MachineTaken(
            f"A cluster of {other.parent} runs on this machine, which can have one:"
            f" `make down` in {other.parent} first"
        )
    dead = {folder for folder in (other, settings.state) if folder and _remains(folder)}
    for state in sorted(dead):
        with progress.step(f"Cleared what a dead cluster left ({state})"):
            leftovers.clear(state)


def _remains(state: Path) -> bool:
    return state.exists() or network.owner() == state


def _start(settings: Settings, programs: Path, base: Path) -> None:
    state = settings.state
    with progress.step("Certificates and configuration"):
        state.mkdir(mode=0o755)
        network.create(state)
        cgroups.create()
        certificates.create(state / "certificates")
        _write_kubeconfigs(settings)
        configuration.write(settings)
        _link_programs(settings, programs)
    for component in components.first(settings, programs):
        _launch(component, state)
    with progress.step("Images for pods"):
        _wait(settings, "containerd", lambda: runtime.is_up(settings))
        runtime.load(settings, base_image.ensure_pause(settings, programs))
        runtime.load(settings, base)
        runtime.tag(settings, base_image.base_name(), base_image.BASE_STABLE)
    kubectl = OneNode(settings).kubectl()
    with progress.step("Control plane"):
        _wait(settings, "kube-apiserver", lambda: kubectl.succeeds("get", "--raw=/readyz"))
        kubectl.apply(settings.templates / "manifests")
    for component in components.second(settings, programs):
        _launch(component, state)
    with progress.step("Node"):
        _wait(settings, "kubelet", lambda: node_is_ready(kubectl))


def _write_kubeconfigs(settings: Settings) -> None:
    folder = settings.state / "kubeconfigs"
    folder.mkdir(mode=0o700)
    keys = settings.state / "certificates"
    for identity in certificates.CLIENTS:
        kubeconfig.write(folder / identity.file, kubeconfig.render(keys, identity.file))
    admin = kubeconfig.render(keys, certificates.ADMIN.file, namespace=kubeconfig.TASKS_NAMESPACE)
    kubeconfig.write(settings.kubeconfig, admin)


def _link_programs(settings: Settings, programs: Path) -> None:
    settings.bin.mkdir()
    for name in ("kubectl", "helm"):
        (settings.bin / name).symlink_to(programs / name)


def _launch(component: components.Component, state: Path) -> None:
    env = dict(ENVIRONMENT)
    if component.kubeconfig:
        env["KUBECONFIG"] = str(component.kubeconfig)
    processes.start(component.name, component.command, state=state, env=env)


def node_is_ready(kubectl: Kubectl) -> bool:
    """Tell whether the node takes pods."""
    return kubectl.succeeds(
        "wait", "--for=condition=Ready", f"node/{certificates.NODE_NAME}", "--timeout=1s"
    )


def _wait(settings: Settings, name: str, condition: Callable[[], bool]) -> None:
    """Wait for a part of the cluster; on failure say what its log says."""

    def settled() -> bool:
        return bool(_dead(settings)) or condition()

    in_time = shell.wait_until(settled, within=90)
    if culprits := _dead(settings) or ([] if in_time else [name]):
        logs = "\n".join(f"--- {culprit}\n{_log_end(settings, culprit)}" for culprit in culprits)
        raise errors.NotReady(
            f"{', '.join(culprits)} did not start; the end of the log:\n{logs}\n"
            f"All logs are in {settings.state}/logs"
        )


def _dead(settings: Settings) -> list[str]:
    return [p.name for p in processes.recorded(settings.state) if not p.is_alive()]


def _log_end(settings: Settings, name: str) -> str:
    log = settings.state / "logs" / f"{name}.log"
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
