"""Accounts of Kubernetes at the product's door, and a pod that would keep others from theirs."""

import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from e2e_support import BASE_IMAGE, Kubectl, Product, client_of, eventually, finished, submit

ROLE = ("create", "rolebinding")

#: Connects and says nothing; tells how many connections were left to it, and how many at the end.
FLOODS = """
import json, os, socket, time, urllib.parse

parts = urllib.parse.urlsplit(os.environ["LONGTASK_API_URL"])
made = [socket.create_connection((parts.hostname, parts.port), 10) for _ in range(400)]

def left():
    count = 0
    for one in made:
        one.setblocking(False)
        try:
            count += one.recv(1) != b""
        except BlockingIOError:
            count += 1
        except OSError:
            pass
    return count

time.sleep(8)
first = left()
time.sleep(20)
open(os.environ["LONGTASK_OUTPUT_FILE"], "w").write(json.dumps([first, left()]))
"""
REPORTS = """
import json, os, time, urllib.request

for percent in range(0, 60, 10):
    with open(os.environ["LONGTASK_TOKEN_FILE"]) as file:
        headers = {"Authorization": "Bearer " + file.read(), "Content-Type": "application/json"}
    url = os.environ["LONGTASK_API_URL"] + "/runner/v1/progress"
    request = urllib.request.Request(url, json.dumps({"percent": percent}).encode(), headers)
    urllib.request.urlopen(request, timeout=20).read()
    time.sleep(1)
"""
#: Asks the users' port with the token that it reports with.
TRESPASSES = """
import json, os, urllib.error, urllib.request

with open(os.environ["LONGTASK_TOKEN_FILE"]) as file:
    headers = {"Authorization": "Bearer " + file.read()}
try:
    url = "%s/api/v1/tasks"
    code = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10).status
except urllib.error.HTTPError as error:
    code = error.code
open(os.environ["LONGTASK_OUTPUT_FILE"], "w").write(json.dumps(code))
"""


@pytest.fixture
def account(
    product: Product, kubectl: Kubectl, name: str
) -> Iterator[Callable[[str], httpx.Client]]:
    """Return what makes an account with a cluster role in the tasks' namespace a client."""
    namespace = kubectl("config", "view", "--minify", "-o", "jsonpath={..namespace}")
    made: list[httpx.Client] = []

    def make(role: str) -> httpx.Client:
        kubectl("create", "serviceaccount", name)
        kubectl(*ROLE, name, f"--clusterrole={role}", f"--serviceaccount={namespace}:{name}")
        token = kubectl("create", "token", name).strip()
        made.append(client_of(product, token))
        return made[-1]

    yield make
    for client in made:
        client.close()
    kubectl("delete", "serviceaccount", name, "--ignore-not-found")
    kubectl("delete", "rolebinding", name, "--ignore-not-found")


def test_an_editors_token_is_enough(
    account: Callable[[str], httpx.Client], kubectl: Kubectl, name: str
) -> None:
    editor = account("edit")
    # The account's rights reach the authorizer by a watch, and a verdict is kept for ten seconds.
    eventually(lambda: editor.get("/api/v1/tasks").status_code, lambda c: c == 200, within=60)
    view = finished(editor, submit(editor, type="fibonacci", input={"n": 10})["id"])
    assert view["phase"] == "Succeeded"
    assert view["ownerName"].endswith(f":{name}")
    assert view["owner"].startswith("k8s-")
    labels = kubectl.get("lt", view["id"])["metadata"]["labels"]
    assert labels["longtask.dev/owner"] == view["owner"]
    kubectl("delete", "serviceaccount", name)
    eventually(lambda: editor.get("/api/v1/tasks").status_code, lambda c: c == 401, within=60)


def test_a_viewers_token_is_for_looking(account: Callable[[str], httpx.Client]) -> None:
    viewer = account("view")
    eventually(lambda: viewer.get("/api/v1/tasks").status_code, lambda c: c == 200, within=60)
    order = {"type": "fibonacci", "input": {"n": 10}}
    assert viewer.post("/api/v1/tasks", json=order).status_code == 403
    assert viewer.post("/api/v1/queues/default:pause").status_code == 403


def test_a_pod_is_nobody_at_the_users_port(rest: httpx.Client, kubectl: Kubectl) -> None:
    # Pods do not reach that port by its Service where NetworkPolicies hold; here they do not.
    service = kubectl.get("-n", "longtask", "svc", "longtask-api")
    text = TRESPASSES % f"http://{service['spec']['clusterIP']}:8080"
    task = submit(rest, container={"image": BASE_IMAGE, "command": ["python3", "-c", text]})["id"]
    assert finished(rest, task)["phase"] == "Succeeded"
    assert rest.get(f"/api/v1/tasks/{task}/result").json() == 401


def test_a_pod_that_connects_and_says_nothing_keeps_nobody_out(rest: httpx.Client) -> None:
    def program(text: str) -> str:
        container = {"image": BASE_IMAGE, "command": ["python3", "-c", text]}
        return str(submit(rest, container=container)["id"])

    flood = program(FLOODS)
    eventually(
        lambda: rest.get(f"/api/v1/tasks/{flood}").json()["phase"],
        lambda phase: phase == "Running",
        within=60,
    )
    assert finished(rest, program(REPORTS))["phase"] == "Succeeded"
    assert finished(rest, flood)["phase"] == "Succeeded"
    first, last = json.loads(rest.get(f"/api/v1/tasks/{flood}/result").text)
    assert (first <= 200, last) == (True, 0)
