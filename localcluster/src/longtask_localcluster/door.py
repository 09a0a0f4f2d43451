"""The URL on this machine, where no ingress controller of ours listens."""

from longtask_localcluster import network, processes
from longtask_localcluster.kubectl import Kubectl
from longtask_localcluster.settings import Settings

NAME = "port-forward"


def forward(settings: Settings, kubectl: Kubectl) -> None:
    """Forward the port of the URL to the API, unless that is done already."""
    if any(p.name == NAME and p.is_alive() for p in processes.recorded(settings.state)):
        return
    ports = f"{settings.port}:8080"
    processes.start(
        NAME,
        [
            *(kubectl.program, f"--kubeconfig={kubectl.kubeconfig}", "--namespace=longtask"),
            *("port-forward", "--address", network.LOOPBACK, "service/longtask-api", ports),
        ],
        state=settings.state,
        env={"PATH": settings.path},
    )
