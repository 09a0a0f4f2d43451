"""A cluster in Docker, by kind: the machine's engine if one answers, else one of our own."""

import dataclasses
import json
import string
from collections.abc import Iterator

from longtask_localcluster import (
    components,
    configuration,
    engine,
    errors,
    images,
    kind_config,
    kind_images,
    kind_nodes,
    kubeconfig,
    leftovers,
    network,
    node_image,
    progress,
    shell,
    target,
)
from longtask_localcluster.engine import Engine
from longtask_localcluster.kubectl import Kubectl
from longtask_localcluster.settings import Settings

NAME = kind_config.NAME
CONTROL_PLANE = f"{NAME}-control-plane"
NODES_SECONDS = 120
#: In the first node, for the API's database.
VOLUME = "/var/lib/longtask-api"
#: Where the ingress controller listens in its pod.
TRAEFIK_ADDRESS = ":8080"


@dataclasses.dataclass(frozen=True)
class Kind:
    """A cluster in Docker."""

    settings: Settings

    def start(self) -> None:
        """Create it unless it runs; one of which a part has died begins anew."""
        settings = self.settings
        found = engine.find(settings)
        if found and is_running(settings, found):
            self._source(found).link_programs()
            progress.say("The cluster runs already")
            return
        if settings.state.exists():
            self.stop()
        network.check_ports(settings.port)
        # A start that fails is taken back by `down`, which must know what it was.
        target.Choice(target.Target.KIND, None, settings.port, settings.nodes).write(settings.state)
        found = engine.machines() or engine.start(settings)
        if CONTROL_PLANE in found.run("docker", "ps", "--all", "--format", "{{.Names}}").split():
            raise errors.MachineTaken(
                f"Another clone has a kind cluster `{NAME}`: `make down` there,"
                f" or `kind delete cluster --name {NAME}`"
            )
        source = kind_images.choose(settings, found)
        source.link_programs()
        self._create(found, source)
        self._furnish(source)

    def stop(self) -> None:
        """Delete it, and the engine if it was ours."""
        found = engine.find(self.settings)
        if found and is_ours(self.settings):
            with progress.step("kind cluster deleted"):
                self._delete(found)
        with progress.step("Links, mounts, tables and groups removed"):
            engine.clear(self.settings.state)
            leftovers.remove_state(self.settings.state)

    def bring_images(self) -> images.Images:
        """Build what changed and load it into the nodes."""
        source = self._source(self._engine())
        return images.Images(api=source.bring(images.API), runner=source.bring(images.RUNNER))

    def storage(self) -> dict[str, str]:
        """Make the volume for the API's database, in the first node."""
        self._engine().run("docker", "exec", CONTROL_PLANE, "mkdir", "-p", VOLUME)
        manifest = configuration.api_volume(self.settings, path=VOLUME, node=CONTROL_PLANE)
        self.kubectl().run("apply", "--server-side", "--filename=-", stdin=manifest)
        return {"storageClass": "-"}

    def open_door(self) -> None:
        """Do nothing: Traefik runs, and Docker forwards its port."""

    def kubectl(self) -> Kubectl:
        """Return the administrator's access."""
        return Kubectl(self.settings.bin / "kubectl", self.settings.kubeconfig)

    def host_address(self) -> str:
        """Return the machine's address in the network of kind's nodes."""
        words = ("docker", "network", "inspect", engine.NETWORK)
        return gateway(self._engine().run(*words))

    def exports(self) -> dict[str, str]:
        """Return how to reach the engine, in which nodes can be lost, and what the network does."""
        host = self._engine().environment.get("DOCKER_HOST", "")
        return {"LONGTASK_DOCKER_HOST": host, "LONGTASK_NETWORK_POLICIES": "enforced"}

    def report(self) -> list[tuple[str, bool]]:
        """Return a line for the engine, and one for each node."""
        found = engine.find(self.settings)
        if found is None or not is_ours(self.settings):
            return [("Docker engine", found is not None), ("kind cluster", False)]
        ready = dict(self._readiness())
        nodes = [
            (f"node {name}", ready.get(name, False)) for name in sorted(kind_nodes.names(found))
        ]
        whose = "our own Docker engine" if found.is_ours else "Docker engine of the machine"
        return [(whose, True), *(nodes or [("kind cluster", False)])]

    def _engine(self) -> Engine:
        found = engine.find(self.settings)
        if found is None:
            raise errors.NotReady("No Docker engine answers: `make up`")
        return found

    def _source(self, found: Engine) -> kind_images.Source:
        image = ("docker", "inspect", "--format", "{{.Config.Image}}", CONTROL_PLANE)
        return kind_images.of(self.settings, found, found.run(*image).strip())

    def _create(self, found: Engine, source: kind_images.Source) -> None:
        settings = self.settings
        config = settings.state / "kind.json"
        folder = kind_config.audit_folder(settings)
        folder.mkdir(parents=True)
        settings.volumes.mkdir()
        settings.audit_log.symlink_to(folder / "audit.log")
        image = source.node()
        with progress.step(f"kind create cluster, {settings.nodes} node(s)"):
            config.write_text(
                kind_config.render(settings, image=image, is_made_here=source.is_made_here)
            )
            # A network of ours is waited for below: kind knows nothing of it.
            wait = "0s" if source.is_made_here else f"{NODES_SECONDS}s"
            found.run(
                *(settings.bin / "kind", "create", "cluster", "--name", NAME, "--wait", wait),
                *("--config", config, "--kubeconfig", settings.kubeconfig),
            )
            namespace = f"--namespace={kubeconfig.TASKS_NAMESPACE}"
            self.kubectl().run("config", "set-context", "--current", namespace)

    def _furnish(self, source: kind_images.Source) -> None:
        """Bring what pods stand on: the network, and what leads in."""
        kubectl = self.kubectl()
        with progress.step("Network and ingress"):
            if source.is_made_here:
                self._apply("kind/network.yaml")
            kubectl.apply(self.settings.templates / "manifests" / "traefik.yaml")
            self._apply("kind/traefik.yaml", traefik_image=source.traefik())
        if self.settings.nodes > 1:
            # With workers beside it kind keeps pods away from it, and the API's volume is there.
            taint = "node-role.kubernetes.io/control-plane:NoSchedule-"
            kubectl.run("taint", "nodes", CONTROL_PLANE, taint)
        with progress.step("Nodes") as step:

            def ready() -> bool:
                found = dict(self._readiness())
                step.detail = f"{sum(found.values())} of {self.settings.nodes}"
                return len(found) == self.settings.nodes and all(found.values())

            if not shell.wait_until(ready, within=NODES_SECONDS):
                raise errors.NotReady(f"{step.detail} nodes are ready: `kubectl describe nodes`")
            # Else the first request may find nobody at the door.
            waiting = ("rollout", "status", "deployment/traefik", "--namespace=kube-system")
            kubectl.run(*waiting, f"--timeout={NODES_SECONDS}s")

    def _apply(self, template: str, **known: str) -> None:
        text = string.Template((self.settings.templates / template).read_text())
        arguments = json.dumps(components.traefik_arguments(TRAEFIK_ADDRESS))
        manifest = text.substitute(
            kindnet_image=node_image.kindnet(),
            pods=kind_config.PODS,
            control_plane=CONTROL_PLANE,
            traefik_arguments=arguments,
            node_port=str(kind_config.NODE_PORT),
            **known,
        )
        self.kubectl().run("apply", "--server-side", "--filename=-", stdin=manifest)

    def _readiness(self) -> Iterator[tuple[str, bool]]:
        for node in self.kubectl().get("nodes")["items"]:
            conditions = {c["type"]: c["status"] for c in node["status"]["conditions"]}
            yield node["metadata"]["name"], conditions.get("Ready") == "True"

    def _delete(self, found: Engine) -> None:
        program = self.settings.bin / "kind"
        if program.exists():
            found.run(program, "delete", "cluster", "--name", NAME)
        else:
            found.run("docker", "rm", "--force", "--volumes", *kind_nodes.names(found))
        if found.is_ours:
            found.run("docker", "network", "rm", engine.NETWORK)


def is_ours(settings: Settings) -> bool:
    """Tell whether this clone has, or has begun to make, the cluster of the engine."""
    return (settings.state / "kind.json").exists()


def is_running(settings: Settings, found: Engine) -> bool:
    """Tell whether all nodes of this clone's cluster run, and its control plane answers."""
    if not is_ours(settings):
        return False
    running = kind_nodes.names(found, "--filter", "status=running")
    kubectl = Kind(settings).kubectl()
    return len(running) == settings.nodes and kubectl.succeeds("get", "--raw=/readyz")


def gateway(inspected: str) -> str:
    """Return the IPv4 gateway of a network, as `docker network inspect` tells."""
    configs = json.loads(inspected)[0]["IPAM"]["Config"]
    return next(str(c["Gateway"]) for c in configs if ":" not in c.get("Gateway", ":"))
