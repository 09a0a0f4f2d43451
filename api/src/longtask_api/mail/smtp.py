"""The door to the mail server: one message to one address, and what became of it."""

import asyncio
import contextlib
import email.message
import enum
import logging
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import aiosmtplib

from longtask_api.mail import message
from longtask_api.settings import Tls

_logger = logging.getLogger(__name__)

#: All of it, from the connection to the server's last word.
SECONDS: Final = 60.0
_ENHANCED: Final = re.compile(r"\d\.\d{1,3}\.\d{1,3}", re.ASCII)


class Problem(enum.StrEnum):
    """Why a mail was not sent. Part of the API: never renamed, and no text of the server's."""

    REFUSED = "Refused"  #: the server does not take it, and never will
    NOT_NOW = "NotNow"  #: the server says: later
    SENDER_REFUSED = "SenderRefused"  #: the server takes nothing from us
    LOGIN_REFUSED = "LoginRefused"
    TIMEOUT = "Timeout"
    CONNECTION_FAILED = "ConnectionFailed"
    TLS_FAILED = "TlsFailed"
    NAME_NOT_RESOLVED = "NameNotResolved"
    NOT_MADE = "NotMade"  #: the log says why


class NotSent(Exception):
    """A mail was not taken, as far as is known.

    Args:
        problem: Why.
        code: The server's code, if it said one.
        detail: Its enhanced code, if it said one.
        is_final: Whether trying again is of no use.
        is_of_server: Whether no other mail would fare better.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        code: int | None = None,
        detail: str = "",
        is_final: bool = False,
        is_of_server: bool = False,
    ) -> None:
        self.problem = problem
        self.code = code
        self.is_final = is_final
        self.is_of_server = is_of_server
        super().__init__(f"{problem} {detail}".rstrip())


class Door(Protocol):
    """Where mails go."""

    is_real: bool  #: False: nobody gets them

    async def send(self, mail: email.message.EmailMessage) -> int:
        """Hand a mail over; return the server's code, or raise NotSent."""


class LogDoor:
    """Writes mails to the log, in place of sending them."""

    is_real = False

    async def send(self, mail: email.message.EmailMessage) -> int:
        """Log a mail."""
        body = mail.get_body(("plain",))
        told = message.headers_of(mail)
        text = "" if body is None else body.get_content()
        shown = {"to": told["To"], "subject": told["Subject"], "text": text}
        _logger.info("Logged mail", extra=shown)
        return 250


class SmtpDoor:
    """Sends mails by SMTP, each on a connection of its own.

    Args:
        host: The server.
        port: Its port.
        tls: How the connection is kept from others.
        credentials: A folder with the files `username` and `password`, read at each mail, for they
            may change; None: the server asks for none.
        context: Says which certificates are believed; the system's when absent.
        seconds: How long a mail may take.
    """

    is_real = True

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: Tls,
        credentials: Path | None = None,
        context: ssl.SSLContext | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._credentials = credentials
        self._context = context or ssl.create_default_context()
        self._seconds = seconds

    async def send(self, mail: email.message.EmailMessage) -> int:
        """Hand a mail over.

        Raises:
            NotSent: The server did not say that it takes it. It may have, all the same.
        """
        username, password = self._login()
        server = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            username=username,
            password=password,
            use_tls=self._tls is Tls.TLS,
            start_tls=self._tls is Tls.STARTTLS,
            tls_context=None if self._tls is Tls.NONE else self._context,
            timeout=self._seconds,
        )
        with _translated():
            try:
                async with asyncio.timeout(self._seconds):
                    await server.connect()
                    await server.send_message(mail)
            finally:
                # Nobody waits for a server's good-bye: the mail is taken, or it is not.
                server.close()
        return 250

    def _login(self) -> tuple[str | None, str | None]:
        if self._credentials is None:
            return None, None
        try:
            username, password = (
                (self._credentials / name).read_text().strip() for name in ("username", "password")
            )
        except OSError as error:
            raise NotSent(Problem.LOGIN_REFUSED, is_of_server=True) from error
        return username, password


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Raise NotSent for all that may go wrong with a server."""
    try:
        yield
    except aiosmtplib.SMTPRecipientsRefused as error:
        refused = error.recipients[0]
        raise _answered(refused.code, refused.message) from error
    except aiosmtplib.SMTPDataError as error:
        raise _answered(error.code, error.message) from error
    except aiosmtplib.SMTPAuthenticationError as error:
        raise _of_server(Problem.LOGIN_REFUSED, error.code) from error
    except aiosmtplib.SMTPSenderRefused as error:
        problem = Problem.NOT_NOW if error.code < 500 else Problem.SENDER_REFUSED
        raise _of_server(problem, error.code) from error
    except aiosmtplib.SMTPResponseException as error:
        problem = Problem.NOT_NOW if error.code < 500 else Problem.CONNECTION_FAILED
        raise _of_server(problem, error.code) from error
    except TimeoutError as error:
        raise _of_server(Problem.TIMEOUT) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise _of_server(_cause(error)) from error


def _answered(code: int, text: str) -> NotSent:
    """Return what the server said of this one mail."""
    found = _ENHANCED.match(text)
    is_final = code >= 500
    problem = Problem.REFUSED if is_final else Problem.NOT_NOW
    detail = found.group() if found else ""
    return NotSent(problem, code=code, detail=detail, is_final=is_final)


def _of_server(problem: Problem, code: int | None = None) -> NotSent:
    return NotSent(problem, code=code, is_of_server=True)


def _cause(error: BaseException | None) -> Problem:
    """Return what lies at the bottom of an error."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return Problem.TLS_FAILED
        if isinstance(error, socket.gaierror):
            return Problem.NAME_NOT_RESOLVED
        if isinstance(error, aiosmtplib.SMTPNotSupported) or "TLS" in str(error):
            return Problem.TLS_FAILED
        error = error.__cause__ or error.__context__
    return Problem.CONNECTION_FAILED
