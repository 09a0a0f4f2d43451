"""What pages are made of, each for itself: words, pictures, forms, trees, calls."""

import ast
import itertools
import json
import shlex
from datetime import timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from client_support import a_task as a_view
from longtask_api.ui import calls, forms, graph, groups, json_tree, rows, timeline, words
from longtask_api.ui.groups import Group
from longtask_api.ui.pages import task as task_page
from longtask_client import manifests, models
from longtask_client.cli.given import inputs
from longtask_crds import v1alpha1
from longtask_crds.testing import NOW
from longtask_crds.v1alpha1 import Phase, StepPhase


def a_task(**parts: Any) -> models.TaskView:
    return models.TaskView.model_validate(a_view("a", **parts))


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


def an_attempt(
    number: int, began: float, ended: float | None = None, **more: Any
) -> dict[str, Any]:
    made = {"number": number, "jobName": f"j-{number}", "startedAt": ago(began)}
    return made | ({} if ended is None else {"finishedAt": ago(ended)}) | more


# --- words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (59.9, "59 s"),
        (60, "1 m 00 s"),
        (252, "4 m 12 s"),
        (3_900, "1 h 05 m"),
        (180_000, "2 d 2 h"),
    ],
)
def test_how_long_it_took(seconds: float, text: str) -> None:
    assert words.took(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (59, "less than a minute"),
        (61, "about 1 minute"),
        (150, "about 2 minutes"),
        (7_300, "about 2 hours"),
        (200_000, "about 2 days"),
    ],
)
def test_about_how_long(seconds: float, text: str) -> None:
    assert words.about(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (112, "112th"), (1_021, "1,021st")],
)
def test_ordinals(number: int, text: str) -> None:
    assert words.ordinal(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1 byte"), (999, "999 bytes"), (18_200, "18.2 kB"), (5 * 10**9, "5.0 GB")],
)
def test_amounts(number: int, text: str) -> None:
    assert words.amount(number) == text


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({}, "Nothing runs, and nothing waits."),
        ({Group.RUNNING: 1}, "1 runs."),
        ({Group.WAITING: 1}, "Nothing runs, 1 waits."),
        (
            {Group.RUNNING: 12, Group.WAITING: 1_318, Group.RETRYING: 1},
            "12 run, 1,318 wait, 1 is tried again.",
        ),
        ({Group.SUCCEEDED: 5}, "Nothing runs, and nothing waits."),
    ],
)
def test_what_goes_on_in_one_sentence(counts: dict[Group, int], text: str) -> None:
    assert words.summary(counts) == text


def test_every_phase_has_its_shape() -> None:
    assert {phase for group in Group for phase in group.phases} == set(Phase)
    assert {groups.of_step(phase) for phase in StepPhase} <= set(Group)
    assert all(groups.of_phase(phase).is_over == phase.is_terminal for phase in Phase)


# --- a row, and a lead


def test_a_row_that_waits_shows_its_place_and_when_it_may_start() -> None:
    start = {"earliest": ago(-180), "latest": ago(-360)}
    waits = a_task(
        phase="Queued",
        queuePosition=2,
        waiting="1 ahead in queue video, 2 of 2 running",
        estimatedStart=start,
        createdAt=ago(90),
    )
    row = rows.row(waits, NOW)
    assert (row.group, row.place) == (Group.WAITING, "2nd in line")
    assert row.note == "1 ahead in queue video, 2 of 2 running; starts in 3m to 6m"
    assert (row.seconds, row.since) == (90, waits.created_at)


def test_a_row_that_is_tried_again_says_when_and_why() -> None:
    failed = an_attempt(1, 60, 20, message="the bank answered 503")
    row = rows.row(a_task(phase="Retrying", attempt=1, attempts=[failed], retryAt=ago(-38)), NOW)
    assert row.note == "attempt 2 in 38s: the bank answered 503"


def test_a_row_that_is_over_counts_no_longer() -> None:
    over = a_task(
        phase="Failed",
        startedAt=ago(80),
        finishedAt=ago(20),
        reason="OOMKilled",
        message="too much",
    )
    row = rows.row(over, NOW)
    assert (row.seconds, row.since, row.note) == (60, None, "OOMKilled: too much")


