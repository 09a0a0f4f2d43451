"""Where kind's nodes and the images in them come from: a registry, or this machine alone."""

import dataclasses
import shutil
from pathlib import Path
from typing import Protocol

from longtask_localcluster import (
    base_image,
    binaries,
    buildah,
    given,
    images,
    kind_config,
    kind_nodes,
    node_image,
    packages,
    progress,
)
from longtask_localcluster.engine import Engine
from longtask_localcluster.settings import Settings

#: Of the release of kind that go.mod requires: kind v0.33.0.
REGISTRYS_NODE = (
    "kindest/node:v1.35.8@sha256:07b2536e30b803ed61d1677a79df6115f798ce64c80f9e22f6ed45afd09323c0"
)
REGISTRYS_TRAEFIK = "traefik:v3.7"
#: The Dockerfiles' own base image.
REGISTRYS_BASE = "python:3.13-slim-bookworm"
REGISTRYS_PYTHON = "3.13"


class Source(Protocol):
    """Where images come from."""

    @property
    def is_made_here(self) -> bool:
        """Whether the nodes are ours, with a control plane and a network of ours."""

    def link_programs(self) -> None:
        """Put kind, kubectl and helm on the user's PATH."""

    def node(self) -> str:
        """Make the engine know the nodes' image; return its name."""

    def traefik(self) -> str:
        """Make the nodes know the ingress controller's image; return its name."""

    def bring(self, image: images.Image) -> str:
        """Make the nodes know one of the product's images; return its name."""


@dataclasses.dataclass(frozen=True)
class Registry:
    """Images that are pulled, and the product's built on them as users build them."""

    settings: Settings
    engine: Engine
    is_made_here: bool = False

    def link_programs(self) -> None:
        """Take this machine's own where it has all three, else compile them."""
        path = given.path_of_others(self.settings)
        if all(shutil.which(name, path=path) for name in binaries.CLIENTS):
            given.link_programs(self.settings, tuple(binaries.CLIENTS))
        else:
            _link(self.settings, binaries.ensure_clients(self.settings))

    def node(self) -> str:
        """Return kind's own, which was pulled to see whether it can be."""
        return REGISTRYS_NODE

    def traefik(self) -> str:
        """Pull it, and the base image, which the tests' and the examples' pods want."""
        for name in (REGISTRYS_TRAEFIK, REGISTRYS_BASE):
            if not self.engine.succeeds("docker", "image", "inspect", name):
                with progress.step(f"Image {name}"):
                    self.engine.run("docker", "pull", "--quiet", name)
        self.engine.run("docker", "tag", REGISTRYS_BASE, base_image.BASE_STABLE)
        self._load(REGISTRYS_TRAEFIK, base_image.BASE_STABLE)
        return REGISTRYS_TRAEFIK

    def bring(self, image: images.Image) -> str:
        """Build it with Docker."""
        name = image.name(self.settings, REGISTRYS_BASE)
        if kind_nodes.know(self.engine, name):
            return name
        if not self.engine.succeeds("docker", "image", "inspect", name):
            with progress.step(f"Image {name}"):
                context = images.prepare(image, self.settings, python=REGISTRYS_PYTHON)
                file = self.settings.repository / image.dockerfile
                self.engine.run("docker", "build", "--tag", name, "--file", file, context)
        self._load(name)
        return name

    def _load(self, *names: str) -> None:
        kind = self.settings.bin / "kind"
        self.engine.run(kind, "load", "docker-image", "--name", kind_config.NAME, *names)


@dataclasses.dataclass(frozen=True)
class ThisMachine:
    """Images that are made here, of Debian's packages and Go's modules; nothing is pulled."""

    settings: Settings
    engine: Engine
    programs: Path
    is_made_here: bool = True

    def link_programs(self) -> None:
        """Take those that the nodes' are compiled with."""
        _link(self.settings, self.programs)

    def node(self) -> str:
        """Make it, once, and load it into the engine."""
        name = node_image.name(self.settings, self.programs)
        base = base_image.ensure_base(self.settings)
        archive = node_image.ensure(self.settings, self.programs, base)
        if not self.engine.succeeds("docker", "image", "inspect", name):
            with progress.step("Node image loaded into Docker"):
                self.engine.run("docker", "load", "--quiet", "--input", archive)
        return name

    def traefik(self) -> str:
        """Return what the nodes have in them."""
        return node_image.traefik()

    def bring(self, image: images.Image) -> str:
        """Build it as for the one-node cluster, with which the archives are shared."""
        name = image.name(self.settings, base_image.base_name())
        if kind_nodes.know(self.engine, name):
            return name
        with progress.step(f"Image {name}") as step:
            archive = buildah.ensure(self.settings, image, step)
            step.detail = "import"
            kind = self.settings.bin / "kind"
            self.engine.run(kind, "load", "image-archive", "--name", kind_config.NAME, archive)
        return name


def choose(settings: Settings, engine: Engine) -> Source:
    """Return the registry, if kind's node can be pulled from it, else this machine."""
    with progress.step("Node image asked of the registry"):
        is_there = engine.succeeds("docker", "image", "inspect", REGISTRYS_NODE)
        if is_there or engine.succeeds("docker", "pull", "--quiet", REGISTRYS_NODE):
            return of(settings, engine, REGISTRYS_NODE)
    return of(settings, engine, "")


def of(settings: Settings, engine: Engine, node: str) -> Source:
    """Return where the images of a cluster with this node image come from."""
    if node == REGISTRYS_NODE:
        return Registry(settings, engine)
    base_image.check_machine()
    packages.ensure()
    return ThisMachine(settings, engine, binaries.ensure(settings))


def _link(settings: Settings, programs: Path) -> None:
    settings.bin.mkdir(parents=True, exist_ok=True)
    for name in binaries.CLIENTS:
        (settings.bin / name).unlink(missing_ok=True)
        (settings.bin / name).symlink_to(programs / name)
