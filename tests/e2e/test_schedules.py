"""Schedules on a real cluster: through kills, outages, failures, and what kubectl can write."""

import collections
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from e2e_support import Kubectl, Product, eventually, kill, ready, scale, shell
from longtask_crds import names, v1alpha1
from longtask_crds.schedule import due, runs
from longtask_crds.schedule.times import Times
from longtask_localcluster import audit

EVERY = 5
#: Seconds; `make kills` takes 180.
KILLED_FOR = int(os.environ.get("LONGTASK_KILLED_FOR", "40"))
#: Seconds until there are no more times: of the first runs, for the operator to go, and of the
#: times that are missed.
ENDS_AFTER = 100


class Schedules:
    """The schedules of a test, and what became of them."""

    def __init__(self, kubectl: Kubectl, product: Product, stem: str) -> None:
        self._kubectl = kubectl
        self._log = Path(product.audit_log)
        self._offset = self._log.stat().st_size
        self._stem = stem

    def name(self, which: str = "a") -> str:
        return f"{self._stem}-{which}"

    def apply(self, which: str = "a", *, check: bool = True, **spec: Any) -> str:
        """Make a schedule whose runs end at once, unless the spec says otherwise."""
        template = {"taskTemplate": {"spec": {"container": shell("true")}}}
        manifest = {
            "apiVersion": names.API_VERSION,
            "kind": "LongTaskSchedule",
            "metadata": {"name": self.name(which), "labels": {"e2e": self._stem}},
            "spec": template | spec,
        }
        return self._kubectl("apply", "-f", "-", stdin=json.dumps(manifest), check=check)

    def status(self, which: str = "a") -> v1alpha1.LongTaskScheduleStatus:
        raw = self._kubectl.get("lts", self.name(which))
        return v1alpha1.LongTaskSchedule.model_validate(raw).status

    def reason(self, kind: str, which: str = "a") -> str | None:
        found = {one.type: one.reason for one in self.status(which).conditions}
        return found.get(kind)

    def change(self, which: str = "a", **spec: Any) -> None:
        patch = json.dumps({"spec": spec})
        self._kubectl("patch", "lts", self.name(which), "--type=merge", "-p", patch)

    def annotate(self, name: str, value: str, which: str = "a") -> None:
        self._kubectl("annotate", "--overwrite", "lts", self.name(which), f"{name}={value}")

    def ever_made(self, which: str = "a") -> collections.Counter[int]:
        """Count the tasks of each time that were ever created, by the API server's own record."""
        created: collections.Counter[int] = collections.Counter()
        for line in audit.lines(self._log, offset=self._offset):
            if f'"{self.name(which)}-' not in line or '"verb":"create"' not in line:
                continue
            event = json.loads(line)
            reference = event["objectRef"]
            if reference["resource"] != names.LONGTASKS or "subresource" in reference:
                continue
            if event["responseStatus"]["code"] == 201:
                at = runs.time_of(reference["name"])
                assert at is not None
                created[int(at.timestamp())] += 1
        return created

    def still_to_come(self, which: str, end: int) -> list[int]:
        """Return the times up to an end that nothing was decided on yet."""
        raw = self._kubectl.get("lts", self.name(which))
        schedule = v1alpha1.LongTaskSchedule.model_validate(raw)
        decided = schedule.status.last_schedule_time
        assert decided is not None
        until = datetime.fromtimestamp(end, tz=UTC)
        return [int(at.timestamp()) for at in Times.of(schedule).between(decided, until, 1000)]

    def wait_for(self, count: int, which: str = "a", *, within: float = 60) -> None:
        eventually(
            lambda: self.status(which).runs_started or 0, lambda n: n >= count, within=within
        )

    def delete(self) -> None:
        self._kubectl("delete", "lts", "-l", f"e2e={self._stem}", "--wait=false", check=False)


@pytest.fixture
def schedules(kubectl: Kubectl, product: Product, name: str) -> Iterator[Schedules]:
    made = Schedules(kubectl, product, name)
    try:
        yield made
    finally:
        made.delete()