def test_what_runs_says_how_far_it_is_and_how_long_it_may_take() -> None:
    attempts = [an_attempt(1, 400, 130, exitCode=75), an_attempt(2, 120)]
    runs = a_task(
        phase="Running",
        percent=50,
        message="page 4 of 8",
        attempt=2,
        attempts=attempts,
        startedAt=ago(400),
    )
    lead = task_page.lead(runs, NOW)
    assert lead.says == "Page 4 of 8"
    assert lead.asides == (
        "about 2 minutes left",
        "the 2nd try: the one before ended with exit code 75",
    )


@pytest.mark.parametrize("percent", [None, 0, 4, 100])
def test_no_rest_is_told_that_would_be_a_guess(percent: int | None) -> None:
    runs = a_task(
        phase="Running",
        percent=percent,
        message="x",
        attempt=1,
        attempts=[an_attempt(1, 9)],
        startedAt=ago(9),
    )
    assert task_page.lead(runs, NOW).asides == ()


def test_a_pipeline_that_says_nothing_says_its_step() -> None:
    lead = task_page.lead(a_task(phase="Running", step="3/6 convert"), NOW)
    assert (lead.says, lead.asides) == ("Step 3/6 convert", ())


def test_a_failure_is_told_by_the_words_of_the_command() -> None:
    failed = a_task(phase="Failed", reason="OOMKilled", message="killed", finishedAt=ago(1))
    lead = task_page.lead(failed, NOW)
    assert lead.says == "Killed"
    assert lead.asides == ("Its program used more memory than it may.",)
    assert lead.helps[-1] == "Then: longtask retry a"


# --- a life, drawn to scale


def bars(drawn: timeline.Timeline, lane: int = 0) -> list[tuple[float, float, str, bool]]:
    return [(b.left, b.width, str(b.group), b.is_hatched) for b in drawn.lanes[lane].bars]


def test_a_plain_task_has_one_lane_with_its_waits_and_tries() -> None:
    attempts = [an_attempt(1, 80, 60), an_attempt(2, 40)]
    drawn = timeline.of(
        a_task(
            phase="Running", createdAt=ago(100), startedAt=ago(80), attempt=2, attempts=attempts
        ),
        NOW,
    )
    assert [mark.says for mark in drawn.marks] == ["0", "30 s", "1 m", "1 m 30 s", "2 m"]
    assert bars(drawn) == [
        (0, pytest.approx(16.67), "Waiting", True),
        (pytest.approx(16.67), pytest.approx(16.66), "Failed", False),
        (pytest.approx(33.33), pytest.approx(16.67), "Retrying", True),
        (50, pytest.approx(33.33), "Running", False),
    ]


def test_one_that_waits_is_a_wait_and_no_more() -> None:
    drawn = timeline.of(a_task(phase="Queued", createdAt=ago(10)), NOW)
    assert [(group, hatched) for _, _, group, hatched in bars(drawn)] == [("Waiting", True)]


def test_each_step_has_a_lane_and_what_comes_is_empty() -> None:
    steps = [
        {
            "name": "fetch",
            "phase": "Succeeded",
            "attempt": 1,
            "begunAt": ago(60),
            "claimedAt": ago(60),
            "startedAt": ago(50),
            "finishedAt": ago(30),
        },
        {
            "name": "convert",
            "phase": "Running",
            "attempt": 2,
            "begunAt": ago(30),
            "claimedAt": ago(20),
            "startedAt": ago(15),
        },
        {
            "name": "pages",
            "phase": "Running",
            "items": 3,
            "succeeded": 1,
            "children": [{"index": 0, "phase": "Running", "begunAt": ago(10)}],
        },
        {"name": "report"},
    ]
    drawn = timeline.of(a_task(phase="Running", createdAt=ago(60), steps=steps), NOW)
    assert [lane.note for lane in drawn.lanes] == ["20 s", "15 s", "1 of 3", ""]
    kinds = [[(b.group, b.is_hatched) for b in lane.bars] for lane in drawn.lanes]
    assert kinds == [
        [(Group.WAITING, True), (Group.SUCCEEDED, False)],
        [(Group.FAILED, False), (Group.RETRYING, True), (Group.RUNNING, False)],
        [(Group.RUNNING, False)],
        [],
    ]


