"""A copy of all resources of a kind, by key. It never goes back to an older state of one.

What cannot be read is noted beside them, so that somebody can say so where it is.
"""

import asyncio
import collections
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Generic, NamedTuple

import pydantic

from longtask_adapters.kube.kinds import R, Raw, never, whole
from longtask_crds import names, v1alpha1

_logger = logging.getLogger(__name__)

#: As many as may go at once: a list that was on its way meanwhile must bring none of them back.
_REMEMBERED_DELETIONS = 10_000


#: What has no more brackets than this is not nested too deeply to be read as text.
_SURELY_READABLE = 150

#: Is told of each change: the resource before and after it; None is: not there.
Listener = Callable[[R | None, R | None], None]


#: Of the metadata of an object that cannot be read, what the API server alone writes.
_SURE = ("name", "namespace", "uid", "resourceVersion", "generation")


class Unreadable(NamedTuple):
    """An object that does not fit our definition of its kind; what was read of it before stays."""

    metadata: v1alpha1.ObjectMeta  #: what names the object and its state
    conditions: list[v1alpha1.Condition]  #: of its status, those that can be read
    cause: str  #: for people; nothing of what its fields hold

    @classmethod
    def of(cls, raw: Raw, cause: str) -> "Unreadable":
        """Return what can be said of an object as the API server gives it."""
        sure = {key: value for key, value in raw["metadata"].items() if key in _SURE}
        metadata = v1alpha1.ObjectMeta.model_validate(sure)
        return cls(metadata, list(_readable_conditions(raw)), cause)


class Cache(Generic[R]):
    """The resources by key: what lists, watches and the answers of our own writes have brought.

    Args:
        slim: Returns what is kept of a resource, whoever brings it.
        packs: Tells which are kept as text and read again when they are asked for: a twentieth of
            the memory, and some 50 µs each time.
    """

    def __init__(
        self, slim: Callable[[R], R] = whole, *, packs: Callable[[R], bool] = never
    ) -> None:
        self._slim = slim
        self._packs = packs
        self._items: dict[names.ObjectKey, _Kept[R]] = {}
        self._unreadable: dict[names.ObjectKey, Unreadable] = {}
        # What is on its way may arrive after the watch has told of the deletion that followed.
        self._deleted: collections.OrderedDict[str, None] = collections.OrderedDict()
        self._waiters: dict[names.ObjectKey, set[asyncio.Event]] = {}
        self._listeners: list[Listener[R]] = []

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: names.ObjectKey) -> R | None:
        """Return the resource of that key, or None."""
        kept = self._items.get(key)
        return kept.resource if kept is not None else None

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def keys(self) -> list[names.ObjectKey]:
        """Return the keys of all resources, in no order."""
        return list(self._items)

    def values(self) -> Iterator[R]:
        """Yield all resources as they are now, in no order."""
        return (kept.resource for kept in list(self._items.values()))

    @property
    def unreadable(self) -> Mapping[names.ObjectKey, Unreadable]:
        """Return what there is in a state that cannot be read."""
        return self._unreadable

    def versions(self) -> Iterator[tuple[str, int]]:
        """Yield uid and version of each resource; none is read for that."""
        return ((kept.uid, kept.version) for kept in self._items.values())

    def changed_since(self, version: int) -> Iterator[tuple[int, names.ObjectKey]]:
        """Yield version and key of each resource that is newer; none is read for that."""
        for key, kept in self._items.items():
            if kept.version > version:
                yield kept.version, key

    def on_change(self, listener: Listener[R]) -> None:
        """Tell the listener of each change from now on: the resource before and after."""
        self._listeners.append(listener)

    def wants(self, key: names.ObjectKey, uid: str, version: int) -> bool:
        """Tell whether this state of an object would be news: ask before it is parsed."""
        old = self._items.get(key)
        return uid not in self._deleted and (old is None or old.version < version)

    def put(self, resource: R) -> bool:
        """Keep the resource unless what is here is as new; tell whether it was news."""
        key, uid, version = key_of(resource), resource.metadata.uid, version_of(resource)
        if not self.wants(key, uid, version):
            return False
        old = self._items.get(key)
        if old is not None and old.uid != uid:
            self._remember(old.uid)
        known = self._unreadable.get(key)
        if known is not None and _version_of(known.metadata) < version:
            del self._unreadable[key]
        slim = self._slim(resource)
        self._items[key] = _Kept(uid, version, _packed(slim) if self._packs(slim) else slim)
        self._tell(key, old.resource if old is not None else None, slim)
        return True

    def note_unreadable(self, raw: Raw, cause: str) -> None:
        """Take note of a state of an object that is news and that cannot be read, and why."""
        found = Unreadable.of(raw, cause)
        key = _key_of(found.metadata)
        known = self._unreadable.get(key)
        if known is None or _version_of(known.metadata) < _version_of(found.metadata):
            self._unreadable[key] = found

    def remove(self, key: names.ObjectKey, uid: str) -> bool:
        """Forget the resource, for good: a late answer does not bring it back.

        Returns:
            Whether it was here.
        """
        self._remember(uid)
        if key in self._unreadable and self._unreadable[key].metadata.uid == uid:
            del self._unreadable[key]
        old = self._items.get(key)
        if old is None or old.uid != uid:
            return False
        del self._items[key]
        self._tell(key, old.resource, None)
        return True

    def keep_only(
        self, listed: AbstractSet[names.ObjectKey], version: int
    ) -> list[names.ObjectKey]:
        """Forget what a complete list, made at that version, does not have; return what went."""
        gone = {
            key: old.uid
            for key, old in self._items.items()
            # What is newer than the list cannot be missed by it.
            if key not in listed and old.version <= version
        }
        for key, uid in gone.items():
            self.remove(key, uid)
        for key, known in list(self._unreadable.items()):
            if key not in listed and _version_of(known.metadata) <= version:
                self.remove(key, known.metadata.uid)
        return list(gone)

    async def wait_for(
        self, key: names.ObjectKey, done: Callable[[R | None], bool], *, within: float
    ) -> R | None:
        """Return the resource once it is as wanted, or as it is after `within` seconds."""
        try:
            async with asyncio.timeout(within):
                while not done(self.get(key)):
                    await self._change_of(key)
        except TimeoutError:
            pass
        return self.get(key)

    async def _change_of(self, key: names.ObjectKey) -> None:
        event = asyncio.Event()
        waiters = self._waiters.setdefault(key, set())
        waiters.add(event)
        try:
            await event.wait()
        finally:
            waiters.discard(event)
            if not waiters and self._waiters.get(key) is waiters:
                del self._waiters[key]

    def _remember(self, uid: str) -> None:
        self._deleted[uid] = None
        if len(self._deleted) > _REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)

    def _tell(self, key: names.ObjectKey, before: R | None, after: R | None) -> None:
        for event in self._waiters.get(key, ()):
            event.set()
        for listener in self._listeners:
            try:
                listener(before, after)
            except Exception:
                # The cache is right, and the others want to know, whatever is wrong with this one.
                _logger.exception("A listener failed", extra={"object": str(key)})


