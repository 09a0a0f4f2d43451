"""What the API and the operator are told alike, each from its own environment."""

import contextlib
import json
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from longtask_crds import address_guard, effective, v1alpha1


def entries(value: Any) -> Any:
    """Read a list as an environment variable gives it: JSON, or entries parted by commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        # Or it is the bracket of an IPv6 address.
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return [entry.strip() for entry in value.split(",") if entry.strip()]


#: What fields that are lists are made of.
Entries = Annotated[tuple[str, ...], NoDecode, BeforeValidator(entries)]
Numbers = Annotated[tuple[int, ...], NoDecode, BeforeValidator(entries)]


def _usual_resources() -> v1alpha1.Resources:
    return v1alpha1.Resources(
        requests={"cpu": "100m", "memory": "64Mi"},
        limits={"memory": "512Mi", "ephemeral-storage": "1Gi"},
    )


class CommonSettings(BaseSettings):
    """What the installation says to both. Each field is the variable `LONGTASK_<FIELD>`."""

    model_config = SettingsConfigDict(
        env_prefix="LONGTASK_", frozen=True, use_attribute_docstrings=True, populate_by_name=True
    )

    namespace: str = "longtasks"
    """The namespace that tasks live in."""

    secrets_namespace: str = "longtask"
    """The namespace of the Secret with the owners' callback keys: the release's."""

    runner_image: str = "longtask-runner"
    """The image of types that name none."""

    resources: v1alpha1.Resources = Field(default_factory=_usual_resources)
    """What a task gets where neither it nor its type says."""

    resource_cap: v1alpha1.Amounts = Field(default_factory=dict)
    """What no task may exceed. Of extended resources it may ask for those that are named here."""

    callback_allow: Entries = ()
    """Hosts and networks that callbacks may reach although the rules refuse them."""

    callback_deny: Entries = ()
    """Networks that callbacks may never reach."""

    callback_schedule: Numbers = (*(0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400),)
    """The pause before each try of a callback, in seconds."""

    public_url: str = ""
    """Where users reach the API. Its path is the prefix of all links."""

    log_level: str = "INFO"
    """The least severe record that is logged: DEBUG, INFO, WARNING or ERROR."""

    otlp_endpoint: str = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """Where traces go, as OpenTelemetry's variables say; nowhere when empty."""

    @model_validator(mode="after")
    def _readable(self) -> "CommonSettings":
        address_guard.Guard.from_lists(allow=self.callback_allow, deny=self.callback_deny)
        return self

    @property
    def installation(self) -> effective.Installation:
        """Return what the installation gives to tasks, and what none may exceed."""
        return effective.Installation(
            runner_image=self.runner_image,
            resources=self.resources,
            resource_cap=self.resource_cap,
        )

    @property
    def guard(self) -> address_guard.Guard:
        """Return the rules for callbacks' addresses."""
        return address_guard.Guard.from_lists(allow=self.callback_allow, deny=self.callback_deny)
