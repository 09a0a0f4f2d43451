"""Which keys sign a task's callback, and that no other Secret can be read by it."""

import base64
from datetime import timedelta
from typing import Any

import pytest

from longtask_crds import names, signing_keys, v1alpha1
from longtask_crds.testing import NOW, a_task, with_meta
from longtask_operator import cluster as secrets
from longtask_operator import errors, keys
from longtask_operator.testing import MemoryCluster

HOME = "longtask"
KEY = signing_keys.new_key()
LABELLED = {names.CALLBACK_SECRET_LABEL: "true"}
OWN = a_task(
    type="sleep",
    callback={"url": "https://example.com/", "secretRef": {"name": "mine", "key": "signing"}},
)


def a_task_of(owner: str | None) -> v1alpha1.LongTask:
    task = a_task(type="sleep", callback={"url": "https://example.com/"})
    return with_meta(task, labels={names.OWNER_LABEL: owner} if owner else {})


def a_ring(cluster: MemoryCluster, **stored: str) -> keys.KeyRing:
    cluster.add_secret(signing_keys.KEYS_SECRET, stored, namespace=HOME)
    return keys.KeyRing(cluster, HOME)


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        pytest.param("alice", "alice", id="the-owners-key"),
        pytest.param(None, "default", id="nobodys-key"),
    ],
)
async def test_the_owners_key_signs(
    cluster: MemoryCluster, owner: str | None, expected: str
) -> None:
    stored = {"alice": signing_keys.new_key(), "default": signing_keys.new_key()}
    ring = a_ring(cluster, **stored)
    assert await ring.keys_for(a_task_of(owner), now=NOW) == [stored[expected]]


async def test_both_keys_sign_for_a_day_after_a_rotation(cluster: MemoryCluster) -> None:
    old, new = signing_keys.new_key(), signing_keys.new_key()
    rotated = signing_keys.OwnerKeys.parse(old).rotated(new, NOW)
    ring = a_ring(cluster, alice=rotated.render())
    task = a_task_of("alice")
    assert await ring.keys_for(task, now=NOW) == [new, old]
    assert await ring.keys_for(task, now=NOW + timedelta(days=1)) == [new]


async def test_a_key_is_made_on_first_use_and_stays(cluster: MemoryCluster) -> None:
    ring = a_ring(cluster)
    (made,) = await ring.keys_for(a_task_of("alice"), now=NOW)
    signing_keys.check_key(made)
    assert await ring.keys_for(a_task_of("alice"), now=NOW) == [made]
    assert await keys.KeyRing(cluster, HOME).keys_for(a_task_of("alice"), now=NOW) == [made]
    assert cluster.writes == 1


async def test_keys_that_somebody_spoilt_are_left_to_be_mended(cluster: MemoryCluster) -> None:
    ring = a_ring(cluster, alice=f"{KEY[:20]}\n{KEY} tomorrow")
    with pytest.raises(keys.KeyUnavailable, match=r"line 1: .*line 2: ") as caught:
        await ring.keys_for(a_task_of("alice"), now=NOW)
    assert KEY[6:20] not in str(caught.value)
    assert cluster.writes == 0


async def test_each_owner_has_a_key_of_their_own(cluster: MemoryCluster) -> None:
    ring = a_ring(cluster)
    found = {tuple(await ring.keys_for(a_task_of(o), now=NOW)) for o in ("alice", "bob", None)}
    assert len(found) == 3


async def test_a_key_that_another_made_just_before_is_the_one(cluster: MemoryCluster) -> None:
    ring = a_ring(cluster)

    def another_was_first(_write: str, moment: str) -> None:
        if moment == "before":
            cluster.interrupt = lambda _write, _moment: None
            cluster.add_secret(signing_keys.KEYS_SECRET, {"alice": KEY}, namespace=HOME)

    cluster.interrupt = another_was_first
    with pytest.raises(errors.Conflict):
        await ring.keys_for(a_task_of("alice"), now=NOW)
    assert await ring.keys_for(a_task_of("alice"), now=NOW) == [KEY]


async def test_without_the_secret_of_all_keys_nothing_is_signed(cluster: MemoryCluster) -> None:
    with pytest.raises(errors.NotFound):
        await keys.KeyRing(cluster, HOME).keys_for(a_task_of("alice"), now=NOW)


