"""A cluster that the user brought along: its machinery is not touched."""

import dataclasses
import os
import shutil
import socket
from pathlib import Path

from longtask_localcluster import door, errors, images, leftovers, processes, progress
from longtask_localcluster.kubectl import Kubectl
from longtask_localcluster.settings import Settings

HOW_IMAGES_GET_THERE = """\
A given cluster pulls images from a registry of yours. Build, push and name them:
  python -m longtask_localcluster context
  for part in api runner; do
    image=REGISTRY/longtask-$part:dev
    docker build -f Dockerfile.$part -t $image .localcluster/build/longtask-$part
    docker push $image
  done
  python -m longtask_localcluster up --api-image REGISTRY/longtask-api:dev \\
      --runner-image REGISTRY/longtask-runner:dev"""


@dataclasses.dataclass(frozen=True)
class Given:
    """The user's own cluster."""

    settings: Settings
    kubeconfig: Path

    def start(self) -> None:
        """Check that it answers, and put its access where our own would be."""
        link_programs(self.settings)
        if not self.kubectl().succeeds("get", "--raw=/readyz"):
            raise errors.NotReady(f"The cluster of {self.kubeconfig} does not answer")
        progress.say(f"Using the cluster of {self.kubeconfig}")

    def stop(self) -> None:
        """Remove what is on this machine; the product stays in the cluster."""
        processes.stop(processes.recorded(self.settings.state), grace=2)
        leftovers.remove_state(self.settings.state)
        progress.say("The product stays: `helm uninstall longtask -n longtask` removes it")

    def bring_images(self) -> images.Images:
        """Return the names that the user gave."""
        api, runner = self.settings.api_image, self.settings.runner_image
        if not (api and runner):
            raise errors.LocalClusterError(HOW_IMAGES_GET_THERE)
        return images.Images(api=api, runner=runner)

    def storage(self) -> dict[str, str]:
        """Leave it to the cluster's default class."""
        return {}

    def open_door(self) -> None:
        """Forward a port: what ingress the cluster has, if any, is not known."""
        door.forward(self.settings, self.kubectl())

    def kubectl(self) -> Kubectl:
        """Return the user's access."""
        return Kubectl(self.settings.bin / "kubectl", self.kubeconfig)

    def host_address(self) -> str:
        """Return this machine's address in its network; a cluster elsewhere may not reach it."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # An address for documentation: nothing is sent, the kernel only chooses a route.
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])

    def exports(self) -> dict[str, str]:
        """Return nothing more."""
        return {}

    def report(self) -> list[tuple[str, bool]]:
        """Return whether it answers."""
        return [(f"cluster of {self.kubeconfig}", self.kubectl().succeeds("version"))]


def link_programs(settings: Settings, names: tuple[str, ...] = ("kubectl", "helm")) -> None:
    """Put programs of this machine where our own would be."""
    settings.bin.mkdir(parents=True, exist_ok=True)
    for name in names:
        ours = settings.bin / name
        found = shutil.which(name, path=path_of_others(settings))
        if not found:
            raise errors.MissingProgram(f"{name} was not found: install it")
        ours.unlink(missing_ok=True)
        ours.symlink_to(found)


def path_of_others(settings: Settings) -> str:
    """Return the PATH without our own folder, which would lead in a circle."""
    others = [f for f in settings.path.split(os.pathsep) if f != str(settings.bin)]
    return os.pathsep.join(others)
