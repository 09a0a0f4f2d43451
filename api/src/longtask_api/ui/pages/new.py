"""Hand a task over: by a form that the type's schema makes, or as YAML or JSON."""

import asyncio
from typing import Annotated, Any, Final

import yaml
from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, StringConstraints

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.dependencies import CallerDep, JsonBodyDep, QueuesDep, TasksDep, TypesDep
from longtask_api.services import bodies
from longtask_api.ui import calls, forms, shell
from longtask_api.ui.pages import task
from longtask_client import manifests
from longtask_crds import v1alpha1

#: An input has 64 KiB at most.
_LONGEST: Final = 80 * 1024

router = APIRouter(include_in_schema=False, route_class=shell.PageRoute)
#: What its script asks for: what goes wrong is a problem as the API tells it.
helpers = APIRouter(include_in_schema=False)


class Text(v1alpha1.Model):
    """An order as somebody has written it."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, StringConstraints(max_length=_LONGEST)]
    """YAML or JSON: an order, or the resource as kubectl takes it."""


@router.get("/new")
async def show_new(
    request: Request,
    caller: CallerDep,
    tasks: TasksDep,
    types: TypesDep,
    queues: QueuesDep,
    type: str = "",  # noqa: A002 - the parameter's public name
    of: str = "",
) -> Response:
    """Show the form for a task of a type, or for another try of one that has ended."""
    if not caller.may(callers.Act.WRITE):
        raise errors.Forbidden("Only who may hand tasks over finds this page of use.")
    origin = (await tasks.whole(caller, of)) if of else None
    if origin is not None and not origin.is_finished:
        raise errors.Clash("Only a task that has ended is done again.")
    all_types = types.all(caller).items
    name = (origin.spec.type if origin else type) or ""
    if not origin and not name and all_types:
        name = all_types[0].name
    chosen = next((one for one in all_types if one.name == name), None)
    if name and chosen is None and origin is None:
        raise errors.Missing("There is no such type.")
    given = origin.spec.input if origin else None
    order = _order(origin) if origin else {"type": name, "input": {}}
    return shell.page(
        request,
        "new.html",
        caller=caller,
        here="new",
        types=all_types,
        chosen=chosen,
        origin=origin,
        fields=forms.of_schema(chosen.input_schema if chosen else None, given),
        queues=[queue.name for queue in queues.all(caller).items],
        text=calls.as_yaml(order),
        calls=calls.of(order, shell.base_url(request)),
        is_form=origin is None or origin.spec.steps is None,
        kept=task.kept(origin) if origin else [],
    )


def _order(origin: v1alpha1.LongTask) -> dict[str, Any]:
    """Return what a task was ordered as, but for what only it can have."""
    order = origin.spec.to_json()
    order.pop("cancel", None)
    order.pop("notBefore", None)
    return order


@helpers.post("/new/order")
async def read_order(caller: CallerDep, document: JsonBodyDep) -> dict[str, Any]:
    """Return the order that a text says, for the API to judge."""
    return await order_of(document, "LongTask")


async def order_of(document: Any, kind: str) -> dict[str, Any]:
    """Return the one order that the text in a document says.

    Raises:
        Invalid: It says none, or several.
    """
    given = bodies.read(Text, document)
    try:
        # It takes its time, and others wait for none of it.
        found = await asyncio.to_thread(_parsed, given.text, kind)
    except manifests.Unreadable as error:
        raise errors.Invalid(errors=[errors.finding("", str(error))]) from error
    if len(found) != 1:
        raise errors.Invalid(errors=[errors.finding("", f"It holds {len(found)} of them, not one")])
    return found[0]


def _parsed(text: str, kind: str) -> list[dict[str, Any]]:
    try:
        # What is said once and meant a thousand times, in what itself is: some lines are gigabytes.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise manifests.Unreadable("It uses aliases: write out what they stand for")
    except yaml.YAMLError as error:
        raise manifests.Unreadable(f"It is no YAML: {error}") from error
    return manifests.parse(text, "It", kind)


@helpers.post("/new/calls")
async def show_calls(request: Request, caller: CallerDep, document: JsonBodyDep) -> Response:
    """Show how an order is handed over without this page."""
    if not isinstance(document, dict):
        raise errors.Invalid(errors=[errors.finding("", "no object")])
    told = calls.of(document, shell.base_url(request))
    text = calls.as_yaml(document)
    return shell.page(request, "calls.html", caller=caller, calls=told, text=text)
