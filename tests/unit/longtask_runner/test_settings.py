"""What the environment of a container says."""

import pytest

from longtask_runner import settings


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("15", 15, id="a-limit"),
        pytest.param("", None, id="no-limit"),
        pytest.param("soon", None, id="nothing-that-could-be-kept"),
    ],
)
def test_the_longest_silence(text: str, seconds: int | None) -> None:
    assert settings.Settings({"LONGTASK_HEARTBEAT_SECONDS": text}).heartbeat == seconds
    assert settings.Settings({}).heartbeat is None
