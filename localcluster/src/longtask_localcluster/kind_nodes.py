"""The nodes of the kind cluster, as Docker knows them."""

from longtask_localcluster import kind_config
from longtask_localcluster.engine import Engine


def names(engine: Engine, *filters: str) -> list[str]:
    """Return the nodes' containers."""
    label = f"label=io.x-k8s.kind.cluster={kind_config.NAME}"
    words = ("docker", "ps", "--all", "--filter", label, *filters, "--format", "{{.Names}}")
    return engine.run(*words).split()


def know(engine: Engine, image: str) -> bool:
    """Tell whether an image is in every node."""
    listing = ("ctr", "--namespace=k8s.io", "images", "list", "--quiet")
    return all(
        image in engine.run("docker", "exec", node, *listing).splitlines() for node in names(engine)
    )
