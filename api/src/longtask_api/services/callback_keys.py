"""The keys that sign callbacks: made on first use, rotated on request, kept in one Secret."""

import contextlib
import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from longtask_adapters.kube import errors as kube
from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.cluster import Cluster
from longtask_api.stores.catalogue import Catalogue
from longtask_client import models
from longtask_crds import names, signing_keys

_logger = logging.getLogger(__name__)


class CallbackKeys:
    """The owners' signing keys. The operator makes them too."""

    def __init__(
        self,
        cluster: Cluster,
        catalogue: Catalogue,
        *,
        namespace: str,
        clock: Callable[[], datetime],
    ) -> None:
        """Keep them in the Secret of a namespace, the release's.

        Args:
            cluster: Has the Secret.
            catalogue: Knows whose tasks there are.
            namespace: Where the Secret is.
            clock: Returns the time.
        """
        self._cluster = cluster
        self._catalogue = catalogue
        self._secret = names.ObjectKey(namespace, signing_keys.KEYS_SECRET)
        self._clock = clock

    async def current(self, caller: callers.Caller) -> models.CallbackKey:
        """Return the caller's newest key, and make it if there is none.

        Raises:
            Forbidden: They may only look at things: who has the key can sign with it.
            Unavailable: There is no Secret for it, or what somebody wrote there cannot sign.
        """
        if not caller.may(callers.Act.WRITE):
            raise errors.Forbidden("Only who may hand tasks over has a key.")
        return self._shown(await self._stored(caller.subject))

    async def active(self, caller: callers.Caller) -> list[str]:
        """Return the caller's keys that sign now, the newest first; as `current`."""
        return await self.active_of(caller.subject)

    async def active_of(self, owner: str) -> list[str]:
        """Return the keys of an owner that sign now, the newest first; empty is the installation.

        Raises:
            Unavailable, ClusterError: They cannot be had for now.
        """
        return (await self._stored(owner)).active(self._clock())

    async def rotate(self, caller: callers.Caller) -> models.CallbackKey:
        """Make the caller a new key; the one before signs as well for another day.

        Raises:
            Unavailable: There is no Secret for it.
            Clash: As many keys sign as may.
        """
        now = self._clock()

        def make(text: str) -> str:
            keys = signing_keys.OwnerKeys.parse(text)
            if len(keys.active(now)) >= signing_keys.MOST_KEYS:
                raise errors.Clash(
                    f"{signing_keys.MOST_KEYS} keys sign already: each for a day after the next one"
                    " was made."
                )
            return keys.rotated(signing_keys.new_key(), now).render()

        made = await self._made(caller.subject, make)
        _logger.info("Rotated callback key", extra={"by": caller.name})
        return self._shown(made)

    async def forget(self, owners: Iterable[str]) -> None:
        """Remove the keys of those who are gone, but not while tasks of theirs are there.

        Those may still have something to tell, and receivers know no other key. Whoever is left
        now is forgotten when the sweeper comes round.
        """
        gone = [owner for owner in owners if not self._catalogue.count_of(owner)[1]]
        if gone:
            with contextlib.suppress(kube.NotFound):
                await self._cluster.drop_from_secret(self._secret, gone)

    async def _stored(self, owner: str) -> signing_keys.OwnerKeys:
        now = self._clock()

        def make(text: str) -> str | None:
            keys = signing_keys.OwnerKeys.parse(text)
            if keys.active(now):
                return None
            if keys.ignored:
                # Somebody wrote a key here: another in its place is one that no receiver knows.
                raise errors.Unavailable(f"No callback key is usable: {'; '.join(keys.ignored)}.")
            return keys.rotated(signing_keys.new_key(), now).render()

        return await self._made(owner, make)

    async def _made(self, owner: str, make: Callable[[str], str | None]) -> signing_keys.OwnerKeys:
        key = owner or signing_keys.DEFAULT_OWNER
        try:
            text = await self._cluster.ensure_in_secret(self._secret, key, make)
        except kube.NotFound as error:
            raise errors.Unavailable(f"The Secret {self._secret.name} is missing.") from error
        except kube.Full as error:
            _logger.error("The Secret of callback keys is full", extra={"cause": str(error)})
            raise errors.Unavailable(
                f"The Secret {self._secret.name} has no room for another key: an administrator has"
                " to remove those of owners who are gone."
            ) from error
        return signing_keys.OwnerKeys.parse(text)

    def _shown(self, keys: signing_keys.OwnerKeys) -> models.CallbackKey:
        now = self._clock()
        return models.CallbackKey(key=keys.active(now)[0], previous_until=keys.previous_until(now))
