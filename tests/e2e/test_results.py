"""Results too large for the resource: from a real pod, by its own token, to whoever reads them."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from e2e_support import (
    BASE_IMAGE,
    Kubectl,
    Receiver,
    answers,
    callback_key,
    eventually,
    finished,
    restart,
    submit,
)

#: What a program in any language does: here without a library of ours, and without curl.
UPLOAD = """
import os, urllib.request
token = open(os.environ["LONGTASK_TOKEN_FILE"]).read()
request = urllib.request.Request(
    os.environ["LONGTASK_API_URL"] + "/runner/v1/result",
    data={content},
    method="PUT",
    headers={{"Authorization": "Bearer " + token, "Content-Type": "{media_type}"}},
)
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""


def upload(
    rest: httpx.Client, content: str, *, media_type: str = "application/json", callback: str = ""
) -> dict[str, object]:
    """Run a program that sends what an expression of Python makes; return the ended task."""
    program = UPLOAD.format(content=content, media_type=media_type)
    container = {"image": BASE_IMAGE, "command": ["python3", "-c", program]}
    more = {"callback": {"url": callback}} if callback else {}
    view = finished(rest, submit(rest, container=container, **more)["id"])
    assert view["phase"] == "Succeeded", view
    return view


def test_a_result_of_a_megabyte_is_kept_served_and_named_in_the_resource(
    rest: httpx.Client,
    receiver: Receiver,
    kubectl: Kubectl,
    longtask: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    content = b'["' + b"7" * 1_000_000 + b'"]'
    task = upload(rest, """b'["' + b"7" * 1_000_000 + b'"]'""", callback=receiver.url())

    sha256 = hashlib.sha256(content).hexdigest()
    ref = kubectl.get("lt", str(task["id"]))["status"]["result"]["ref"]
    assert ref == {"size": len(content), "sha256": sha256}
    answer = rest.get(str(task["resultUrl"]))
    assert (answer.content, answer.headers["ETag"]) == (content, f'"{sha256}"')
    part = rest.get(str(task["resultUrl"]), headers={"Range": "bytes=999999-"})
    assert (part.status_code, part.content) == (206, content[999_999:])
    file = tmp_path / "result.json"
    assert longtask("result", str(task["id"]), "-o", str(file)).returncode == 0
    assert file.read_bytes() == content
    (delivery,) = receiver.wait_for(str(task["id"]))
    told = delivery.verify(callback_key(rest))["data"]
    assert told["result"] is None
    assert told["resultUrl"].endswith(f"/api/v1/tasks/{task['id']}/result")
    assert rest.get(told["resultUrl"]).content == content


def test_a_callback_carries_what_is_small_enough(rest: httpx.Client, receiver: Receiver) -> None:
    task = upload(rest, "b'{\"digits\": \"' + b'8' * 60_000 + b'\"}'", callback=receiver.url())

    (delivery,) = receiver.wait_for(str(task["id"]))
    delivery.verify(callback_key(rest))
    assert delivery.body.endswith(b'"result":{"digits": "' + b"8" * 60_000 + b'"}}}')


@pytest.mark.parametrize(
    ("media_type", "kept_as"),
    [("text/plain", "text/plain"), ("application/json", "text/plain")],
    ids=["text", "what-calls-itself-json"],
)
def test_what_is_no_json_is_kept_as_text(rest: httpx.Client, media_type: str, kept_as: str) -> None:
    task = upload(rest, 'b"so be it\\n" * 1000', media_type=media_type)

    answer = rest.get(str(task["resultUrl"]))
    assert answer.headers["Content-Type"].partition(";")[0] == kept_as
    assert answer.text == "so be it\n" * 1000


def test_a_short_text_is_kept_as_text(rest: httpx.Client) -> None:
    command = ["sh", "-c", "echo done > $LONGTASK_OUTPUT_FILE"]
    order = {"image": BASE_IMAGE, "command": command}
    task = finished(rest, submit(rest, container=order)["id"])

    assert task["result"] == {"value": "done\n", "mediaType": "text/plain", "ref": None}
    assert rest.get(f"/api/v1/tasks/{task['id']}/result").text == "done\n"


@pytest.mark.alone
def test_a_result_survives_the_api(rest: httpx.Client, kubectl: Kubectl) -> None:
    task = upload(rest, 'b"[" + b"1," * 10_000 + b"1]"')

    restart(kubectl, "api")
    eventually(lambda: answers(rest), bool, within=60)

    answer = rest.get(str(task["resultUrl"]))
    assert answer.status_code == 200
    assert json.loads(answer.content) == [1] * 10_001
