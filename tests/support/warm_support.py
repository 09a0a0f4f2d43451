"""A type whose pods wait, in a program of nobody's library."""

import json
from typing import Any

from e2e_support import BASE_IMAGE, Kubectl, eventually

#: A program of nobody's library: it asks for its task, and says how it ends.
PROGRAM = """
import json, os, sys, time, urllib.request

def ask(path, body=None):
    token = open(os.environ["LONGTASK_TOKEN_FILE"]).read().strip()
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(os.environ["LONGTASK_API_URL"] + path, data, headers)
    return urllib.request.urlopen(request, timeout=40)

def task():
    if os.environ.get("LONGTASK_WARM") != "true":
        return {"input": json.load(open(os.environ["LONGTASK_INPUT_FILE"])), "name": "cold"}
    open(os.environ["LONGTASK_OUTPUT_FILE"], "w").write("NoTask: it waits")
    print("waits", flush=True)
    while True:
        try:
            answer = ask("/runner/v1/task?wait=30")
            if answer.status == 200:
                open(os.environ["LONGTASK_OUTPUT_FILE"], "w").close()
                return json.load(answer)
        except OSError as error:
            print(error, flush=True)
            time.sleep(0.5)

work = task()
print("works on", work["name"], flush=True)
time.sleep(work["input"].get("seconds", 0))
result = {"name": work["name"], "pod": os.environ["HOSTNAME"]}
if "got" in work["input"]:
    result["got"] = work["input"]["got"]
json.dump(result, open(os.environ["LONGTASK_OUTPUT_FILE"], "w"))
try:
    ask("/runner/v1/outcome", {"exitCode": 0, "result": result})
except OSError as error:
    print(error, flush=True)
"""


class Pool:
    """A type that keeps pods waiting."""

    def __init__(self, kubectl: Kubectl, name: str) -> None:
        self.name = name
        self._kubectl = kubectl

    def keep(self, size: int, *, min_idle: int | None = None, **container: Any) -> None:
        spec = {
            "container": {"image": BASE_IMAGE, "command": ["python3", "-c", PROGRAM]} | container,
            "warm": {"size": size} | ({} if min_idle is None else {"minIdle": min_idle}),
            "defaults": {"resources": {"requests": {"cpu": "10m", "memory": "32Mi"}}},
        }
        made = {
            "apiVersion": "longtask.dev/v1alpha1",
            "kind": "LongTaskType",
            "metadata": {"name": self.name},
            "spec": spec,
        }
        self._kubectl("apply", "-f", "-", stdin=json.dumps(made))

    def idle(self) -> list[dict[str, Any]]:
        """The pods that wait."""
        wanted = f"longtask.dev/warm={self.name},longtask.dev/task="
        found = self._kubectl.get("pods", "-l", wanted)["items"]
        return [
            pod
            for pod in found
            if pod["status"]["phase"] == "Running"
            and "deletionTimestamp" not in pod["metadata"]
            and "waits" in self._kubectl("logs", pod["metadata"]["name"], check=False)
        ]

    def jobs(self) -> set[str]:
        """The Jobs that wait, or yet will."""
        wanted = f"longtask.dev/warm={self.name},longtask.dev/task="
        return {job["metadata"]["name"] for job in self._kubectl.get("jobs", "-l", wanted)["items"]}

    def filled(self, size: int) -> list[dict[str, Any]]:
        return eventually(self.idle, lambda idle: len(idle) == size, within=180)
