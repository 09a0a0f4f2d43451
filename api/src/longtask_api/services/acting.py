"""How something is changed that others change meanwhile: look, act on that, or look again."""

from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from longtask_adapters.kube import errors as kube
from longtask_adapters.kube.kinds import R
from longtask_api import errors

T = TypeVar("T")


async def on_what_is_there(
    look: Callable[[], Awaitable[R]],
    act: Callable[[R], Awaitable[T]],
    *,
    what: str,
    looks: int,
    known: Collection[str] | None = None,
) -> T:
    """Act on the resource that the caller sees; look again if it is another by then.

    Args:
        look: Returns the resource, or raises Missing.
        act: Writes to it, bound to the resource that it is given.
        what: What it is, as `task`.
        looks: How often it is looked at.
        known: The versions of it that the caller has seen; None for any.

    Raises:
        Missing: It is gone.
        Stale: It has none of the known versions.
        Clash: It is being changed too often.
    """
    for _ in range(looks):
        resource = await look()
        if known is not None and resource.metadata.resource_version not in known:
            raise errors.Stale(f"The {what} has changed since: look at it again.")
        try:
            return await act(resource)
        except kube.NotFound as error:
            raise errors.Missing(f"There is no such {what}.") from error
        except kube.Conflict:
            continue
    raise errors.Clash(f"The {what} is being changed too often.")
