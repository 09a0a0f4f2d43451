"""Which keys sign: the task's own Secret's, or its owner's, made on first use."""

from datetime import timedelta
from typing import Any

import pytest

from longtask_crds import callback, names, v1alpha1
from longtask_operator import cluster, errors, keys, testing
from longtask_operator.testing import NOW, MemoryCluster, a_task

SECRETS = "longtask"
KEY, OTHER = callback.new_key(), callback.new_key()
LABELLED = {names.CALLBACK_SECRET_LABEL: "true"}


class CountingCluster(MemoryCluster):
    """Counts how often a Secret is read."""

    reads = 0

    async def get_secret(self, name: str, *, namespace: str | None = None) -> cluster.Secret:
        self.reads += 1
        return await super().get_secret(name, namespace=namespace)


def a_cluster(**stored: str) -> CountingCluster:
    """Return a cluster with the owners' Secret; the keywords are its data."""
    made = CountingCluster()
    made.add_secret(callback.KEYS_SECRET, stored, namespace=SECRETS)
    return made


def of_owner(owner: str | None = None) -> v1alpha1.LongTask:
    labels = {names.OWNER_LABEL: owner} if owner else {}
    return testing.with_meta(
        a_task(type="sleep", callback={"url": "https://a.example"}), **{"labels": labels}
    )


def with_secret(name: str = "mine", key: str = "key") -> v1alpha1.LongTask:
    to: dict[str, Any] = {"url": "https://a.example", "secretRef": {"name": name, "key": key}}
    return a_task(type="sleep", callback=to)


# --- the task's own Secret -----------------------------------------------------------------------


async def test_a_secret_of_its_own_signs_alone() -> None:
    kubernetes = a_cluster(default=OTHER)
    kubernetes.add_secret("mine", {"key": KEY}, labels=LABELLED)
    ring = keys.KeyRing(kubernetes, SECRETS)
    assert await ring.keys_for(with_secret(), now=NOW) == [KEY]


async def test_white_space_around_a_key_does_not_matter() -> None:
    kubernetes = a_cluster()
    kubernetes.add_secret("mine", {"key": f" {KEY}\n"}, labels=LABELLED)
    assert await keys.KeyRing(kubernetes, SECRETS).keys_for(with_secret(), now=NOW) == [KEY]


async def test_a_changed_secret_signs_at_once() -> None:
    kubernetes = a_cluster()
    ring = keys.KeyRing(kubernetes, SECRETS)
    for key in (KEY, OTHER):
        kubernetes.add_secret("mine", {"key": key}, labels=LABELLED)
        assert await ring.keys_for(with_secret(), now=NOW) == [key]


SHORT = "whsec_" + "QUFB"


@pytest.mark.parametrize(
    ("data", "labels", "why"),
    [
        pytest.param({"key": KEY}, {}, "has no label", id="without-the-label"),
        pytest.param(
            {"key": KEY},
            {names.CALLBACK_SECRET_LABEL: "false"},
            "has no label",
            id="with-the-label-set-to-false",
        ),
        pytest.param(
            {"key": KEY}, {names.ENV_SECRET_LABEL: "true"}, "has no label", id="for-env-only"
        ),
        pytest.param({"other": KEY}, LABELLED, "has no key key", id="without-that-key"),
        pytest.param({"key": ""}, LABELLED, "no usable key", id="empty"),
        pytest.param({"key": SHORT}, LABELLED, "no usable key", id="too-short"),
        pytest.param({"key": KEY.removeprefix("whsec_")}, LABELLED, "no usable", id="no-prefix"),
        pytest.param({"key": "whsec_*"}, LABELLED, "no usable key", id="no-base64"),
    ],
)
async def test_a_secret_that_cannot_sign(
    data: dict[str, str], labels: dict[str, str], why: str
) -> None:
    kubernetes = a_cluster(default=OTHER)
    kubernetes.add_secret("mine", data, labels=labels)
    with pytest.raises(keys.KeyUnavailable, match=why) as caught:
        await keys.KeyRing(kubernetes, SECRETS).keys_for(with_secret(), now=NOW)
    assert not any(value and value in str(caught.value) for value in data.values()), "a secret"


async def test_bytes_that_are_no_text_cannot_sign() -> None:
    kubernetes = a_cluster()
    kubernetes.add_secret("mine", {"key": ""}, labels=LABELLED)
    kubernetes.secrets[testing.NAMESPACE, "mine"]["data"] = {"key": "/w=="}
    with pytest.raises(keys.KeyUnavailable, match="no usable key"):
        await keys.KeyRing(kubernetes, SECRETS).keys_for(with_secret(), now=NOW)


