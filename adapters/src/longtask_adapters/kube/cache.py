"""A copy of all resources of a kind, by key. It never goes back to an older state of one."""

import asyncio
import collections
import logging
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from typing import Generic, NamedTuple

from longtask_adapters.kube.kinds import R, never, whole
from longtask_crds import names, v1alpha1

_logger = logging.getLogger(__name__)

#: As many as may go at once: a list that was on its way meanwhile must bring none of them back.
_REMEMBERED_DELETIONS = 10_000


#: What has no more brackets than this is not nested too deeply to be read as text.
_SURELY_READABLE = 150

#: Is told of each change: the resource before and after it; None is: not there.
Listener = Callable[[R | None, R | None], None]


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
        slim = self._slim(resource)
        self._items[key] = _Kept(uid, version, _packed(slim) if self._packs(slim) else slim)
        self._tell(key, old.resource if old is not None else None, slim)
        return True

    def remove(self, key: names.ObjectKey, uid: str) -> bool:
        """Forget the resource, for good: a late answer does not bring it back.

        Returns:
            Whether it was here.
        """
        self._remember(uid)
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


def key_of(resource: v1alpha1.Resource) -> names.ObjectKey:
    """Return the resource's key."""
    return names.ObjectKey(resource.metadata.namespace, resource.metadata.name)


def version_of(resource: v1alpha1.Resource) -> int:
    """Return the resourceVersion as a number, by which versions of one kind are ordered."""
    return int(resource.metadata.resource_version or 0)
