import pytest

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


@pytest.mark.parametrize(
    ("if_none_match", "known"),
    [
        pytest.param('"another"', False, id="another"),
        pytest.param('"this"', True, id="this-one"),
        pytest.param('"another", W/"this"', True, id="this-one-among-others"),
        pytest.param("*", True, id="any"),
    ],
)
def test_what_the_client_knows(if_none_match: str, known: bool) -> None:
    assert answers.is_known(if_none_match, '"this"') is known


@pytest.mark.parametrize(
    ("if_match", "versions"),
    [
        pytest.param(None, None, id="nothing"),
        pytest.param("*", None, id="any"),
        pytest.param('"12-ab"', {"12"}, id="one"),
        pytest.param('"12-ab", "13-cd"', {"12", "13"}, id="several"),
        pytest.param('W/"12-ab"', set(), id="a-weak-one-proves-nothing"),
        pytest.param("12", set(), id="no-tag"),
    ],
)
def test_versions(if_match: str | None, versions: set[str] | None) -> None:
    assert answers.versions(if_match) == versions
