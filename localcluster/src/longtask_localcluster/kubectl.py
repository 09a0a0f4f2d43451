"""Asking the cluster, by the program that its users have too."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from longtask_localcluster import errors, shell


@dataclasses.dataclass(frozen=True)
class Kubectl:
    """kubectl with one cluster's access."""

    program: Path
    kubeconfig: Path

    def run(self, *words: str | Path, stdin: str | None = None) -> str:
        """Run a command and return what it printed."""
        return shell.run([self.program, f"--kubeconfig={self.kubeconfig}", *words], stdin=stdin)

    def succeeds(self, *words: str | Path) -> bool:
        """Tell whether a command ended well."""
        try:
            self.run("--request-timeout=5s", *words)
        except errors.CommandFailed:
            return False
        return True

    def get(self, *words: str) -> Any:
        """Return objects as kubectl's JSON."""
        return json.loads(self.run("get", "--output=json", *words))

    def apply(self, *paths: Path) -> None:
        """Create or change what files or folders of manifests say."""
        names = [word for path in paths for word in ("-f", str(path))]
        self.run("apply", "--server-side", "--force-conflicts", *names)
