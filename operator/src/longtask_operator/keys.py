"""Which keys sign a task's callback."""

import time
from datetime import datetime

from longtask_adapters.kube import errors, secrets
from longtask_adapters.kube.cache import key_of
from longtask_adapters.kube.connection import Connection
from longtask_crds import names, signing_keys, v1alpha1
from longtask_crds.names import ObjectKey

#: A key signs for another day once it was rotated, but whoever rotates it waits for the new one.
_KEEP_SECONDS = 5.0


class KeyUnavailable(Exception):
    """The Secret that the task names cannot sign, nor can its owner's keys."""


class KeyRing:
    """Finds signing keys: of the task's own Secret, or its owner's, made on first use."""

    def __init__(self, connection: Connection, secrets_namespace: str) -> None:
        self._connection = connection
        self._place = ObjectKey(secrets_namespace, signing_keys.KEYS_SECRET)
        self._secret: secrets.Secret | None = None
        self._read_at = 0.0

    async def keys_for(self, task: v1alpha1.LongTask, *, now: datetime) -> list[str]:
        """Return the keys that sign for the task now, the newest first.

        Raises:
            KeyUnavailable: The Secret that the task names cannot sign, or no key of its owner.
            ClusterError: The keys could not be read.
        """
        ref = task.spec.callback.secret_ref if task.spec.callback else None
        if ref is not None:
            return [await self._own_key(key_of(task).sibling(ref.name), ref.key)]
        owner = signing_keys.owner_of(task.metadata.labels)
        try:
            stored = signing_keys.OwnerKeys.parse(await self._stored(owner))
        except ValueError as error:
            raise KeyUnavailable(f"of {owner}'s keys none is usable: they are no text") from error
        if active := stored.active(now):
            return active
        if stored.ignored:
            # Somebody wrote a key here: another in its place would be one that no receiver knows.
            raise KeyUnavailable(f"of {owner}'s keys none is usable: {'; '.join(stored.ignored)}")
        return [await self._make(owner, now)]

    async def _own_key(self, place: ObjectKey, data_key: str) -> str:
        # Without the label a task could make us read, and use, any Secret of the namespace. The
        # same words for one that is not there: nobody is to learn here which Secrets there are.
        unknown = (
            f'there is no Secret {place.name} with the label {names.CALLBACK_SECRET_LABEL}: "true"'
        )
        try:
            secret = await secrets.read(self._connection, place)
        except errors.NotFound as error:
            raise KeyUnavailable(unknown) from error
        if secret.labels.get(names.CALLBACK_SECRET_LABEL) != "true":
            raise KeyUnavailable(unknown)
        try:
            key = secret.get(data_key)
            if key is None:
                raise KeyUnavailable(f"the Secret {place.name} has no key {data_key}")
            return signing_keys.check_key(key.strip())
        except ValueError as error:  # it is no text, or no key
            why = signing_keys.KeyUnusable.__doc__
            raise KeyUnavailable(f"the Secret {place.name}, key {data_key}: {why}") from error

    async def _stored(self, owner: str) -> str:
        stale = time.monotonic() - self._read_at > _KEEP_SECONDS
        if self._secret is None or stale or self._secret.get(owner) is None:
            self._secret = await secrets.read(self._connection, self._place)
            self._read_at = time.monotonic()
        return self._secret.get(owner) or ""

    async def _make(self, owner: str, now: datetime) -> str:
        """Make an owner's first key, or take the one that somebody else just made."""

        def make(stored: str) -> str | None:
            return None if signing_keys.OwnerKeys.parse(stored).active(now) else fresh

        fresh = signing_keys.new_key()
        stored = await secrets.ensure(self._connection, self._place, owner, make)
        self._secret = None  # what was read has no such key
        return signing_keys.OwnerKeys.parse(stored).active(now)[0]
