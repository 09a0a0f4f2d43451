"""What routes say of themselves in the OpenAPI description, beyond their signatures."""

import http
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query

from longtask_client import models
from longtask_crds import events, v1alpha1

#: Where the next page begins. Any text is taken, and refused as no cursor of ours.
Cursor = Annotated[
    str | None,
    Query(
        description="`nextCursor` of the page before.",
        json_schema_extra={"pattern": "^[A-Za-z0-9_-]{1,1024}$"},
    ),
]
IfMatch = Annotated[
    str | None,
    Header(description="The ETag of it as it was seen: refused with 412 if it has changed."),
]
Fields = Annotated[
    str | None,
    Query(
        description="Only these fields of each task: `id,phase`. The others are not there then.",
        json_schema_extra={"pattern": "^[a-zA-Z]+(,[a-zA-Z]+)*$"},
        examples=["id,phase,percent"],
    ),
]

#: Where a model stands in the description.
REF = "#/components/schemas/{model}"

#: Read from the raw body, so FastAPI does not know of it by itself.
ORDER_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": REF.format(model="TaskOrder")},
                "examples": {
                    "type": {
                        "summary": "A type that is installed",
                        "value": {"type": "fibonacci", "input": {"n": 100}},
                    },
                    "container": {
                        "summary": "An image of one's own, with a callback",
                        "value": {
                            "name": "nightly-report",
                            "container": {"image": "example.com/report:1", "args": ["--full"]},
                            "callback": {"url": "https://example.com/done"},
                        },
                    },
                    "pipeline": {
                        "summary": "Linked steps: fetch a list, then work on each of its items",
                        "value": {
                            "steps": [
                                {"name": "fetch", "type": "list-files"},
                                {
                                    "name": "convert",
                                    "type": "convert-file",
                                    "forEach": {"$from": "steps.fetch#/files"},
                                    "input": {"path": {"$from": "item#/path"}},
                                },
                            ]
                        },
                    },
                },
            }
        },
    }
}


BATCH_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["items"],
                    "additionalProperties": False,
                    "properties": {
                        "items": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": models.BATCH_MAX_ITEMS,
                            "items": {"$ref": REF.format(model="TaskOrder")},
                        }
                    },
                },
                "example": {
                    "items": [{"type": "fibonacci", "input": {"n": n}} for n in (100, 200)]
                },
            }
        },
    }
}

_CHANGE = {"schema": {"$ref": REF.format(model="TaskChange")}, "example": {"priority": 90}}
CHANGE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/merge-patch+json": _CHANGE, "application/json": _CHANGE},
    }
}

#: The fields of an order, of which each one given stands in place of the original's.
RETRY_BODY: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {
                "schema": {"$ref": REF.format(model="TaskOrder")},
                "examples": {
                    "same": {"summary": "The same once more", "value": {}},
                    "changed": {
                        "summary": "With more memory, and without its callback",
                        "value": {
                            "resources": {"limits": {"memory": "1Gi"}},
                            "callback": None,
                        },
                    },
                },
            }
        },
    }
}


def json_body(
    model: type[v1alpha1.Model], example: dict[str, Any], *, required: bool = True
) -> dict[str, Any]:
    """Return the description of a body that is read raw; `describe` knows its model."""
    schema = {"$ref": REF.format(model=model.__name__)}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": required, "content": content}}


def _link(operation: str, description: str) -> dict[str, Any]:
    return {
        "operationId": operation,
        "parameters": {"task_id": "$response.body#/id"},
        "description": description,
    }


#: A result is what the program brought.
RESULT: dict[str, Any] = {
    "application/json": {"schema": {}, "example": {"value": "55"}},
    "text/plain": {"schema": {"type": "string"}},
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
}


#: What one can do with the task that was just made.
TASK_LINKS: dict[str, Any] = {
    "links": {
        "task": _link("getTask", "Look at it."),
        "state": _link("getTaskState", "Look at its phase and progress."),
        "result": _link("getTaskResult", "Get its result."),
        "logs": _link("getTaskLogs", "Read its log."),
        "change": _link("changeTask", "Give it another place in its queue."),
        "cancel": _link("cancelTask", "End it."),
        "retry": _link("retryTask", "Do it again once it has ended."),
        "delete": _link("deleteTask", "Delete it."),
    }
}


#: A schedule to make, in two ways.
SCHEDULE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": REF.format(model="ScheduleOrder")},
                "examples": {
                    "cron": {
                        "summary": "Each morning of a working day, by the clock of Zurich",
                        "value": {
                            "name": "nightly-report",
                            "schedule": "30 6 * * 1-5",
                            "timeZone": "Europe/Zurich",
                            "maxFailures": 3,
                            "taskTemplate": {
                                "spec": {
                                    "container": {"image": "example.com/report:1"},
                                    "input": {"day": {"$from": "run#/scheduledTime"}},
                                }
                            },
                        },
                    },
                    "interval": {
                        "summary": "A URL, each five minutes",
                        "value": {
                            "name": "rates",
                            "intervalSeconds": 300,
                            "taskTemplate": {
                                "spec": {
                                    "type": "http-fetch",
                                    "input": {"url": "https://example.com/rates.json"},
                                }
                            },
                        },
                    },
                },
            }
        },
    }
}
_SCHEDULE_CHANGE = {
    "schema": {"$ref": REF.format(model="ScheduleChange")},
    "example": {"schedule": "0 5 * * *", "timeZone": None, "suspend": False},
}
#: What is changed of a schedule.
SCHEDULE_CHANGE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/merge-patch+json": _SCHEDULE_CHANGE,
            "application/json": _SCHEDULE_CHANGE,
        },
    }
}


