"""The one configuration object, read from the environment in `main` alone."""

import enum
import ipaddress
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
    """How many tasks that have not ended somebody may have; 0 for any number."""

    stored_tasks_per_owner: NonNegativeInt = 0
    """How many tasks somebody may have in Kubernetes, ended or not; 0 for any number."""

    trusted_proxies: Entries = ()
    """Addresses and networks of the proxies before the API. What they say in `X-Forwarded-For` is
    believed, and of nobody else."""

    cors_origins: Entries = ()
    """Origins of web pages that may call the API from browsers: `https://app.example.com`."""

    streams_per_caller: PositiveInt = 200
    """How many streams of events one caller may have open at a replica."""

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
