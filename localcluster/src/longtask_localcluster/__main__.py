"""The command line: `python -m longtask_localcluster VERB`."""

import argparse
import os
import platform
import sys
import urllib.request
from pathlib import Path

from longtask_localcluster import (
    environment,
    errors,
    images,
    install,
    kind,
    lock,
    progress,
    shell,
    target,
)
from longtask_localcluster.given import Given
from longtask_localcluster.kind import Kind
from longtask_localcluster.one_node import OneNode
from longtask_localcluster.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[3]
DOOR_SECONDS = 60

VERBS = {
    "up": "cluster, images and the installed product",
    "cluster": "the cluster alone",
    "images": "build the product's images and bring them to the cluster",
    "context": "prepare the folders that `docker build` takes, for images of your own registry",
    "install": "install or upgrade the product",
    "status": "say what runs; fails unless all is well",
    "down": "remove the cluster and whatever belongs to it",
}


def main() -> int:
    """Run one verb; return the exit code."""
    options = _parser().parse_args()
    settings = Settings.from_environ(
        os.environ,
        repository=options.repository.resolve(),
        python=Path(sys.executable),
        kubeconfig=options.kubeconfig,
        api_image=options.api_image,
        runner_image=options.runner_image,
    )
    try:
        return _run(options.verb, settings)
    except errors.LocalClusterError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    verbs = "\n".join(f"  {verb:9}{meaning}" for verb, meaning in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="longtask_localcluster",
        description=f"{sys.modules[__package__ or ''].__doc__}\n\nverbs:\n{verbs}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=VERBS, metavar="VERB")
    parser.add_argument("--repository", type=Path, default=REPOSITORY, help="the clone")
    parser.add_argument("--kubeconfig", type=Path, help="use this cluster and make none")
    parser.add_argument("--api-image", help="image that a given cluster can pull")
    parser.add_argument("--runner-image", help="image that a given cluster can pull")
    return parser


def _run(verb: str, settings: Settings) -> int:
    if verb == "context":
        for image in (images.API, images.RUNNER):
            print(images.prepare(image, settings, python=kind.PYTHON))
        return 0
    known = target.Choice.read(settings.state)
    if verb == "status":
        return _status(_cluster(known or _choice(settings), settings))
    with lock.alone():
        if verb == "down":
            _cluster(known or _choice(settings), settings).stop()
            return 0
        choice = _choice(settings) if settings.given_kubeconfig else known or _choice(settings)
        if known and known != choice:
            raise errors.MachineTaken(
                f"This clone has {known.target.value}: `make down` it first, or unset KUBECONFIG"
            )
        cluster = _cluster(choice, settings)
        cluster.start()
        choice.write(settings.state)
        if verb == "images":
            print(cluster.bring_images())
        if verb in ("up", "install"):
            _install(settings, cluster)
        environment.write(settings, cluster.kubectl(), host_address=cluster.host_address())
        progress.say(f"Ready: . {os.path.relpath(settings.env_file)}")
    return 0


def _choice(settings: Settings) -> target.Choice:
    chosen = target.choose(
        given=settings.given_kubeconfig is not None,
        docker=shell.succeeds(["docker", "info"]),
        linux=platform.system() == "Linux",
        root=os.geteuid() == 0,
    )
    return target.Choice(chosen, settings.given_kubeconfig)


def _cluster(choice: target.Choice, settings: Settings) -> target.Cluster:
    if choice.kubeconfig:
        return Given(settings, choice.kubeconfig)
    return Kind(settings) if choice.target is target.Target.KIND else OneNode(settings)


def _install(settings: Settings, cluster: target.Cluster) -> None:
    names = cluster.bring_images()
    computed = install.values(
        names, host_address=cluster.host_address(), persistence=cluster.storage()
    )
    install.ensure(settings, cluster.kubectl(), computed)
    cluster.open_door()
    with progress.step(f"The API answers at {environment.URL}"):
        if not shell.wait_until(_answers, within=DOOR_SECONDS):
            raise errors.NotReady(
                f"{environment.URL}/healthz does not answer: see {settings.state}/logs"
            )


def _answers() -> bool:
    try:
        with urllib.request.urlopen(f"{environment.URL}/healthz", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _status(cluster: target.Cluster) -> int:
    lines = cluster.report()
    if all(well for _, well in lines) and lines:
        found = install.deployments(cluster.kubectl())
        lines += [(f"deployment {name}", serves) for name, serves in found]
        lines += [] if found else [("the product is not installed", False)]
        lines.append((environment.URL, _answers()))
    for line, well in lines:
        print(f"{'ok ' if well else 'BAD'}  {line}")
    return 0 if lines and all(well for _, well in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