def _link_of_schedule(operation: str, description: str) -> dict[str, Any]:
    return {
        "operationId": operation,
        "parameters": {"schedule_name": "$response.body#/name"},
        "description": description,
    }


#: What one can do with the schedule that was just made.
SCHEDULE_LINKS: dict[str, Any] = {
    "links": {
        "schedule": _link_of_schedule("getSchedule", "Look at it."),
        "status": _link_of_schedule("getScheduleStatus", "See how its last run went."),
        "data": _link_of_schedule("getScheduleData", "Get what its runs brought."),
        "runs": _link_of_schedule("getScheduleRuns", "List its runs."),
        "change": _link_of_schedule("changeSchedule", "Change it."),
        "pause": _link_of_schedule("pauseSchedule", "Let it start no runs."),
        "resume": _link_of_schedule("resumeSchedule", "Let it start runs again."),
        "trigger": _link_of_schedule("triggerSchedule", "Start a run now."),
        "delete": _link_of_schedule("deleteSchedule", "Delete it."),
    }
}


_OF_STREAM = """Server-sent events, each as the schema says. `event` names what `data` is. The `id`
of the last that came is what `Last-Event-ID` takes; a comment comes each 15 seconds."""


def _stream(kinds: Mapping[str, type[v1alpha1.Model]], description: str) -> dict[str, Any]:
    """Return the description of a stream by one event of it, as OpenAPI 3.1 can say it.

    Args:
        kinds: What `data` is, by the name of the event.
        description: What the stream tells.
    """
    data = [
        {
            "properties": {
                "event": {"const": name},
                "data": {"contentSchema": {"$ref": REF.format(model=model.__name__)}},
            }
        }
        for name, model in kinds.items()
    ]
    schema = {
        "type": "object",
        "required": ["event", "data", "id"],
        "properties": {
            "event": {"enum": [*kinds]},
            "data": {"type": "string", "contentMediaType": "application/json"},
            "id": {"type": "string"},
            "retry": {"type": "integer", "description": "Milliseconds before one comes back."},
        },
        "oneOf": data,
    }
    return {
        "description": f"{description} {_OF_STREAM}",
        "content": {"text/event-stream": {"schema": schema}},
    }


_OF_ALL: dict[str, type[v1alpha1.Model]] = {
    "status": models.TaskView,
    "progress": models.TaskProgress,
    "deleted": models.TaskGone,
}
_OF_ONE: dict[str, type[v1alpha1.Model]] = {
    "event": events.Event,
    **_OF_ALL,
    "result": models.TaskResult,
}
#: What a stream of one task is.
TASK_STREAM = _stream(_OF_ONE, "What has happened to the task, and its end: then it is over.")
#: What a stream of many tasks is.
STREAM = _stream(
    {**_OF_ALL, "reset": models.StreamReset},
    "What becomes of the tasks, without an end; `reset`: some deletions are not known here.",
)


CALLBACKS = APIRouter()


@CALLBACKS.post("{$request.body#/callback/url}", operation_id="taskEnded", status_code=204)
async def task_ended(body: events.CallbackBody) -> None:
    """Take the news. It is signed as Standard Webhooks say, and comes again until a 2xx."""


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of these errors; `document.describe` gives them their media type."""
    return {code: {"description": http.HTTPStatus(code).phrase} for code in codes}


_SINCE, _UNTIL = "x-deprecated-since", "x-sunset"


def retired(*, since: datetime, until: datetime) -> dict[str, Any]:
    """Return what a route is declared with that is deprecated; `middleware.Retirement` tells it.

    Args:
        since: When it was deprecated.
        until: When it goes, at the earliest.
    """
    times = {_SINCE: since.isoformat(), _UNTIL: until.isoformat()}
    return {"deprecated": True, "openapi_extra": times}


def retirement(route: Any) -> dict[str, str]:
    """Return the headers that say when a route was deprecated and when it goes; none if it stays.

    They are those of RFC 9745 and RFC 8594.
    """
    if not getattr(route, "deprecated", False):
        return {}
    since, until = (datetime.fromisoformat(route.openapi_extra[key]) for key in (_SINCE, _UNTIL))
    return {
        "Deprecation": f"@{int(since.timestamp())}",
        "Sunset": format_datetime(until.astimezone(UTC), usegmt=True),
    }
