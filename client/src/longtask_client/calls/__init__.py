"""What the API can be asked, by noun: the names, arguments and docstrings of a client's methods.

A function returns a call, or is a flow of several; nothing here does any IO.
"""

from longtask_client.calls import accounts, callbacks, contents, events, queues, service, tasks

__all__ = ["accounts", "callbacks", "contents", "events", "queues", "service", "tasks"]
