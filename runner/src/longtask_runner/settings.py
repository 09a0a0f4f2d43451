"""The environment of a task's container, read once."""

from __future__ import annotations

from longtask_crds import runner_contract

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_Env = runner_contract.Env


class Settings:
    """What the operator tells the program; a plain class, since dataclasses are slow to import."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.name = environ.get(_Env.NAME, "")
        self.namespace = environ.get(_Env.NAMESPACE, "")
        self.uid = environ.get(_Env.UID, "")
        self.type = environ.get(_Env.TYPE, "")
        self.step = environ.get(_Env.STEP, "")
        attempt = environ.get(_Env.ATTEMPT, "")
        self.attempt = int(attempt) if attempt.isdecimal() else 1
        self.input_file = environ.get(_Env.INPUT_FILE) or runner_contract.INPUT_FILE
        self.output_file = environ.get(_Env.OUTPUT_FILE) or runner_contract.OUTPUT_FILE
        self.checkpoint_file = environ.get(_Env.CHECKPOINT_FILE) or runner_contract.CHECKPOINT_FILE
        heartbeat = environ.get(_Env.HEARTBEAT_SECONDS, "")
        #: The longest silence before the attempt is ended, in seconds; None: no limit.
        self.heartbeat = int(heartbeat) if heartbeat.isdecimal() else None
        #: There is no task yet: it is asked for.
        self.is_warm = environ.get(_Env.WARM) == "true"
        self.api_url = environ.get(_Env.API_URL, "")
        self.token_file = environ.get(_Env.TOKEN_FILE) or runner_contract.TOKEN_FILE
