"""One order, as it is handed over by each of the doors. Pure."""

import json
import pprint
import shlex
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import yaml

from longtask_crds import names

#: The fields of an order that a resource has elsewhere than in its spec.
_NAMING: Final = ("name", "labels", "idempotencyKey")
#: The one in C, where there is one: a page waits for it.
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_DUMPER):  # type: ignore[misc]
    """Writes a text of several lines, such as a program, as people do: line by line."""

    def represent_text(self, text: str) -> Any:
        # What does not show, others may read as the end of a line.
        shows = all(line.isprintable() for line in text.split("\n"))
        style = "|" if "\n" in text and shows else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


class Call(NamedTuple):
    """How it is done by one door."""

    door: str
    text: str


def of(order: Mapping[str, Any], url: str) -> tuple[Call, ...]:
    """Return how an order is handed over to the API at an address."""
    return (
        Call("curl", _curl(order, f"{url}/api/v1/tasks")),
        Call("Python", _python(order, url)),
        Call("Command", _command(order)),
        Call("kubectl", _kubectl(order)),
    )


def of_schedule(order: Mapping[str, Any], url: str) -> tuple[Call, ...]:
    """Return how an order of a schedule is given to the API at an address."""
    text = as_yaml(dict(order))
    return (
        Call("curl", _curl(order, f"{url}/api/v1/schedules")),
        Call("Command", f"longtask schedule create -f - <<'EOF'\n{text}EOF\n"),
        Call("kubectl", f"kubectl create -n longtasks -f - <<'EOF'\n{_schedule(order)}EOF\n"),
    )


def _schedule(order: Mapping[str, Any]) -> str:
    return as_yaml(
        {
            "apiVersion": names.API_VERSION,
            "kind": "LongTaskSchedule",
            "metadata": {"name": order.get("name", "")},
            "spec": {key: value for key, value in order.items() if key != "name"},
        }
    )


def manifest(order: Mapping[str, Any]) -> str:
    """Return the resource that an order becomes, in YAML."""
    metadata: dict[str, Any] = {}
    if "name" in order:
        metadata["name"] = order["name"]
    else:
        metadata["generateName"] = f"{order.get('type') or 'task'}-"
    if "labels" in order:
        metadata["labels"] = order["labels"]
    return as_yaml(
        {
            "apiVersion": names.API_VERSION,
            "kind": "LongTask",
            "metadata": metadata,
            "spec": {key: value for key, value in order.items() if key not in _NAMING},
        }
    )


def as_yaml(value: Any) -> str:
    """Return a value as YAML, in the order that it has."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))


def _curl(order: Mapping[str, Any], url: str) -> str:
    body = json.dumps(order, ensure_ascii=False, indent=2)
    return (
        'curl -H "Authorization: Bearer $LONGTASK_TOKEN" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(body)} \\\n"
        f"  {shlex.quote(url)}\n"
    )


def _python(order: Mapping[str, Any], url: str) -> str:
    said = pprint.pformat(dict(order), sort_dicts=False, width=88)
    return (
        "import os\n\n"
        "from longtask_client import Client\n"
        "from longtask_client.models import TaskOrder\n\n"
        f"with Client({url!r}, os.environ['LONGTASK_TOKEN']) as client:\n"
        f"    order = TaskOrder.model_validate(\n{_indented(said, 8)}\n    )\n"
        "    task = client.submit(order).wait()\n"
        "    print(task.phase, task.result)\n"
    )


def _command(order: Mapping[str, Any]) -> str:
    """Return the words of `longtask submit` where they say it all, else a file for it."""
    given = order.get("input", {})
    plain = {"type", "input", "name", "queue", "priority"}
    if "type" not in order or not isinstance(given, dict) or not order.keys() <= plain:
        return f"longtask submit -f - <<'EOF'\n{as_yaml(dict(order))}EOF\n"
    words = ["longtask", "submit", str(order["type"])]
    words += [f"{key}={_word(value)}" for key, value in given.items()]
    words += [
        word
        for key in ("name", "queue", "priority")
        if key in order
        for word in (f"--{key}", str(order[key]))
    ]
    return f"{shlex.join(words)}\n"


def _word(value: Any) -> str:
    """Return what the command reads as this value: JSON where it can be, else text."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value, ensure_ascii=False)


def _kubectl(order: Mapping[str, Any]) -> str:
    return f"kubectl create -n longtasks -f - <<'EOF'\n{manifest(order)}EOF\n"


def _indented(text: str, by: int) -> str:
    return "\n".join(" " * by + line for line in text.splitlines())
