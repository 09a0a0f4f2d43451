"""The one configuration object, read from the environment in `main` alone."""

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from longtask_crds import address_guard, effective, v1alpha1


def _usual_resources() -> v1alpha1.Resources:
    return v1alpha1.Resources(
        requests=v1alpha1.ResourceAmounts(cpu="100m", memory="64Mi"),
        limits=v1alpha1.ResourceAmounts(memory="512Mi", ephemeral_storage="1Gi"),
    )


class Settings(BaseSettings):
    """What the installation says. Each field is the variable `LONGTASK_<FIELD>`."""

    model_config = SettingsConfigDict(
        env_prefix="LONGTASK_", frozen=True, use_attribute_docstrings=True, populate_by_name=True
    )

    namespace: str = "longtasks"
    """The namespace that tasks live in."""

    secrets_namespace: str = "longtask"
    """The release's namespace, where the Secret of the callback keys is."""

    token_file: Path | None = None
    """The file with the bearer token that every request must carry."""

    insecure: bool = False
    """Let everybody in. Nothing else switches the token off."""

    callback_allow: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses and hosts that callbacks may go to although they are private, or not https."""

    runner_image: str = "longtask-runner"
    """The image of types that name none."""

    resources: v1alpha1.Resources = Field(default_factory=_usual_resources)
    """What a task gets that says nothing."""

    resource_cap: v1alpha1.ResourceAmounts = Field(default_factory=v1alpha1.ResourceAmounts)
    """What no task may exceed."""

    public_url: str = ""
    """Where users reach the API. Its path is the prefix of all links."""

    host: str = "0.0.0.0"
    """The address to listen on."""

    public_port: int = 8080
    """The port for users."""

    runner_port: int = 8081
    """The port for reports of running tasks."""

    metrics_port: int = 9090
    """The port for metrics."""

    kubeconfig: Path | None = Field(default=None, validation_alias="KUBECONFIG")
    """How to reach Kubernetes from outside of it; inside, the pod's own account is used."""

    log_level: str = "INFO"
    """The least severe record that is logged."""

    @field_validator("callback_allow", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Take a JSON list, or entries parted by commas."""
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return [entry.strip() for entry in value.split(",") if entry.strip()]

    @field_validator("callback_allow")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        address_guard.Guard.from_lists(allow=value)
        return value

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

    @property
    def path_prefix(self) -> str:
        """The path under which the API is published; empty for none."""
        return urlsplit(self.public_url).path.rstrip("/")

    @property
    def installation(self) -> effective.Installation:
        """What tasks get that say nothing, and what none may exceed."""
        return effective.Installation(
            runner_image=self.runner_image,
            resources=self.resources,
            resource_cap=self.resource_cap,
        )

    @property
    def guard(self) -> address_guard.Guard:
        """The rules for the URLs of callbacks."""
        return address_guard.Guard.from_lists(allow=self.callback_allow)
