"""The kinds of group `longtask.dev/v1alpha1`: the one source of the contract.

From these models come the CRDs (`generate`), the REST models and the operator's types. A docstring
under a field is its description everywhere: in `kubectl explain` and in OpenAPI. No field has a
default that a LongTaskType may set: the API server would write it into each object, and the type's
own would never win. `effective` says what holds where a field is absent.
"""

from longtask_crds.v1alpha1.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    EventReason,
    Reason,
)
from longtask_crds.v1alpha1.fields import (
    QUANTITY_PATTERN,
    Count,
    EnvName,
    GivenTime,
    Image,
    Json,
    Label,
    Message,
    Model,
    Percent,
    Priority,
    Quantity,
    Seconds,
    SecretKey,
    SecretName,
    TaskName,
    Time,
    Word,
)
from longtask_crds.v1alpha1.longtask import LongTask, LongTaskSpec, Step
from longtask_crds.v1alpha1.longtask_status import (
    Attempt,
    LongTaskStatus,
    Phase,
    Progress,
    Result,
    ResultRef,
    StepStatus,
)
from longtask_crds.v1alpha1.longtaskqueue import (
    LongTaskQueue,
    LongTaskQueueSpec,
    LongTaskQueueStatus,
)
from longtask_crds.v1alpha1.longtaskschedule import (
    ConcurrencyPolicy,
    LongTaskSchedule,
    LongTaskScheduleSpec,
    LongTaskScheduleStatus,
    TaskTemplate,
)
from longtask_crds.v1alpha1.longtasktype import (
    Egress,
    LongTaskType,
    LongTaskTypeSpec,
    LongTaskTypeStatus,
    TypeDefaults,
    TypeSecurity,
)
from longtask_crds.v1alpha1.metadata import (
    ObjectMeta,
    OwnerReference,
    Resource,
)
from longtask_crds.v1alpha1.notification import (
    URL_PATTERN,
    Callback,
    CallbackState,
    CallbackStatus,
    Notify,
    TaskEvent,
    Url,
)
from longtask_crds.v1alpha1.placement import Placement
from longtask_crds.v1alpha1.volumes import TypeVolume
from longtask_crds.v1alpha1.workload import (
    Amounts,
    Argument,
    Container,
    EnvVar,
    Resources,
    Retry,
    SecretKeyRef,
    Timeouts,
    TypeContainer,
)

__all__ = [
    "QUANTITY_PATTERN",
    "URL_PATTERN",
    "Amounts",
    "Argument",
    "Attempt",
    "Callback",
    "CallbackState",
    "CallbackStatus",
    "ConcurrencyPolicy",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "Container",
    "Count",
    "Egress",
    "EnvName",
    "EnvVar",
    "EventReason",
    "GivenTime",
    "Image",
    "Json",
    "Label",
    "LongTask",
    "LongTaskQueue",
    "LongTaskQueueSpec",
    "LongTaskQueueStatus",
    "LongTaskSchedule",
    "LongTaskScheduleSpec",
    "LongTaskScheduleStatus",
    "LongTaskSpec",
    "LongTaskStatus",
    "LongTaskType",
    "LongTaskTypeSpec",
    "LongTaskTypeStatus",
    "Message",
    "Model",
    "Notify",
    "ObjectMeta",
    "OwnerReference",
    "Percent",
    "Phase",
    "Placement",
    "Priority",
    "Progress",
    "Quantity",
    "Reason",
    "Resource",
    "Resources",
    "Result",
    "ResultRef",
    "Retry",
    "Seconds",
    "SecretKey",
    "SecretKeyRef",
    "SecretName",
    "Step",
    "StepStatus",
    "TaskEvent",
    "TaskName",
    "TaskTemplate",
    "Time",
    "Timeouts",
    "TypeContainer",
    "TypeDefaults",
    "TypeSecurity",
    "TypeVolume",
    "Url",
    "Word",
]
