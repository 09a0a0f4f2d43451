"""Which keys sign a task's callback, and that no other Secret can be read by it."""

import base64
from datetime import timedelta

import pytest

from longtask_adapters import testing
from longtask_adapters.kube import connection, errors
from longtask_crds import names, signing_keys, v1alpha1
from longtask_crds.testing import NOW, a_task, with_meta
from longtask_operator import keys

HOME = "longtask"
PLACE = names.ObjectKey(HOME, signing_keys.KEYS_SECRET)
KEY = signing_keys.new_key()
#: What is in a Secret as it travels, and is no UTF-8.
NO_TEXT = base64.b64encode(b"\xff\xfe").decode()
LABELLED = {names.CALLBACK_SECRET_LABEL: "true"}
OWN = a_task(
    type="sleep",
    callback={"url": "https://example.com/", "secretRef": {"name": "mine", "key": "signing"}},
)


def a_task_of(owner: str | None) -> v1alpha1.LongTask:
    task = a_task(type="sleep", callback={"url": "https://example.com/"})
    return with_meta(task, labels={names.OWNER_LABEL: owner} if owner else {})


def a_ring(kubernetes: testing.MemoryKubernetes) -> keys.KeyRing:
    return keys.KeyRing(connection.Connection(kubernetes, user_agent="test"), HOME)


def store(kubernetes: testing.MemoryKubernetes, **owners: str) -> None:
    """Store the keys of these owners."""
    kubernetes.add_secret(signing_keys.KEYS_SECRET, owners, namespace=HOME)


@pytest.fixture
def kubernetes() -> testing.MemoryKubernetes:
    return testing.MemoryKubernetes()


@pytest.fixture
def ring(kubernetes: testing.MemoryKubernetes) -> keys.KeyRing:
    return a_ring(kubernetes)


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        pytest.param("alice", "alice", id="the-owners-key"),
        pytest.param(None, "default", id="nobodys-key"),
    ],
)
async def test_the_owners_key_signs(
    kubernetes: testing.MemoryKubernetes, ring: keys.KeyRing, owner: str | None, expected: str
) -> None:
    stored = {"alice": signing_keys.new_key(), "default": signing_keys.new_key()}
    store(kubernetes, **stored)
    assert await ring.keys_for(a_task_of(owner), now=NOW) == [stored[expected]]


async def test_both_keys_sign_for_a_day_after_a_rotation(
    kubernetes: testing.MemoryKubernetes, ring: keys.KeyRing
) -> None:
    old, new = signing_keys.new_key(), signing_keys.new_key()
    rotated = signing_keys.OwnerKeys.parse(old).rotated(new, NOW)
    store(kubernetes, alice=rotated.render())
    task = a_task_of("alice")
    assert await ring.keys_for(task, now=NOW) == [new, old]
    assert await ring.keys_for(task, now=NOW + timedelta(days=1)) == [new]


async def test_a_key_is_made_on_first_use_and_stays(
    kubernetes: testing.MemoryKubernetes, ring: keys.KeyRing
) -> None:
    store(kubernetes)
    (made,) = await ring.keys_for(a_task_of("alice"), now=NOW)
    signing_keys.check_key(made)
    assert await ring.keys_for(a_task_of("alice"), now=NOW) == [made]
    assert await a_ring(kubernetes).keys_for(a_task_of("alice"), now=NOW) == [made]
    assert kubernetes.writes == 1


async def test_keys_that_somebody_spoilt_are_left_to_be_mended(
    kubernetes: testing.MemoryKubernetes, ring: keys.KeyRing
) -> None:
    store(kubernetes, alice=f"{KEY[:20]}\n{KEY} tomorrow")
    with pytest.raises(keys.KeyUnavailable, match=r"line 1: .*line 2: ") as caught:
        await ring.keys_for(a_task_of("alice"), now=NOW)
    assert KEY[6:20] not in str(caught.value)
    assert kubernetes.writes == 0


async def test_keys_that_are_no_text_are_left_to_be_mended(
    kubernetes: testing.MemoryKubernetes, ring: keys.KeyRing
) -> None:
    store(kubernetes, bob=KEY)
    kubernetes.put("secrets", PLACE, data={"alice": NO_TEXT})
    with pytest.raises(keys.KeyUnavailable, match="alice"):
        await ring.keys_for(a_task_of("alice"), now=NOW)
    assert await ring.keys_for(a_task_of("bob"), now=NOW) == [KEY]
    assert kubernetes.writes == 0


async def test_each_owner_has_a_key_of_their_own(
    kubernetes: testing.MemoryKubernetes, ring: keys.KeyRing
) -> None:
    store(kubernetes)
    found = {tuple(await ring.keys_for(a_task_of(o), now=NOW)) for o in ("alice", "bob", None)}
    assert len(found) == 3


