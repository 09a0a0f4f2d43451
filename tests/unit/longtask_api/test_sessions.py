"""Browsers: a session in a cookie, what it is taken for, and what no other page may do with it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from http.cookies import SimpleCookie

import httpx
import pytest

from api_support import TOKEN, a_token, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, settings, wiring
from longtask_api.auth.browsers import Browsers
from longtask_api.settings import Registration
from longtask_api.stores.users import Users
from longtask_crds.testing import NOW

OURS = "http://api.test"
THEIRS = "https://evil.test"
ADA = {"username": "ada", "password": "correct horse battery"}


@pytest.fixture
def configured(configured: settings.Settings) -> settings.Settings:
    return configured.model_copy(update={"registration": Registration.OPEN})


@pytest.fixture
async def browser(services: wiring.Services) -> AsyncIterator[httpx.AsyncClient]:
    """Return what a browser is: it has no token, and says which page asks."""
    transport = httpx.ASGITransport(app.for_users(services))
    async with httpx.AsyncClient(transport=transport, base_url=OURS) as made:
        yield made


async def registered(browser: httpx.AsyncClient, **more: str) -> httpx.Response:
    given = ADA | {"email": "ada@example.com"} | more
    return await browser.post("/register", data=given, headers={"Origin": OURS})


def cookie_of(answer: httpx.Response) -> tuple[str, str, dict[str, str]]:
    """Return name, value and flags of the one cookie that an answer sets."""
    ((name, morsel),) = SimpleCookie(answer.headers["Set-Cookie"]).items()
    return name, morsel.value, {k: v for k, v in morsel.items() if v}


async def logged_in(browser: httpx.AsyncClient) -> dict[str, str]:
    """Register; return the headers of who is logged in by it."""
    name, value, _ = cookie_of(await registered(browser))
    browser.cookies.clear()
    return {"Cookie": f"{name}={value}"}


# --- the cookie


async def test_a_login_sets_a_cookie_that_no_script_and_no_other_page_has(
    browser: httpx.AsyncClient,
) -> None:
    name, value, flags = cookie_of(await registered(browser))
    assert name == "__Host-longtask"
    assert value.startswith("lt_")
    assert flags["httponly"]
    assert flags["secure"]
    assert (flags["samesite"], flags["path"]) == ("strict", "/")
    assert "domain" not in flags


async def test_where_browsers_come_by_http_the_cookie_has_no_prefix(
    kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    plain = configured.model_copy(update={"dashboard_plain_http": True})
    async with wiring.running(kubernetes, plain, clock=lambda: NOW) as services:
        transport = httpx.ASGITransport(app.for_users(services))
        async with httpx.AsyncClient(transport=transport, base_url=OURS) as browser:
            name, _, flags = cookie_of(await registered(browser))
    assert (name, "secure" in flags) == ("longtask", False)


async def test_the_cookie_is_good_for_the_rest_api_as_well(browser: httpx.AsyncClient) -> None:
    headers = await logged_in(browser)
    me = (await browser.get("/api/v1/me", headers=headers)).json()
    assert (me["username"], me["via"]) == ("ada", "session")
    order = {"type": "fibonacci", "input": {"n": 1}}
    made = await browser.post("/api/v1/tasks", json=order, headers=headers | {"Origin": OURS})
    assert made.status_code == 202


async def test_a_session_ends_with_the_logout(browser: httpx.AsyncClient) -> None:
    headers = await logged_in(browser)
    left = await browser.post("/logout", headers=headers | {"Origin": OURS})
    assert (left.status_code, left.headers["Location"]) == (303, "/login")
    assert cookie_of(left)[2]["max-age"] == "0"
    assert (await browser.get("/api/v1/me", headers=headers)).status_code == 401


@pytest.mark.parametrize("kind", ["installation", "personal"])
async def test_no_other_token_is_taken_in_a_cookie(
    browser: httpx.AsyncClient, services: wiring.Services, kind: str
) -> None:
    token = TOKEN
    if kind == "personal":
        token = await a_token(Users(services.database), "ada", kind="personal")
    answer = await browser.get("/api/v1/me", headers={"Cookie": f"__Host-longtask={token}"})
    assert answer.status_code == 401


async def test_a_bearer_token_goes_before_the_cookie(
    browser: httpx.AsyncClient, services: wiring.Services
) -> None:
    headers = await logged_in(browser)
    other = await a_token(Users(services.database), "eve")
    both = headers | {"Authorization": f"Bearer {other}"}
    assert (await browser.get("/api/v1/me", headers=both)).json()["username"] == "eve"


# --- whose page it is


@pytest.mark.parametrize("origin", [None, THEIRS, "null", "http://api.test.evil.test", "garbage"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/tasks"),
        ("POST", "/api/v1/tasks/a:cancel"),
        ("PATCH", "/api/v1/tasks/a"),
        ("DELETE", "/api/v1/tasks/a"),
        ("POST", "/api/v1/tokens"),
        ("POST", "/logout"),
        ("POST", "/new/calls"),
    ],
)
async def test_no_other_page_changes_anything_by_the_cookie(
    browser: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    method: str,
    path: str,
    origin: str | None,
) -> None:
    headers = await logged_in(browser) | ({"Origin": origin} if origin else {})
    put_task(kubernetes)
    kubernetes.requests.clear()
    body = {"type": "fibonacci", "input": {"n": 1}, "name": "a", "priority": 1}
    answer = await browser.request(method, path, json=body, headers=headers)
    assert answer.status_code == 403
    assert kubernetes.requests == []
    still = {"Cookie": headers["Cookie"]}
    assert (await browser.get("/api/v1/me", headers=still)).status_code == 200


@pytest.mark.parametrize("path", ["/login", "/register"])
async def test_no_other_page_logs_anybody_in(browser: httpx.AsyncClient, path: str) -> None:
    await registered(browser)
    for headers in ({}, {"Origin": THEIRS}):
        answer = await browser.post(path, data=ADA, headers=headers)
        assert answer.status_code == 403
        assert "Set-Cookie" not in answer.headers


async def test_where_nobody_needs_a_token_no_other_page_acts_either(
    kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    changed = {"token_file": None, "insecure": True, "cors_origins": ("https://app.test",)}
    async with wiring.running(
        kubernetes, configured.model_copy(update=changed), clock=lambda: NOW
    ) as services:
        await services.health.synced()
        transport = httpx.ASGITransport(app.for_users(services))
        async with httpx.AsyncClient(transport=transport, base_url=OURS) as anybody:
            asked = "/api/v1/queues/default:pause"
            answers = [
                (
                    await anybody.post(asked, headers={"Origin": origin} if origin else {})
                ).status_code
                for origin in (THEIRS, None, OURS, "https://app.test")
            ]
            assert (await anybody.get("/login")).status_code == 303
    assert answers == [403, 200, 200, 200]


@pytest.mark.parametrize(
    ("origin", "host", "is_ours"),
    [
        ("http://a.test", "a.test", True),
        ("https://a.test", "a.test", True),
        ("https://a.test", "a.test:443", True),
        ("http://A.test:8080", "a.TEST:8080", True),
        ("http://a.test:8080", "a.test", False),
        ("https://out.test", "inner:8080", True),
        ("http://out.test", "inner:8080", False),
        ("https://a.test@evil.test", "a.test", False),
        ("javascript://a.test", "a.test", False),
        ("", "", False),
        (None, "a.test", False),
    ],
)
def test_which_pages_are_ours(origin: str | None, host: str, is_ours: bool) -> None:
    assert Browsers(public_url="https://out.test/longtask").is_ours(origin, host) is is_ours


# --- by which name


async def test_only_known_names_are_answered_to(
    kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    changed = {"hosts": ("api.test",), "public_url": "https://out.test/x"}
    named = configured.model_copy(update=changed)
    async with wiring.running(kubernetes, named, clock=lambda: NOW) as services:
        await services.health.synced()
        transport = httpx.ASGITransport(app.for_users(services))
        async with httpx.AsyncClient(transport=transport, base_url=OURS) as client:

            async def status(host: str, path: str = "/version") -> int:
                return (await client.get(path, headers={"Host": host})).status_code

            assert await status("api.test") == await status("api.test:8080") == 200
            assert await status("out.test") == 200
            for host in ("evil.test", "10.0.0.7:8080", "", "api.test.evil.test"):
                assert await status(host) == 421
            assert await status("10.0.0.7:8080", "/readyz") == 200
            assert await status("10.0.0.7:8080", "/healthz") == 200


@pytest.mark.parametrize("host", ["A.test", "a.test:80", "https://a.test", "a.test/"])
def test_a_host_is_a_name_and_nothing_else(host: str) -> None:
    with pytest.raises(ValueError, match="no host's name"):
        settings.Settings(insecure=True, hosts=(host,))


# --- to the login, and back


async def test_who_is_not_known_is_led_to_the_login_and_back(browser: httpx.AsyncClient) -> None:
    led = await browser.get("/?phase=Failed&label=a%3Db")
    assert led.status_code == 303
    form = await browser.get(led.headers["Location"])
    assert 'value="/?phase=Failed&amp;label=a%3Db"' in form.text
    await registered(browser)
    there = await browser.post(
        "/login", data=ADA | {"next": "/?phase=Failed"}, headers={"Origin": OURS}
    )
    assert (there.status_code, there.headers["Location"]) == (303, "/?phase=Failed")


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.test/",
        "//evil.test/",
        "/\\evil.test",
        "javascript:alert(1)",
        "",
        "/\t/evil.test",
    ],
)
async def test_the_login_leads_to_no_other_site(browser: httpx.AsyncClient, wanted: str) -> None:
    await registered(browser)
    answer = await browser.post("/login", data=ADA | {"next": wanted}, headers={"Origin": OURS})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


async def test_a_link_from_elsewhere_asks_once_more_for_the_cookie_has_not_come(
    browser: httpx.AsyncClient,
) -> None:
    headers = await logged_in(browser)
    first = await browser.get("/tasks/a?x=1", headers={"Sec-Fetch-Site": "cross-site"})
    assert first.status_code == 200
    assert 'http-equiv="refresh"' in first.text
    assert 'href="/tasks/a?x=1"' in first.text
    ours = {"Sec-Fetch-Site": "same-origin"}
    assert (await browser.get("/account", headers=headers | ours)).status_code == 200
    assert (await browser.get("/account", headers=ours)).status_code == 303


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        ({"username": "ada", "password": "wrong"}, 401, "The username or the password is wrong."),
        ({"username": "nobody"}, 401, "The username or the password is wrong."),
    ],
)
async def test_a_wrong_password_is_told_in_the_form(
    browser: httpx.AsyncClient, given: dict[str, str], status: int, says: str
) -> None:
    await registered(browser)
    answer = await browser.post("/login", data=given, headers={"Origin": OURS})
    assert answer.status_code == status
    assert says in answer.text
    assert "Set-Cookie" not in answer.headers
    assert "wrong&#34;" not in answer.text


async def test_too_many_tries_are_refused_in_the_form(browser: httpx.AsyncClient) -> None:
    wrong = {"username": "ada", "password": "wrong"}
    answers = [await browser.post("/login", data=wrong, headers={"Origin": OURS}) for _ in range(7)]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) > 0


async def test_what_is_wrong_with_a_registration_stands_at_its_field(
    browser: httpx.AsyncClient,
) -> None:
    answer = await registered(browser, username="Ada!", password="short")
    assert answer.status_code == 422
    assert 'id="e-username" data-wrong>String should' in answer.text
    assert 'id="e-password" data-wrong>String should' in answer.text
    assert 'value="Ada!"' in answer.text
    assert "short" not in answer.text


async def test_where_admins_make_accounts_nobody_registers(
    kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    closed = configured.model_copy(update={"registration": Registration.OFF})
    async with wiring.running(kubernetes, closed, clock=lambda: NOW) as services:
        transport = httpx.ASGITransport(app.for_users(services))
        async with httpx.AsyncClient(transport=transport, base_url=OURS) as browser:
            assert 'method="post"' not in (await browser.get("/register")).text
            assert (await registered(browser)).status_code == 403
            assert "Make an account" not in (await browser.get("/login")).text


async def test_an_expired_session_leads_to_the_login(
    browser: httpx.AsyncClient, services: wiring.Services
) -> None:
    over = await a_token(Users(services.database), "ada", expires_at=NOW - timedelta(seconds=1))
    answer = await browser.get("/account", headers={"Cookie": f"__Host-longtask={over}"})
    said = "/login?over=true&next=%2Faccount"
    assert (answer.status_code, answer.headers["Location"]) == (303, said)
    assert "Your session is over." in (await browser.get(said)).text
    assert "Your session is over." not in (await browser.get("/login?next=%2Faccount")).text


async def test_a_form_is_a_form(browser: httpx.AsyncClient) -> None:
    answer = await browser.post("/login", json=ADA, headers={"Origin": OURS})
    assert answer.status_code == 415
    many = "&".join(f"a{n}=1" for n in range(50))
    headers = {"Origin": OURS, "Content-Type": "application/x-www-form-urlencoded"}
    assert (await browser.post("/login", content=many, headers=headers)).status_code == 400
    assert (await browser.post("/login", content=b"\xff=", headers=headers)).status_code == 400
