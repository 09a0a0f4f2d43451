"""Contexts, logins, and whom a request is sent to with which token."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from longtask_client.cli import program

API = "/api/v1"
ME = {
    "name": "alice",
    "username": "alice",
    "subject": "alice",
    "role": "user",
    "acts": ["read", "write"],
    "seesAll": False,
    "email": "alice@example.com",
    "via": "session",
}
SESSION = {"token": "lt_session", "expiresAt": "2026-01-02T15:04:05Z"}
USER = {
    "username": "bob",
    "email": None,
    "role": "admin",
    "disabled": False,
    "createdAt": "2026-01-01T00:00:00Z",
}
TOKEN = {
    "id": "t1",
    "kind": "personal",
    "name": "ci",
    "scopes": ["read"],
    "createdAt": "2026-01-01T00:00:00Z",
    "expiresAt": "2026-04-01T00:00:00Z",
    "current": False,
}
INVITE = {
    "id": "i1",
    "role": "user",
    "note": "bob",
    "createdBy": "alice",
    "createdAt": "2026-01-01T00:00:00Z",
    "expiresAt": "2026-01-08T00:00:00Z",
}
Run = Callable[..., Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "longtask/config.yaml"


@pytest.fixture
def run(api: Any, file: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command with the contexts of this test alone."""
    for name in ("LONGTASK_URL", "LONGTASK_TOKEN", "LONGTASK_CONTEXT", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(file.parent.parent))
    monkeypatch.setenv("LONGTASK_CONFIG", str(file))
    runner = CliRunner()

    def invoke(*words: str, stdin: str = "", **environment: str) -> Any:
        return runner.invoke(
            program.app,
            list(words),
            obj=api.connect,
            env=environment,
            input=stdin,
            prog_name="longtask",
        )

    return invoke


def wrote(file: Path, current: str = "one") -> None:
    file.parent.mkdir(exist_ok=True)
    contexts = {
        "one": {"url": "http://longtask.test/base", "token": "lt_one", "username": "alice"},
        "two": {"url": "http://longtask.test/base/", "token": "lt_two"},
    }
    file.write_text(yaml.safe_dump({"current-context": current, "contexts": contexts}))
    file.chmod(0o600)


def asked_with(api: Any) -> str | None:
    found: str | None = api.requests[-1].headers.get("Authorization")
    return found


def test_a_login_is_kept_for_its_owner_alone_and_used_from_then_on(
    run: Run, api: Any, file: Path
) -> None:
    api.on("POST", f"{API}/login", SESSION)
    api.on("GET", f"{API}/me", ME)
    words = ("login", "http://longtask.test/base", "-u", "alice", "--password-stdin")
    ended = run(*words, stdin="correct horse\n")
    assert ended.exit_code == 0, ended.stderr
    assert api.body == {"username": "alice", "password": "correct horse"}
    assert asked_with(api) is None
    assert (stat.S_IMODE(file.stat().st_mode), ended.stdout) == (0o600, "")
    assert "correct horse" not in file.read_text()
    assert yaml.safe_load(file.read_text()) == {
        "current-context": "longtask.test",
        "contexts": {
            "longtask.test": {
                "url": "http://longtask.test/base",
                "token": "lt_session",
                "username": "alice",
            }
        },
    }
    assert "alice" in run("whoami").stdout
    assert asked_with(api) == "Bearer lt_session"


def test_a_logout_ends_the_session_and_forgets_its_token(run: Run, api: Any, file: Path) -> None:
    wrote(file)
    api.on("POST", f"{API}/logout", "", status=204)
    assert run("logout").exit_code == 0
    assert asked_with(api) == "Bearer lt_one"
    assert "lt_one" not in file.read_text()
    assert "Nobody is logged in" in run("logout").stderr


def test_a_session_that_has_ended_can_be_logged_out_of(
    run: Run, api: Any, file: Path, a_problem: Any
) -> None:
    wrote(file)
    api.on("POST", f"{API}/logout", a_problem(401))
    assert run("logout").exit_code == 0
    assert "lt_one" not in file.read_text()