async def test_a_key_that_another_made_just_before_is_the_one(
    kubernetes: testing.MemoryKubernetes, ring: keys.KeyRing
) -> None:
    store(kubernetes)

    def another_was_first(_write: str, moment: str) -> None:
        if moment == "before":
            kubernetes.interrupt = lambda _write, _moment: None
            store(kubernetes, alice=KEY)

    kubernetes.interrupt = another_was_first
    assert await ring.keys_for(a_task_of("alice"), now=NOW) == [KEY]
    assert kubernetes.writes == 0


async def test_without_the_secret_of_all_keys_nothing_is_signed(ring: keys.KeyRing) -> None:
    with pytest.raises(errors.NotFound):
        await ring.keys_for(a_task_of("alice"), now=NOW)


# --- a Secret of the task's own ---


async def test_a_task_may_bring_its_own_key(
    kubernetes: testing.MemoryKubernetes, ring: keys.KeyRing
) -> None:
    kubernetes.add_secret("mine", {"signing": f"{KEY}\n"}, labels=LABELLED)
    assert await ring.keys_for(OWN, now=NOW) == [KEY]


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
    kubernetes: testing.MemoryKubernetes,
    ring: keys.KeyRing,
    data: dict[str, str],
    labels: dict[str, str],
) -> None:
    kubernetes.add_secret("mine", data, labels=labels)
    with pytest.raises(keys.KeyUnavailable) as caught:
        await ring.keys_for(OWN, now=NOW)
    assert not any(value in str(caught.value) for value in data.values() if value)


async def test_a_secret_that_is_no_text_signs_nothing(
    kubernetes: testing.MemoryKubernetes, ring: keys.KeyRing
) -> None:
    kubernetes.add_secret("mine", labels=LABELLED)
    kubernetes.put("secrets", "mine", data={"signing": NO_TEXT})
    with pytest.raises(keys.KeyUnavailable):
        await ring.keys_for(OWN, now=NOW)


async def why_not(ring: keys.KeyRing) -> str:
    with pytest.raises(keys.KeyUnavailable) as caught:
        await ring.keys_for(OWN, now=NOW)
    return str(caught.value)


async def test_nobody_learns_by_a_callback_which_secrets_there_are(
    kubernetes: testing.MemoryKubernetes, ring: keys.KeyRing
) -> None:
    missing = await why_not(ring)
    kubernetes.add_secret("mine", {"signing": KEY})
    assert await why_not(ring) == missing
    assert "mine" in missing
    assert f'{names.CALLBACK_SECRET_LABEL}: "true"' in missing


async def test_a_secret_of_another_namespace_is_out_of_reach(
    kubernetes: testing.MemoryKubernetes, ring: keys.KeyRing
) -> None:
    kubernetes.add_secret("mine", {"signing": KEY}, labels=LABELLED, namespace=HOME)
    with pytest.raises(keys.KeyUnavailable):
        await ring.keys_for(OWN, now=NOW)


async def test_a_tasks_own_secret_is_read_anew_each_time(
    kubernetes: testing.MemoryKubernetes, ring: keys.KeyRing
) -> None:
    for key in (KEY, signing_keys.new_key()):
        kubernetes.add_secret("mine", {"signing": key}, labels=LABELLED)
        assert await ring.keys_for(OWN, now=NOW) == [key]


# --- the picture of the owners' keys ---


def reads(kubernetes: testing.MemoryKubernetes) -> int:
    return kubernetes.calls.count(f"get secrets {signing_keys.KEYS_SECRET}")


async def test_the_owners_keys_are_not_read_for_each_callback(
    kubernetes: testing.MemoryKubernetes, ring: keys.KeyRing
) -> None:
    store(kubernetes, alice=KEY)
    for _ in range(3):
        await ring.keys_for(a_task_of("alice"), now=NOW)
    assert reads(kubernetes) == 1


async def test_one_made_after_all_have_expired_is_in_the_picture_too(
    kubernetes: testing.MemoryKubernetes, ring: keys.KeyRing
) -> None:
    store(kubernetes, alice=f"{KEY} 2020-01-01T00:00:00Z")
    made = await ring.keys_for(a_task_of("alice"), now=NOW)
    assert made != [KEY]
    assert await ring.keys_for(a_task_of("alice"), now=NOW) == made
    before = reads(kubernetes)
    assert await ring.keys_for(a_task_of("alice"), now=NOW) == made
    assert reads(kubernetes) == before


async def test_an_owner_that_the_picture_lacks_is_looked_up(
    kubernetes: testing.MemoryKubernetes, ring: keys.KeyRing
) -> None:
    store(kubernetes, alice=KEY)
    await ring.keys_for(a_task_of("alice"), now=NOW)
    newer = signing_keys.new_key()
    store(kubernetes, alice=KEY, bob=newer)
    assert await ring.keys_for(a_task_of("bob"), now=NOW) == [newer]
    assert reads(kubernetes) == 2
