"""What each type and queue says of itself: written when it is news, by one operator, of all."""

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spec_corpus
from longtask_adapters import testing as twins
from longtask_adapters.kube import errors
from longtask_crds import address_guard, names, v1alpha1
from longtask_crds.testing import NOW, a_queue, a_task, a_type, with_meta
from longtask_crds.v1alpha1 import Phase
from longtask_operator import verdicts
from longtask_operator.rules import refusal
from longtask_operator.testing import INSTALLATION, Operator

TYPES, QUEUES = names.LONGTASKTYPES, names.LONGTASKQUEUES
#: A schema that is none.
NO_SCHEMA = {"inputSchema": {"properties": {"n": {"type": "numbre"}}}}
#: Specs that no definition of this version takes.
UNREADABLE = {
    TYPES: {"defaults": {"priority": 1000}},
    QUEUES: {"maxRunning": "many"},
}
REFUSED = twins.Refusal(
    422,
    "Invalid",
    'Job.batch "x" is invalid',
    field="spec.template.spec.tolerations[0].operator",
)
KINDS = pytest.mark.parametrize("plural", [TYPES, QUEUES])


@pytest.fixture
def operator() -> Operator:
    return Operator()


def ready(operator: Operator, plural: str, name: str = "x") -> dict[str, Any]:
    """Return the only condition of that type, as it is stored."""
    status = operator.kubernetes.stored(plural, name).get("status", {})
    (found,) = (one for one in status.get("conditions", ()) if one["type"] == "Ready")
    return dict(found)


def said(operator: Operator, plural: str = TYPES, name: str = "x") -> tuple[str, str]:
    found = ready(operator, plural, name)
    return found["status"], found["reason"]


async def look(operator: Operator) -> None:
    """Hear of all there is, and say what is to be said of it."""
    await operator.hear()
    await operator.verdicts.once()


def asked(operator: Operator) -> int:
    return len(operator.kubernetes.requests)


def refuse(operator: Operator, what: str, refused: Exception, *, of: str = "") -> None:
    """Refuse a request from now on: the trials of Jobs, or the writes to an object."""

    def interrupt(write: str, moment: str) -> None:
        request = operator.kubernetes.requests[-1]
        if (write, moment) == (what, "before") and of in f"{request.path} {request.json}":
            raise refused

    operator.kubernetes.interrupt = interrupt


# --- what is said ---


async def test_what_can_be_used_says_so(operator: Operator) -> None:
    operator.kubernetes.put(TYPES, "x", spec={"inputSchema": {"type": "object"}})
    operator.kubernetes.put(QUEUES, "x", spec={"maxRunning": 1})
    await look(operator)
    for plural in (TYPES, QUEUES):
        assert ready(operator, plural) == {
            "type": "Ready",
            "status": "True",
            "reason": "Valid",
            "message": "",
            "lastTransitionTime": twins.stamp(NOW),
            "observedGeneration": 1,
        }
        assert operator.kubernetes.stored(plural, "x")["status"]["observedGeneration"] == 1


async def test_a_schema_that_is_none_is_told_with_its_place(operator: Operator) -> None:
    operator.kubernetes.put(TYPES, "x", spec=NO_SCHEMA)
    await look(operator)
    assert said(operator) == ("False", "InvalidSchema")
    message = ready(operator, TYPES)["message"]
    assert message.startswith("inputSchema cannot be used: /properties/n/type: ")


SCHEMAS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["object", "numbre", 7, ["object", "null"], []]),
        "required": st.sampled_from([["n"], "n", [1]]),
        "pattern": st.sampled_from(["^a+$", "(", "(?=a)", r"\1"]),
        "$ref": st.sampled_from(["#", "#/$defs/gone", "https://a.example/schema"]),
        "$schema": st.sampled_from(["http://json-schema.org/draft-07/schema#", "x", 3]),
        "properties": st.sampled_from([{"n": False}, {"n": {"minimum": "1"}}, []]),
    },
)


@given(schema=SCHEMAS)
async def test_a_type_is_refused_by_what_refuses_its_tasks(schema: dict[str, Any]) -> None:
    operator = Operator()
    operator.kubernetes.put(TYPES, "x", spec={"inputSchema": schema})
    await look(operator)
    types = {"x": a_type("x", inputSchema=schema).spec}
    guard = address_guard.Guard()
    ended = refusal.refusal(a_task(type="x"), types, INSTALLATION, guard)
    found = ready(operator, TYPES)
    flaw = found["message"].removeprefix("inputSchema")
    if found["status"] == "False":
        assert ended is not None
        assert ended.message == f"spec.input: inputSchema of type x{flaw}"
    else:
        assert ended is None or "cannot be used" not in ended.message


