"""A cluster in Docker, by kind.

Kept plain, because nobody could run it where this was written: kind pulls its node's image from
a registry, and there was none.
"""

import dataclasses
import shutil

from longtask_localcluster import (
    door,
    errors,
    given,
    images,
    leftovers,
    processes,
    progress,
    shell,
)
from longtask_localcluster.kubectl import Kubectl
from longtask_localcluster.settings import Settings

NAME = "longtask"
#: The Python of the Dockerfiles' own base image.
PYTHON = "3.13"


@dataclasses.dataclass(frozen=True)
class Kind:
    """A cluster in Docker."""

    settings: Settings

    def start(self) -> None:
        """Create it unless it exists."""
        if not shutil.which("kind"):
            raise errors.MissingProgram("Docker runs here but kind was not found: install kind")
        given.link_programs(self.settings)
        kubeconfig = ["--name", NAME, "--kubeconfig", str(self.settings.kubeconfig)]
        if NAME in shell.run(["kind", "get", "clusters"]).split():
            shell.run(["kind", "export", "kubeconfig", *kubeconfig])
        else:
            with progress.step("kind create cluster"):
                shell.run(["kind", "create", "cluster", "--wait", "120s", *kubeconfig])
        namespace = ["set-context", "--current", "--namespace=longtasks"]
        self.kubectl().run("config", *namespace)

    def stop(self) -> None:
        """Delete it."""
        processes.stop(processes.recorded(self.settings.state), grace=2)
        with progress.step("kind delete cluster"):
            shell.run(["kind", "delete", "cluster", "--name", NAME])
        leftovers.remove_state(self.settings.state)

    def bring_images(self) -> images.Images:
        """Build with Docker and load into the node."""
        return images.Images(api=self._bring(images.API), runner=self._bring(images.RUNNER))

    def storage(self) -> dict[str, str]:
        """Leave it to the cluster's default class."""
        return {}

    def open_door(self) -> None:
        """Forward a port: kind has no ingress controller."""
        door.forward(self.settings, self.kubectl())

    def kubectl(self) -> Kubectl:
        """Return the administrator's access."""
        return Kubectl(self.settings.bin / "kubectl", self.settings.kubeconfig)

    def host_address(self) -> str:
        """Return the machine's address in the network of kind's node."""
        gateway = "{{(index .IPAM.Config 0).Gateway}}"
        return shell.run(["docker", "network", "inspect", "kind", "--format", gateway]).strip()

    def report(self) -> list[tuple[str, bool]]:
        """Return whether it answers."""
        return [("kind cluster", self.kubectl().succeeds("get", "--raw=/readyz"))]

    def _bring(self, image: images.Image) -> str:
        name = image.name(self.settings, PYTHON)
        if not shell.succeeds(["docker", "image", "inspect", name]):
            with progress.step(f"Image {name}"):
                context = images.prepare(image, self.settings, python=PYTHON)
                dockerfile = self.settings.repository / image.dockerfile
                shell.run(["docker", "build", "--tag", name, "--file", dockerfile, context])
        shell.run(["kind", "load", "docker-image", "--name", NAME, name])
        return name
