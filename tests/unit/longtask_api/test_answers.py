import pytest
from fastapi import Response

from longtask_api.http import answers


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        pytest.param(None, None, id="nothing"),
        pytest.param("wait=30", 30, id="plain"),
        pytest.param("respond-async, wait=5", 5, id="among-others"),
        pytest.param("wait=999", 60, id="never-more-than-a-minute"),
        pytest.param("wait=-1", None, id="no-number"),
        pytest.param("await=3", None, id="another-word"),
    ],
)
def test_wait_of(prefer: str | None, seconds: int | None) -> None:
    assert answers.wait_of(prefer) == seconds


ETAG = answers.unless_known(Response("seen"), None).headers["ETag"]


@pytest.mark.parametrize(
    ("known", "status"),
    [
        pytest.param(None, 200, id="nothing"),
        pytest.param('"another"', 200, id="another"),
        pytest.param(ETAG, 304, id="this-one"),
        pytest.param(f'"another", W/{ETAG}', 304, id="this-one-among-others"),
        pytest.param("*", 304, id="any"),
    ],
)
def test_what_the_client_knows(known: str | None, status: int) -> None:
    answer = answers.unless_known(
        Response("seen", media_type="text/plain", headers={"Retry-After": "1"}), known
    )
    assert answer.status_code == status
    assert (answer.headers["ETag"], answer.headers["Retry-After"]) == (ETAG, "1")
    assert ("content-type" in answer.headers) == (answer.body == b"seen") == (status == 200)
