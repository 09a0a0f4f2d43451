"""Which cluster to use: one of three that behave alike."""

import dataclasses
import enum
from pathlib import Path
from typing import Protocol

from longtask_localcluster import errors
from longtask_localcluster.images import Images
from longtask_localcluster.kubectl import Kubectl
from longtask_localcluster.settings import DEFAULT_PORT

#: Where a clone notes which cluster it has.
FILE = "target"


class Target(enum.Enum):
    """Where the product runs."""

    GIVEN = "a cluster that the user brought along"
    KIND = "kind, in Docker"
    ONE_NODE = "a node on this machine itself"


#: What a user calls them.
NAMES = {"given": Target.GIVEN, "kind": Target.KIND, "local": Target.ONE_NODE}


class Cluster(Protocol):
    """A cluster that the product can be installed into."""

    def start(self) -> None:
        """Make it run, with `.localcluster/bin` and the kubeconfig in place."""

    def stop(self) -> None:
        """Remove everything that `start` made."""

    def bring_images(self) -> Images:
        """Make the product's images known to the nodes and return their names."""

    def storage(self) -> dict[str, str]:
        """See to a volume for the API's database; return the chart's values of `persistence`."""

    def open_door(self) -> None:
        """Make the installed API answer at the URL, if no ingress controller does."""

    def kubectl(self) -> Kubectl:
        """Return the administrator's access."""

    def host_address(self) -> str:
        """Return where pods reach a process on this machine."""

    def exports(self) -> dict[str, str]:
        """Return what else tests may know of it, as variables of the shell."""

    def report(self) -> list[tuple[str, bool]]:
        """Return lines about its health, each with whether all is well."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """A target, with the access to it if it was given, and what else is told only once."""

    target: Target
    kubeconfig: Path | None = None
    port: int = DEFAULT_PORT
    nodes: int = 1

    def write(self, state: Path) -> None:
        """Note it in the cluster's folder, for later commands."""
        state.mkdir(exist_ok=True)
        words = [self.target.name, str(self.kubeconfig or ""), str(self.port), str(self.nodes)]
        (state / FILE).write_text("\n".join(words))

    @classmethod
    def read(cls, state: Path) -> "Choice | None":
        """Return what is noted there, if anything."""
        if not (state / FILE).exists():
            return None
        name, kubeconfig, *numbers = (state / FILE).read_text().split("\n")
        return cls(Target[name], Path(kubeconfig) if kubeconfig else None, *map(int, numbers))


def choose(*, wish: str | None, given: bool, docker: bool, linux: bool, root: bool) -> Target:
    """Return the target that the user names, or the first one that serves here."""
    if wish == "given" and not given:
        raise errors.LocalClusterError("Which cluster? Set KUBECONFIG to yours")
    if wish:
        return NAMES[wish]
    if given:
        return Target.GIVEN
    if docker:
        return Target.KIND
    if linux and root:
        return Target.ONE_NODE
    raise errors.LocalClusterError(
        "There is no cluster to use and none can be made. Do one of these: set KUBECONFIG to a"
        " cluster of yours; start Docker; run this as root on Linux (Debian 12)"
    )