async def test_a_task_may_bring_its_own_key(cluster: MemoryCluster) -> None:
    cluster.add_secret("mine", {"signing": f"{KEY}\n"}, labels=LABELLED)
    assert await keys.KeyRing(cluster, HOME).keys_for(OWN, now=NOW) == [KEY]


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        pytest.param({"signing": KEY}, {}, id="without-the-label"),
        pytest.param(
            {"signing": KEY}, {names.CALLBACK_SECRET_LABEL: "yes"}, id="with-another-label"
        ),
        pytest.param({"signing": KEY}, {names.ENV_SECRET_LABEL: "true"}, id="labelled-for-env"),
        pytest.param({"other": KEY}, LABELLED, id="without-the-key"),
        pytest.param({"signing": "password"}, LABELLED, id="with-something-else"),
        pytest.param({"signing": "whsec_c2hvcnQ="}, LABELLED, id="with-a-weak-key"),
        pytest.param({"signing": ""}, LABELLED, id="with-nothing"),
        pytest.param({"signing": "whsec_é"}, LABELLED, id="with-no-ascii"),
    ],
)
async def test_another_secret_signs_nothing(
    cluster: MemoryCluster, data: dict[str, str], labels: dict[str, str]
) -> None:
    cluster.add_secret("mine", data, labels=labels)
    with pytest.raises(keys.KeyUnavailable) as caught:
        await keys.KeyRing(cluster, HOME).keys_for(OWN, now=NOW)
    assert not any(value in str(caught.value) for value in data.values() if value)


async def test_a_secret_that_is_no_text_signs_nothing(cluster: MemoryCluster) -> None:
    cluster.add_secret("mine", labels=LABELLED)
    raw: dict[str, Any] = cluster.secrets["longtasks", "mine"]
    raw["data"]["signing"] = base64.b64encode(b"\xff\xfe").decode()
    with pytest.raises(keys.KeyUnavailable):
        await keys.KeyRing(cluster, HOME).keys_for(OWN, now=NOW)


async def test_a_missing_secret_signs_nothing(cluster: MemoryCluster) -> None:
    with pytest.raises(keys.KeyUnavailable):
        await keys.KeyRing(cluster, HOME).keys_for(OWN, now=NOW)


async def test_a_secret_of_another_namespace_is_out_of_reach(cluster: MemoryCluster) -> None:
    cluster.add_secret("mine", {"signing": KEY}, labels=LABELLED, namespace=HOME)
    with pytest.raises(keys.KeyUnavailable):
        await keys.KeyRing(cluster, HOME).keys_for(OWN, now=NOW)


# --- the picture of the owners' keys ---


class CountingCluster(MemoryCluster):
    """Counts how often a Secret is read."""

    reads = 0

    async def get_secret(self, name: str, *, namespace: str | None = None) -> secrets.Secret:
        self.reads += 1
        return await super().get_secret(name, namespace=namespace)


async def test_the_owners_keys_are_not_read_for_each_callback() -> None:
    cluster = CountingCluster()
    ring = a_ring(cluster, alice=KEY)
    for _ in range(3):
        await ring.keys_for(a_task_of("alice"), now=NOW)
    assert cluster.reads == 1


async def test_an_owner_that_the_picture_lacks_is_looked_up() -> None:
    cluster = CountingCluster()
    ring = a_ring(cluster, alice=KEY)
    await ring.keys_for(a_task_of("alice"), now=NOW)
    newer = signing_keys.new_key()
    cluster.add_secret(signing_keys.KEYS_SECRET, {"alice": KEY, "bob": newer}, namespace=HOME)
    assert await ring.keys_for(a_task_of("bob"), now=NOW) == [newer]
    assert cluster.reads == 2


async def test_a_tasks_own_secret_is_read_anew_each_time() -> None:
    cluster = CountingCluster()
    ring = keys.KeyRing(cluster, HOME)
    newer = signing_keys.new_key()
    for key in (KEY, newer):
        cluster.add_secret("mine", {"signing": key}, labels=LABELLED)
        assert await ring.keys_for(OWN, now=NOW) == [key]
