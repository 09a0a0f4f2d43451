"""From options to orders: pure, but for reading the files that `--file` and `--input` name."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from longtask_client import models
from longtask_client.cli.given import inputs, manifests
from longtask_crds import v1alpha1


def orders(
    words: Sequence[str],
    *,
    file: str | None,
    source: str | None,
    image: str | None,
    env: Sequence[str],
    name: str | None,
    queue: str | None,
    priority: int | None,
    labels: Sequence[str],
    callback: dict[str, object],
    attempts: int | None,
    not_before: datetime | str | None,
) -> list[models.TaskOrder]:
    """Return the orders that the options of `submit` are; they go before what a file says.

    Raises:
        BadWord: They contradict each other, or one of them cannot be understood.
    """
    fields: dict[str, object] = {
        "name": name,
        "queue": queue,
        "priority": priority,
        "labels": dict(inputs.pairs(labels, what="label")) or None,
        "retry": {"maxAttempts": attempts} if attempts else None,
        "notBefore": not_before,
    }
    given = {key: value for key, value in fields.items() if value is not None}
    if file is not None:
        if image or env:
            raise inputs.BadWord("--file says what runs: there is nothing for --image and --env")
        found = manifests.read(file)
        if name is not None and len(found) > 1:
            raise inputs.BadWord("--name is for one task, and the file holds several")
        return [
            _order(_with_callback(document, callback) | given | _input(words, source))
            for document in found
        ]
    given = _with_callback(given, callback)
    if image:
        variables = inputs.pairs(env, what="--env")
        container = {
            "image": image,
            "command": list(words),
            "env": [{"name": key, "value": value} for key, value in variables],
        }
        given["container"] = {key: value for key, value in container.items() if value}
        return [_order(given | _input((), source))]
    if env:
        raise inputs.BadWord("--env needs --image: a type has its own variables")
    if not words:
        raise inputs.BadWord("what shall run? Name a type, an --image or a --file")
    return [_order({"type": words[0], **given, **_input(words[1:], source)})]


def callback(
    url: str | None,
    *,
    events: Sequence[v1alpha1.TaskEvent],
    form: v1alpha1.MessageFormat | None,
    headers: Sequence[str],
    secret: str | None,
) -> dict[str, object]:
    """Return what the options of `submit` say of the callback.

    Args:
        url: Where it goes.
        events: What is told.
        form: How.
        headers: Further headers, as NAME=VALUE.
        secret: Whose key signs it, as SECRET/KEY.

    Raises:
        BadWord: One of them cannot be understood.
    """
    name, slash, key = (secret or "").partition("/")
    if secret is not None and not (name and slash and key):
        raise inputs.BadWord(f"--callback-secret: {secret!r} is no SECRET/KEY")
    fields: dict[str, object] = {
        "url": url,
        "events": list(events),
        "format": form,
        "headers": dict(inputs.pairs(headers, what="--callback-header")),
        "secretRef": {"name": name, "key": key} if secret else None,
    }
    return {key: value for key, value in fields.items() if value}


def _with_callback(document: dict[str, Any], said: dict[str, object]) -> dict[str, Any]:
    """Return the fields of an order with what options say of its callback in place."""
    if not said:
        return document
    there = document.get("callback")
    whole = (there if isinstance(there, dict) else {}) | said
    if "url" not in whole:
        raise inputs.BadWord("how a callback is told is said, and not where: give --callback")
    return document | {"callback": whole}


def _order(fields: dict[str, Any]) -> models.TaskOrder:
    try:
        # As the API reads it: what it does not know it must not lose in silence here.
        return models.TaskOrder.model_validate(
            {key: value for key, value in fields.items() if value is not None},
            extra="forbid",
            by_alias=True,
            by_name=False,
        )
    except ValidationError as error:
        raise inputs.BadWord(inputs.flaws(error)) from error


def changes(
    task_id: str,
    words: Sequence[str],
    *,
    file: str | None,
    source: str | None,
    name: str | None,
    queue: str | None,
    priority: int | None,
) -> dict[str, object]:
    """Return what the options of `retry` change of the task that is done again.

    Raises:
        BadWord: They contradict each other, or one of them cannot be understood.
    """
    fields = {"name": name, "queue": queue, "priority": priority}
    given = {key: value for key, value in fields.items() if value is not None}
    found: dict[str, object] = {}
    if file is not None:
        documents = manifests.read(file)
        if len(documents) > 1:
            raise inputs.BadWord("one task is done again, and the file holds several")
        found = documents[0]
        if found.get("name") == task_id:
            del found["name"]  # what the task was made of: the new one has another
    return found | given | _input(words, source)


def _input(words: Sequence[str], source: str | None) -> dict[str, object]:
    """Return the field `input`, if any was given."""
    if source is None:
        return {"input": inputs.arguments(words)} if words else {}
    if words:
        raise inputs.BadWord("give the input as KEY=VALUE or by --input, not both")
    return {"input": inputs.document(source)}


def phases(words: Sequence[str]) -> tuple[v1alpha1.Phase, ...]:
    """Return the phases of these names, in upper or lower case.

    Raises:
        BadWord: There is no such phase.
    """
    known = {phase.lower(): phase for phase in v1alpha1.Phase}
    try:
        return tuple(known[word.lower()] for word in words)
    except KeyError as error:
        every = ", ".join(v1alpha1.Phase)
        raise inputs.BadWord(f"there is no phase {error.args[0]!r}; there are {every}") from error


def callback_state(word: str | None) -> v1alpha1.CallbackState | None:
    """Return the state of a callback of this name, in upper or lower case; None is any.

    Raises:
        BadWord: There is no such state.
    """
    if word is None:
        return None
    try:
        return v1alpha1.CallbackState(word.capitalize())
    except ValueError as error:
        every = ", ".join(v1alpha1.CallbackState)
        raise inputs.BadWord(f"there is no state {word!r}; there are {every}") from error