async def test_what_the_api_server_says_of_its_jobs_is_told(operator: Operator) -> None:
    operator.kubernetes.put(TYPES, "x", spec={})
    refuse(operator, "try jobs", REFUSED)
    await look(operator)
    assert said(operator) == ("False", "JobRefused")
    field = "spec.template.spec.tolerations[0].operator"
    assert ready(operator, TYPES)["message"].startswith(f"the Job was refused: {field}: ")
    assert operator.kubernetes.objects("jobs") == {}


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(twins.Refusal(403, "Forbidden", "exceeded quota"), id="a-quota"),
        pytest.param(
            twins.Refusal(400, "BadRequest", "a webhook does not support dry run"),
            id="a-webhook-that-takes-no-trials",
        ),
    ],
)
async def test_what_is_not_the_types_fault_is_not_told_of_it(
    operator: Operator, refused: twins.Refusal
) -> None:
    operator.kubernetes.put(TYPES, "x", spec={})
    refuse(operator, "try jobs", refused)
    await look(operator)
    assert said(operator) == ("True", "Valid")


@KINDS
async def test_what_cannot_be_read_says_where(operator: Operator, plural: str) -> None:
    operator.kubernetes.put(plural, "x", spec=UNREADABLE[plural])
    await look(operator)
    assert said(operator, plural) == ("False", "Unreadable")
    message = ready(operator, plural)["message"]
    assert message.startswith("spec.")
    assert "many" not in message


@KINDS
async def test_what_was_mended_says_so_and_since_when(operator: Operator, plural: str) -> None:
    operator.kubernetes.put(plural, "x", spec=UNREADABLE[plural])
    await look(operator)
    operator.kubernetes.now += datetime.timedelta(minutes=1)
    operator.kubernetes.put(plural, "x", spec={"defaults": None, "maxRunning": None})
    await look(operator)
    found = ready(operator, plural)
    assert (found["status"], found["observedGeneration"]) == ("True", 2)
    assert found["lastTransitionTime"] == twins.stamp(operator.kubernetes.now)


@KINDS
async def test_what_was_good_and_was_spoilt_says_so(operator: Operator, plural: str) -> None:
    operator.kubernetes.put(plural, "x", spec={})
    await look(operator)
    operator.kubernetes.put(plural, "x", spec=UNREADABLE[plural])
    await look(operator)
    await operator.recorder.once()
    assert said(operator, plural) == ("False", "Unreadable")
    assert operator.kubernetes.stored(plural, "x")["status"]["observedGeneration"] == 2


async def test_another_reason_is_no_transition(operator: Operator) -> None:
    operator.kubernetes.put(TYPES, "x", spec=NO_SCHEMA)
    await look(operator)
    operator.kubernetes.now += datetime.timedelta(minutes=1)
    operator.kubernetes.put(TYPES, "x", spec=UNREADABLE[TYPES])
    await look(operator)
    assert said(operator) == ("False", "Unreadable")
    assert ready(operator, TYPES)["lastTransitionTime"] == twins.stamp(NOW)


