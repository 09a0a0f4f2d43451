"""The one configuration object, read from the environment in `main` alone."""

import enum
import ipaddress
import re
from email.utils import getaddresses
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from longtask_adapters.settings import CommonSettings, Entries

#: The databases that there are, by the beginning of their URLs.
_DATABASES: Final = ("postgresql://", "postgres://", "sqlite:///")
#: Hosts that nobody stands between.
_HERE: Final = ("localhost", "127.0.0.1", "::1")

_WEB: Final = ("http", "https")


class Registration(enum.StrEnum):
    """Who may make themselves an account."""

    OFF = "off"  #: nobody: administrators make them
    INVITE = "invite"  #: whom an administrator has sent an invitation
    OPEN = "open"  #: everybody


class MailMode(enum.StrEnum):
    """What becomes of mails."""

    LOG = "log"  #: they are written to the log, and nobody gets them
    SEND = "send"


class Tls(enum.StrEnum):
    """How the connection to the mail server is kept from others."""

    STARTTLS = "starttls"  #: before anything is said; a server that cannot is not used
    TLS = "tls"  #: from its first byte
    NONE = "none"  #: not at all


class Settings(CommonSettings):
    """What the installation says to the API. Each field is the variable `LONGTASK_<FIELD>`."""

    token_file: Path | None = None
    """The file with the bearer token that every request must carry."""

    kubernetes_accounts: bool = True
    """Take tokens of Kubernetes' accounts: who may touch tasks by kubectl may by REST."""

    oidc_issuer: str = ""
    """Whose tokens are taken as well: the identity provider's name, which is its address."""

    oidc_audience: str = ""
    """For whom they must be meant."""

    oidc_roles_claim: str = ""
    """Where they say what somebody is: a claim, or a path to it with dots."""

    oidc_admin_value: str = ""
    """What makes an admin of somebody there."""

    insecure: bool = False
    """Let everybody in. Nothing else switches the token off."""

    host: str = "0.0.0.0"
    """The address to listen on."""

    public_port: int = 8080
    """The port for users."""

    runner_port: int = 8081
    """The port for reports of running tasks."""

    metrics_port: int = 9090
    """The port for metrics."""

    operator_account: str = "system:serviceaccount:longtask:longtask-operator"
    """Who may read every result at the runner port: the operator, to send it."""

    result_limit: int = Field(default=32 * 1024 * 1024, ge=0)
    """How many bytes a result may have."""

    database_url: str = ""
    """Where the database is: `postgresql://…` or `sqlite:///path`."""

    database_url_file: Path | None = None
    """The file that says so, in place of the variable: the URL may hold a password."""

    data_directory: Path = Path("/var/lib/longtask")
    """Where the database is a file if no URL is given."""

    ttl_seconds: NonNegativeInt = 86_400
    """How long a task's resource stays after its end if the task does not say; then it is archived
    and deleted."""

    ttl_seconds_failed: NonNegativeInt = 604_800
    """The same for tasks that failed."""

    archive_days: PositiveInt = 90
    """How long a task stays in the archive."""

    audit_days: PositiveInt = 365
    """How long it is kept who did what."""

    registration: Registration = Registration.OFF
    """Who may make themselves an account."""

    session_hours: PositiveInt = 12
    """How long a login is good."""

    token_days: int = Field(default=90, ge=1, le=365)
    """How long a user's token for programs is good if they do not say."""

    requests_per_second: NonNegativeInt = 100
    """How many requests a second each caller may make, over ten seconds; 0 for any number."""

    requests_per_second_per_address: NonNegativeInt = 200
    """The same for each address, whoever asks from there. Without `trusted_proxies`, all who come
    through one proxy share an address."""

    logins_per_minute: NonNegativeInt = 5
    """How often a minute somebody may try to log in from one address; 0 for any number."""

    active_tasks_per_owner: NonNegativeInt = 0
    """How many tasks that have not ended somebody may have; 0 for any number. Runs of schedules
    do not count."""

    stored_tasks_per_owner: NonNegativeInt = 0
    """How many tasks somebody may have in Kubernetes, ended or not; 0 for any number. Likewise."""

    schedules_per_owner: NonNegativeInt = 0
    """How many schedules somebody may have; 0 for any number."""

    trusted_proxies: Entries = ()
    """Addresses and networks of the proxies before the API. What they say in `X-Forwarded-For` is
    believed, and of nobody else."""

    cors_origins: Entries = ()
    """Origins of web pages that may call the API from browsers: `https://app.example.com`."""

    dashboard_plain_http: bool = False
    """Browsers reach the dashboard by http, without TLS: its cookie is then not guarded as it is
    else. Only where nobody else is on the way."""

    hosts: Entries = ()
    """Names by which users reach the API besides that of `public_url`; requests by any other are
    refused, so that no page can lead a browser here under a name of its own. Empty for any name."""

    streams_per_caller: PositiveInt = 200
    """How many streams of events one caller may have open at a replica."""

    logs_per_caller: PositiveInt = 200
    """How many logs one caller may have open at a replica: one that is followed is, and one that is
    read slowly."""

    mail_mode: MailMode = MailMode.LOG
    """Whether mails are sent, or written to the log in place of that."""

    mail_from: str = "LongTask <longtask@localhost>"
    """Whom they are from."""

    mail_host: str = ""
    """The mail server."""

    mail_port: int = Field(default=587, ge=1, le=65535)
    """Its port."""

    mail_tls: Tls = Tls.STARTTLS
    """How the connection to it is kept from others."""

    mail_credentials: Path | None = None
    """A folder with the files `username` and `password` for it; without it asks for none."""

    mail_allowed_domains: Entries = ()
    """Domains whose addresses anybody may have mailed; `*` for all. Confirmed addresses of accounts
    may be mailed anyway, and no others."""

    mail_allowed_recipients: Entries = ()
    """Further addresses that anybody may have mailed."""

    mail_templates: Path | None = None
    """A folder with templates that take the place of those that come with LongTask."""

    kubeconfig: Path | None = Field(default=None, validation_alias="KUBECONFIG")
    """How to reach Kubernetes from outside of it; inside, the pod's own account is used."""

    @model_validator(mode="after")
    def _guarded(self) -> "Settings":
        if self.token_file is None and not self.insecure:
            raise ValueError("set LONGTASK_TOKEN_FILE, or LONGTASK_INSECURE=true to go without")
        for proxy in self.trusted_proxies:
            ipaddress.ip_network(proxy)
        for origin in self.cors_origins:
            parts = urlsplit(origin)
            # With `*` any page that somebody opens could call whatever their browser reaches.
            if origin != f"{parts.scheme}://{parts.netloc}" or parts.scheme not in _WEB:
                raise ValueError(f"{origin!r} is no origin such as https://app.example.com")
        return self

    @model_validator(mode="after")
    def _named(self) -> "Settings":
        for host in self.hosts:
            if urlsplit(f"//{host}").hostname != host:
                raise ValueError(f"{host!r} is no host's name in small letters, without a port")
        return self

    @model_validator(mode="after")
    def _issued(self) -> "Settings":
        if bool(self.oidc_issuer) != bool(self.oidc_audience):
            raise ValueError("set LONGTASK_OIDC_ISSUER and LONGTASK_OIDC_AUDIENCE, or neither")
        if bool(self.oidc_roles_claim) != bool(self.oidc_admin_value):
            raise ValueError(
                "set LONGTASK_OIDC_ROLES_CLAIM and LONGTASK_OIDC_ADMIN_VALUE, or neither"
            )
        issuer = urlsplit(self.oidc_issuer)
        # Whoever can change its answers on the way can be anybody.
        is_safe = issuer.scheme == "https" or issuer.hostname in _HERE
        if self.oidc_issuer and not (is_safe and issuer.hostname):
            raise ValueError("LONGTASK_OIDC_ISSUER must begin with https://")
        return self

    @model_validator(mode="after")
    def _mailed(self) -> "Settings":
        ((_, address), *others) = getaddresses([self.mail_from]) or [("", "")]
        if others or not re.fullmatch(r"[!-?A-~]+@[A-Za-z0-9.-]+", address):
            raise ValueError(f"LONGTASK_MAIL_FROM: no mail can come from {self.mail_from!r}")
        if self.mail_mode is MailMode.SEND and not self.mail_host:
            raise ValueError("set LONGTASK_MAIL_HOST, or LONGTASK_MAIL_MODE=log to send nothing")
        return self

    def token(self) -> str | None:
        """Read the bearer token; None lets everybody in.

        Raises:
            ValueError: The file is empty.
        """
        if self.token_file is None:
            return None
        token = self.token_file.read_text().strip()
        if not token:
            raise ValueError(f"{self.token_file} holds no token")
        return token

    def database(self) -> str:
        """Read where the database is.

        Raises:
            ValueError: It is none that is known, or two are named.
        """
        if self.database_url and self.database_url_file:
            raise ValueError("set LONGTASK_DATABASE_URL or LONGTASK_DATABASE_URL_FILE, not both")
        url = self.database_url
        if self.database_url_file is not None:
            url = self.database_url_file.read_text().strip()
        url = url or f"sqlite:///{self.data_directory / 'longtask.db'}"
        if not url.startswith(_DATABASES):
            # What follows the scheme may be a secret.
            raise ValueError(
                f"the database's URL must begin with {' or '.join(_DATABASES)},"
                f" not with {url.partition(':')[0]}:"
            )
        return url

    @property
    def path_prefix(self) -> str:
        """The path under which the API is published; empty for none."""
        return urlsplit(self.public_url).path.rstrip("/")
