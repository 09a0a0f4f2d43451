"""Types: what there is to be handed over."""

from fastapi import APIRouter, Request, Response

from longtask_api.dependencies import CallerDep, TypesDep
from longtask_api.ui import forms, shell

router = APIRouter(include_in_schema=False, route_class=shell.PageRoute)


@router.get("/types")
async def show_types(request: Request, caller: CallerDep, types: TypesDep) -> Response:
    """Show all types, and what each takes."""
    found = [(one, forms.of_schema(one.input_schema)) for one in types.all(caller).items]
    return shell.page(
        request,
        "types.html",
        caller=caller,
        here="types",
        types=[(one, fields if one.input_schema else ()) for one, fields in found],
    )


@router.get("/types/{name}")
async def show_type(request: Request, caller: CallerDep, types: TypesDep, name: str) -> Response:
    """Show a type."""
    found = await types.get(caller, name)
    return shell.page(
        request,
        "type.html",
        caller=caller,
        here="types",
        type=found,
        defaults=found.defaults.to_json() if found.defaults else None,
        fields=forms.of_schema(found.input_schema) if found.input_schema else (),
    )
