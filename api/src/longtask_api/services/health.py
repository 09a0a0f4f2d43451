"""What probes are told: whether this replica is alive, and whether it may be asked."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from longtask_adapters.kube.informer import Informer
from longtask_api import errors, versions

#: For so many seconds the API server may be away before this replica calls itself not ready.
_PATIENCE = 15.0
#: A watch that stands brings a bookmark each minute, so after so many seconds it is deaf.
_SILENCE = 180.0
#: A watch is behind by milliseconds; after so many seconds a client does better to ask again.
_BEHIND = 5.0


class Health:
    """Looks at the caches' informers, and at the loops that should run."""

    def __init__(
        self,
        informers: Iterable[Informer[Any]],
        *,
        ended: Callable[[], Sequence[str]],
        ails: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Look at these.

        Args:
            informers: What fills the caches.
            ended: Returns the names of the loops that ended unasked.
            ails: Returns what goes wrong and keeps nobody from being served.
        """
        self._informers = tuple(informers)
        self._ended = ended
        self._ails = ails

    async def synced(self) -> None:
        """Return once every cache has been filled."""
        await asyncio.gather(*(one.synced.wait() for one in self._informers))

    def check_synced(self) -> None:
        """Refuse to answer from caches that were never filled.

        Raises:
            Unavailable: They were not.
        """
        if not all(one.synced.is_set() for one in self._informers):
            raise errors.Unavailable("The resources are still being read.")

    async def reach(self, wanted: Mapping[str, int]) -> None:
        """Return once the caches have what there was at these versions, by plural.

        Raises:
            Malformed: No such kind is kept here.
            Unavailable: They do not have it in time: the watch is behind, or it is made up.
        """
        informers = {one.kind.plural: one for one in self._informers}
        for plural, version in wanted.items():
            if plural not in informers:
                raise errors.Malformed(f"The header {versions.HEADER} cannot be read.")
            if not await informers[plural].reach(version, within=_BEHIND):
                raise errors.Unavailable("This replica has not seen that state yet.")
            versions.note(plural, version)

    def illnesses(self) -> list[str]:
        """Return what only another start can mend; nothing if all is well."""
        return [f"{name} has ended" for name in self._ended()]

    def obstacles(self) -> list[str]:
        """Return what keeps this replica from serving; nothing if it is ready."""
        return self.illnesses() + [told for one in self._informers if (told := _obstacle(one))]

    def ailment(self) -> str | None:
        """Return what goes wrong and keeps nobody from being served, or None."""
        return self._ails()


def _obstacle(one: Informer[Any]) -> str | None:
    if not one.synced.is_set():
        return f"{one.kind.plural} are not read yet"
    if one.failing_for() > _PATIENCE or one.silent_for() > _SILENCE:
        return f"Kubernetes tells nothing of {one.kind.plural}"
    return None
