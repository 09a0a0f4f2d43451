"""Names that several components, users and tools rely on. Part of the API: never renamed."""

import base64
import hashlib
import re
import secrets
from datetime import datetime
from typing import Final, NamedTuple

GROUP: Final = "longtask.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

# Plural names: the resources' places in the API server's paths.
LONGTASKS: Final = "longtasks"
LONGTASKTYPES: Final = "longtasktypes"
LONGTASKQUEUES: Final = "longtaskqueues"
LONGTASKSCHEDULES: Final = "longtaskschedules"

# Labels.
TASK_LABEL: Final = f"{GROUP}/task"
QUEUE_LABEL: Final = f"{GROUP}/queue"
ATTEMPT_LABEL: Final = f"{GROUP}/attempt"
STEP_LABEL: Final = f"{GROUP}/step"
OWNER_LABEL: Final = f"{GROUP}/owner"
CALLBACK_SECRET_LABEL: Final = f"{GROUP}/callback"  #: must be "true" on a callback's Secret
SCHEDULE_LABEL: Final = f"{GROUP}/schedule"  #: on a run: the name of the schedule that made it
EGRESS_LABEL: Final = f"{GROUP}/egress"  #: on a task's pod: the network policies go by it
#: On a Job that waits for a task, and on its pod: the type. Its `TASK_LABEL` is empty meanwhile.
WARM_LABEL: Final = f"{GROUP}/warm"
#: On a Job that waits: the sum of what it was made of.
TEMPLATE_ANNOTATION: Final = f"{GROUP}/template"
ENV_SECRET_LABEL: Final = f"{GROUP}/env"  #: must be "true" on a Secret that a pod may read

#: Where the API keeps the hash of the request that made a task, to tell a retry from a clash.
REQUEST_HASH_ANNOTATION: Final = f"{GROUP}/request-hash"

#: What people call a task's owner, where the label's value is made of that.
OWNER_NAME_ANNOTATION: Final = f"{GROUP}/owner-name"

#: Any new value, by custom the time, asks for the last callback to be delivered again.
REDELIVER_ANNOTATION: Final = f"{GROUP}/redeliver"

#: The name of the task that this one does again.
RETRY_OF_ANNOTATION: Final = f"{GROUP}/retry-of"

#: What a pipeline takes over from the one that it does again from where that failed.
REUSE_ANNOTATION: Final = f"{GROUP}/reuse"

#: The trace that the task belongs to: what came as the header `traceparent`.
TRACEPARENT_ANNOTATION: Final = f"{GROUP}/traceparent"

#: On a Kubernetes Event: the id and the number of what it tells, which others who tell of the same
#: say as well.
EVENT_ANNOTATION: Final = f"{GROUP}/event"
SEQUENCE_ANNOTATION: Final = f"{GROUP}/event-sequence"

#: What systems on the way say of that trace: what came as the header `tracestate` beside it.
TRACESTATE_ANNOTATION: Final = f"{GROUP}/tracestate"

#: On a run: the time that it is the run of, and which run of its schedule it is.
SCHEDULED_AT_ANNOTATION: Final = f"{GROUP}/scheduled-at"
RUN_NUMBER_ANNOTATION: Final = f"{GROUP}/run-number"

#: On a schedule: times with commas between them, as RFC 3339 writes them, for which somebody asks a
#: run each, whatever the schedule says. The operator takes out what it has started.
RUN_AT_ANNOTATION: Final = f"{GROUP}/run-at"

#: On a schedule: a time, RFC 3339, and after a space who asks that its failures are forgotten. A
#: time later than `status.resetAt` is acted upon.
RESET_ANNOTATION: Final = f"{GROUP}/reset-attempts"

#: The runner's container in a task's pod. Only its end is the attempt's end.
RUNNER_CONTAINER: Final = "runner"

#: The container that fetches whole results of earlier steps before that one starts.
FILES_CONTAINER: Final = "files"

DEFAULT_QUEUE: Final = "default"

#: The Lease, beside the tasks, whose holder alone lets tasks start.
ADMISSION_LEASE: Final = "longtask-admission"

#: A task's name, so that a Job's name with its suffix still fits into 63 characters.
TASK_NAME_MAX: Final = 52
#: A schedule's name: with a hyphen and eight digits behind it, it is the name of a task.
SCHEDULE_NAME_MAX: Final = TASK_NAME_MAX - 9
DNS_LABEL_PATTERN: Final = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN_PATTERN: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"

#: How long a finished Job stays once its outcome is stored, so that its name stays taken.
RELEASED_TTL_SECONDS: Final = 600

_MADE_UP_ENDING = re.compile(r"(?<=[a-z0-9])-[a-z2-7]{8}$")

MESSAGE_MAX: Final = 1024  #: characters of any message in a status
BRIEF_MAX: Final = 256  #: of one in the status of a step, of which there may be many
INPUT_MAX_BYTES: Final = 65536  #: of compact UTF-8 JSON

#: How deep Python may go in our processes: the API server stores JSON of 10000 levels, and one such
#: input must not break all lists. No more than that, for what recurses has a stack of 8 MiB.
RECURSION_LIMIT: Final = 11_000


class ObjectKey(NamedTuple):
    """A namespaced resource's identity while it lives; everything inside is keyed by it."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def sibling(self, name: str) -> "ObjectKey":
        """Return the key of another resource in the same namespace."""
        return ObjectKey(self.namespace, name)


def job_name(task_name: str, task_uid: str, *, attempt: int, step: str = "") -> str:
    """Return the name of an attempt's Job: the same whoever asks, however often."""
    digest = hashlib.sha256(f"{task_uid}/{step}/{attempt}".encode()).digest()
    return f"{task_name[:TASK_NAME_MAX]}-{letters(digest)[:10]}"


def run_name(schedule: str, at: datetime) -> str:
    """Return the name of the run that is due at a time: the same whoever asks, however often.

    The time is its seconds since 1970, in hexadecimal: eight digits until 2106, which sort.
    """
    return f"{schedule}-{int(at.timestamp()):08x}"


def made_up(stem: str) -> str:
    """Return a new name for a task that nobody named, beginning with the stem."""
    return f"{stem[: TASK_NAME_MAX - 9].rstrip('-')}-{letters(secrets.token_bytes(5))}"


def made_up_after(name: str) -> str:
    """Return a new name for a task that does another one again: that one's, with a new ending.

    What looks like a made-up ending gives way to the new one, so that no chain of retries grows.
    """
    return made_up(_MADE_UP_ENDING.sub("", name))


def letters(data: bytes) -> str:
    """Return bytes as letters and digits that any name may hold: 8 for each 5 bytes."""
    return base64.b32encode(data).decode().rstrip("=").lower()
