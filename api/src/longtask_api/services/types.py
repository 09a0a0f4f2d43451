"""What the API shows of types."""

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.services import views
from longtask_api.stores.resources import Resources
from longtask_client import models


class TypeService:
    """Shows types: they are there for everybody."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def all(self, _: callers.Caller) -> models.TypeList:
        """Return all types, by name."""
        found = sorted(self._resources.types(), key=lambda t: t.metadata.name)
        return models.TypeList(items=[views.type_view(t) for t in found])

    async def get(self, _: callers.Caller, name: str) -> models.TypeView:
        """Return one type.

        Raises:
            Missing: There is none of that name.
        """
        found = await self._resources.find_type(name)
        if found is None:
            raise errors.Missing("There is no such type.")
        return views.type_view(found)
