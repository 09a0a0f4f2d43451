"""Which keys sign a task's callback."""

import time
from datetime import datetime

from longtask_crds import names, signing_keys, v1alpha1
from longtask_operator import cluster, errors

#: A rotated key signs for another day, so a picture of this age harms nobody.
_KEEP_SECONDS = 60.0


class KeyUnavailable(Exception):
    """The Secret that the task names cannot sign, nor can its owner's keys."""


class KeyRing:
    """Finds signing keys: of the task's own Secret, or its owner's, made on first use."""

    def __init__(self, kubernetes: cluster.Cluster, secrets_namespace: str) -> None:
        self._cluster = kubernetes
        self._namespace = secrets_namespace
        self._secret: cluster.Secret | None = None
        self._read_at = 0.0

    async def keys_for(self, task: v1alpha1.LongTask, *, now: datetime) -> list[str]:
        """Return the keys that sign for the task now, the newest first.

        Raises:
            KeyUnavailable: The Secret that the task names cannot sign, or no key of its owner.
            ClusterError: The keys could not be read.
        """
        ref = task.spec.callback.secret_ref if task.spec.callback else None
        if ref is not None:
            return [await self._own_key(ref)]
        owner = signing_keys.owner_of(task.metadata.labels)
        stored = signing_keys.OwnerKeys.parse(await self._stored(owner))
        if active := stored.active(now):
            return active
        if stored.ignored:
            # Somebody wrote a key here: another in its place would be one that no receiver knows.
            raise KeyUnavailable(f"of {owner}'s keys none is usable: {'; '.join(stored.ignored)}")
        return [await self._make(owner)]

    async def _own_key(self, ref: v1alpha1.SecretKeyRef) -> str:
        try:
            secret = await self._cluster.get_secret(ref.name)
        except errors.NotFound as error:
            raise KeyUnavailable(f"there is no Secret {ref.name}") from error
        # Without the label a task could make us read, and use, any Secret of the namespace.
        if secret.labels.get(names.CALLBACK_SECRET_LABEL) != "true":
            raise KeyUnavailable(f"the Secret {ref.name} has no label for callbacks")
        try:
            key = secret.get(ref.key)
            if key is None:
                raise KeyUnavailable(f"the Secret {ref.name} has no key {ref.key}")
            return signing_keys.check_key(key.strip())
        except ValueError as error:  # it is no text, or no key
            raise KeyUnavailable(f"the Secret {ref.name} holds no usable key") from error

    async def _stored(self, owner: str) -> str:
        stale = time.monotonic() - self._read_at > _KEEP_SECONDS
        if self._secret is None or stale or self._secret.get(owner) is None:
            self._secret = await self._cluster.get_secret(
                signing_keys.KEYS_SECRET, namespace=self._namespace
            )
            self._read_at = time.monotonic()
        return self._secret.get(owner) or ""

    async def _make(self, owner: str) -> str:
        """Make an owner's first key; a Conflict means that somebody else just did."""
        key = signing_keys.new_key()
        if self._secret is None:
            raise RuntimeError("keys are made only after a look at the Secret")
        try:
            self._secret = await self._cluster.add_to_secret(self._secret, owner, key)
        except errors.Conflict:
            self._secret = None
            raise
        return key
