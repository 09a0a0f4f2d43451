"""The one configuration object, read from the environment in `main` alone."""

import enum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from longtask_adapters.settings import CommonSettings

#: The databases that there are, by the beginning of their URLs.
_DATABASES: Final = ("postgresql://", "postgres://", "sqlite:///")


class Registration(enum.StrEnum):
    """Who may make themselves an account."""

    OFF = "off"  #: nobody: administrators make them
    INVITE = "invite"  #: whom an administrator has sent an invitation
    OPEN = "open"  #: everybody


class Settings(CommonSettings):
    """What the installation says to the API. Each field is the variable `LONGTASK_<FIELD>`."""

    token_file: Path | None = None
    """The file with the bearer token that every request must carry."""

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
    streams_per_caller: PositiveInt = 200
    """How many streams of events one caller may have open at a replica."""

    kubeconfig: Path | None = Field(default=None, validation_alias="KUBECONFIG")
    """How to reach Kubernetes from outside of it; inside, the pod's own account is used."""

    @model_validator(mode="after")
    def _guarded(self) -> "Settings":
        if self.token_file is None and not self.insecure:
            raise ValueError("set LONGTASK_TOKEN_FILE, or LONGTASK_INSECURE=true to go without")
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
