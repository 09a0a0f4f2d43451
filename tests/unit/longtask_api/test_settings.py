from pathlib import Path

import pytest
from pydantic import ValidationError

from longtask_api import settings


def test_there_is_no_way_in_without_a_token_but_an_explicit_one(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="LONGTASK_INSECURE"):
        settings.Settings()
    assert settings.Settings(insecure=True).token() is None
    empty = tmp_path / "token"
    empty.touch()
    with pytest.raises(ValueError, match="holds no token"):
        settings.Settings(token_file=empty).token()


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTASK_INSECURE", "true")
    monkeypatch.setenv("LONGTASK_PUBLIC_URL", "https://a.test/longtask/")
    monkeypatch.setenv("LONGTASK_CALLBACK_DENY", "10.0.0.0/8,fd00::/8")
    read = settings.Settings()
    assert read.path_prefix == "/longtask"
    assert read.callback_deny == ("10.0.0.0/8", "fd00::/8")
