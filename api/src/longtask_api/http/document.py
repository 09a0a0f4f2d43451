"""The OpenAPI description, made once of what all routes say of themselves."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from longtask_api.http import examples, openapi
from longtask_api.http import problems as problem_details
from longtask_client import models
from longtask_crds import events

_OF_RETIREMENT = {
    "Deprecation": {
        "schema": {"type": "string", "examples": ["@1798761600"]},
        "description": "Since when it is deprecated, in seconds of 1970.",
    },
    "Sunset": {"schema": {"type": "string"}, "description": "When it goes, at the earliest."},
}


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
                    models.ScheduleOrder,
                    models.ScheduleChange,
                    models.RedeliveryOrder,
                    models.CallbackTrialOrder,
                    models.Registration,
                    models.Login,
                    models.PasswordChange,
                    models.TokenOrder,
                    models.UserOrder,
                    models.UserChange,
                    models.InviteOrder,
                    models.SubscriptionOrder,
                    models.SubscriptionChange,
                    models.SubscriptionRedeliveryOrder,
                    models.NoticeWish,
                    models.EmailOrder,
                    models.EmailCode,
                    models.Problem,
                    models.TaskProgress,
                    models.TaskResult,
                    models.TaskGone,
                    models.StreamReset,
                    events.Event,
                )
            ],
            ref_template=openapi.REF,
        )
        schemas = document["components"]["schemas"]
        schemas.update(definitions["$defs"])
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for path in document["paths"].values():
            if "get" in path:
                _tell_validators(path["get"])
            for method, operation in path.items():
                if method != "get":
                    operation["responses"].setdefault("413", *openapi.problems(413).values())
                _tell_problems(operation["responses"])
                _show_examples(operation["responses"])
                _tell_requests_too_often(operation)
                _tell_retirement(operation)
                for callback in operation.get("callbacks", {}).values():
                    for called in callback.values():
                        called["post"]["responses"].pop("422", None)
        app.openapi_schema = document
    return app.openapi_schema


def _tell_problems(responses: dict[str, Any]) -> None:
    schema = {"$ref": openapi.REF.format(model=models.Problem.__name__)}
    for code, response in responses.items():
        if code >= "400":
            content: dict[str, Any] = {"schema": schema}
            if code in examples.OF_PROBLEM:
                content["example"] = examples.OF_PROBLEM[code]
            response["content"] = {problem_details.MEDIA_TYPE: content}


def _show_examples(responses: dict[str, Any]) -> None:
    """Show what is answered where it is one of the main answers."""
    for response in responses.values():
        content = response.get("content", {}).get("application/json", {})
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        if name in examples.OF_MODEL:
            content["example"] = examples.OF_MODEL[name]


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


def _tell_retirement(operation: dict[str, Any]) -> None:
    """Say what `middleware.Retirement` adds to the answers of a deprecated route."""
    if operation.get("deprecated"):
        for response in operation["responses"].values():
            response.setdefault("headers", {}).update(_OF_RETIREMENT)


class Described(FastAPI):
    """An application with that description."""

    def openapi(self) -> dict[str, Any]:
        """Return the description."""
        return describe(self)
