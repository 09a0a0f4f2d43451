"""What the API can be asked, by noun: the names, arguments and docstrings of a client's methods.

A function returns a call, or is a flow of several; nothing here does any IO.
"""

from longtask_client.calls import (
    accounts,
    audit,
    callbacks,
    contents,
    events,
    following,
    notices,
    queues,
    schedules,
    service,
    subscriptions,
    tasks,
)

__all__ = [
    "accounts",
    "audit",
    "callbacks",
    "contents",
    "events",
    "following",
    "notices",
    "queues",
    "schedules",
    "service",
    "subscriptions",
    "tasks",
]
