"""The folders that the pods of a type find. There is no `hostPath`, so nobody can say it."""

import enum
from typing import Annotated

from pydantic import StringConstraints

from longtask_crds import names
from longtask_crds.v1alpha1.fields import Label, Model, Quantity, SecretName

ObjectName = Annotated[str, StringConstraints(pattern=names.DNS_SUBDOMAIN_PATTERN, max_length=253)]
#: Absolute, without `.`, `..` and a colon: the path that is written is the one that is mounted.
MountPath = Annotated[
    str, StringConstraints(pattern=r"^(/\.?[A-Za-z0-9_][-A-Za-z0-9_.]*)+$", max_length=256)
]


class ClaimSource(Model):
    """A PersistentVolumeClaim."""

    claim_name: ObjectName
    """Its name, in the tasks' own namespace."""


class ConfigMapSource(Model):
    """A ConfigMap: each key is a file."""

    name: ObjectName
    """Its name, in the tasks' own namespace."""


class SecretSource(Model):
    """A Secret: each key is a file."""

    secret_name: SecretName
    """Its name, in the tasks' own namespace. The Secret must carry the label longtask.dev/env:
    "true"."""


class Medium(enum.StrEnum):
    """What a folder is kept in other than on disk."""

    MEMORY = "Memory"


class EmptyDirSource(Model):
    """An empty folder for each pod, gone with it."""

    size_limit: Quantity
    """How much it may hold, at least 1Mi; a pod that takes more is evicted."""

    medium: Medium | None = None
    """Memory keeps it in memory, within the container's limit; on the node's disk when absent."""


class TypeVolume(Model):
    """A folder in the container: a persistentVolumeClaim, a configMap, a secret or an emptyDir."""

    name: Label
    """The volume's name, unique in the type; input, token, tmp, shm and files are LongTask's."""

    mount_path: MountPath
    """Where it is: an absolute path, unique in the type, and none of LongTask's or the system's
    own: /tmp, /longtask, /dev, /proc, /sys, /run/secrets and all below."""

    read_only: bool | None = None
    """Whether the program can only read it: true when absent, but false for an emptyDir."""

    persistent_volume_claim: ClaimSource | None = None
    """A PersistentVolumeClaim."""

    config_map: ConfigMapSource | None = None
    """A ConfigMap, always read-only."""

    secret: SecretSource | None = None
    """A Secret, always read-only."""

    empty_dir: EmptyDirSource | None = None
    """An empty folder for each pod, gone with it."""
