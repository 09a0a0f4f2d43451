"""The contexts that a person works with: where LongTask is, and the token of their login.

They stand in `~/.config/longtask/config.yaml`, which nobody else may read. The text is YAML as
kubectl's, for people to mend; it is written whole or not at all.
"""

import dataclasses
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from longtask_client.cli.given import inputs
from longtask_client.cli.output import terminal

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclasses.dataclass(frozen=True)
class Profile:
    """One LongTask, and who one is there."""

    url: str
    token: str | None = None
    username: str | None = None


@dataclasses.dataclass(frozen=True)
class Config:
    """All contexts by name, and the one that counts where nothing else is said."""

    contexts: Mapping[str, Profile] = dataclasses.field(default_factory=dict)
    current: str | None = None

    def profile(self, name: str | None) -> Profile | None:
        """Return the context of that name, or the current one; None if there is none.

        Raises:
            BadWord: There is no context of that name.
        """
        wanted = name or self.current
        if wanted is None:
            return None
        if wanted not in self.contexts:
            known = ", ".join(self.contexts) or "none"
            raise inputs.BadWord(f"there is no context {wanted!r}; there are: {known}")
        return self.contexts[wanted]

    def with_context(self, name: str, profile: Profile, *, use: bool) -> "Config":
        """Return them with this context, new or in place of the one before."""
        contexts = {**self.contexts, name: profile}
        return Config(contexts, name if use or self.current is None else self.current)

    def without(self, name: str) -> "Config":
        """Return them without this context.

        Raises:
            BadWord: There is no context of that name.
        """
        self.profile(name)
        left = {one: profile for one, profile in self.contexts.items() if one != name}
        return Config(left, None if self.current == name else self.current)


def path() -> Path:
    """Return where the contexts stand."""
    named = os.environ.get("LONGTASK_CONFIG")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "longtask" / "config.yaml"


def load() -> Config:
    """Return the contexts; none where there is no file.

    Raises:
        BadWord: The file cannot be understood.
    """
    file = path()
    if not file.exists():
        return Config()
    import yaml  # slow to import, and many have no file

    try:
        if stat.S_IMODE(file.stat().st_mode) & _OTHERS:
            terminal.say(f"Warning: others may read the tokens in {file}: chmod 600 {file}")
        document = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        contexts = {
            str(name): Profile(**_texts(fields))
            for name, fields in (document.get("contexts") or {}).items()
        }
        current = document.get("current-context")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise inputs.BadWord(f"{file} cannot be understood: {error}") from error
    return Config(contexts, None if current is None else str(current))


def save(config: Config) -> None:
    """Write the contexts; only their owner may read them.

    Raises:
        BadWord: They cannot be written there.
    """
    import yaml

    document = {
        "current-context": config.current,
        "contexts": {
            name: {key: value for key, value in dataclasses.asdict(profile).items() if value}
            for name, profile in config.contexts.items()
        },
    }
    file = path()
    partial = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # From its first byte on: between open and chmod somebody could read.
        opened = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8") as written:
            yaml.safe_dump(document, written, sort_keys=False, allow_unicode=True)
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise inputs.BadWord(f"{file}: {error.strerror or error}") from error


def _texts(fields: Any) -> dict[str, Any]:
    """Return a context's fields, if they are texts; what is not known is an error there, too."""
    for key, value in dict(fields).items():
        if not isinstance(value, str):
            raise TypeError(f"{key} is no text")
    return dict(fields)