@KINDS
@pytest.mark.parametrize("spec", [{}, {"maxRunning": "many", "egress": "anywhere"}])
async def test_the_conditions_of_others_stay(
    operator: Operator, plural: str, spec: dict[str, Any]
) -> None:
    theirs = {
        "type": "Approved",
        "status": "True",
        "reason": "Fine",
        "message": "",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    operator.kubernetes.put(plural, "x", spec=spec, status={"conditions": [theirs]})
    await look(operator)
    stored = operator.kubernetes.stored(plural, "x")["status"]["conditions"]
    assert [one["type"] for one in stored] == ["Approved", "Ready"]
    assert stored[0] == theirs


# --- when, and by whom ---


def fill(operator: Operator) -> None:
    """Store types and queues of each sort."""
    for plural in (TYPES, QUEUES):
        operator.kubernetes.put(plural, "x", spec=UNREADABLE[plural])
        operator.kubernetes.put(plural, "y", spec={})
    operator.kubernetes.put(TYPES, "z", spec=NO_SCHEMA)


async def test_nothing_is_asked_while_all_is_calm(operator: Operator) -> None:
    fill(operator)
    await look(operator)
    before = asked(operator)
    await operator.verdicts.once()
    assert asked(operator) == before
    writes = operator.kubernetes.writes
    await look(operator)
    assert operator.kubernetes.writes == writes, "what the watch brings of it is no news"


async def test_the_next_operator_writes_nothing_that_stands_there(operator: Operator) -> None:
    fill(operator)
    await look(operator)
    writes = operator.kubernetes.writes
    operator.restart()
    await look(operator)
    assert operator.kubernetes.writes == writes


async def test_who_has_no_lease_asks_nothing(operator: Operator) -> None:
    fill(operator)
    await operator.hear()
    before = asked(operator)
    operator.admission.give_up()
    await operator.verdicts.once()
    assert asked(operator) == before


@KINDS
async def test_who_comes_too_late_writes_nothing_and_looks_again(
    operator: Operator, plural: str
) -> None:
    operator.kubernetes.put(plural, "x", spec=UNREADABLE[plural])
    await operator.hear()
    operator.kubernetes.put(plural, "x", spec={"defaults": None, "maxRunning": None})
    await operator.verdicts.once()
    assert "status" not in operator.kubernetes.stored(plural, "x")
    await look(operator)
    assert said(operator, plural) == ("True", "Valid")


@KINDS
@pytest.mark.parametrize("by_a_list", [True, False], ids=["by-a-list", "by-the-watch"])
async def test_what_is_gone_is_forgotten(
    operator: Operator, plural: str, *, by_a_list: bool
) -> None:
    raw = operator.kubernetes.put(plural, "x", spec=UNREADABLE[plural])
    await look(operator)
    operator.kubernetes.remove(plural, "x")
    cache = operator.mirror.types if plural == TYPES else operator.mirror.queues
    if by_a_list:
        await operator.hear()
    else:
        cache.remove(operator.kubernetes.key("x"), raw["metadata"]["uid"])
    assert not cache.unreadable
    before = asked(operator)
    await operator.verdicts.once()
    assert asked(operator) == before


async def test_whether_the_cluster_takes_it_by_now_is_asked_each_ten_minutes(
    operator: Operator,
) -> None:
    operator.kubernetes.put(TYPES, "x", spec={})
    refuse(operator, "try jobs", REFUSED)
    await look(operator)
    operator.kubernetes.interrupt = lambda _write, _moment: None
    before = asked(operator)
    operator.kubernetes.now += datetime.timedelta(minutes=9)
    await operator.verdicts.once()
    assert asked(operator) == before
    operator.kubernetes.now += datetime.timedelta(minutes=1)
    await operator.verdicts.once()
    assert said(operator) == ("True", "Valid")


# --- whatever there is, the others go on ---


@KINDS
async def test_a_status_that_nobody_may_write_is_left_alone_until_it_changes(
    operator: Operator, plural: str, caplog: pytest.LogCaptureFixture
) -> None:
    operator.kubernetes.put(plural, "x", spec={})
    operator.kubernetes.put(plural, "y", spec={})
    refuse(operator, f"PATCH {plural}", REFUSED, of="/x/")
    await look(operator)
    assert said(operator, plural, "y") == ("True", "Valid")
    assert [one.message for one in caplog.records] == ["Could not write a verdict"]
    before = asked(operator)
    await operator.verdicts.once()
    assert asked(operator) == before
    operator.kubernetes.put(plural, "x", metadata={"labels": {"a": "b"}})
    await look(operator)
    assert len(caplog.records) == 1, "of what nothing depends on"
    operator.kubernetes.interrupt = lambda _write, _moment: None
    operator.kubernetes.put(plural, "x", spec={"description": "new"})
    await look(operator)
    assert said(operator, plural) == ("True", "Valid")


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(errors.Unavailable("away"), id="nobody-answers"),
        pytest.param(
            twins.Refusal(403, "Forbidden", 'x is forbidden: User "a" cannot create resource "x"'),
            id="a-right-is-missing",
        ),
        pytest.param(KeyError("unforeseen"), id="what-nobody-thought-of"),
    ],
)
async def test_one_of_which_nothing_is_known_stands_in_nobodys_way(
    operator: Operator, error: Exception
) -> None:
    operator.kubernetes.put(TYPES, "a", spec={})
    operator.kubernetes.put(TYPES, "x", spec={})
    operator.kubernetes.put(QUEUES, "x", spec={})
    refuse(operator, "try jobs", error, of="'a-'")
    await operator.hear()
    with pytest.raises((errors.ClusterError, KeyError)):
        await operator.verdicts.once()
    assert said(operator) == said(operator, QUEUES) == ("True", "Valid")
    assert "status" not in operator.kubernetes.stored(TYPES, "a")


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
FIELDS = {
    TYPES: list(v1alpha1.LongTaskTypeSpec.model_json_schema()["properties"]),
    QUEUES: list(v1alpha1.LongTaskQueueSpec.model_json_schema()["properties"]),
}


@KINDS
@given(data=st.data())
async def test_whatever_is_stored_says_of_itself_once_whether_it_can_be_used(
    data: st.DataObject, plural: str
) -> None:
    spec = data.draw(st.dictionaries(st.sampled_from(FIELDS[plural]), JSON, max_size=3))
    status = data.draw(st.none() | st.dictionaries(st.just("conditions"), JSON))
    await says_once(plural, spec, status)


STRANGE = [
    *((case.id, case.values[0]) for case in spec_corpus.GOOD_TYPES),
    *((case.id, case.values[0].spec) for case in spec_corpus.BROKEN_TYPES),
]