@pytest.mark.alone
@pytest.mark.usefixtures("scaled_back")
def test_each_time_has_one_run_whatever_becomes_of_two_operators(
    kubectl: Kubectl, schedules: Schedules
) -> None:
    scale(kubectl, "operator", 2)
    schedules.apply(
        intervalSeconds=EVERY, concurrencyPolicy="Allow", misfire={"policy": "all", "max": 10}
    )
    schedules.wait_for(1)
    began, kills = time.monotonic(), 0
    while time.monotonic() - began < KILLED_FOR:
        until = began + 20 * (kills + 1)
        eventually(time.monotonic, lambda now, until=until: now >= until, within=30)
        # Only who works again is killed: more times pass in two outages than are made up for.
        schedules.wait_for((schedules.status().runs_started or 0) + 1)
        kill(kubectl, "operator")
        kills += 1
    ready(kubectl, "operator")
    # The oldest come first, so by then the last ones have caught up.
    up = time.time()
    eventually(lambda: max(schedules.ever_made()), lambda last: last >= up, within=120)
    schedules.change(suspend=True)
    eventually(lambda: schedules.reason("Suspended"), lambda why: why == "AsAsked", within=60)
    eventually(lambda: schedules.status().active_count, lambda count: count == 0, within=180)

    made, status = schedules.ever_made(), schedules.status()
    assert set(made.values()) == {1}
    first, last = min(made), max(made)
    assert last - first >= KILLED_FOR
    skipped = (last - first) // EVERY + 1 - len(made)
    assert len(made) == status.runs_started
    # None of the outages was longer than is made up for.
    assert (skipped, status.failures_in_a_row) == (0, 0)


@pytest.mark.alone
@pytest.mark.usefixtures("scaled_back")
def test_an_outage_is_made_up_for_as_each_schedule_says(
    kubectl: Kubectl, schedules: Schedules
) -> None:
    policies = {"s": "skip", "l": "latest", "a": "all"}
    end = int(time.time()) + ENDS_AFTER
    for which, policy in policies.items():
        schedules.apply(
            which,
            intervalSeconds=EVERY,
            endTime=runs.text_of(datetime.fromtimestamp(end, tz=UTC)),
            misfire={"policy": policy},
        )
    for which in policies:
        schedules.wait_for(1, which)
    scale(kubectl, "operator", 0)
    # Nobody decides on these times before the new one is up.
    missed = {which: schedules.still_to_come(which, end) for which in policies}
    assert all(len(times) >= 5 for times in missed.values()), "the old one went too late"
    # Of none of them it is on time then.
    late = end + due.GRACE.total_seconds() + 1
    eventually(time.time, lambda now: now >= late, within=ENDS_AFTER + 30)
    scale(kubectl, "operator", 1)
    for which in policies:
        eventually(
            lambda which=which: schedules.reason("Suspended", which),
            lambda why: why == "Ended",
            within=300,
        )
    made = {which: schedules.ever_made(which) for which in policies}

    assert [at for at in missed["s"] if at in made["s"]] == []
    assert [at for at in missed["l"] if at in made["l"]] == missed["l"][-1:]
    last_ten = missed["a"][-due.MOST_MADE_UP :]
    assert [at for at in missed["a"] if at in made["a"]] == last_ten
    for which in policies:
        assert set(made[which].values()) == {1}


def test_too_many_failures_suspend_it_until_somebody_resets_it(
    kubectl: Kubectl, schedules: Schedules
) -> None:
    failing = {"taskTemplate": {"spec": {"container": shell("exit 3")}}}
    schedules.apply(intervalSeconds=EVERY, maxFailures=2, **failing)
    eventually(lambda: schedules.reason("Suspended"), lambda why: why == "MaxFailures", within=120)
    status = schedules.status()
    assert (status.failures_in_a_row, status.next_runs) == (2, None)
    about = ("--field-selector", f"involvedObject.name={schedules.name()}")
    # Kubernetes is told after the status is written.
    told = eventually(lambda: kubectl.get("events", *about)["items"], bool, within=60)
    assert [event["reason"] for event in told] == ["Suspended"]
    started = status.runs_started or 0

    # If it went on to fail, whoever looks late would see it suspended again.
    schedules.change(taskTemplate={"spec": {"container": shell("true")}})
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    schedules.annotate(names.RESET_ANNOTATION, f"{now} ada")
    schedules.wait_for(started + 1)
    status = schedules.status()
    assert (status.reset_by, schedules.reason("Suspended")) == ("ada", "Active")