@given(
    st.floats(0, 10**7),
    st.lists(st.tuples(st.floats(0, 10**7), st.floats(0, 10**7)), max_size=5),
)
def test_nothing_is_drawn_outside(age: float, times: list[tuple[float, float]]) -> None:
    attempts = [an_attempt(n + 1, began, ended) for n, (began, ended) in enumerate(times)]
    drawn = timeline.of(
        a_task(phase="Running", createdAt=ago(age), attempt=len(times), attempts=attempts), NOW
    )
    for lane in drawn.lanes:
        for bar in lane.bars:
            assert bar.left >= 0
            assert bar.width > 0
            assert bar.left + bar.width <= 100.01
    assert 1 < len(drawn.marks) <= 10 or age > 7 * 604_800


# --- a graph


def a_step(name: str, *needs: str, **more: Any) -> v1alpha1.Step:
    return v1alpha1.Step.model_validate({"name": name, "type": "t", "needs": list(needs)} | more)


def test_who_comes_after_stands_behind() -> None:
    steps = [a_step("a"), a_step("b", "a"), a_step("c", "a"), a_step("d", "b", "c")]
    drawn = graph.of([*steps, a_step("end", **{"finally": True})], [])
    at = {node.name: (node.x, node.y) for node in drawn.nodes}
    assert at["a"][0] < at["b"][0] == at["c"][0] < at["d"][0] < at["end"][0]
    assert at["b"][1] != at["c"][1]
    assert len(drawn.edges) == 5
    assert [node.name for node in drawn.nodes if node.is_last] == ["end"]


@settings(deadline=None)  # to draw so many steps takes its time
@given(st.integers(1, 50), st.data())
def test_fifty_steps_have_each_a_place_of_their_own(number: int, data: st.DataObject) -> None:
    steps = [
        a_step(
            f"s-{n}", *data.draw(st.sets(st.sampled_from([f"s-{m}" for m in range(n)]), max_size=4))
        )
        if n
        else a_step("s-0")
        for n in range(number)
    ]
    drawn = graph.of(steps, [])
    boxes = {(node.x, node.y) for node in drawn.nodes}
    assert len(boxes) == number
    assert all(0 <= x <= drawn.width - graph.WIDTH for x, _ in boxes)
    assert all(0 <= y <= drawn.height - graph.HEIGHT for _, y in boxes)
    columns: dict[int, list[int]] = {}
    for x, y in boxes:
        columns.setdefault(x, []).append(y)
    for rows_ in columns.values():
        placed = sorted(rows_)
        assert all(b - a >= graph.HEIGHT for a, b in itertools.pairwise(placed))


def test_a_step_of_several_items_says_how_many() -> None:
    status = v1alpha1.StepStatus.model_validate(
        {"name": "a", "phase": "Running", "items": 80, "succeeded": 31}
    )
    (node,) = graph.of([a_step("a", forEach=[1])], [status]).nodes
    assert (node.note, node.group) == ("31/80", Group.RUNNING)
    (planned,) = graph.of([a_step("a", forEach=[1])], []).nodes
    assert planned.note == "each"


# --- a form


def fields(properties: dict[str, Any], **more: Any) -> dict[str, forms.Field]:
    schema = {"type": "object", "properties": properties} | more
    return {field.pointer: field for field in forms.of_schema(schema, more.pop("given", None))}


def test_a_schema_becomes_fields_that_the_api_names() -> None:
    found = fields(
        {
            "n": {"type": "integer", "minimum": 0, "maximum": 9, "default": 3},
            "a/b": {"type": "string", "maxLength": 5},
            "text": {"type": "string", "maxLength": 5_000},
            "when": {"type": "string", "format": "date-time"},
            "how": {"enum": ["fast", 2, None]},
            "is": {"type": "boolean"},
            "list": {"type": "array"},
            "size": {"type": "object", "properties": {"w": {"type": "number"}}},
        },
        required=["n"],
    )
    assert list(found) == [
        f"/input/{name}" for name in ("n", "a~1b", "text", "when", "how", "is", "list", "size")
    ]
    n = found["/input/n"]
    assert (n.kind, n.is_required, n.least, n.most, n.usual, n.step) == (
        "int",
        True,
        0,
        9,
        "3",
        "1",
    )
    assert found["/input/how"].choices == ('"fast"', "2", "null")
    assert found["/input/when"].input_type == "datetime-local"
    assert found["/input/text"].is_long
    assert not found["/input/a~1b"].is_long
    assert [f.kind for f in found.values()] == [
        "int",
        "text",
        "text",
        "text",
        "choice",
        "bool",
        "json",
        "group",
    ]
    assert [f.pointer for f in found["/input/size"].fields] == ["/input/size/w"]


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        {"type": "array"},
        {"anyOf": [{"type": "object"}]},
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"a": {}}, "allOf": []},
        {"type": "object", "properties": [1]},
    ],
)
def test_what_says_too_little_is_one_box(schema: Any) -> None:
    (box,) = forms.of_schema(schema, {"a": 1})
    assert (box.kind, box.pointer, json.loads(box.value)) == ("json", "/input", {"a": 1})


