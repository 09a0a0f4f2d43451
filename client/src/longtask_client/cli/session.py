"""Whom the command talks to: URL and token, and the connection made of them."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from longtask_client.cli import inputs

if TYPE_CHECKING:
    import typer

    from longtask_client import client

#: How a client is made of URL and token: where tests put their own.
Connect = Callable[[str, str | None], "client.Client"]


def connect(url: str, token: str | None) -> "client.Client":
    """Return a client of the real API."""
    from longtask_client import client

    return client.Client(url, token)


@dataclasses.dataclass(frozen=True)
class Session:
    """What the options before the command say."""

    url: str
    token_file: Path | None
    connect: Connect

    def open(self) -> "client.Client":
        """Return the client.

        Raises:
            BadWord: The URL or the token cannot be used.
        """
        if not self.url.startswith(("http://", "https://")):
            told = f"{self.url!r} is no URL" if self.url else "Where is LongTask?"
            raise inputs.BadWord(f"{told}: set LONGTASK_URL or --url, as in https://host/path")
        return self.connect(self.url, self._token())

    def _token(self) -> str | None:
        token = os.environ.get("LONGTASK_TOKEN", "")
        if self.token_file is not None:
            try:
                token = self.token_file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise inputs.BadWord(f"--token-file: {error}") from error
        token = token.strip()
        if not token.isascii() or not token.isprintable():
            raise inputs.BadWord("the token is no line of plain ASCII")
        return token or None


def of(context: "typer.Context") -> Session:
    """Return what was said before the command that runs."""
    found: Session = context.obj
    return found
