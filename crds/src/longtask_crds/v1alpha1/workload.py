"""What a container is, what it gets, and how long it may take."""

from typing import Annotated

from pydantic import Field, StringConstraints

from longtask_crds.v1alpha1.fields import (
    EnvName,
    Image,
    Model,
    Quantity,
    Seconds,
    SecretKey,
    SecretName,
)

Amounts = Annotated[dict[str, Quantity], Field(max_length=16)]
"""Amounts of resources, by the names that Kubernetes has for them."""


class Resources(Model):
    """What the container gets at least, and what it may use at most.

    `cpu`: `500m` is half a core, 1m the least. `memory`: for example `256Mi`, at least 4Mi, for
    with less no container starts. `ephemeral-storage`: disk space of its writable files and its
    log, at least 1Mi. Extended resources such as `nvidia.com/gpu`: whole numbers.
    """

    requests: Amounts | None = None
    """What is set aside for the container; the scheduler counts this. Never above the limit. `cpu`,
    `memory`, `ephemeral-storage`, or an extended resource such as `nvidia.com/gpu`."""

    limits: Amounts | None = None
    """What the container may use at most; more memory than this ends it. An extended resource is
    the same on both sides: to say it on one is enough."""


class SecretKeyRef(Model):
    """One key of a Secret in the task's namespace."""

    name: SecretName
    """The Secret's name."""

    key: SecretKey
    """The key inside the Secret."""


class EnvVar(Model):
    """One environment variable: a value, or a key of a Secret."""

    name: EnvName
    """The variable's name. Names that begin with LONGTASK_ are reserved."""

    value: Annotated[str, StringConstraints(max_length=4096)] | None = None
    """The value, as it is: nothing in it is expanded."""

    secret_ref: SecretKeyRef | None = None
    """Where the value comes from. The Secret must carry the label longtask.dev/env: "true"."""


Argument = Annotated[str, StringConstraints(max_length=16_384)]


class TypeContainer(Model):
    """The container of a type; without an image it is the installed runner image."""

    image: Image | None = None
    """The image: `[host[:port]/]path[:tag][@digest]`. Without one it is the installed runner
    image."""

    command: Annotated[list[Argument], Field(max_length=64)] | None = None
    """The program in place of the image's entry point."""

    args: Annotated[list[Argument], Field(max_length=256)] | None = None
    """The program's arguments."""

    env: Annotated[list[EnvVar], Field(max_length=64)] | None = None
    """Environment variables; values may come from Secrets."""


class Container(TypeContainer):
    """Any image with a program in it."""

    image: Image
    """The image: `[host[:port]/]path[:tag][@digest]`."""


class Retry(Model):
    """When and how often to try again."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = None
    """How often the program may be started in all; 1 when absent. An attempt whose pod was
    evicted, preempted, drained, deleted or lost with its node does not count, up to three times."""

    backoff_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """The pause before the second attempt, doubled for each further one; 10 when absent. Each pause
    is up to a fifth shorter or longer, so that what failed together does not return together."""

    max_backoff_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """The longest pause between two attempts; 360 when absent."""


class Timeouts(Model):
    """How long each part may take, in seconds."""

    queue_seconds: Seconds | None = None
    """The longest wait in the queue before the first attempt, whatever the cause; no limit when
    absent."""

    start_seconds: Seconds | None = None
    """The longest time from the start of an attempt until its container runs; 600 when absent."""

    run_seconds: Seconds | None = None
    """The longest time that a pod may run, the pull of its image included; 86400 when absent."""

    total_seconds: Seconds | None = None
    """The longest time from creation to the end, all attempts and pauses included; no limit when
    absent."""

    heartbeat_seconds: Seconds | None = None
    """The longest silence of a running program, from its start or its last progress report: then
    its attempt is ended. No limit when absent."""