@pytest.mark.parametrize(
    ("words", "environment", "token"),
    [
        pytest.param([], {}, "lt_one", id="the-context-in-use"),
        pytest.param([], {"LONGTASK_CONTEXT": "two"}, "lt_two", id="the-variable-names-one"),
        pytest.param(
            ["--context", "two"], {"LONGTASK_CONTEXT": "one"}, "lt_two", id="the-option-names-one"
        ),
        pytest.param(
            ["--context", "two"],
            {"LONGTASK_URL": "http://other.test", "LONGTASK_TOKEN": "t"},
            "lt_two",
            id="an-option-goes-before-variables",
        ),
        pytest.param([], {"LONGTASK_TOKEN": "t"}, "t", id="a-variable-goes-before-the-context"),
        pytest.param(
            [], {"LONGTASK_URL": "http://longtask.test/base/"}, "lt_one", id="its-url-said-again"
        ),
        # It leads to the same place, and is said in another way.
        pytest.param(
            [], {"LONGTASK_URL": "http://longtask.test:80/base"}, None, id="none-for-another-url"
        ),
        pytest.param(
            ["--url", "http://longtask.test:80/base"], {}, None, id="nor-for-one-of-an-option"
        ),
    ],
)
def test_what_goes_before_what(
    run: Run, api: Any, file: Path, words: list[str], environment: dict[str, str], token: str | None
) -> None:
    wrote(file)
    api.on("GET", f"{API}/me", ME)
    assert run(*words, "whoami", **environment).exit_code == 0
    assert asked_with(api) == (token and f"Bearer {token}")


def test_contexts_are_listed_used_changed_and_forgotten(run: Run, file: Path) -> None:
    assert "longtask login" in run("config", "get-contexts").stderr
    wrote(file)
    assert run("config", "get-contexts").stdout.splitlines() == [
        "    NAME   URL                          USERNAME   TOKEN",
        "*   one    http://longtask.test/base    alice      yes",
        "    two    http://longtask.test/base/   -          yes",
    ]
    assert run("config", "use-context", "two").stdout == "two\n"
    assert run("config", "delete-context", "one").exit_code == 0
    words = ("config", "set-context", "three", "--url", "https://three.test", "--token-stdin")
    assert run(*words, stdin="lt_three\n").exit_code == 0
    left = yaml.safe_load(file.read_text())
    assert (left["current-context"], list(left["contexts"])) == ("two", ["two", "three"])
    assert left["contexts"]["three"] == {"url": "https://three.test", "token": "lt_three"}


def test_a_context_with_another_url_keeps_no_token(run: Run, file: Path) -> None:
    wrote(file)
    assert run("config", "set-context", "one", "--url", "https://new.test").exit_code == 0
    assert yaml.safe_load(file.read_text())["contexts"]["one"] == {"url": "https://new.test"}