async def test_a_secret_that_is_not_there_cannot_sign() -> None:
    with pytest.raises(keys.KeyUnavailable, match="there is no Secret mine"):
        await keys.KeyRing(a_cluster(), SECRETS).keys_for(with_secret(), now=NOW)


async def test_a_task_cannot_name_the_owners_secret() -> None:
    kubernetes = a_cluster(default=KEY)
    task = with_secret(callback.KEYS_SECRET, "default")
    with pytest.raises(keys.KeyUnavailable, match="there is no Secret"):
        await keys.KeyRing(kubernetes, SECRETS).keys_for(task, now=NOW)


# --- the owner's keys ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        pytest.param(None, [KEY], id="a-task-without-an-owner-has-the-default"),
        pytest.param("ada", [OTHER], id="an-owner-has-their-own"),
    ],
)
async def test_an_owners_key_signs(owner: str | None, expected: list[str]) -> None:
    ring = keys.KeyRing(a_cluster(default=KEY, ada=OTHER), SECRETS)
    assert await ring.keys_for(of_owner(owner), now=NOW) == expected


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(timedelta(hours=23), [KEY, OTHER], id="for-a-day-both-sign-the-newest-first"),
        pytest.param(timedelta(hours=25), [KEY], id="after-that-the-new-one-alone"),
    ],
)
async def test_a_rotated_key(after: timedelta, expected: list[str]) -> None:
    stored = callback.OwnerKeys(((OTHER, None),)).rotated(KEY, NOW)
    ring = keys.KeyRing(a_cluster(default=stored.render()), SECRETS)
    assert await ring.keys_for(of_owner(), now=NOW + after) == expected


async def test_the_secret_is_not_read_for_each_callback() -> None:
    kubernetes = a_cluster(default=KEY, ada=OTHER)
    ring = keys.KeyRing(kubernetes, SECRETS)
    for owner in (None, "ada", None):
        await ring.keys_for(of_owner(owner), now=NOW)
    assert kubernetes.reads == 1


async def test_an_owner_that_the_picture_lacks_is_looked_up() -> None:
    kubernetes = a_cluster(default=KEY)
    ring = keys.KeyRing(kubernetes, SECRETS)
    await ring.keys_for(of_owner(), now=NOW)
    kubernetes.add_secret(
        callback.KEYS_SECRET, {"default": KEY, "ada": OTHER}, namespace=SECRETS
    )  # by the API
    assert await ring.keys_for(of_owner("ada"), now=NOW) == [OTHER]


async def test_an_owners_first_key_is_made_and_kept() -> None:
    kubernetes = a_cluster(default=KEY)
    (made,) = await keys.KeyRing(kubernetes, SECRETS).keys_for(of_owner("ada"), now=NOW)
    assert callback.check_key(made) == made
    assert await keys.KeyRing(kubernetes, SECRETS).keys_for(of_owner("ada"), now=NOW) == [made]
    assert await keys.KeyRing(kubernetes, SECRETS).keys_for(of_owner(), now=NOW) == [KEY]


async def test_a_key_that_somebody_else_just_made_is_not_overwritten() -> None:
    kubernetes = a_cluster()
    ring = keys.KeyRing(kubernetes, SECRETS)

    def somebody_is_first(write: str, moment: str) -> None:
        if (write, moment) == ("add_to_secret", "before"):
            kubernetes.interrupt = lambda _write, _moment: None
            kubernetes.add_secret(callback.KEYS_SECRET, {"default": KEY}, namespace=SECRETS)

    kubernetes.interrupt = somebody_is_first
    with pytest.raises(errors.Conflict):
        await ring.keys_for(of_owner(), now=NOW)
    assert await ring.keys_for(of_owner(), now=NOW) == [KEY]


async def test_without_the_owners_secret_the_callback_waits() -> None:
    with pytest.raises(errors.NotFound):
        await keys.KeyRing(MemoryCluster(), SECRETS).keys_for(of_owner(), now=NOW)


def test_a_secret_does_not_show_its_data() -> None:
    meta = {"name": "mine", "namespace": "longtasks", "resourceVersion": "1"}
    secret = cluster.Secret({"metadata": meta, "data": {"key": "c2VjcmV0"}})
    assert secret.get("key") == "secret"
    assert secret.get("other") is None
    assert "secret" not in f"{secret!r} {secret}".lower().replace("secret object", "")
