"""The parts of the cluster and their command lines."""

import dataclasses
from pathlib import Path

from longtask_localcluster import certificates, network
from longtask_localcluster.settings import Settings


@dataclasses.dataclass(frozen=True)
class Component:
    """A process of the cluster."""

    name: str
    command: tuple[str, ...]
    #: Its access to the API server, for programs that take it from the environment only.
    kubeconfig: Path | None = None


def first(settings: Settings, binaries: Path) -> list[Component]:
    """Return what the rest stands on: the API with its store, and the container runtime."""
    config = settings.state / "config"
    return [
        etcd(settings.state, binaries),
        api_server(settings, binaries),
        Component("containerd", ("containerd", "--config", f"{config}/containerd.toml")),
    ]


def second(settings: Settings, binaries: Path) -> list[Component]:
    """Return what ends at once where the API does not answer yet."""
    state = settings.state
    return [
        controller_manager(state, binaries),
        scheduler(state, binaries),
        kubelet(state, binaries),
        Component(
            "kube-proxy",
            (f"{binaries}/kube-proxy", f"--config={state}/config/kube-proxy.yaml"),
        ),
        Component("coredns", (f"{binaries}/coredns", "-conf", f"{state}/config/Corefile")),
        traefik(settings),
    ]


def etcd(state: Path, binaries: Path) -> Component:
    """Return the store. It never waits for the disk: a power cut may lose the demo's data."""
    client = f"http://{network.LOOPBACK}:2379"
    peer = f"http://{network.LOOPBACK}:2380"
    return Component(
        "etcd",
        (
            f"{binaries}/etcd",
            "--unsafe-no-fsync",
            f"--data-dir={state}/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--auto-compaction-retention=1h",
            "--log-level=warn",
        ),
    )


def api_server(settings: Settings, binaries: Path) -> Component:
    """Return the API server, at the node's address only: no other machine needs it."""
    certificates = settings.state / "certificates"
    return Component(
        "kube-apiserver",
        (
            f"{binaries}/kube-apiserver",
            f"--etcd-servers=http://{network.LOOPBACK}:2379",
            f"--bind-address={network.NODE}",
            f"--advertise-address={network.NODE}",
            f"--secure-port={network.API_SERVER_PORT}",
            f"--service-cluster-ip-range={network.SERVICES}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--client-ca-file={certificates}/ca.crt",
            f"--tls-cert-file={certificates}/apiserver.crt",
            f"--tls-private-key-file={certificates}/apiserver.key",
            f"--kubelet-certificate-authority={certificates}/ca.crt",
            f"--kubelet-client-certificate={certificates}/admin.crt",
            f"--kubelet-client-key={certificates}/admin.key",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={certificates}/service-accounts.pub",
            f"--service-account-signing-key-file={certificates}/service-accounts.key",
            f"--audit-policy-file={settings.state}/config/audit-policy.yaml",
            f"--audit-log-path={settings.audit_log}",
            # One file, so that a test may count from a place in it.
            "--audit-log-maxsize=10000",
        ),
    )


def controller_manager(state: Path, binaries: Path) -> Component:
    """Return the controllers, faster than by default: 20 calls a second is 4 Jobs a second."""
    certificates = state / "certificates"
    return Component(
        "kube-controller-manager",
        (
            f"{binaries}/kube-controller-manager",
            f"--kubeconfig={state}/kubeconfigs/controller-manager",
            f"--bind-address={network.LOOPBACK}",
            "--leader-elect=false",
            "--use-service-account-credentials",
            f"--root-ca-file={certificates}/ca.crt",
            f"--service-account-private-key-file={certificates}/service-accounts.key",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            "--concurrent-job-syncs=20",
        ),
    )


def scheduler(state: Path, binaries: Path) -> Component:
    """Return the scheduler."""
    return Component(
        "kube-scheduler",
        (
            f"{binaries}/kube-scheduler",
            f"--kubeconfig={state}/kubeconfigs/scheduler",
            f"--bind-address={network.LOOPBACK}",
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ),
    )


def kubelet(state: Path, binaries: Path) -> Component:
    """Return the kubelet."""
    return Component(
        "kubelet",
        (
            f"{binaries}/kubelet",
            f"--config={state}/config/kubelet.yaml",
            f"--kubeconfig={state}/kubeconfigs/kubelet",
            f"--root-dir={state}/kubelet",
            f"--cert-dir={state}/certificates",
            f"--hostname-override={certificates.NODE_NAME}",
            f"--node-ip={network.NODE}",
        ),
    )


def traefik(settings: Settings) -> Component:
    """Return the ingress controller, as a process on loopback: only this machine comes in."""
    address = f"{network.LOOPBACK}:{settings.port}"
    return Component(
        "traefik",
        (f"{settings.python_bin}/traefik", *traefik_arguments(address)),
        kubeconfig=settings.state / "kubeconfigs" / "traefik",
    )


def traefik_arguments(address: str) -> tuple[str, ...]:
    """Return what an ingress controller that listens at an address is told."""
    return (
        f"--entrypoints.web.address={address}",
        # A log is followed for as long as its task runs.
        "--entrypoints.web.transport.respondingtimeouts.readtimeout=0",
        "--providers.kubernetesingress",
        "--providers.kubernetesingress.ingressclass=traefik",
        # Else a Service without a ready pod is a 404, as if nothing were there; so it is a 503.
        "--providers.kubernetesingress.allowemptyservices=true",
        f"--providers.kubernetesingress.ingressendpoint.ip={network.LOOPBACK}",
        "--providers.kubernetesingress.throttleduration=100ms",
        "--providers.providersthrottleduration=100ms",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        "--log.level=INFO",
    )
