"""Mail servers of the tests' own, on real sockets: that take mails, refuse them, or come late."""

import asyncio
import contextlib
import dataclasses
import datetime
import email
import email.policy
import ipaddress
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd import smtp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USERNAME, PASSWORD = "longtask", "s3cret of the mail server"


@dataclasses.dataclass
class Server:
    """A mail server, and what it has taken.

    Args:
        answers: What is answered to the next recipients or contents, in place of 250; the stage is
            `rcpt` or `data`.
        taken: The mails that it has said 250 to, parsed.
    """

    port: int = 0
    rcpt: list[str] = dataclasses.field(default_factory=list)
    data: list[str] = dataclasses.field(default_factory=list)
    taken: list[EmailMessage] = dataclasses.field(default_factory=list)
    recipients: list[str] = dataclasses.field(default_factory=list)
    logins: list[str] = dataclasses.field(default_factory=list)
    was_tls: list[bool] = dataclasses.field(default_factory=list)
    #: Is awaited before the answer to a mail's content.
    wait: Callable[[], Awaitable[object]] | None = None
    #: Holds its port while it is down.
    place: socket.socket | None = None

    async def handle_RCPT(  # noqa: N802 - the name is aiosmtpd's
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if self.rcpt:
            return self.rcpt.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - the name is aiosmtpd's
        self, server: Any, session: Any, envelope: Any
    ) -> str:
        if self.wait is not None:
            await self.wait()
        if self.data:
            return self.data.pop(0)
        parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.taken.append(parsed)
        self.recipients += envelope.rcpt_tos
        self.was_tls.append(server.transport.get_extra_info("ssl_object") is not None)
        return "250 OK"

    def authenticate(
        self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> smtp.AuthResult:
        self.logins.append(data.login.decode())
        right = (data.login.decode(), data.password.decode()) == (USERNAME, PASSWORD)
        return smtp.AuthResult(success=right, handled=False)


@contextlib.contextmanager
def down() -> Iterator[Server]:
    """Yield a server that does not run: whoever connects is refused, and nobody else is there."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        yield Server(port=place.getsockname()[1], place=place)


@contextlib.asynccontextmanager
async def running(
    server: Server | None = None,
    *,
    context: ssl.SSLContext | None = None,
    implicit: bool = False,
    login: bool = False,
) -> AsyncIterator[Server]:
    """Run a server.

    Args:
        server: How it answers.
        context: Its certificate: it offers STARTTLS and takes nothing without.
        implicit: It speaks TLS from the first byte in place of that.
        login: It takes nothing from who does not log in.
    """
    made = server or Server()
    loop = asyncio.get_running_loop()
    protocols: list[smtp.SMTP] = []

    def protocol() -> smtp.SMTP:
        starts = context if context is not None and not implicit else None
        with warnings.catch_warnings():
            # It does not know that it speaks TLS all the time.
            warnings.simplefilter("ignore", UserWarning)
            one = smtp.SMTP(
                made,
                hostname="mail.test",
                tls_context=starts,
                require_starttls=starts is not None,
                authenticator=made.authenticate if login else None,
                auth_required=login,
                auth_require_tls=not implicit,
                loop=loop,
            )
        protocols.append(one)
        return one

    where: dict[str, Any] = {"host": "127.0.0.1", "port": 0}
    if made.place is not None:
        where = {"sock": made.place}
    listening = await loop.create_server(protocol, ssl=context if implicit else None, **where)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listening.close()
        for one in protocols:
            if one.transport is not None:
                one.transport.abort()
        await listening.wait_closed()
        handlers = [one._handler_coroutine for one in protocols if one._handler_coroutine]
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the context of a server on this machine, and of a client that believes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))
