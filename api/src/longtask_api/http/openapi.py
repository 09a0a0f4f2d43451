"""What the OpenAPI description says beyond the endpoints' own signatures."""

import http
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Query
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from longtask_api.http import problems as problem_details
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
    Header(description="The ETag of the task as it was seen: refused with 412 if it has changed."),
]
Fields = Annotated[
    str | None,
    Query(
        description="Only these fields of each task: `id,phase`. The others are not there then.",
        json_schema_extra={"pattern": "^[a-zA-Z]+(,[a-zA-Z]+)*$"},
        examples=["id,phase,percent"],
    ),
]

_REF = "#/components/schemas/{model}"

#: Read from the raw body, so FastAPI does not know of it by itself.
ORDER_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": _REF.format(model="TaskOrder")},
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
                            "items": {"$ref": _REF.format(model="TaskOrder")},
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

_CHANGE = {"schema": {"$ref": _REF.format(model="TaskChange")}, "example": {"priority": 90}}
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
                "schema": {"$ref": _REF.format(model="TaskOrder")},
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


def json_body(model: type[v1alpha1.Model], example: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a body that is read raw; `describe` knows its model."""
    schema = {"$ref": _REF.format(model=model.__name__)}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


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


_OF_STREAM = """Server-sent events. `event` names what `data`, a JSON object, is: {names}. Each has
an `id` for `Last-Event-ID`; a comment comes each 15 seconds."""
_SSE: dict[str, Any] = {"text/event-stream": {"schema": {"type": "string"}}}
#: What a stream of one task is.
TASK_STREAM: dict[str, Any] = {
    "description": _OF_STREAM.format(
        names="`event` (something has happened), `status` (a TaskView), `progress` (a"
        " TaskProgress), and at last `result` (a TaskResult) or `deleted` (a TaskGone)"
    ),
    "content": _SSE,
}
#: What a stream of many tasks is.
STREAM: dict[str, Any] = {
    "description": _OF_STREAM.format(
        names="`status` (a TaskView), `progress` (a TaskProgress), `deleted` (a TaskGone), `reset`"
        " (a StreamReset: some deletions are not known)"
    ),
    "content": _SSE,
}


CALLBACKS = APIRouter()


@CALLBACKS.post("{$request.body#/callback/url}", operation_id="taskEnded", status_code=204)
async def task_ended(body: events.CallbackBody) -> None:
    """Take the news. It is signed as Standard Webhooks say, and comes again until a 2xx."""


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of these errors; `describe` gives them their media type."""
    return {code: {"description": http.HTTPStatus(code).phrase} for code in codes}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the whole description, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            servers=app.servers,
            separate_input_output_schemas=False,
        )
        _, definitions = models_json_schema(
            [
                (model, "validation")
                for model in (
                    models.TaskOrder,
                    models.TaskChange,
                    models.CancelOrder,
                    models.RedeliveryOrder,
                    models.CallbackTrialOrder,
                    models.Registration,
                    models.Login,
                    models.PasswordChange,
                    models.TokenOrder,
                    models.UserOrder,
                    models.UserChange,
                    models.InviteOrder,
                    models.Problem,
                    models.TaskProgress,
                    models.TaskResult,
                    models.TaskGone,
                    models.StreamReset,
                    events.Event,
                )
            ],
            ref_template=_REF,
        )
        schemas = document["components"]["schemas"]
        schemas.update(definitions["$defs"])
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for path in document["paths"].values():
            if "get" in path:
                _tell_validators(path["get"])
            for operation in path.values():
                _tell_problems(operation["responses"])
                _tell_requests_too_often(operation)
                for callback in operation.get("callbacks", {}).values():
                    for called in callback.values():
                        called["post"]["responses"].pop("422", None)
        app.openapi_schema = document
    return app.openapi_schema


def _tell_problems(responses: dict[str, Any]) -> None:
    schema = {"$ref": _REF.format(model=models.Problem.__name__)}
    for code, response in responses.items():
        if code >= "400":
            response["content"] = {problem_details.MEDIA_TYPE: {"schema": schema}}


def _tell_validators(operation: dict[str, Any]) -> None:
    """Say what `middleware.Validators` does to all JSON that is read."""
    answer = operation["responses"].get("200", {})
    if "application/json" not in answer.get("content", {}):
        return
    tag = {"schema": {"type": "string"}, "description": "Tells this answer from others."}
    answer.setdefault("headers", {})["ETag"] = tag
    known = {"description": "It is as it was.", "headers": {"ETag": tag}}
    operation["responses"].setdefault("304", known)
    parameters = operation.setdefault("parameters", [])
    if not any(one["name"].lower() == "if-none-match" for one in parameters):
        parameters.append(
            {
                "name": "If-None-Match",
                "in": "header",
                "required": False,
                "schema": {"type": "string"},
                "description": "The ETag that is known: 304 if there is nothing else.",
            }
        )


def _tell_requests_too_often(operation: dict[str, Any]) -> None:
    refused = operation["responses"].get("429")
    if refused is not None:
        seconds = {"schema": {"type": "integer"}, "description": "When to come again."}
        refused["headers"] = {"Retry-After": seconds}


class Described(FastAPI):
    """An application with that description."""

    def openapi(self) -> dict[str, Any]:
        """Return the description."""
        return describe(self)