def test_a_run_that_is_deleted_is_not_started_again(kubectl: Kubectl, schedules: Schedules) -> None:
    sleeping = {"taskTemplate": {"spec": {"container": shell("sleep 60")}}}
    schedules.apply(intervalSeconds=EVERY, **sleeping)
    schedules.wait_for(1)
    (run,) = eventually(
        lambda: schedules.status().runs or [],
        lambda found: any(one.uid for one in found),
        within=60,
    )[-1:]
    kubectl("delete", "lt", run.name, "--wait=false")
    schedules.wait_for(2)
    made = schedules.ever_made()
    assert set(made.values()) == {1}
    old = next(one for one in schedules.status().runs or () if one.name == run.name)
    assert old.error == "deleted"


def test_an_asked_for_run_comes_once_and_with_what_it_is_told(
    kubectl: Kubectl, schedules: Schedules
) -> None:
    template = {
        "spec": {"container": shell("true"), "input": {"at": {"$from": "run#/scheduledTime"}}}
    }
    schedules.apply(schedule="0 0 1 1 *", suspend=True, taskTemplate=template)
    asked = "2026-01-02T03:04:05Z"
    schedules.annotate(names.RUN_AT_ANNOTATION, asked)
    schedules.wait_for(1)
    (run,) = schedules.status().runs or ()
    task = eventually(
        lambda: kubectl("get", "lt", run.name, "-o", "json", check=False),
        lambda text: text.startswith("{"),
        within=60,
    )
    assert json.loads(task)["spec"]["input"] == {"at": asked}
    eventually(
        lambda: kubectl.get("lts", schedules.name())["metadata"]["annotations"],
        lambda annotations: names.RUN_AT_ANNOTATION not in annotations,
        within=60,
    )


def test_with_a_schedule_its_runs_go(kubectl: Kubectl, schedules: Schedules) -> None:
    schedules.apply(intervalSeconds=EVERY)
    schedules.wait_for(1)
    selector = ("-l", f"{names.SCHEDULE_LABEL}={schedules.name()}")
    eventually(lambda: kubectl.get("lt", *selector)["items"], bool, within=60)
    kubectl("delete", "lts", schedules.name())
    eventually(lambda: kubectl.get("lt", *selector)["items"], lambda left: not left, within=60)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        pytest.param({"schedule": {"a": 1}}, "a cron expression, or a list", id="an-object"),
        pytest.param({"schedule": ["@daily", 5]}, "a cron expression, or a list", id="a-number"),
        pytest.param({}, "exactly one of schedule and intervalSeconds", id="neither"),
        pytest.param(
            {"schedule": "@daily", "intervalSeconds": 60},
            "exactly one of schedule and intervalSeconds",
            id="both",
        ),
    ],
)
def test_what_kubectl_writes_is_refused_in_words(
    schedules: Schedules, spec: dict[str, Any], told: str
) -> None:
    assert told in schedules.apply(check=False, **spec)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        pytest.param({"schedule": "61 * * * *"}, "InvalidSchedule", id="a-minute-61"),
        pytest.param(
            {"schedule": "@daily", "timeZone": "Mars/Olympus"}, "InvalidSchedule", id="a-zone"
        ),
        pytest.param(
            {"schedule": "@daily", "taskTemplate": {"spec": {"type": "no-such-type"}}},
            "TypeNotFound",
            id="a-type",
        ),
    ],
)
def test_what_no_rule_of_the_cluster_sees_is_not_accepted(
    schedules: Schedules, spec: dict[str, Any], reason: str
) -> None:
    schedules.apply(**spec)
    eventually(lambda: schedules.reason("Accepted"), lambda why: why == reason, within=60)


def test_the_columns(kubectl: Kubectl, schedules: Schedules) -> None:
    schedules.apply(schedule=["0 6 * * *", "0 18 * * *"], timeZone="Europe/Zurich")
    eventually(lambda: schedules.status().next_runs, bool, within=60)
    head, row = kubectl("get", "lts", schedules.name()).splitlines()
    assert head.split() == (
        ["NAME", "SCHEDULE", "EVERY", "SUSPEND", "ACTIVE", "LAST", "NEXT", "FAILURES", "AGE"]
    )
    assert "0 6 * * *" in row
    assert "False" in row