@pytest.mark.parametrize(
    "words",
    [
        ["--context", "none", "whoami"],
        ["config", "use-context", "none"],
        ["config", "delete-context", "none"],
        ["config", "set-context", "new", "--url", "ftp://x"],
        ["login", "-u", "alice"],
        ["register", "-u", "A", "--email", "a@b", "--password-stdin"],
        ["admin", "set", "bob"],
        ["token", "create"],
    ],
)
def test_what_cannot_be_done_ends_with_2(run: Run, file: Path, words: list[str]) -> None:
    wrote(file)
    ended = run(*words, stdin="a password of mine\n")
    assert ended.exit_code == 2
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "text", ["- a", "contexts: {a: {url: 1}}", "contexts: {a: {u: b}}", "a: [", "contexts: [a]"]
)
def test_a_file_that_is_none_is_named(run: Run, file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    file.chmod(0o600)
    ended = run("whoami")
    assert ended.exit_code == 2
    assert "config.yaml cannot be understood" in ended.stderr


def test_a_file_that_others_may_read_is_warned_of(run: Run, api: Any, file: Path) -> None:
    wrote(file)
    file.chmod(0o644)
    api.on("GET", f"{API}/me", ME)
    assert "chmod 600" in run("whoami").stderr


@pytest.mark.parametrize(
    ("url", "is_warned"),
    [("http://longtask.test/base", True), ("http://localhost/base", False)],
)
def test_a_password_in_the_clear_is_warned_of(
    run: Run, api: Any, url: str, is_warned: bool
) -> None:
    api.on("POST", f"{API}/login", SESSION)
    ended = run("login", url, "-u", "alice", "--password-stdin", stdin="correct horse\n")
    assert ("Warning: http" in ended.stderr) is is_warned


def test_a_missing_token_reads_unlike_a_wrong_one(
    run: Run, api: Any, file: Path, a_problem: Any
) -> None:
    api.on("GET", f"{API}/me", a_problem(401, detail="no"))
    missing = run("--url", "http://longtask.test/base", "whoami")
    wrong = run("whoami", LONGTASK_URL="http://longtask.test/base", LONGTASK_TOKEN="x")
    assert (missing.exit_code, wrong.exit_code) == (7, 7)
    assert "No token was sent" in missing.stderr
    assert "The token is wrong or has ended" in wrong.stderr


def test_registering(run: Run, api: Any) -> None:
    api.on("POST", f"{API}/register", USER, status=201)
    words = ["--url", "http://longtask.test/base", "register", "-u", "bob"]
    words += ["--email", "b@example.com", "--invite", "inv", "--password-stdin"]
    ended = run(*words, stdin="0123456789\n")
    assert ended.stdout == "bob\n", ended.stderr
    assert api.body == {
        "username": "bob",
        "password": "0123456789",
        "email": "b@example.com",
        "invite": "inv",
    }


def test_tokens_for_programs(run: Run, api: Any, file: Path) -> None:
    wrote(file)
    api.on("POST", f"{API}/tokens", TOKEN | {"token": "lt_new"}, status=201)
    api.on("GET", f"{API}/tokens", {"items": [TOKEN]})
    api.on("DELETE", f"{API}/tokens/t1", "", status=204)
    made = run("token", "create", "ci", "--scope", "read", "--days", "9")
    assert (made.stdout, api.body) == (
        "lt_new\n",
        {"name": "ci", "scopes": ["read"], "expiresInDays": 9},
    )
    listed = run("token", "list").stdout
    assert listed.splitlines()[1].split()[:4] == ["t1", "personal", "ci", "read"]
    assert run("token", "revoke", "t1").stdout == "t1\n"


def test_what_admins_do(run: Run, api: Any, file: Path) -> None:
    wrote(file)
    more = USER | {"username": "eve", "disabled": True}
    api.on("POST", f"{API}/users", USER | {"password": "made-up"}, status=201)
    api.on(
        "GET",
        f"{API}/users",
        {"items": [USER], "nextCursor": "c"},
        {"items": [more], "nextCursor": None},
    )
    api.on("PATCH", f"{API}/users/bob", USER)
    api.on("DELETE", f"{API}/users/bob", "", status=204)
    api.on("POST", f"{API}/users/bob:reset-password", {"password": "another"})
    api.on("POST", f"{API}/invites", INVITE | {"invite": "inv_1"}, status=201)
    api.on("GET", f"{API}/invites", {"items": [INVITE]})
    api.on("DELETE", f"{API}/invites/i1", "", status=204)
    assert run("admin", "create", "bob", "--email", "b@x").stdout == "made-up\n"
    assert api.body == {"username": "bob", "email": "b@x", "role": "admin"}
    assert run("admin", "list", "-o", "name").stdout == "bob\neve\n"
    assert run("admin", "set", "bob", "--role", "viewer", "--disable").stdout == "bob\n"
    assert api.body == {"role": "viewer", "disabled": True}
    assert run("admin", "reset-password", "bob").stdout == "another\n"
    assert run("admin", "invite", "--for", "bob").stdout == "inv_1\n"
    assert api.body == {"role": "user", "note": "bob", "expiresInDays": 7}
    assert run("admin", "invites").stdout.splitlines()[1].split()[:4] == [
        "i1",
        "user",
        "bob",
        "alice",
    ]
    assert run("admin", "delete-invite", "i1").stdout == "i1\n"
    assert run("admin", "delete", "bob").stdout == "bob\n"


def test_the_shell_completes_ids_types_queues_and_contexts(
    run: Run, api: Any, file: Path, a_task: Any
) -> None:
    wrote(file)
    kind = {"name": "sleep", "description": "It sleeps.", "inputSchema": None, "defaults": None}
    api.on("GET", f"{API}/tasks", {"items": [a_task("sleep-a"), a_task("x")], "nextCursor": None})
    api.on("GET", f"{API}/types", {"items": [kind]})

    def completed(line: str) -> list[str]:
        return run(
            _LONGTASK_COMPLETE="complete_bash",
            COMP_WORDS=line,
            COMP_CWORD=str(len(line.split(" ")) - 1),
        ).stdout.split()

    assert completed("longtask get sl") == ["sleep-a"]
    assert completed("longtask wait sleep-a ") == ["sleep-a", "x"]
    assert completed("longtask submit sl") == ["sleep"]
    assert completed("longtask --context t") == ["two"]
    assert completed("longtask whoa") == ["whoami"]


def test_a_completion_that_finds_nobody_says_nothing(run: Run) -> None:
    ended = run(
        _LONGTASK_COMPLETE="complete_bash",
        COMP_WORDS="longtask get ",
        COMP_CWORD="2",
        LONGTASK_URL="http://longtask.test/base",
    )
    assert (ended.stdout.strip(), ended.stderr) == ("", "")
