"""Where the objects of a kind are in the API server, and what becomes of their JSON."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

import pydantic

from longtask_adapters.kube import errors
from longtask_crds import names, v1alpha1

_logger = logging.getLogger(__name__)

Raw = dict[str, Any]
R = TypeVar("R", bound=v1alpha1.Resource)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the objects of a kind are."""

    api: str  #: `/api/v1`, or `/apis/<group>/<version>`
    plural: str

    def collection(self, namespace: str) -> str:
        """Return the path of all objects in a namespace."""
        return f"{self.api}/namespaces/{quote(namespace, safe='')}/{self.plural}"

    def path(self, key: names.ObjectKey, subresource: str = "") -> str:
        """Return the path of one object, or of its subresource."""
        path = f"{self.collection(key.namespace)}/{quote(key.name, safe='')}"
        return f"{path}/{subresource}" if subresource else path


PODS: Final = Place("/api/v1", "pods")
SECRETS: Final = Place("/api/v1", "secrets")
EVENTS: Final = Place("/api/v1", "events")
#: The same Events in newer words: these are written, the older ones are searched by fields.
NEW_EVENTS: Final = Place("/apis/events.k8s.io/v1", "events")
JOBS: Final = Place("/apis/batch/v1", "jobs")
LEASES: Final = Place("/apis/coordination.k8s.io/v1", "leases")
#: The path of all nodes, which are in no namespace.
NODES: Final = "/api/v1/nodes"
#: The path to ask whom a token belongs to.
TOKEN_REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
#: The path to ask what somebody may do.
ACCESS_REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


def whole(resource: R) -> R:
    """Return the resource as it is."""
    return resource


def never(_: v1alpha1.Resource) -> bool:
    """Tell of none."""
    return False


def _nobody(*_: object) -> None:
    """Show it to nobody."""


def without_inputs(task: v1alpha1.LongTask) -> v1alpha1.LongTask:
    """Return a task without its inputs: up to 64 KiB that no list or view shows.

    A list of items becomes an empty one: that a step has items stays to be seen.
    """
    if task.spec.input is None and not task.spec.steps:
        return task
    update: dict[str, Any] = {"input": None}
    if task.spec.steps:
        update["steps"] = [_without_input(step) for step in task.spec.steps]
    return task.model_copy(update={"spec": task.spec.model_copy(update=update)})


def _without_input(step: v1alpha1.Step) -> v1alpha1.Step:
    items: Any = [] if isinstance(step.for_each, list) else step.for_each
    return step.model_copy(update={"input": None, "for_each": items})


@dataclasses.dataclass(frozen=True)
class Kind(Place, Generic[R]):
    """A kind of our own: its place, its model, and what a cache keeps of it.

    Slimming is the cache's word: `read` and `parse` take an object whole.
    """

    model: type[R]
    slim: Callable[[R], R] = whole
    packs: Callable[[R], bool] = never  #: which of them a cache keeps as text
    shown: Callable[[Raw], None] = _nobody  #: is shown each object before a cache is brought it

    def slimmed(self, slim: Callable[[R], R]) -> "Kind[R]":
        """Return the kind as a cache that keeps less takes it."""
        return dataclasses.replace(self, slim=slim)

    def packed(self, packs: Callable[[R], bool]) -> "Kind[R]":
        """Return the kind as a cache that keeps some as text takes it."""
        return dataclasses.replace(self, packs=packs)

    def shown_to(self, onlooker: Callable[[Raw], None]) -> "Kind[R]":
        """Return the kind as a cache takes it beside which somebody looks at what no model has."""
        return dataclasses.replace(self, shown=onlooker)

    def read(self, raw: Raw) -> R:
        """Return the resource.

        Raises:
            Unreadable: It does not fit the model.
        """
        try:
            return self.model.model_validate(raw)
        except pydantic.ValidationError as error:
            raise errors.Unreadable(_causes(error)) from error
        except RecursionError as error:
            raise errors.Unreadable("it is nested too deeply") from error


_API: Final = f"/apis/{names.API_VERSION}"
TASKS: Final = Kind(_API, names.LONGTASKS, v1alpha1.LongTask)
TYPES: Final = Kind(_API, names.LONGTASKTYPES, v1alpha1.LongTaskType)
QUEUES: Final = Kind(_API, names.LONGTASKQUEUES, v1alpha1.LongTaskQueue)
SCHEDULES: Final = Kind(_API, names.LONGTASKSCHEDULES, v1alpha1.LongTaskSchedule)


def parse(
    kind: Kind[R], raw: Raw, note_unreadable: Callable[[Raw, str], None] = _nobody
) -> R | None:
    """Return the resource, or None if it cannot be read: one bad object must not stop the rest.

    Args:
        kind: Its kind.
        raw: The object.
        note_unreadable: Is told of one that cannot be read, and why.
    """
    try:
        found = kind.read(raw)
    except errors.Unreadable as error:
        told = {"plural": kind.plural, "object": str(key_of(raw)), "cause": str(error)}
        _logger.error("Skipped what cannot be read", extra=told)
        note_unreadable(raw, str(error))
        return None
    kind.shown(raw)
    return found


def _causes(error: pydantic.ValidationError) -> str:
    """Return which fields are wrong, and nothing of what they hold."""
    return "; ".join(
        f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    )


def key_of(raw: Raw) -> names.ObjectKey:
    """Return the key of an object as the API server gives it."""
    return names.ObjectKey(raw["metadata"].get("namespace", ""), raw["metadata"]["name"])


def version_of(raw: Raw) -> int:
    """Return the resourceVersion as a number, by which versions of one kind are ordered."""
    return int(raw["metadata"].get("resourceVersion") or 0)