@pytest.mark.parametrize("spec", [spec for _, spec in STRANGE], ids=[name for name, _ in STRANGE])
async def test_so_does_what_an_older_definition_took(spec: dict[str, Any]) -> None:
    await says_once(TYPES, spec, None)


async def says_once(plural: str, spec: dict[str, Any], status: Any) -> None:
    operator = Operator()
    operator.kubernetes.put(plural, "a", spec=spec, **({"status": status} if status else {}))
    operator.kubernetes.put(plural, "b", spec={})
    await look(operator)
    assert said(operator, plural, "b") == ("True", "Valid")
    assert said(operator, plural, "a")[0] in ("True", "False")
    # What could not be read of the status itself is gone by then.
    await look(operator)
    writes = operator.kubernetes.writes
    await look(operator)
    assert operator.kubernetes.writes == writes


async def test_so_does_a_schema_as_deep_as_the_api_server_stores(operator: Operator) -> None:
    schema: dict[str, Any] = {}
    for _ in range(9_000):
        schema = {"not": schema}
    made = a_type("x", inputSchema=schema)
    # The twin stores nothing as deep: it is as if it had.
    raw = operator.kubernetes.put(TYPES, "x", metadata={"uid": made.metadata.uid})
    version = raw["metadata"]["resourceVersion"]
    operator.mirror.types.put(with_meta(made, resource_version=version))
    await operator.verdicts.once()
    assert said(operator) == ("False", "InvalidSchema")


async def test_a_task_waits_while_its_type_cannot_be_read_and_others_go_on(
    operator: Operator,
) -> None:
    operator.kubernetes.put(TYPES, "x", spec=UNREADABLE[TYPES])
    operator.kubernetes.add(a_queue(maxRunning=1))
    operator.kubernetes.add(a_task("first", uid="first", type="x", priority=90))
    await operator.submit(a_task("second", uid="second", container={"image": "x"}))
    with pytest.raises(errors.Unreadable):
        await operator.look("first")
    await operator.look("second")
    assert operator.status("second").attempts
    operator.kubernetes.put(TYPES, "x", spec={"defaults": {"priority": 50}})
    operator.kubernetes.remove_task("second")
    await operator.hear()
    await operator.look("first")
    assert operator.status("first").attempts


async def test_nothing_is_decided_of_a_task_that_runs_while_its_type_cannot_be_read(
    operator: Operator,
) -> None:
    """Its limits are the type's: they are not taken for the usual ones."""
    a_week = {"defaults": {"timeouts": {"runSeconds": 604_800}}}
    operator.kubernetes.put(TYPES, "x", spec=a_week)
    await operator.submit(a_task(type="x"))
    pod = await operator.start()
    operator.kubernetes.put(TYPES, "x", spec=UNREADABLE[TYPES])
    operator.restart()
    operator.kubernetes.now += datetime.timedelta(days=2)
    await operator.hear()
    with pytest.raises(errors.Unreadable):
        await operator.look()
    operator.kubernetes.put(TYPES, "x", spec={"defaults": {"priority": 50}})
    operator.kubernetes.end_pod(pod, 0, "7")
    await operator.hear()
    await operator.look()
    assert operator.status().phase is Phase.SUCCEEDED


async def test_that_it_is_said_lets_no_pod_that_waits_be_started_sooner(
    operator: Operator,
) -> None:
    operator.kubernetes.put(TYPES, "x", spec={"warm": {"size": 1}})
    operator.kubernetes.refuse_jobs = "exceeded quota"
    await operator.hear()
    key = operator.kubernetes.key("x")
    await operator.ahead.reconcile(key)
    operator.woken_types.clear()
    before = operator.kubernetes.calls.count("create jobs")
    await look(operator)
    assert said(operator) == ("True", "Valid")
    assert operator.woken_types == set()
    assert (await operator.ahead.reconcile(key) or 0) > 0
    assert operator.kubernetes.calls.count("create jobs") == before


async def test_when_it_cannot_be_said_it_is_tried_ever_more_slowly(operator: Operator) -> None:
    operator.kubernetes.put(TYPES, "x", spec={})
    await operator.hear()
    operator.kubernetes.go_away()
    pauses: list[float] = []

    class Over(Exception):
        """The time of the test is up."""

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            operator.kubernetes.come_back()
        if len(pauses) == 5:
            raise Over

    one = verdicts.Verdicts(
        operator.mirror,
        operator.verdicts._cluster,
        INSTALLATION,
        operator.verdicts._surroundings,
        lambda: True,
        lambda: operator.kubernetes.now,
        sleep=sleep,
    )
    with pytest.raises(Over):
        await one.run()
    assert pauses == [5, 10, 20, 5, 5]
    assert said(operator) == ("True", "Valid")
