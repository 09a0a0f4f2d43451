"""What the API server of the twin stores, and what Kubernetes does to it by itself.

Stored objects are never changed in place, so that `fork` is cheap and answers can be shared.
"""

import asyncio
import bisect
import dataclasses
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from longtask_adapters.testing import patches
from longtask_crds import names
from longtask_crds.testing import NAMESPACE, NOW

Raw = dict[str, Any]
Self = TypeVar("Self", bound="Store")


def stamp(at: datetime) -> str:
    """Return an instant as Kubernetes writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Step(NamedTuple):
    """One change, as watches tell it."""

    version: int
    plural: str
    before: Raw | None
    after: Raw | None  #: None: it was deleted


@dataclasses.dataclass
class Store:
    """Objects by plural and key, with versions, uids, owners and a history."""

    namespace: str = NAMESPACE  #: where objects are that are named without one
    now: datetime = NOW
    version: int = 1  #: of the last write
    made: int = 0  #: how many uids were given
    _objects: dict[str, dict[names.ObjectKey, Raw]] = dataclasses.field(default_factory=dict)
    _history: list[Step] = dataclasses.field(default_factory=list)
    _known_since: int = 0  #: what happened up to this version was forgotten
    _watchers: list[asyncio.Event] = dataclasses.field(default_factory=list)

    def fork(self: Self) -> Self:
        """Return a copy that goes its own way from here on; nobody watches it yet."""
        other = object.__new__(type(self))
        for name, value in vars(self).items():
            other.__dict__[name] = value.copy() if isinstance(value, dict | list) else value
        other._objects = {plural: found.copy() for plural, found in self._objects.items()}
        other._watchers = []
        return other

    def key(self, name: str | names.ObjectKey) -> names.ObjectKey:
        """Return the key that a name stands for: without a namespace the twin's own."""
        return names.ObjectKey(self.namespace, name) if isinstance(name, str) else name

    def objects(self, plural: str) -> dict[names.ObjectKey, Raw]:
        """Return all objects of a kind, the oldest first. They are not to be changed."""
        return self._objects.setdefault(plural, {})

    def stored(self, plural: str, name: str | names.ObjectKey) -> Raw:
        """Return one object; it is not to be changed."""
        return self.objects(plural)[self.key(name)]

    def put(self, plural: str, name: str | names.ObjectKey, **parts: Any) -> Raw:
        """Make or change an object as somebody else would.

        Args:
            plural: The kind.
            name: Its name.
            parts: What is merged into it: `metadata`, `spec`, `status`, `data`.
        """
        key = self.key(name)
        old = self.objects(plural).get(key, {"metadata": {}, "spec": {}})
        meta = {"name": key.name, "namespace": key.namespace, **parts.pop("metadata", {})}
        new = patches.merged(old, as_it_travels({**parts, "metadata": meta}))
        if new.get("spec") != old.get("spec") and "generation" in old["metadata"]:
            given = {"generation": old["metadata"]["generation"] + 1} | meta
            new = new | {"metadata": new["metadata"] | given}
        return self._save(plural, new)

    def take_out(self, plural: str, name: str | names.ObjectKey) -> Raw:
        """Delete an object and return it; what it owns stays for now."""
        raw = self.objects(plural).pop(self.key(name))
        self.version += 1
        meta = {**raw["metadata"], "resourceVersion": str(self.version)}
        self._tell(Step(self.version, plural, {**raw, "metadata": meta}, None))
        return raw

    def remove(self, plural: str, name: str | names.ObjectKey, *, orphans: bool = False) -> None:
        """Delete an object; what it owns goes with it, or is left without an owner."""
        raw = self.take_out(plural, name)
        uid = raw["metadata"]["uid"]
        for kind, found in list(self._objects.items()):
            for key, owned in list(found.items()):
                owners = owned["metadata"].get("ownerReferences", ())
                if all(owner["uid"] != uid for owner in owners):
                    continue
                if orphans:
                    rest = [owner for owner in owners if owner["uid"] != uid]
                    self._save(
                        kind, {**owned, "metadata": owned["metadata"] | {"ownerReferences": rest}}
                    )
                else:
                    self.remove(kind, key)

    def compact(self) -> None:
        """Forget what happened up to now, as etcd does: older places have expired."""
        self._known_since = self.version
        self._history = []

    def steps_after(self, version: int) -> list[Step]:
        """Return what happened after a version."""
        return self._history[bisect.bisect(self._history, version, key=lambda s: s.version) :]

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield now, and again whenever something may have changed."""
        changed = asyncio.Event()
        self._watchers.append(changed)
        try:
            while True:
                changed.clear()
                yield
                await changed.wait()
        finally:
            self._watchers.remove(changed)

    def _save(self, plural: str, raw: Raw) -> Raw:
        """Store an object, with whatever the API server gives it."""
        meta = raw["metadata"]
        if "uid" not in meta:
            self.made += 1
            uid = f"00000000-0000-4000-8000-{self.made:012x}"
            meta = {"uid": uid, "generation": 1, "creationTimestamp": stamp(self.now)} | meta
        self.version += 1
        raw = {**raw, "metadata": meta | {"resourceVersion": str(self.version)}}
        found = self.objects(plural)
        key = names.ObjectKey(meta["namespace"], meta["name"])
        before = found.get(key)
        found[key] = raw
        self._tell(Step(self.version, plural, before, raw))
        return raw

    def _tell(self, step: Step) -> None:
        self._history.append(step)
        self.wake_watches()

    def wake_watches(self) -> None:
        """Let those who watch look again."""
        for changed in self._watchers:
            changed.set()


def as_it_travels(value: Any) -> Any:
    """Return a copy of a JSON value as the wire gives it: nothing is shared with the sender."""
    return json.loads(json.dumps(value))
