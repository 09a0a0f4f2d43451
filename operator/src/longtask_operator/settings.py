"""What the operator is told from outside: read once, from the environment, in `main`."""

from pathlib import Path

from pydantic import Field

from longtask_adapters.settings import CommonSettings
from longtask_operator.rules import pod_spec


class Settings(CommonSettings):
    """The operator's settings; each is `LONGTASK_` and its name in the environment."""

    namespace: str
    """The namespace that tasks live in."""

    secrets_namespace: str
    """The namespace of the Secret with the owners' callback keys."""

    runner_image: str
    """The image of types that name none."""

    runner_api_url: str
    """Where pods report to: the API's runner port."""

    api_token_file: Path = Path("/var/run/longtask/api/token")
    """The file with our pod's token for the API's runner port."""

    task_service_account: str = "longtask-task"
    """The account of the tasks' pods: one without any right."""

    pod_name: str = "longtask-operator"
    """Our pod, as the lease names its holder to people."""

    resync_seconds: float = Field(default=60, gt=0)
    """How often everything is listed again."""

    health_port: int = 8080
    """The port of /healthz and /readyz."""

    metrics_port: int = 9090
    """The port of /metrics."""

    @property
    def surroundings(self) -> pod_spec.Surroundings:
        """Return what each Job gets alike."""
        return pod_spec.Surroundings(
            self.runner_api_url, self.task_service_account, self.installation.runner_image
        )
