import asyncio
import json
from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest

from api_support import a_token
from longtask_adapters.kube.cache import Cache
from longtask_api.database.engine import Database
from longtask_api.metrics import Metrics
from longtask_api.stores.archive import Archive
from longtask_api.stores.audit import Audit, Entry, Wanted
from longtask_api.stores.blobs import Blobs
from longtask_api.stores.ledger import Channel, Ledger, Notice
from longtask_api.stores.log_tails import LogTails
from longtask_api.stores.resources import Resources
from longtask_api.stores.users import Invite, User, Users
from longtask_api.workers import sweeper
from longtask_crds import names, v1alpha1
from longtask_crds.testing import FINISHED, NAMESPACE, NOW, a_task, with_meta, with_status

KEEP = timedelta(days=90)
OLD, YOUNG = NOW - KEEP - timedelta(seconds=1), NOW - KEEP + timedelta(seconds=1)


class Rooms:
    """The rooms that are swept."""

    def __init__(self, database: Database, archive: Archive) -> None:
        self.archive = archive
        self.live: Cache[v1alpha1.LongTask] = Cache()
        self.now = NOW
        blobs = Blobs(database, clock=lambda: self.now)
        self.tails = LogTails(blobs)
        self.accounts = Users(database)
        self.audit = Audit(database)
        self.ledger = Ledger(database, clock=lambda: self.now)
        self.forgotten: list[str] = []
        self.resources = Resources(
            None,  # type: ignore[arg-type]
            archive,
            namespace=NAMESPACE,
            tasks=self.live,
            types=Cache(),
            queues=Cache(),
        )
        self.sweeper = sweeper.Sweeper(
            self.resources,
            blobs,
            self.accounts,
            self.audit,
            self.ledger,
            Metrics(),
            self.forget,
            keep=KEEP,
            keep_audit=KEEP,
            clock=lambda: NOW,
            sleep=lambda _: asyncio.sleep(0),
        )

    async def forget(self, owners: Iterable[str]) -> None:
        self.forgotten.extend(owners)

    async def archived(self, name: str, at: datetime) -> None:
        await self.archive.put(an_ended(name), queue="default", at=at)

    async def logged(self, name: str, at: datetime) -> None:
        self.now = at
        await self.tails.put(name, 1, b"x\n")

    async def left(self, names_: str) -> str:
        """Return whose logs are left."""
        return "".join([name for name in names_ if await self.tails.holds(name, 1)])


def an_ended(name: str) -> v1alpha1.LongTask:
    task = a_task(name, uid=name)
    return with_status(task, conditions=[FINISHED], phase=v1alpha1.Phase.SUCCEEDED)


@pytest.fixture
def rooms(database: Database, archive: Archive) -> Rooms:
    return Rooms(database, archive)


@pytest.mark.parametrize("batch", [1, 200])
async def test_what_was_kept_long_enough_goes_with_its_logs(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(sweeper, "_BATCH", batch)
    for name, at in (("a", OLD), ("b", YOUNG), ("c", OLD), ("d", OLD)):
        await rooms.archived(name, at)
        await rooms.logged(name, OLD)
    # Its time was changed after it was archived: it is not gone yet.
    rooms.live.put(an_ended("d"))
    await rooms.sweeper.sweep()
    found = [await rooms.archive.find(names.ObjectKey(NAMESPACE, name)) for name in "abcd"]
    assert "".join(task.metadata.name for task in found if task) == "bd"
    assert await rooms.left("abcd") == "bd"


async def test_what_a_living_task_takes_over_stays(rooms: Rooms) -> None:
    ref = {"size": 1, "sha256": "0" * 64, "taskUid": "o"}
    text = json.dumps({"results": {"s": {"ref": ref}}})
    rooms.live.put(with_meta(a_task("l", uid="l"), annotations={names.REUSE_ANNOTATION: text}))
    await rooms.archived("o", OLD)
    for name in "od":
        await rooms.logged(name, OLD)
    await rooms.sweeper.sweep()
    assert await rooms.archive.find(names.ObjectKey(NAMESPACE, "o")) is None
    assert await rooms.left("od") == "o"
    rooms.live.remove(names.ObjectKey(NAMESPACE, "l"), "l")
    await rooms.sweeper.sweep()
    assert await rooms.left("od") == ""


async def test_blobs_go_with_their_tasks(rooms: Rooms) -> None:
    rooms.live.put(a_task("l", uid="l"))
    await rooms.archived("a", NOW)
    for name, at in (("l", OLD), ("a", OLD), ("d", OLD), ("n", NOW)):
        await rooms.logged(name, at)
    await rooms.sweeper.sweep()
    # Of what is new the task may just not be heard of.
    assert await rooms.left("ladn") == "lan"


async def test_what_has_expired_goes(rooms: Rooms) -> None:
    for name, expires_at in (("old", NOW), ("young", NOW + timedelta(seconds=1))):
        await a_token(rooms.accounts, "ada", expires_at=expires_at)
        invite = Invite(name, f"sum of {name}", "user", None, "root", OLD, expires_at)
        await rooms.accounts.add_invite(invite)
    await rooms.sweeper.sweep()
    left = await rooms.accounts.tokens_of("ada", at=OLD)
    assert [token.expires_at for token in left] == [NOW + timedelta(seconds=1)]
    assert [i.id for i in await rooms.accounts.invites(at=OLD, limit=9)] == ["young"]


async def test_what_was_done_long_ago_is_forgotten(rooms: Rooms) -> None:
    def an_act(number: int, at: datetime) -> Entry:
        return Entry(f"{number:032}", at, "rest", "createTask", "ada", "ada", "done")

    old, young = [an_act(n, OLD) for n in range(450)], [an_act(n, YOUNG) for n in range(450, 460)]
    await rooms.audit.add(old + young)
    await rooms.sweeper.sweep()
    left = await rooms.audit.page(Wanted(), after=None, limit=500)
    assert {one.id for one in left} == {one.id for one in young}


async def test_what_was_told_long_ago_goes(rooms: Rooms) -> None:
    for name, days in (("old", 8), ("young", 6)):
        rooms.now = NOW - timedelta(days=days)
        told = Notice(Channel.MAIL, name, "queued", 1, "u", "n", name, None, "a@b.test", "{}")
        await rooms.ledger.note([told])
    await rooms.sweeper.sweep()
    assert [entry.task_name for entry in await rooms.ledger.page(Channel.MAIL, limit=9)] == [
        "young"
    ]


async def test_keys_go_with_who_was_deleted(rooms: Rooms) -> None:
    for name in ("ada", "bob"):
        await rooms.accounts.add(User(name, None, "user", "no hash of any password", NOW))
    await rooms.accounts.remove("ada", at=NOW)
    await rooms.sweeper.sweep()
    assert rooms.forgotten == ["ada"]
