"""The keys that sign callbacks: made on first use, kept in one Secret."""

import logging
from collections.abc import Callable
from datetime import datetime

from longtask_api import errors, ports
from longtask_crds import signing_keys

log = logging.getLogger(__name__)

_TRIES = 5


class CallbackKeys:
    """The owners' signing keys. The operator makes them too, so each write is guarded."""

    def __init__(self, cluster: ports.Cluster, *, clock: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._clock = clock

    async def current(self, owner: str) -> str:
        """Return the newest key of the owner, and make it if there is none."""
        for _ in range(_TRIES):
            secret = await self._secret()
            keys = signing_keys.OwnerKeys.parse(secret.values.get(owner, ""))
            if active := keys.active(self._clock()):
                return active[0]
            if keys.ignored:
                # Somebody wrote a key here: another in its place is one that no receiver knows.
                raise errors.Unavailable(f"No callback key is usable: {'; '.join(keys.ignored)}.")
            fresh = signing_keys.new_key()
            made = keys.rotated(fresh, self._clock()).render()
            try:
                await self._cluster.patch_secret(
                    signing_keys.KEYS_SECRET,
                    {owner: made},
                    resource_version=secret.resource_version,
                )
            except errors.Conflict:
                continue  # the operator or another replica made one meanwhile
            log.info("Made a callback key", extra={"owner": owner})
            return fresh
        raise errors.Unavailable("The callback keys are busy.")

    async def _secret(self) -> ports.SecretData:
        try:
            return await self._cluster.get_secret(signing_keys.KEYS_SECRET)
        except errors.NotFound as error:
            raise errors.Unavailable(
                f"The Secret {signing_keys.KEYS_SECRET} is missing."
            ) from error
