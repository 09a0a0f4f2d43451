from pathlib import Path
from typing import Any

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


def test_the_database_is_a_file_of_the_data_directory_unless_a_url_is_given(tmp_path: Path) -> None:
    url = "postgresql://user:secret@db.test/longtask?sslmode=require"
    file = tmp_path / "url"
    file.write_text(url + "\n")
    by_default = settings.Settings(insecure=True, data_directory=tmp_path)
    assert by_default.database() == f"sqlite:///{tmp_path}/longtask.db"
    assert settings.Settings(insecure=True, database_url=url).database() == url
    assert settings.Settings(insecure=True, database_url_file=file).database() == url
    with pytest.raises(ValueError, match="not both"):
        settings.Settings(insecure=True, database_url=url, database_url_file=file).database()


def test_a_database_that_is_not_known_is_refused_and_its_url_not_told() -> None:
    with pytest.raises(ValueError, match="not with mysql:") as told:
        settings.Settings(insecure=True, database_url="mysql://user:secret@db.test/").database()
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"trusted_proxies": ("*",)}, id="every-proxy"),
        pytest.param({"trusted_proxies": ("10.0.0.1/8",)}, id="no-network"),
        pytest.param({"cors_origins": ("*",)}, id="every-page"),
        pytest.param({"cors_origins": ("https://a.test/",)}, id="no-origin"),
        pytest.param({"cors_origins": ("null",)}, id="pages-of-files"),
    ],
)
def test_nobody_is_trusted_by_mistake(given: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ValidationError):
        settings.Settings(insecure=True, **given)
    trusted = settings.Settings(
        insecure=True, trusted_proxies=("10.0.0.0/8", "::1"), cors_origins=("https://a.test:1",)
    )
    assert trusted.trusted_proxies == ("10.0.0.0/8", "::1")


ISSUER = {"oidc_issuer": "https://id.test/realms/a", "oidc_audience": "longtask"}
ROLES = {"oidc_roles_claim": "groups", "oidc_admin_value": "boss"}


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(ISSUER, id="an-issuer"),
        pytest.param(ISSUER | ROLES, id="with-admins"),
        pytest.param(ISSUER | {"oidc_issuer": "http://127.0.0.1:5556"}, id="on-this-host"),
    ],
)
def test_an_identity_provider(given: dict[str, str]) -> None:
    settings.Settings(insecure=True, **given)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(ISSUER | {"oidc_audience": ""}, id="tokens-for-anybody"),
        pytest.param(ISSUER | {"oidc_issuer": ""}, id="tokens-of-nobody"),
        pytest.param(ISSUER | {"oidc_admin_value": "boss"}, id="admins-by-no-claim"),
        pytest.param(ISSUER | {"oidc_roles_claim": "groups"}, id="whoever-has-a-claim"),
        pytest.param(ISSUER | {"oidc_issuer": "http://id.test"}, id="in-plain-text"),
        pytest.param(ISSUER | {"oidc_issuer": "http://127.0.0.1.id.test"}, id="not-on-this-host"),
        pytest.param(ISSUER | {"oidc_issuer": "https://"}, id="nowhere"),
        pytest.param(ISSUER | {"oidc_issuer": "id.test"}, id="no-address"),
    ],
)
def test_an_identity_provider_is_told_as_a_whole(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="LONGTASK_OIDC"):
        settings.Settings(insecure=True, **given)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"mail_from": "LongTask"}, id="from-nobody"),
        pytest.param({"mail_from": "LongTask <a@b.test>, <c@d.test>"}, id="from-two"),
        pytest.param({"mail_from": ""}, id="from-nowhere"),
        pytest.param({"mail_mode": "send"}, id="by-no-server"),
        pytest.param({"mail_mode": "perhaps"}, id="perhaps"),
        pytest.param({"mail_tls": "sometimes"}, id="sometimes-in-plain-text"),
        pytest.param({"mail_port": 0}, id="no-port"),
    ],
)
def test_mails_that_could_not_be_sent_are_told_at_the_start(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings.Settings(insecure=True, **given)


def test_the_environment_says_how_mails_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "INSECURE": "true",
        "MAIL_MODE": "send",
        "MAIL_FROM": "LongTask <longtask@example.org>",
        "MAIL_HOST": "mail.example.org",
        "MAIL_PORT": "465",
        "MAIL_TLS": "tls",
        "MAIL_ALLOWED_DOMAINS": "example.com,example.org",
    }.items():
        monkeypatch.setenv(f"LONGTASK_{name}", value)
    read = settings.Settings()
    assert (read.mail_host, read.mail_port, read.mail_tls) == (
        *("mail.example.org", 465),
        settings.Tls.TLS,
    )
    assert read.mail_allowed_domains == ("example.com", "example.org")
