"""A typed client of LongTask's REST API, and the command `longtask`.

The names are loaded on first use: the API shares the models and needs no HTTP client.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longtask_client.aio import (
        AsyncClient,
        AsyncTaskHandle,
    )
    from longtask_client.client import (
        Client,
        TaskHandle,
    )
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
        InviteList,
        InviteOrder,
        InviteView,
        LoggedIn,
        Login,
        Me,
        NewInvite,
        NewPassword,
        NewToken,
        NewUser,
        PasswordChange,
        Problem,
        ProblemError,
        QueueContent,
        QueuedTask,
        QueueList,
        QueueView,
        Redelivery,
        RedeliveryOrder,
        Registration,
        Role,
        Scope,
        SortOrder,
        TaskChange,
        TaskFilter,
        TaskOrder,
        TaskPage,
        TaskState,
        TaskView,
        TokenKind,
        TokenList,
        TokenOrder,
        TokenView,
        TypeList,
        TypeView,
        UserChange,
        UserOrder,
        UserPage,
        UserView,
        Version,
        Via,
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
    "InviteList",
    "InviteOrder",
    "InviteView",
    "LoggedIn",
    "Login",
    "LongTaskError",
    "Me",
    "NewInvite",
    "NewPassword",
    "NewToken",
    "NewUser",
    "NotFound",
    "NotStarted",
    "PasswordChange",
    "Problem",
    "ProblemError",
    "QueueContent",
    "QueueList",
    "QueueView",
    "QueuedTask",
    "Redelivery",
    "RedeliveryOrder",
    "Registration",
    "Role",
    "Scope",
    "ServerUnavailable",
    "SortOrder",
    "TaskChange",
    "TaskFilter",
    "TaskHandle",
    "TaskOrder",
    "TaskPage",
    "TaskState",
    "TaskView",
    "TokenKind",
    "TokenList",
    "TokenOrder",
    "TokenView",
    "TooManyRequests",
    "TypeList",
    "TypeView",
    "Unauthorized",
    "UnexpectedAnswer",
    "UserChange",
    "UserOrder",
    "UserPage",
    "UserView",
    "Version",
    "Via",
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
