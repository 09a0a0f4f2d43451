"""The commands about mails, and the client's calls below them, against the real API."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api_support import TOKEN, put_ended_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import settings
from longtask_api.mail import links
from longtask_client import client, models
from longtask_client.cli import program
from longtask_client.cli.output import phrases
from longtask_crds import names, signing_keys, v1alpha1
from longtask_crds.testing import NOW
from transcript_support import Installation

URL = "https://longtask.example.com"
Run = Callable[..., Result]
KEY = signing_keys.new_key()


@pytest.fixture
def kubernetes() -> MemoryKubernetes:
    made = MemoryKubernetes()
    made.put(names.LONGTASKQUEUES, "default", spec={"maxRunning": 2})
    made.add_secret(signing_keys.KEYS_SECRET, {"_links": KEY}, namespace="longtask")
    return made


@pytest.fixture
def installation(kubernetes: MemoryKubernetes, tmp_path: Path) -> Iterator[Installation]:
    (tmp_path / "token").write_text(TOKEN)
    configured = settings.Settings(
        token_file=tmp_path / "token", data_directory=tmp_path, registration="open"
    )
    notify = [{"email": "a@example.com"}, {"email": "b@example.com"}]
    put_ended_task(kubernetes, "report", spec={"type": "t", "notify": notify})
    put_ended_task(kubernetes, "other", spec={"type": "t", "notify": notify[:1]})
    with Installation(kubernetes, configured) as running:
        yield running


@pytest.fixture
def asked(installation: Installation) -> client.Client:
    return client.Client(URL, TOKEN, transport=installation, sleep=lambda _: None)


@pytest.fixture
def run(installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("LONGTASK_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(phrases, "now", lambda: NOW + timedelta(minutes=1))

    def connect(url: str, token: str | None) -> client.Client:
        return client.Client(url, token, transport=installation, sleep=lambda _: None)

    def ran(*words: str, token: str = TOKEN) -> Result:
        env = {"LONGTASK_URL": URL, "LONGTASK_TOKEN": token}
        return CliRunner().invoke(program.app, words, obj=connect, env=env)

    return ran


def settled(asked: client.Client, count: int) -> list[models.NoticeView]:
    """Return all notices once they are told: the log is quick."""
    while True:
        found = list(asked.notices(page_size=1))
        if len(found) == count and all(one.state != "pending" for one in found):
            return found


def test_notices_are_listed(run: Run, asked: client.Client) -> None:
    found = settled(asked, 3)
    assert {(one.task, one.to, str(one.state)) for one in found} == {
        ("report", "a@example.com", "logged"),
        ("report", "b@example.com", "logged"),
        ("other", "a@example.com", "logged"),
    }
    table = run("notices").output.splitlines()
    assert table[0].split() == ["TIME", "TASK", "EVENT", "TO", "STATE", "TRIES", "ERROR"]
    assert len(table) == 4
    (line,) = run("notices", "other").output.splitlines()[1:]
    assert line.split()[-6:] == ["other", "succeeded", "a@example.com", "logged", "1", "-"]
    assert run("notices", "--state", "given_up").output == "No notices.\n"
    (only,) = json.loads(run("notices", "--limit", "1", "-o", "json").output)["items"]
    assert only["subject"] in ("report: succeeded", "other: succeeded")


def test_a_user_says_of_what_they_want_mails_and_where(run: Run, asked: client.Client) -> None:
    asked.register(
        models.Registration(username="ada", password="correct horse", email="ada@example.com")
    )
    token = asked.login("ada", "correct horse").token
    assert "no address" not in run("mail", "show", token=token).output
    assert "not confirmed" in run("mail", "show", token=token).output
    told = run("mail", "events", "failed", "succeeded", token=token).output
    assert "succeeded, failed" in told
    asked_for = run("mail", "verify", token=token)
    assert (asked_for.exit_code, "on its way" in asked_for.output) == (0, True)
    code = links.code(KEY.encode(), "ada", "ada@example.com", now=NOW)
    assert "(confirmed)" in run("mail", "confirm", code, token=token).output
    wrong = run("mail", "confirm", "x", token=token)
    assert (wrong.exit_code, "ask for another" in wrong.output) == (2, True)
    assert "none" in run("mail", "events", token=token).output
    assert run("mail", "show").exit_code != 0  # the installation has no address


def test_the_client_says_the_same(installation: Installation, asked: client.Client) -> None:
    asked.register(models.Registration(username="ada", password="correct horse", email="a@b.test"))
    token = asked.login("ada", "correct horse").token
    with client.Client(URL, token, transport=installation) as ada:
        assert ada.notice_wish().events == []
        wish = ada.set_notice_wish([v1alpha1.TaskEvent.FAILED])
        assert (wish.events, wish.email, wish.verified) == (["failed"], "a@b.test", False)
        assert not ada.verify_email("ada@home.test").verified
        code = links.code(KEY.encode(), "ada", "ada@home.test", now=NOW)
        confirmed = ada.confirm_email(code)
        assert (confirmed.email, confirmed.verified) == ("ada@home.test", True)
        # Nothing of others' tasks.
        assert {one.event for one in ada.notices()} <= {"verification"}
