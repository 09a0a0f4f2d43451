"""The page that shows the API. All its files are our own: nothing is loaded from elsewhere."""

import functools
from importlib import resources

from fastapi import APIRouter, Response

from longtask_api import errors

router = APIRouter(include_in_schema=False)

#: The icons of Swagger UI are data URLs.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none';"
    " frame-ancestors 'none'"
)
_FILES = {
    "docs.js": ("docs.js", "text/javascript"),
    "swagger-ui.css": ("vendor/swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": ("vendor/swagger-ui-bundle.js", "text/javascript"),
}
_UI = resources.files("longtask_api") / "ui"


@router.get("/docs")
async def show_docs() -> Response:
    """Show the page."""
    return Response(
        _read("docs.html"), media_type="text/html", headers={"Content-Security-Policy": _POLICY}
    )


@router.get("/docs/{name}")
async def get_asset(name: str) -> Response:
    """Serve one file of the page."""
    if name not in _FILES:
        raise errors.Missing("There is no such file.")
    path, media_type = _FILES[name]
    return Response(
        _read(path),
        media_type=media_type,
        headers={"Cache-Control": "public, max-age=3600"},
    )


@functools.cache
def _read(path: str) -> bytes:
    """Return a file's content. The first reader waits for the disk, and everybody with it."""
    return (_UI / path).read_bytes()
