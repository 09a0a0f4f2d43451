"""What the operator is told from outside: read once, from the environment, in `main`."""

from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from longtask_crds import address_guard, effective, v1alpha1
from longtask_operator import job_manifest


class Settings(BaseSettings):
    """The operator's settings; each is `LONGTASK_` and its name in the environment."""

    model_config = SettingsConfigDict(env_prefix="LONGTASK_", frozen=True)

    namespace: str
    """The namespace that tasks live in."""

    secrets_namespace: str
    """The namespace of the Secret with the owners' callback keys."""

    runner_image: str
    """The image of types that name none."""

    runner_api_url: str
    """Where pods report to: the API's runner port."""

    task_service_account: str = "longtask-task"
    """The account of the tasks' pods: one without any right."""

    resources: v1alpha1.Resources = v1alpha1.Resources()
    """What tasks get where neither they nor their types say."""

    resource_cap: v1alpha1.ResourceAmounts = v1alpha1.ResourceAmounts()
    """What no task may exceed."""

    callback_allow: Annotated[tuple[str, ...], NoDecode] = ()
    """Hosts and networks that callbacks may reach although the rules refuse them."""

    callback_deny: Annotated[tuple[str, ...], NoDecode] = ()
    """Networks that callbacks may never reach."""

    callback_schedule: Annotated[tuple[int, ...], NoDecode] = (
        *(0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400),
    )
    """The pause before each try of a callback, in seconds."""

    resync_seconds: float = Field(default=60, gt=0)
    """How often everything is listed again."""

    health_port: int = 8080
    """The port of /healthz and /readyz."""

    metrics_port: int = 9090
    """The port of /metrics."""

    log_level: str = "INFO"
    """What is logged: DEBUG, INFO, WARNING or ERROR."""

    @field_validator("callback_allow", "callback_deny", "callback_schedule", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @property
    def installation(self) -> effective.Installation:
        """Return what the installation gives to tasks, and what none may exceed."""
        return effective.Installation(self.runner_image, self.resources, self.resource_cap)

    @property
    def surroundings(self) -> job_manifest.Surroundings:
        """Return what each Job gets alike."""
        return job_manifest.Surroundings(self.runner_api_url, self.task_service_account)

    @property
    def guard(self) -> address_guard.Guard:
        """Return the rules for callbacks' addresses."""
        return address_guard.Guard.from_lists(allow=self.callback_allow, deny=self.callback_deny)
