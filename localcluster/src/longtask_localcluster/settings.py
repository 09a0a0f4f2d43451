"""Where everything is: made once in `main`, passed down."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from longtask_localcluster import errors

#: A unix socket's path may have 107 characters, and the longest one below the state folder
#: (a socket of containerd) takes this many of them.
LONGEST_SOCKET = len("/containerd/containerd.sock.ttrpc")

#: Of loopback, for the URL of the API.
DEFAULT_PORT = 8080


@dataclasses.dataclass(frozen=True)
class Settings:
    """The folders of this clone and the user's wishes."""

    repository: Path
    cache: Path
    #: A cluster that the user brought along; None means that we make one.
    given_kubeconfig: Path | None = None
    #: Images that the nodes of a given cluster can pull.
    api_image: str | None = None
    runner_image: str | None = None
    #: Where the API is to answer on this machine, and how many nodes kind makes.
    port: int = DEFAULT_PORT
    nodes: int = 1
    #: The folder of the Python that runs us, where uv and traefik are installed too.
    python_bin: Path = Path("/usr/bin")
    path: str = os.defpath

    @classmethod
    def from_environ(
        cls,
        environ: Mapping[str, str],
        *,
        repository: Path,
        python: Path,
        kubeconfig: Path | None = None,
        api_image: str | None = None,
        runner_image: str | None = None,
    ) -> "Settings":
        """Read the environment; the options of the command line come first."""
        home = Path(environ.get("HOME") or "/root")
        cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
        settings = cls(
            repository=repository,
            cache=cache / "longtask",
            api_image=api_image,
            runner_image=runner_image,
            python_bin=python.parent,
            path=environ.get("PATH") or os.defpath,
        )
        given = kubeconfig or _first_path(environ.get("KUBECONFIG", ""))
        # Whoever has sourced `.localcluster/env` means our own cluster.
        if given and given.absolute() != settings.kubeconfig:
            settings = dataclasses.replace(settings, given_kubeconfig=given.absolute())
        return settings

    @property
    def project(self) -> Path:
        """The folder `localcluster/`."""
        return self.repository / "localcluster"

    @property
    def templates(self) -> Path:
        """Configuration files and manifests."""
        return self.project / "templates"

    @property
    def state(self) -> Path:
        """Everything that the running cluster owns; `down` removes it."""
        return self.repository / ".localcluster"

    @property
    def bin(self) -> Path:
        """The programs that are put on the user's PATH."""
        return self.state / "bin"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's access to the cluster."""
        return self.state / "kubeconfig"

    @property
    def kubectl_cache(self) -> Path:
        """What kubectl and helm keep of each cluster, in the home folder unless they are told."""
        return self.state / "kubectl-cache"

    @property
    def env_file(self) -> Path:
        """Shell exports for the user, the tests and the demo."""
        return self.state / "env"

    @property
    def url(self) -> str:
        """Where the API answers on this machine."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def audit_log(self) -> Path:
        """Every request to the API server, without bodies."""
        return self.state / "audit.log"

    @property
    def volumes(self) -> Path:
        """A folder that each node has too, under the same path."""
        return self.state / "volumes"

    def check(self) -> None:
        """Refuse a folder that is too deep for the sockets below it."""
        if len(str(self.state)) + LONGEST_SOCKET > 107:
            raise errors.LocalClusterError(
                f"{self.state} is too long for a unix socket: clone into a shorter path"
            )


def _first_path(kubeconfig: str) -> Path | None:
    # kubectl takes a list of files; the first one names the cluster.
    first = kubeconfig.split(os.pathsep)[0]
    return Path(first) if first else None
