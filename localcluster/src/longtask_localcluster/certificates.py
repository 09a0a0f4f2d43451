"""The cluster's own certificate authority, and one certificate for each part."""

import dataclasses
from pathlib import Path

from longtask_localcluster import network, shell

NODE_NAME = "longtask-local"
DAYS = "3650"


@dataclasses.dataclass(frozen=True)
class Identity:
    """Who a part of the cluster is: RBAC sees the name as user and the group as group."""

    file: str
    name: str
    group: str | None = None
    #: Addresses and names at which it is reached, if it serves.
    hosts: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The subject of the certificate, as openssl writes it."""
        group = f"/O={self.group}" if self.group else ""
        return f"{group}/CN={self.name}"

    @property
    def extensions(self) -> tuple[str, ...]:
        """The extensions of the certificate, as openssl writes them."""
        usage = "serverAuth,clientAuth" if self.hosts else "clientAuth"
        always = ("basicConstraints=critical,CA:FALSE", f"extendedKeyUsage={usage}")
        if not self.hosts:
            return always
        kinds = (("IP" if host[0].isdigit() else "DNS", host) for host in self.hosts)
        return (*always, "subjectAltName=" + ",".join(f"{kind}:{host}" for kind, host in kinds))


API_SERVER = Identity(
    file="apiserver",
    name="kube-apiserver",
    hosts=(
        network.LOOPBACK,
        network.NODE,
        network.FIRST_SERVICE,
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ),
)
ADMIN = Identity(file="admin", name="longtask-admin", group="system:masters")
CONTROLLER_MANAGER = Identity(file="controller-manager", name="system:kube-controller-manager")
SCHEDULER = Identity(file="scheduler", name="system:kube-scheduler")
KUBELET = Identity(
    file="kubelet",
    name=f"system:node:{NODE_NAME}",
    group="system:nodes",
    hosts=(network.NODE, NODE_NAME),
)
PROXY = Identity(file="proxy", name="system:kube-proxy")
COREDNS = Identity(file="coredns", name="longtask-local:coredns")
TRAEFIK = Identity(file="traefik", name="longtask-local:traefik")

#: Those that call the API server, each with a kubeconfig of its own.
CLIENTS = (ADMIN, CONTROLLER_MANAGER, SCHEDULER, KUBELET, PROXY, COREDNS, TRAEFIK)


def create(folder: Path) -> None:
    """Make the authority, all certificates and the key that signs service accounts."""
    folder.mkdir(mode=0o700)
    _certificate(folder, "ca", subject="/CN=longtask-local", extensions=(), signed=False)
    for identity in (API_SERVER, *CLIENTS):
        _certificate(
            folder, identity.file, subject=identity.subject, extensions=identity.extensions
        )
    key = folder / "service-accounts.key"
    shell.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key])
    public = folder / "service-accounts.pub"
    shell.run(["openssl", "ec", "-in", key, "-pubout", "-out", public])


def _certificate(
    folder: Path, file: str, *, subject: str, extensions: tuple[str, ...], signed: bool = True
) -> None:
    command: list[str | Path] = ["openssl", "req", "-x509", "-days", DAYS, "-subj", subject]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
    command += ["-keyout", folder / f"{file}.key", "-out", folder / f"{file}.crt"]
    if signed:
        command += ["-CA", folder / "ca.crt", "-CAkey", folder / "ca.key"]
    for extension in extensions:
        command += ["-addext", extension]
    shell.run(command)
