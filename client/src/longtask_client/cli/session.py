"""Whom the command talks to: URL and token, and the connection made of them.

What is said on the command line goes before the environment, and that before the context in use.
"""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from longtask_client.cli import config
from longtask_client.cli.given import inputs

if TYPE_CHECKING:
    import typer

    from longtask_client import client

#: How a client is made of URL and token: where tests put their own.
Connect = Callable[[str, str | None], "client.Client"]
_WHERE = "set LONGTASK_URL or --url, as in https://host/path, or log in: longtask login https://host/path"


def connect(url: str, token: str | None) -> "client.Client":
    """Return a client of the real API."""
    from longtask_client import client

    return client.Client(url, token)


@dataclasses.dataclass(frozen=True)
class Session:
    """What the options before the command say."""

    connect: Connect
    url: str = ""
    token_file: Path | None = None
    context: str = ""
    kubeconfig: Path | None = None
    namespace: str = "longtasks"

    def open(self) -> "client.Client":
        """Return the client: of the API, or of Kubernetes where there is a kubeconfig alone.

        Raises:
            BadWord: There is no URL, or it or the token cannot be used.
        """
        if self.kubeconfig is not None or (not self._has_url() and _has_kubeconfig()):
            return self._of_kubernetes()
        return self.connect(self.address(), self._token())

    def address(self) -> str:
        """Return where LongTask is.

        Raises:
            BadWord: Nobody has said it, or it is no URL.
        """
        profile = None if self._said_url() else self.profile()
        url = self._said_url() or (profile.url if profile else "")
        if not url.startswith(("http://", "https://")):
            told = f"{url!r} is no URL" if url else "nobody has said where LongTask is"
            raise inputs.BadWord(f"{told}: {_WHERE}")
        return url

    def _has_url(self) -> bool:
        return bool(self._said_url() or self.profile())

    def _of_kubernetes(self) -> "client.Client":
        try:
            from longtask_client.cli import kubernetes
        except ModuleNotFoundError as error:
            raise inputs.BadWord(
                f"{_WHERE}; or, to ask Kubernetes itself: pip install longtask-client[kubernetes]"
            ) from error
        return kubernetes.Cluster(namespace=self.namespace, kubeconfig=self.kubeconfig)

    def context_in_use(self) -> tuple[str, config.Profile | None]:
        """Return the context in use by its name; an empty name if there is none.

        Raises:
            BadWord: There is no context of that name.
        """
        known = config.load()
        name = self.context or os.environ.get("LONGTASK_CONTEXT") or known.current or ""
        return name, known.profile(name) if name else None

    def profile(self) -> config.Profile | None:
        """Return the context in use; None if there is none."""
        return self.context_in_use()[1]

    def has_token(self) -> bool:
        """Tell whether the requests say who asks."""
        return self._token() is not None

    def _said_url(self) -> str:
        """Return the URL that goes before a context's: but a named context before the variable."""
        return self.url or ("" if self.context else os.environ.get("LONGTASK_URL", ""))

    def _token(self) -> str | None:
        token = "" if self.context else os.environ.get("LONGTASK_TOKEN", "")
        if self.token_file is not None:
            try:
                token = self.token_file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise inputs.BadWord(f"--token-file: {error}") from error
        elif not token and (profile := self.profile()) is not None:
            # A context's token is for its own URL alone, whoever says that.
            is_there = (self._said_url() or profile.url).rstrip("/") == profile.url.rstrip("/")
            token = (profile.token if is_there else None) or ""
        token = token.strip()
        if not token.isascii() or not token.isprintable():
            raise inputs.BadWord("the token is no line of plain ASCII")
        return token or None


def _has_kubeconfig() -> bool:
    """Tell whether kubectl would know where Kubernetes is."""
    return bool(os.environ.get("KUBECONFIG")) or (Path.home() / ".kube/config").exists()


def of(context: "typer.Context") -> Session:
    """Return what was said before the command that runs."""
    found: Session = context.obj
    return found