def test_what_was_given_stands_in_the_fields_even_if_it_does_not_fit() -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "is": {"type": "boolean"},
            "s": {"type": "string"},
        },
    }
    right = forms.of_schema(schema, {"n": 7, "is": False, "s": "x"})
    assert [(f.kind, f.value) for f in right] == [("int", "7"), ("bool", "false"), ("text", "x")]
    wrong = forms.of_schema(schema, {"n": "7", "is": "no", "s": [1]})
    assert [(f.kind, json.loads(f.value)) for f in wrong] == [
        ("json", "7"),
        ("json", "no"),
        ("json", [1]),
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(JSON, JSON)
def test_no_schema_breaks_a_form(schema: Any, value: Any) -> None:
    wild = {
        "type": "object",
        "properties": {"a": schema, "b": {"type": schema, "enum": schema}},
        "required": schema,
    }
    assert forms.of_schema(wild, value)
    forms.of_schema(schema if isinstance(schema, dict) else None, value)


# --- a tree


@given(JSON)
def test_a_tree_holds_every_leaf(value: Any) -> None:
    def leaves(node: json_tree.Node) -> int:
        return sum(map(leaves, node.parts)) if node.parts else 1

    def counted(one: Any) -> int:
        parts = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        return sum(map(counted, parts)) or 1

    assert leaves(json_tree.tree(value)) == counted(value)


def test_what_is_large_or_deep_is_text() -> None:
    assert json_tree.tree(list(range(5_000))).kind == "text"
    deep: Any = 1
    for _ in range(60):
        deep = [deep]
    node = json_tree.tree(deep)
    while node.parts:
        (node,) = node.parts
    assert node.kind == "text"
    long = json_tree.tree("x" * 10_000)
    assert len(long.text) < 2_100
    assert "10,002 characters" in long.text


# --- the same call, by each door

ORDER = st.fixed_dictionaries(
    {
        "type": st.from_regex(r"[a-z]([a-z0-9]{0,9})", fullmatch=True),
        "input": st.dictionaries(st.from_regex(r"[a-z]+", fullmatch=True), JSON, max_size=3),
    },
    optional={
        "name": st.just("a"),
        "priority": st.integers(0, 100),
        "labels": st.just({"team": "x"}),
    },
)


def test_a_program_is_written_line_by_line() -> None:
    assert calls.as_yaml({"args": ["\nif a:\n    b()\n\n  # 'c'\n"]}) == (
        "args:\n- |2\n\n  if a:\n      b()\n\n    # 'c'\n"
    )


@given(st.text("a #:\t\n\r\x85\u2028\ufeff'|>-é界", max_size=30))
def test_a_text_comes_back_from_yaml_as_it_was(text: str) -> None:
    assert yaml.safe_load(calls.as_yaml({"a": [text]})) == {"a": [text]}


@given(ORDER)
def test_each_door_says_the_same(order: dict[str, Any]) -> None:
    told = {call.door: call.text for call in calls.of(order, "https://a.test")}
    curl = shlex.split(told["curl"].replace("\\\n", " "))
    assert json.loads(curl[curl.index("-d") + 1]) == order
    tree = ast.parse(told["Python"])
    (said,) = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)][:1]
    assert ast.literal_eval(said) == order
    command = told["Command"]
    if command.startswith("longtask submit -f"):
        assert yaml.safe_load(command.split("\n", 1)[1].rsplit("EOF\n", 1)[0]) == order
    else:
        typed = shlex.split(command)[2:]
        assert typed[0] == order["type"]
        assert inputs.arguments(word for word in typed[1:] if "=" in word) == order["input"]
    manifest = told["kubectl"].split("\n", 1)[1].rsplit("EOF\n", 1)[0]
    if "name" in order:
        (back,) = manifests.parse(manifest, "it")
        assert back == order
