"""Tokens of an identity provider that runs here, with keys of its own."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web

import issuer_support
from clock_support import Seconds
from issuer_support import AUDIENCE, RunningIssuer, SigningKey
from longtask_api import errors
from longtask_api.auth import callers, issuer, oidc

KEY = SigningKey("first")
OTHER = SigningKey("second", "ES256")
WEAK = SigningKey("weak", bits=1024)


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
async def provider() -> AsyncIterator[RunningIssuer]:
    async with issuer_support.running(KEY) as made:
        yield made


@pytest.fixture
async def keys(provider: RunningIssuer, clock: Seconds) -> AsyncIterator[issuer.Issuer]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        # One test waits for so long in vain; all others get their answers within it.
        yield issuer.Issuer(provider.url, session, clock=clock, seconds=10)


@pytest.fixture
def tokens(keys: issuer.Issuer) -> oidc.OidcTokens:
    return oidc.OidcTokens(
        keys, audience=AUDIENCE, roles_claim="realm_access.roles", admin_value="boss"
    )


async def test_a_user(tokens: oidc.OidcTokens, provider: RunningIssuer) -> None:
    caller = await tokens.caller(KEY.sign(provider.claims()))
    assert caller is not None
    assert (caller.name, caller.sees_all) == ("1234", False)
    assert caller.subject.startswith("oidc-")
    assert len(caller.subject) == len("oidc-") + 16
    assert caller.acts == {callers.Act.READ, callers.Act.WRITE}


async def test_who_they_are_is_issuer_and_subject_and_nothing_else(
    tokens: oidc.OidcTokens, provider: RunningIssuer
) -> None:
    def of(**claims: Any) -> Any:
        return tokens.caller(KEY.sign(provider.claims(**claims)))

    plain, renamed = await of(), await of(preferred_username="ann", email="b@c.test")
    assert (renamed.subject, renamed.name) == (plain.subject, "ann")
    assert (await of(sub="12345")).subject != plain.subject


@pytest.mark.parametrize(
    ("claims", "is_admin"),
    [
        pytest.param({"realm_access": {"roles": ["a", "boss"]}}, True, id="among-others"),
        pytest.param({"realm_access": {"roles": "boss"}}, True, id="alone"),
        pytest.param({"realm_access.roles": ["boss"]}, True, id="a-claim-with-a-dot"),
        pytest.param({"realm_access": {"roles": ["bossy"]}}, False, id="another"),
        pytest.param({"realm_access": "boss"}, False, id="elsewhere"),
        pytest.param({"realm_access": {"roles": {"boss": True}}}, False, id="no-list"),
        pytest.param({}, False, id="nothing"),
    ],
)
async def test_a_claim_makes_an_admin(
    tokens: oidc.OidcTokens, provider: RunningIssuer, claims: dict[str, Any], is_admin: bool
) -> None:
    caller = await tokens.caller(KEY.sign(provider.claims(**claims)))
    assert caller is not None
    assert caller.sees_all is is_admin
    assert caller.may(callers.Act.MANAGE) is is_admin


async def test_without_a_claim_to_go_by_nobody_is_an_admin(
    keys: issuer.Issuer, provider: RunningIssuer
) -> None:
    caller = await oidc.OidcTokens(keys, audience=AUDIENCE).caller(
        KEY.sign(provider.claims(**{"": ""}))
    )
    assert caller is not None
    assert not caller.sees_all


def hs256(provider: RunningIssuer) -> str:
    """A token whose secret is the public key: the library does not let one be made so."""
    head = {"alg": "HS256", "typ": "JWT", "kid": "first"}
    parts = [json.dumps(part).encode() for part in (head, provider.claims())]
    signed = b".".join(jwt.utils.base64url_encode(part) for part in parts)
    signature = hmac.digest(KEY.public_pem, signed, hashlib.sha256)
    return (signed + b"." + jwt.utils.base64url_encode(signature)).decode()


NOW = time.time


@pytest.mark.parametrize(
    ("token", "why"),
    [
        pytest.param(lambda p: issuer_support.unsigned(p.claims()), "wrong", id="alg-none"),
        pytest.param(hs256, "wrong", id="hs256-with-the-public-key"),
        pytest.param(
            lambda p: jwt.encode(p.claims(), KEY.private, algorithm="PS256"),
            "wrong",
            id="an-algorithm-that-is-not-taken",
        ),
        pytest.param(
            lambda p: KEY.sign(p.claims(aud="another")), "somebody else", id="another-audience"
        ),
        pytest.param(
            lambda p: KEY.sign(p.claims(aud=["longtask-"])), "somebody else", id="almost-ours"
        ),
        pytest.param(lambda p: KEY.sign(p.claims(aud=None)), "no aud", id="no-audience"),
        pytest.param(
            lambda p: KEY.sign(p.claims(aud=[AUDIENCE, 1])), "somebody else", id="no-audiences"
        ),
        pytest.param(lambda p: KEY.sign(p.claims(exp=NOW() - 60)), "expired", id="expired"),
        pytest.param(lambda p: KEY.sign(p.claims(exp=None)), "no exp", id="for-ever"),
        pytest.param(lambda p: KEY.sign(p.claims(exp="soon")), "wrong", id="no-time"),
        pytest.param(lambda p: KEY.sign(p.claims(nbf=NOW() + 60)), "not come", id="not-yet"),
        pytest.param(
            lambda p: KEY.sign(p.claims(iat=NOW() + 60)), "not come", id="from-the-future"
        ),
        pytest.param(lambda p: KEY.sign(p.claims(sub=None)), "no sub", id="no-subject"),
        pytest.param(lambda p: KEY.sign(p.claims(sub="")), "no sub", id="an-empty-subject"),
        pytest.param(
            lambda p: issuer_support.with_claims(KEY.sign(p.claims()), p.claims(sub="admin")),
            "wrong",
            id="changed-afterwards",
        ),
        pytest.param(
            lambda p: SigningKey("first").sign(p.claims()), "wrong", id="signed-by-somebody-else"
        ),
        pytest.param(
            lambda p: KEY.sign(p.claims(), typ="logout+jwt"), "wrong", id="a-token-for-logging-out"
        ),
        pytest.param(
            lambda p: KEY.sign(p.claims(), jwk=SigningKey("first").public, kid="none"),
            "wrong",
            id="an-unknown-key-that-it-brings-along",
        ),
        pytest.param(
            lambda p: OTHER.sign(p.claims(), kid="first"), "wrong", id="another-kind-of-key"
        ),
    ],
)
async def test_what_is_not_taken(
    tokens: oidc.OidcTokens,
    provider: RunningIssuer,
    token: Callable[[RunningIssuer], str],
    why: str,
) -> None:
    with pytest.raises(errors.Unauthenticated, match=why):
        await tokens.caller(token(provider))


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param(lambda: {"exp": NOW() - 20}, id="just-expired"),
        pytest.param(lambda: {"nbf": NOW() + 20}, id="about-to-begin"),
        pytest.param(lambda: {"aud": ["another", AUDIENCE]}, id="for-others-as-well"),
    ],
)
async def test_what_is_taken(
    tokens: oidc.OidcTokens, provider: RunningIssuer, claims: Callable[[], dict[str, Any]]
) -> None:
    assert await tokens.caller(KEY.sign(provider.claims(**claims())))
    assert await tokens.caller(KEY.sign(provider.claims(**claims()), typ="at+jwt"))


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
async def test_kinds_of_keys(
    tokens: oidc.OidcTokens, provider: RunningIssuer, algorithm: str
) -> None:
    key = SigningKey("it", algorithm)
    without_algorithm = {k: v for k, v in key.public.items() if k != "alg"}
    for published in (key.public, without_algorithm):
        provider.keys = [published]
        assert await tokens.caller(key.sign(provider.claims()))


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("correct-horse", id="opaque"),
        pytest.param("a.b.c", id="like-one"),
        pytest.param(SigningKey("x", "EdDSA").sign({"iss": "https://else.test"}), id="another's"),
        pytest.param(SigningKey("x", "EdDSA").sign({}), id="nobody's"),
        pytest.param("x" * 100_000 + ".y.z", id="a-long-one"),
        pytest.param(
            "e30." + jwt.utils.base64url_encode(b"[" * 12_000).decode().rstrip("=") + ".e30",
            id="a-deep-one",
        ),
    ],
)
async def test_what_is_not_the_issuers_is_left_to_others(
    tokens: oidc.OidcTokens, provider: RunningIssuer, token: str
) -> None:
    assert await tokens.caller(token) is None
    assert provider.asked == []


async def test_an_issuer_of_almost_that_name_is_another(
    tokens: oidc.OidcTokens, provider: RunningIssuer
) -> None:
    for name in (provider.url + "/", provider.url.upper(), [provider.url]):
        with contextlib.suppress(TypeError):  # the library makes no token with such an issuer
            assert await tokens.caller(KEY.sign(provider.claims(iss=name))) is None


async def test_what_must_be_understood_and_is_not_makes_it_no_token_at_all(
    tokens: oidc.OidcTokens, provider: RunningIssuer
) -> None:
    assert await tokens.caller(KEY.sign(provider.claims(), crit=["x"], x=1)) is None


async def test_a_weak_key_is_none(tokens: oidc.OidcTokens, provider: RunningIssuer) -> None:
    provider.keys = [WEAK.public]
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = WEAK.sign(provider.claims())
    with pytest.raises(errors.Unauthenticated):
        await tokens.caller(token)


async def test_keys_are_asked_for_once(
    tokens: oidc.OidcTokens, provider: RunningIssuer, clock: Seconds
) -> None:
    token = KEY.sign(provider.claims())
    await asyncio.gather(*(tokens.caller(token) for _ in range(20)))
    assert provider.asked == ["/.well-known/openid-configuration", "/keys"]
    clock.now = 599
    await tokens.caller(token)
    assert len(provider.asked) == 2
    clock.now = 600
    await tokens.caller(token)
    assert len(provider.asked) == 4


async def test_a_new_key_is_found_soon(
    tokens: oidc.OidcTokens, provider: RunningIssuer, clock: Seconds
) -> None:
    await tokens.caller(KEY.sign(provider.claims()))
    provider.keys = [OTHER.public]
    clock.now = 9
    with pytest.raises(errors.Unauthenticated):
        await tokens.caller(OTHER.sign(provider.claims()))
    assert len(provider.asked) == 2
    clock.now = 10
    assert await tokens.caller(OTHER.sign(provider.claims()))
    with pytest.raises(errors.Unauthenticated):
        await tokens.caller(KEY.sign(provider.claims()))
    assert len(provider.asked) == 4


async def test_made_up_keys_do_not_make_us_ask_again_and_again(
    tokens: oidc.OidcTokens, provider: RunningIssuer, clock: Seconds
) -> None:
    await tokens.caller(KEY.sign(provider.claims()))
    for number in range(100):
        clock.now = 10 + number / 20
        with pytest.raises(errors.Unauthenticated):
            await tokens.caller(KEY.sign(provider.claims(), kid=str(number)))
    assert len(provider.asked) == 4


async def test_one_key_needs_no_name_and_two_do(
    tokens: oidc.OidcTokens, provider: RunningIssuer, clock: Seconds
) -> None:
    nameless = SigningKey(None, "ES256")
    provider.keys = [nameless.public]
    assert await tokens.caller(nameless.sign(provider.claims()))
    provider.keys.append(OTHER.public)
    clock.now = 600
    with pytest.raises(errors.Unauthenticated):
        await tokens.caller(nameless.sign(provider.claims()))


async def test_what_is_published_besides_is_left_alone(
    tokens: oidc.OidcTokens, provider: RunningIssuer
) -> None:
    secret = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYw", "kid": "first"}
    provider.keys = [
        secret,
        {"kty": "new-fashion", "kid": "first"},
        KEY.public | {"use": "enc"},
        KEY.public | {"n": "!"},
        OTHER.public | {"kid": "first", "crv": 7},
        OTHER.public | {"d": "AA", "kid": "first"},
        "no key",
        KEY.public,
    ]
    assert await tokens.caller(KEY.sign(provider.claims()))


def of_itself(**said: Any) -> Callable[[RunningIssuer], None]:
    return lambda provider: provider.discovery.update(said)


def at_keys(answer: Callable[[], web.Response]) -> Callable[[RunningIssuer], None]:
    return lambda provider: provider.answers.update({"/keys": answer()})


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(of_itself(issuer="https://else.test"), id="it-calls-itself-otherwise"),
        pytest.param(of_itself(jwks_uri=None), id="it-has-no-keys"),
        pytest.param(of_itself(jwks_uri="file:///etc/keys"), id="its-keys-are-a-file"),
        pytest.param(of_itself(jwks_uri="ftp://127.0.0.1/keys"), id="its-keys-are-elsewhere"),
        pytest.param(at_keys(lambda: web.json_response([KEY.public])), id="no-set"),
        pytest.param(at_keys(lambda: web.json_response({"keys": {}})), id="no-list"),
        pytest.param(at_keys(lambda: web.Response(text="<html>")), id="no-json"),
        pytest.param(at_keys(lambda: web.Response(text="[" * 100_000)), id="deep-json"),
        pytest.param(at_keys(lambda: web.Response(status=500)), id="an-error"),
        pytest.param(
            at_keys(lambda: web.Response(status=302, headers={"Location": "/more"})),
            id="a-redirect",
        ),
        pytest.param(
            at_keys(lambda: web.json_response({"keys": [KEY.public] * 1000})), id="too-many-keys"
        ),
        pytest.param(lambda provider: provider.closed_doors.clear(), id="it-is-slow"),
    ],
)
async def test_an_issuer_in_trouble_is_away_and_no_fault_of_the_token(
    tokens: oidc.OidcTokens,
    provider: RunningIssuer,
    clock: Seconds,
    trouble: Callable[[RunningIssuer], None],
) -> None:
    trouble(provider)
    token = KEY.sign(provider.claims())
    for _ in range(3):
        with pytest.raises(errors.Unavailable):
            await tokens.caller(token)
    assert len(provider.asked) <= 2
    assert "/more" not in provider.asked
    provider.discovery.clear()
    provider.answers.clear()
    provider.closed_doors.set()
    clock.now = 10
    assert await tokens.caller(token)


async def test_keys_serve_for_an_hour_while_the_issuer_is_away(
    tokens: oidc.OidcTokens, provider: RunningIssuer, clock: Seconds
) -> None:
    token = KEY.sign(provider.claims())
    await tokens.caller(token)
    await provider.close()
    clock.now = 3599
    assert await tokens.caller(token)
    with pytest.raises(errors.Unavailable):
        await tokens.caller(OTHER.sign(provider.claims()))
    clock.now = 3620
    with pytest.raises(errors.Unavailable):
        await tokens.caller(token)
    await provider.open()
    clock.now = 3630
    assert await tokens.caller(token)


async def test_while_keys_are_looked_for_anew_nobody_waits_for_those_that_are_known(
    tokens: oidc.OidcTokens, provider: RunningIssuer, clock: Seconds
) -> None:
    token = KEY.sign(provider.claims())
    await tokens.caller(token)
    provider.closed_doors.clear()
    clock.now = 700
    asking = asyncio.create_task(tokens.caller(token))
    while len(provider.asked) < 3:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.001)
    assert await tokens.caller(token)
    assert not asking.done()
    provider.closed_doors.set()
    assert await asking


async def test_the_door_keeps_nothing_and_follows_nobody(provider: RunningIssuer) -> None:
    async with issuer.Issuer.at(provider.url) as keys:
        assert await keys.key("first", "RS256")
