"""A typed client of LongTask's REST API, and the command `longtask`.

The names are loaded on first use: the API shares the models and needs no HTTP client.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longtask_client.aio import AsyncClient, AsyncTaskHandle
    from longtask_client.client import Client, TaskHandle
    from longtask_client.errors import (
        ApiError,
        Conflict,
        ConnectionFailed,
        InvalidRequest,
        LongTaskError,
        NotFound,
        NotStarted,
        ServerUnavailable,
        TooManyRequests,
        Unauthorized,
        UnexpectedAnswer,
        WaitTimeout,
    )
    from longtask_client.models import (
        CallbackKey,
        CallbackLog,
        CallbackTrial,
        CallbackTrialOrder,
        EstimatedStart,
        Problem,
        ProblemError,
        QueueContent,
        QueuedTask,
        QueueList,
        QueueView,
        Redelivery,
        RedeliveryOrder,
        SortOrder,
        TaskChange,
        TaskFilter,
        TaskOrder,
        TaskPage,
        TaskState,
        TaskView,
        TypeList,
        TypeView,
        Version,
    )

__all__ = [
    "ApiError",
    "AsyncClient",
    "AsyncTaskHandle",
    "CallbackKey",
    "CallbackLog",
    "CallbackTrial",
    "CallbackTrialOrder",
    "Client",
    "Conflict",
    "ConnectionFailed",
    "EstimatedStart",
    "InvalidRequest",
    "LongTaskError",
    "NotFound",
    "NotStarted",
    "Problem",
    "ProblemError",
    "QueueContent",
    "QueueList",
    "QueueView",
    "QueuedTask",
    "Redelivery",
    "RedeliveryOrder",
    "ServerUnavailable",
    "SortOrder",
    "TaskChange",
    "TaskFilter",
    "TaskHandle",
    "TaskOrder",
    "TaskPage",
    "TaskState",
    "TaskView",
    "TooManyRequests",
    "TypeList",
    "TypeView",
    "Unauthorized",
    "UnexpectedAnswer",
    "Version",
    "WaitTimeout",
]

_MODULES = ("errors", "models", "client", "aio")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module_name in _MODULES:
            module = importlib.import_module(f"{__name__}.{module_name}")
            if name in vars(module):
                return vars(module)[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
