"""Make a Bruno collection of the API's description: a request for each operation.

`make collection` writes it beside this file. Open the folder in Bruno, choose the environment
`local`, and set its secret `token` (LONGTASK_TOKEN of `.localcluster/env`).
"""

import asyncio
import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, settings, wiring

HERE = Path(__file__).parent
ENVIRONMENT = """vars {
  url: http://127.0.0.1:8080
  task_id: report
}
vars:secret [
  token
]
"""
COLLECTION = """auth {
  mode: bearer
}

auth:bearer {
  token: {{token}}
}
"""


async def description() -> dict[str, Any]:
    """Return the OpenAPI description, as a running API gives it."""
    with tempfile.TemporaryDirectory() as folder:
        configured = settings.Settings(insecure=True, data_directory=Path(folder))
        async with wiring.running(MemoryKubernetes(), configured) as services:
            return app.for_users(services).openapi()


def files(document: dict[str, Any]) -> dict[str, str]:
    """Return the collection's files by their paths."""
    made = {
        "bruno.json": json.dumps(
            {"version": "1", "name": document["info"]["title"], "type": "collection"}, indent=2
        )
        + "\n",
        "collection.bru": COLLECTION,
        "environments/local.bru": ENVIRONMENT,
    }
    number = 0
    for path, item in document["paths"].items():
        if path.startswith("{"):
            continue  # a callback: not for us to send
        for method, operation in item.items():
            number += 1
            folder = (operation.get("tags") or ["service"])[0]
            name = operation["operationId"]
            made[f"{folder}/{name}.bru"] = request(name, number, method, path, operation)
    return made


def request(name: str, number: int, method: str, path: str, operation: dict[str, Any]) -> str:
    """Return the file of one request."""
    parameters = operation.get("parameters", [])
    query = [one for one in parameters if one["in"] == "query"]
    headers = [one for one in parameters if one["in"] == "header"]
    body = json_body(operation)
    url = "{{url}}" + path.replace("{", "{{").replace("}", "}}")
    auth = "inherit" if operation.get("security") else "none"
    blocks = [
        block("meta", {"name": name, "type": "http", "seq": number}),
        block(method, {"url": url, "body": "json" if body else "none", "auth": auth}),
    ]
    # Off until somebody wants them.
    if query:
        blocks.append(block("params:query", {f"~{one['name']}": example(one) for one in query}))
    if headers:
        blocks.append(block("headers", {f"~{one['name']}": example(one) for one in headers}))
    if body:
        blocks.append("body:json {\n" + indented(json.dumps(body, indent=2)) + "\n}\n")
    told = operation.get("description") or operation.get("summary") or ""
    if told:
        blocks.append("docs {\n" + indented(told) + "\n}\n")
    return "\n".join(blocks)


def block(name: str, values: dict[str, object]) -> str:
    """Return a block of Bruno's language."""
    lines = "".join(f"  {key}: {value}".rstrip() + "\n" for key, value in values.items())
    return f"{name} {{\n{lines}}}\n"


def json_body(operation: dict[str, Any]) -> Any:
    """Return an example of what is sent, or None."""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        if not media_type.endswith("json"):
            continue
        examples = content.get("examples")
        return next(iter(examples.values()))["value"] if examples else content.get("example", {})
    return None


def example(parameter: dict[str, Any]) -> str:
    """Return what a parameter may be."""
    schema = parameter.get("schema", {})
    found = [*schema.get("examples", ()), schema.get("default"), ""]
    first = next(value for value in found if value not in (None, []))
    return json.dumps(first) if isinstance(first, bool) else str(first)


def indented(text: str) -> str:
    """Return a text as it stands in a block."""
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def main() -> int:
    """Write the files, and remove those that are not made any more."""
    wanted = files(asyncio.run(description()))
    for path in HERE.rglob("*.bru"):
        if str(path.relative_to(HERE)) not in wanted:
            path.unlink()
            with contextlib.suppress(OSError):  # others are there still
                path.parent.rmdir()
    for name, text in wanted.items():
        (HERE / name).parent.mkdir(parents=True, exist_ok=True)
        (HERE / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
