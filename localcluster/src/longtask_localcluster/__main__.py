"""The command line: `python -m longtask_localcluster VERB`."""

import argparse
import dataclasses
import os
import platform
import sys
import urllib.request
from pathlib import Path

from longtask_localcluster import (
    engine,
    environment,
    errors,
    images,
    install,
    kind_images,
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
    os.environ["KUBECACHEDIR"] = str(settings.kubectl_cache)
    known = target.Choice.read(settings.state)
    told = known or target.Choice(target.Target.ONE_NODE)
    settings = dataclasses.replace(
        settings, port=options.port or told.port, nodes=options.nodes or told.nodes
    )
    try:
        return _run(options.verb, settings, known, options.cluster)
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
    parser.add_argument(
        "--cluster", choices=target.NAMES, help="which one; without it the first that serves"
    )
    parser.add_argument("--port", type=int, help="of 127.0.0.1, where the API is to answer; 8080")
    parser.add_argument("--nodes", type=int, help="how many nodes kind is to make; 1")
    parser.add_argument("--kubeconfig", type=Path, help="use this cluster and make none")
    parser.add_argument("--api-image", help="image that a given cluster can pull")
    parser.add_argument("--runner-image", help="image that a given cluster can pull")
    return parser


def _run(verb: str, settings: Settings, known: target.Choice | None, wish: str | None) -> int:
    if verb == "context":
        for image in (images.API, images.RUNNER):
            print(images.prepare(image, settings, python=kind_images.REGISTRYS_PYTHON))
        return 0
    if verb == "status":
        return _status(settings, _cluster(known or _choice(settings, wish), settings))
    with lock.alone():
        if verb == "down":
            _cluster(known or _choice(settings, wish), settings).stop()
            return 0
        is_told = wish is not None or settings.given_kubeconfig is not None
        choice = known if known and not is_told else _choice(settings, wish)
        choice = dataclasses.replace(choice, port=settings.port, nodes=settings.nodes)
        if known and known != choice:
            raise errors.MachineTaken(
                f"This clone has {known.target.value}, at port {known.port}: `make down` it first"
            )
        cluster = _cluster(choice, settings)
        cluster.start()
        choice.write(settings.state)
        if verb == "images":
            print(cluster.bring_images())
        if verb in ("up", "install"):
            _install(settings, cluster)
        environment.write(
            settings,
            cluster.kubectl(),
            host_address=cluster.host_address(),
            more=cluster.exports(),
        )
        progress.say(f"Ready: . {os.path.relpath(settings.env_file)}")
    return 0


def _choice(settings: Settings, wish: str | None) -> target.Choice:
    chosen = target.choose(
        wish=wish,
        given=settings.given_kubeconfig is not None,
        docker=engine.machines() is not None,
        linux=platform.system() == "Linux",
        root=os.geteuid() == 0,
    )
    kubeconfig = settings.given_kubeconfig if chosen is target.Target.GIVEN else None
    return target.Choice(chosen, kubeconfig, settings.port, settings.nodes)


def _cluster(choice: target.Choice, settings: Settings) -> target.Cluster:
    if choice.kubeconfig:
        return Given(settings, choice.kubeconfig)
    return Kind(settings) if choice.target is target.Target.KIND else OneNode(settings)


def _install(settings: Settings, cluster: target.Cluster) -> None:
    names = cluster.bring_images()
    computed = install.values(
        names,
        url=settings.url,
        host_address=cluster.host_address(),
        persistence=cluster.storage(),
    )
    install.ensure(settings, cluster.kubectl(), computed)
    cluster.open_door()
    with progress.step(f"The API answers at {settings.url}"):
        if not shell.wait_until(lambda: _answers(settings.url), within=DOOR_SECONDS):
            raise errors.NotReady(
                f"{settings.url}/healthz does not answer: see {settings.state}/logs"
            )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _status(settings: Settings, cluster: target.Cluster) -> int:
    lines = cluster.report()
    if all(well for _, well in lines) and lines:
        found = install.deployments(cluster.kubectl())
        lines += [(f"deployment {name}", serves) for name, serves in found]
        lines += [] if found else [("the product is not installed", False)]
        lines.append((settings.url, _answers(settings.url)))
    for line, well in lines:
        print(f"{'ok ' if well else 'BAD'}  {line}")
    return 0 if lines and all(well for _, well in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