class _Packed(NamedTuple, Generic[R]):
    """A resource as text."""

    model: type[R]
    text: str


class _Kept(Generic[R]):
    """A resource, and what is asked of it without reading it."""

    __slots__ = ("_held", "uid", "version")

    def __init__(self, uid: str, version: int, held: R | _Packed[R]) -> None:
        self.uid = uid
        self.version = version
        self._held = held

    @property
    def resource(self) -> R:
        held = self._held
        return held.model.model_validate_json(held.text) if isinstance(held, _Packed) else held


def _packed(resource: R) -> R | _Packed[R]:
    """Return the resource as text, or as it is if it is nested too deeply for that."""
    model = type(resource)
    try:
        # None of an optional field is absent; a null inside an input or a result stays.
        text = resource.model_dump_json(by_alias=True, exclude_none=True)
        if text.count("[") + text.count("{") > _SURELY_READABLE:
            model.model_validate_json(text)
    except (ValueError, RecursionError):
        # pydantic writes 255 levels and reads 200; the API server stores 10,000.
        return resource
    return _Packed(model, text)


def _readable_conditions(raw: Raw) -> Iterator[v1alpha1.Condition]:
    status = raw.get("status")
    told = status.get("conditions") if isinstance(status, dict) else None
    for one in told if isinstance(told, list) else ():
        with contextlib.suppress(pydantic.ValidationError):
            yield v1alpha1.Condition.model_validate(one)


def key_of(resource: v1alpha1.Resource) -> names.ObjectKey:
    """Return the resource's key."""
    return _key_of(resource.metadata)


def version_of(resource: v1alpha1.Resource) -> int:
    """Return the resourceVersion as a number, by which versions of one kind are ordered."""
    return _version_of(resource.metadata)


def _key_of(meta: v1alpha1.ObjectMeta) -> names.ObjectKey:
    return names.ObjectKey(meta.namespace, meta.name)


def _version_of(meta: v1alpha1.ObjectMeta) -> int:
    return int(meta.resource_version or 0)
