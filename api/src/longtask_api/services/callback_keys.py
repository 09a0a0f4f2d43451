"""The keys that sign callbacks: made on first use, kept in one Secret."""

from collections.abc import Callable
from datetime import datetime

from longtask_adapters.kube import errors as kube
from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.cluster import Cluster
from longtask_crds import names, signing_keys


class CallbackKeys:
    """The owners' signing keys. The operator makes them too."""

    def __init__(self, cluster: Cluster, *, namespace: str, clock: Callable[[], datetime]) -> None:
        """Keep them in the Secret of a namespace, the release's."""
        self._cluster = cluster
        self._secret = names.ObjectKey(namespace, signing_keys.KEYS_SECRET)
        self._clock = clock

    async def current(self, caller: callers.Caller) -> str:
        """Return the caller's newest key, and make it if there is none.

        Raises:
            Unavailable: There is no Secret for it, or what somebody wrote there cannot sign.
        """
        now = self._clock()

        def make(text: str) -> str | None:
            keys = signing_keys.OwnerKeys.parse(text)
            if keys.active(now):
                return None
            if keys.ignored:
                # Somebody wrote a key here: another in its place is one that no receiver knows.
                raise errors.Unavailable(f"No callback key is usable: {'; '.join(keys.ignored)}.")
            return keys.rotated(signing_keys.new_key(), now).render()

        owner = caller.subject or signing_keys.DEFAULT_OWNER
        try:
            text = await self._cluster.ensure_in_secret(self._secret, owner, make)
        except kube.NotFound as error:
            raise errors.Unavailable(f"The Secret {self._secret.name} is missing.") from error
        return signing_keys.OwnerKeys.parse(text).active(now)[0]
