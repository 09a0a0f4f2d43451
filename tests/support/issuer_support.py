"""An identity provider that runs: real keys, and a real server that says which they are."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import algorithms

AUDIENCE = "longtask"


class SigningKey:
    """A key that tokens are signed with, and that is published under a name."""

    def __init__(self, kid: str | None, algorithm: str = "RS256", *, bits: int = 2048) -> None:
        self.kid = kid
        self.algorithm = algorithm
        if algorithm == "ES256":
            self.private: Any = ec.generate_private_key(ec.SECP256R1())
            self._as_jwk: Any = algorithms.ECAlgorithm
        elif algorithm == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
            self._as_jwk = algorithms.OKPAlgorithm
        else:
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
            self._as_jwk = algorithms.RSAAlgorithm

    @property
    def public(self) -> dict[str, Any]:
        """What the issuer publishes of it."""
        jwk = self._as_jwk.to_jwk(self.private.public_key(), as_dict=True)
        named = {} if self.kid is None else {"kid": self.kid}
        return jwk | named | {"use": "sig", "alg": self.algorithm}

    @property
    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, claims: Mapping[str, Any], **headers: Any) -> str:
        named = {} if self.kid is None else {"kid": self.kid}
        return jwt.encode(
            dict(claims), self.private, algorithm=self.algorithm, headers=named | headers
        )


class RunningIssuer:
    """An issuer, and what goes wrong with it.

    Args:
        place: Holds its port, whether it is there or away.
    """

    def __init__(self, place: socket.socket) -> None:
        self._place = place
        self.url = ""
        self.keys: list[Any] = []  #: what is published
        self.asked: list[str] = []  #: paths, in order
        self.discovery: dict[str, Any] = {}  #: what it says of itself differently
        self.answers: dict[str, web.Response] = {}  #: what it says at a path instead
        self.closed_doors = asyncio.Event()  #: while this is not set, nothing is answered
        self.closed_doors.set()
        self._runner: web.AppRunner | None = None

    @property
    def jwks_path(self) -> str:
        return "/keys"

    def claims(self, **changed: Any) -> dict[str, Any]:
        """What a good token says, but for what is changed; None takes a claim away."""
        now = int(time.time())
        usual = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "1234",
            "iat": now,
            "exp": now + 300,
            "email": "somebody@example.test",
        }
        return {key: value for key, value in (usual | changed).items() if value is not None}

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        await self.closed_doors.wait()
        if request.path in self.answers:
            return self.answers[request.path]
        if request.path == "/.well-known/openid-configuration":
            usual = {"issuer": self.url, "jwks_uri": self.url + self.jwks_path}
            return web.json_response(usual | self.discovery)
        return web.json_response({"keys": self.keys})

    async def open(self) -> None:
        """Let it be there, always at the same port."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self.answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        host, port = self._place.getsockname()
        await web.TCPSite(self._runner, host, port, reuse_port=True).start()
        self.url = f"http://{host}:{port}"

    async def close(self) -> None:
        """Let it be away: whoever connects is refused, and nobody else is there."""
        self.closed_doors.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


@contextlib.asynccontextmanager
async def running(*keys: SigningKey) -> AsyncIterator[RunningIssuer]:
    """Run an issuer with these keys."""
    with socket.socket() as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        place.bind(("127.0.0.1", 0))
        issuer = RunningIssuer(place)
        issuer.keys = [key.public for key in keys]
        await issuer.open()
        try:
            yield issuer
        finally:
            await issuer.close()


def unsigned(claims: Mapping[str, Any]) -> str:
    """A token that nobody signed, and that says so."""
    return jwt.encode(dict(claims), None, algorithm="none")


def with_claims(token: str, claims: Mapping[str, Any]) -> str:
    """Say something else in a token than what was signed."""
    head, _, signature = token.split(".")
    body = jwt.utils.base64url_encode(json.dumps(dict(claims)).encode()).decode()
    return f"{head}.{body}.{signature}"
