import base64
from collections.abc import Callable

import pytest

from longtask_adapters import testing
from longtask_adapters.kube import connection, errors, secrets
from longtask_adapters.testing.kubernetes import Refusal
from longtask_crds import names

KEY = names.ObjectKey("longtask", "keys")


@pytest.fixture(autouse=True)
def _secret(kubernetes: testing.MemoryKubernetes) -> None:
    data = {"kept": "whsec_kept", "old": "old"}
    kubernetes.add_secret("keys", data, labels={"a": "b"}, namespace="longtask")


def made_of(value: str) -> str | None:
    """Make a key where there is none, and after an old one."""
    return {"": "fresh", "old": "fresh\nold"}.get(value)


async def test_a_secret_is_read_and_its_text_hides_what_it_holds(
    connected: connection.Connection,
) -> None:
    secret = await secrets.read(connected, KEY)
    assert (secret.get("kept"), secret.get("none")) == ("whsec_kept", None)
    assert (secret.key, secret.labels) == (KEY, {"a": "b"})
    assert "kept" not in f"{secret} {secret!r}"


async def test_a_secret_is_written_only_on_top_of_what_was_read(
    connected: connection.Connection,
) -> None:
    secret = await secrets.read(connected, KEY)
    after = await secrets.write(connected, secret, {"new": "é"})
    assert (after.get("new"), after.get("kept")) == ("é", "whsec_kept")
    with pytest.raises(errors.Conflict):
        await secrets.write(connected, secret, {"new": "another"})
    assert (await secrets.read(connected, KEY)).get("new") == "é"


@pytest.mark.parametrize(
    ("data_key", "value", "writes"),
    [
        pytest.param("kept", "whsec_kept", 0, id="what-will-do-is-left-as-it-is"),
        pytest.param("none", "fresh", 1, id="the-first-is-made"),
        pytest.param("old", "fresh\nold", 1, id="what-will-not-do-is-made-anew-of-it"),
    ],
)
async def test_ensure(
    kubernetes: testing.MemoryKubernetes,
    connected: connection.Connection,
    data_key: str,
    value: str,
    writes: int,
) -> None:
    assert await secrets.ensure(connected, KEY, data_key, made_of) == value
    assert kubernetes.writes == writes
    assert (await secrets.read(connected, KEY)).get(data_key) == value
    assert (await secrets.read(connected, KEY)).get("kept") == "whsec_kept"


async def test_what_is_no_text_is_made_anew(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    binary = base64.b64encode(b"\xff").decode()
    kubernetes.put("secrets", KEY, data={"binary": binary})
    assert await secrets.ensure(connected, KEY, "binary", made_of) == "fresh"


def somebody_writes(
    kubernetes: testing.MemoryKubernetes, times: int, value: str
) -> Callable[[str, str], None]:
    """Return what happens before our writes: another's, a few times."""
    left = iter(range(times))
    encoded = base64.b64encode(value.encode()).decode()

    def interrupt(_write: str, moment: str) -> None:
        if moment == "before" and (number := next(left, None)) is not None:
            kubernetes.put("secrets", KEY, data={"none": encoded, "another": str(number)})

    return interrupt


async def test_who_comes_second_takes_what_the_first_one_made(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    kubernetes.interrupt = somebody_writes(kubernetes, 1, "theirs")
    assert await secrets.ensure(connected, KEY, "none", made_of) == "theirs"


async def test_a_secret_that_others_keep_writing_is_given_up(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    kubernetes.interrupt = somebody_writes(kubernetes, 99, "old")
    with pytest.raises(errors.Unavailable, match="longtask/keys"):
        await secrets.ensure(connected, KEY, "none", made_of)


async def test_a_secret_that_is_full_is_said_to_be(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    def refuse(_write: str, moment: str) -> None:
        if moment == "before":
            raise Refusal(422, "Invalid", "data: Too long: may not be more than 1048576 bytes")

    kubernetes.interrupt = refuse
    with pytest.raises(errors.Full, match="longtask/keys has no room for the key of none"):
        await secrets.ensure(connected, KEY, "none", made_of)


async def test_keys_are_dropped_and_the_others_stay(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    assert await secrets.drop(connected, KEY, ["old", "none"]) == ["old"]
    left = await secrets.read(connected, KEY)
    assert (left.get("old"), left.get("kept")) == (None, "whsec_kept")
    writes = kubernetes.writes
    assert await secrets.drop(connected, KEY, ["old"]) == []
    assert kubernetes.writes == writes


async def test_without_the_secret_nothing_is_made(connected: connection.Connection) -> None:
    with pytest.raises(errors.NotFound):
        await secrets.ensure(connected, names.ObjectKey("longtask", "none"), "a", made_of)
