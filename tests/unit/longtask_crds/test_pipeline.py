"""Pipelines by themselves: their graph, what they take from each other, what is refused."""

import json
from typing import Any

import pytest

from longtask_crds import json_values, v1alpha1
from longtask_crds.pipeline import checks, conditions, graph, references, reuse, runs, standing
from longtask_crds.testing import TASK_UID, a_task, with_meta, with_status
from longtask_crds.v1alpha1 import StepPhase

IMAGE = {"container": {"image": "busybox"}}


def a_step(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, **IMAGE, **fields}


def last(name: str, **fields: Any) -> dict[str, Any]:
    return a_step(name, **{"finally": True}, **fields)


def a_pipeline(*steps: dict[str, Any], **spec: Any) -> v1alpha1.LongTask:
    return a_task(steps=list(steps), **spec)


# --- the graph ---


def test_a_step_needs_the_one_above_unless_it_says_otherwise() -> None:
    task = a_pipeline(
        a_step("a"), last("x"), a_step("b"), a_step("c", needs=[]), a_step("d", needs=["a", "c"]),
        last("y"),
    )  # fmt: skip
    assert graph.needs(task.spec.steps or ()) == {
        "a": (), "x": (), "b": ("a",), "c": (), "d": ("a", "c"), "y": ("x",),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        pytest.param({"a": (), "b": ("a",), "c": ("a", "b")}, (), id="none"),
        pytest.param({"a": ("a",)}, ("a",), id="with-itself"),
        pytest.param({"a": ("b",), "b": ("c",), "c": ("b",)}, ("b", "c"), id="after-a-way-to-it"),
        pytest.param({"a": ("b", "x"), "b": ("a",)}, ("a", "b"), id="beside-a-name-of-nothing"),
        pytest.param({"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}, (), id="a-diamond"),
    ],
)
def test_circles(needs: dict[str, tuple[str, ...]], expected: tuple[str, ...]) -> None:
    assert graph.circle(needs) == expected


def test_what_comes_before() -> None:
    needs = {"a": (), "b": ("a",), "c": ("b", "nothing"), "d": ()}
    assert graph.before("c", needs) == {"a", "b"}


@pytest.mark.parametrize(
    ("needs", "name", "expected"),
    [
        ({"a": ("b",), "b": ("a",)}, "a", {"a", "b"}),
        ({"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}, "d", {"a", "b", "c"}),
        ({"a": ()}, "a", set()),
        ({"a": ()}, "nothing", set()),
    ],
    ids=["in-a-circle", "a-diamond", "the-first", "of-no-step"],
)
def test_all_that_comes_before(
    needs: dict[str, tuple[str, ...]], name: str, expected: set[str]
) -> None:
    assert graph.before(name, needs) == expected


def test_a_need_said_twice_is_one() -> None:
    task = a_pipeline(a_step("a"), a_step("b", needs=["a", "a"]))
    assert graph.needs(task.spec.steps or ())["b"] == ("a",)


# --- references ---


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({"$from": "steps.a#/x/0"}, ("steps.a", ("x", "0")), id="a-part-of-a-result"),
        pytest.param({"$from": "input"}, ("input", ()), id="the-whole-input"),
        pytest.param({"$from": "input#"}, ("input", ()), id="the-same"),
        pytest.param({"$from": "item#/a~1b~0"}, ("item", ("a/b~",)), id="with-escapes"),
    ],
)
def test_a_reference(value: Any, expected: tuple[str, tuple[str, ...]]) -> None:
    found = references.parse(value)
    assert found is not None
    assert (found.source, found.path) == expected
    assert references.parse({"$from": str(found)}) == found


@pytest.mark.parametrize("value", [{"from": "input"}, [], "steps.a#", {"$fromm": 1}, None])
def test_what_is_plain(value: Any) -> None:
    assert references.parse(value) is None


@pytest.mark.parametrize(
    "value",
    [
        {"$from": 1},
        {"$from": "steps.A#"},
        {"$from": "steps.a#x"},
        {"$from": "steps.a#/~2"},
        {"$from": "nothing#"},
        {"$from": "input#", "more": 1},
        {"$ref": "steps.a#/x"},
        {"$ref": "input"},
        {"$ref": "steps.a", "default": 1},
        {"$ref": "steps.a", "$from": "input"},
    ],
)
def test_what_is_no_reference(value: Any) -> None:
    with pytest.raises(references.Malformed):
        references.parse(value)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (
            {"$from": "input#", "more": 1},
            "beside $from stands nothing but default, beside $ref nothing at all",
        ),
        (
            {"$ref": "steps.a", "default": 1},
            "beside $from stands nothing but default, beside $ref nothing at all",
        ),
        ({"$ref": ["a"]}, "a reference is a text, such as steps.fetch#/rows"),
        (
            {"$from": "xinput"},
            "a reference begins with steps.NAME, input, item or outcome, then # follows",
        ),
        (
            {"$from": "input#/a~"},
            "after # stands a JSON Pointer: nothing, or /key/0/…; ~1 is / and ~0 is ~",
        ),
        ({"$ref": "steps.a#/x"}, "$ref takes the whole result of a step: steps.NAME"),
        ({"$ref": "item"}, "$ref takes the whole result of a step: steps.NAME"),
    ],
)
def test_why_it_is_no_reference_is_told(value: Any, told: str) -> None:
    with pytest.raises(references.Malformed) as raised:
        references.parse(value)
    assert str(raised.value) == told


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            {"$from": "steps.a-b#/x~1#/0", "default": None},
            references.Reference("steps.a-b", ("x/#", "0"), None, True),
        ),
        ({"$from": "outcome", "default": 7}, references.Reference("outcome", (), 7, True)),
        ({"$from": "item#/"}, references.Reference("item", ("",))),
        ({"$ref": "steps.a"}, references.Reference("steps.a", as_file=True)),
        ({"$ref": "steps.a#"}, references.Reference("steps.a", as_file=True)),
    ],
)
def test_all_that_a_reference_says(value: Any, expected: references.Reference) -> None:
    assert references.parse(value) == expected


def test_of_whom_a_reference_speaks() -> None:
    assert references.Reference("steps.a-b").step == "a-b"
    assert references.Reference("input").step is None
    assert str(references.Reference("item", ("a/b", "0"))) == "item#/a~1b/0"


def test_all_that_looks_like_a_reference_is_found_with_its_place() -> None:
    one, two, three = {"$from": 1}, {"$ref": "steps.a"}, {"$from": "input"}
    value = {"a": [0, one, {"b": two}], "c": {"from": 1}, "d": three}
    found = [(("a", 1), one), (("a", 2, "b"), two), (("d",), three)]
    assert list(references.found(value)) == found
    assert list(references.found(one)) == [((), one)]
    assert list(references.all_of([two, 1, three])) == [
        references.Reference("steps.a", as_file=True),
        references.Reference("input"),
    ]
    with pytest.raises(references.Malformed):
        list(references.all_of(value))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (("a", "2"), "input#/a/2: the list has 2 items"),
        (("a", "-1"), "input#/a/-1: there is no -1"),
        (("a", "01"), "input#/a/01: there is no 01"),
        (("a", "1" * 10), f"input#/a/{'1' * 10}: there is no {'1' * 10}"),
        (("b", "c"), "input#/b/c: there is no c"),
        (("a", "0", "x"), "input#/a/0/x: there is no x"),
    ],
)
def test_what_is_not_there_is_told_with_its_place(path: tuple[str, ...], told: str) -> None:
    reference = references.Reference("input", path)
    with pytest.raises(references.Missing) as raised:
        references.part({"a": [1, 2], "b": {}}, reference)
    assert str(raised.value) == told


def test_a_part_of_a_value() -> None:
    value = {"a": [*range(12)], "0": None}
    for path, expected in ((("a", "10"), 10), (("a", "0"), 0), (("0",), None), ((), value)):
        assert references.part(value, references.Reference("input", path)) == expected


def test_references_are_filled_in() -> None:
    known = {"input": {"a": [1, {"b": None}]}}

    def look_up(reference: references.Reference) -> Any:
        return references.part(known[reference.source], reference)

    value = {
        "one": {"$from": "input#/a/0"},
        "null": [{"$from": "input#/a/1/b", "default": 7}],
        "none": {"$from": "input#/a/2", "default": {"$from": "is plain here"}},
        "file": {"$ref": "steps.big"},
        "plain": {"default": 1},
    }
    assert references.filled_in(value, look_up) == {
        "one": 1,
        "null": [None],
        "none": {"$from": "is plain here"},
        "file": "/longtask/files/big",
        "plain": {"default": 1},
    }
    for pointer in ("/a/2", "/a/-1", "/a/01", "/c", "/a/0/x"):
        with pytest.raises(references.Missing):
            references.filled_in({"$from": f"input#{pointer}"}, look_up)


# --- conditions ---


def test_conditions() -> None:
    known = {"input": {"mode": "full"}, "steps": {"a": {"phase": "Succeeded", "result": [1, 2.5]}}}
    assert conditions.holds("steps.a.result[1] > 2 && input.mode == 'full'", known)
    assert not conditions.holds("steps['a'].phase == 'Failed'", known)
    assert not conditions.holds("has(input.other)", known)
    assert conditions.steps_in("steps.a.phase == '' || steps['b-c'].result") == {"a", "b-c"}


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        pytest.param("1 +", "Syntax error", id="half-of-one"),
        pytest.param("nothing > 1", "undeclared reference", id="an-unknown-name"),
        pytest.param("'a' + 'b'", "true or false", id="a-text"),
        pytest.param(
            "[[1, 2]].map(a, a + a).map(a, a + a)[0].size() > 0", "once", id="what-grows-and-grows"
        ),
        pytest.param("input.all(a, input.exists(b, a > b))", "once", id="a-walk-in-a-walk"),
    ],
)
def test_what_cannot_be_a_condition(expression: str, told: str) -> None:
    with pytest.raises(conditions.Unusable, match=told):
        conditions.check(expression)


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param("steps.b.result > 1", id="a-step-without-result"),
        pytest.param("input", id="no-truth"),
    ],
)
def test_a_condition_that_gives_no_answer(expression: str) -> None:
    conditions.check(expression)
    with pytest.raises(conditions.Unusable):
        conditions.holds(expression, {"input": list(range(1000)), "steps": {}})


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("nothing > 1", "1:1: undeclared reference to 'nothing' (in container '')"),
        ("'a'", "a condition is true or false, and this is neither"),
        ("x" * 300, f"1:1: undeclared reference to '{'x' * 170}"),
    ],
)
def test_why_it_cannot_be_a_condition_is_one_line(expression: str, told: str) -> None:
    with pytest.raises(conditions.Unusable) as raised:
        conditions.check(expression)
    assert str(raised.value) == told


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("steps.b.result > 1", 'Key not found in map : "b"'),
        ("input[5] == 1", "Index error: index=5 size=1"),
        ("outcome", "a condition is true or false, and this is neither"),
        (f"steps['{'k' * 300}'].x", f'Key not found in map : "{"k" * 176}'),
    ],
)
def test_why_a_condition_gives_no_answer_is_one_line(expression: str, told: str) -> None:
    known = {"input": [1], "steps": {}, "outcome": 7, "more": 1}
    with pytest.raises(conditions.Unusable) as raised:
        conditions.holds(expression, known)
    assert str(raised.value) == told


@pytest.mark.parametrize(
    ("words", "told"), [("INTERNAL: too long\nmore", "too long"), (" \n", "no answer")]
)
def test_an_evaluator_that_gives_up_is_no_answer(
    words: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class GivesUp:
        def eval(self, data: Any) -> Any:
            raise RuntimeError(words)

    monkeypatch.setattr(conditions, "_compiled", lambda _: GivesUp())
    with pytest.raises(conditions.Unusable) as raised:
        conditions.holds("input", {})
    assert str(raised.value) == told


def test_a_condition_goes_through_one_list_once() -> None:
    known = {"input": [1, 2]}
    assert conditions.holds("input.all(a, a > 0)", known)
    with pytest.raises(conditions.Unusable) as raised:
        conditions.holds("input.all(a, input.exists(b, a + b > 0))", known)
    assert str(raised.value) == "of all, exists, exists_one, map and filter one may be used, once"


def test_a_condition_sees_nothing_else_and_null_where_there_is_nothing() -> None:
    conditions.check("input")
    assert conditions.holds("outcome == null && steps == null && input == 1", {"input": 1})
    assert conditions.steps_in("steps . a_b && steps[ 'c-d' ] && mysteps.e && steps.G") == {
        *("a_b", "c-d"),
    }


# --- what is refused ---


@pytest.mark.parametrize(
    ("steps", "place", "told"),
    [
        pytest.param([a_step("a"), a_step("a")], "/steps/1/name", "another step", id="two"),
        pytest.param([last("a")], "/steps", "at least one", id="nothing-but-an-end"),
        pytest.param([a_step("a", needs=["b"])], "/steps/0/needs/0", "no step b", id="a-stranger"),
        pytest.param(
            [a_step("a", needs=["b"]), last("b")], "/steps/0/needs/0", "finally", id="the-end-first"
        ),
        pytest.param(
            [a_step("a", needs=["b"]), a_step("b")], "/steps/0/needs", "a → b → a", id="a-circle"
        ),
        pytest.param(
            [a_step("a", input={"$from": "steps.b#"}), a_step("b")],
            "/steps/0/input", "does not come before", id="of-a-later-step",
        ),
        pytest.param(
            [a_step("a"), a_step("b", needs=[], input=[{"x": {"$from": "steps.a#"}}])],
            "/steps/1/input/0/x", "does not come before", id="of-a-step-beside",
        ),
        pytest.param(
            [a_step("a"), last("b", input={"$from": "steps.a#"})],
            "/steps/1/input", "give a default", id="of-what-may-be-skipped",
        ),
        pytest.param(
            [a_step("a", input={"$from": "outcome#"})], "/steps/0/input", "finally", id="no-end"
        ),
        pytest.param(
            [a_step("a", input={"$from": "item#"})], "/steps/0/input", "forEach", id="no-item"
        ),
        pytest.param(
            [a_step("a", forEach={"$from": "item#"})], "/steps/0/forEach", "forEach", id="itself"
        ),
        pytest.param([a_step("a", forEach=7)], "/steps/0/forEach", "a list", id="no-list"),
        pytest.param([a_step("a", forEach=[0] * 101)], "/steps/0/forEach", "100", id="a-long-list"),
        pytest.param(
            [a_step("a", forEach=[0], minSuccessful=2)],
            "/steps/0/minSuccessful", "fewer", id="more-than-there-are",
        ),
        pytest.param(
            [a_step("a", maxParallel=2)], "/steps/0/maxParallel", "forEach", id="one-side-by-side"
        ),
        pytest.param([a_step("a", when="1 +")], "/steps/0/when", "Syntax", id="no-condition"),
        pytest.param(
            [a_step("a", when="steps.b.result"), a_step("b")],
            "/steps/0/when", "does not come before", id="a-condition-on-what-comes",
        ),
        pytest.param(
            [a_step("a", input={"$from": "x"})], "/steps/0/input", "begins with", id="no-reference"
        ),
    ],
)  # fmt: skip
def test_what_is_refused(steps: list[dict[str, Any]], place: str, told: str) -> None:
    ((path, flaw),) = checks.flaws(a_pipeline(*steps).spec)
    assert "/" + "/".join(map(str, path)) == place
    assert told in flaw


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        pytest.param(
            {"steps": [a_step("a")], "output": {"$from": "steps.b#"}}, "output", id="step"
        ),
        pytest.param({"steps": [a_step("a")], "output": {"$ref": "steps.a"}}, "output", id="file"),
        pytest.param({"steps": [a_step("a")], "output": {"$from": "item#"}}, "output", id="item"),
        pytest.param({**IMAGE, "output": 1}, "output", id="without-steps"),
        pytest.param({**IMAGE, "maxParallel": 2}, "maxParallel", id="side-by-side-without-steps"),
    ],
)
def test_what_is_refused_of_the_whole(spec: dict[str, Any], place: str) -> None:
    ((path, _),) = checks.flaws(a_task(**spec).spec)
    assert path[0] == place


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        pytest.param(
            [a_step("a"), a_step("a"), a_step("b"), a_step("b")],
            {
                "/steps/1/name": "another step has that name",
                "/steps/3/name": "another step has that name",
            },
            id="two-of-a-name",
        ),
        pytest.param(
            [a_step("a", needs=["z"]), a_step("b", needs=["a", "y", "end"]), last("end")],
            {
                "/steps/0/needs/0": "there is no step z",
                "/steps/1/needs/1": "there is no step y",
                "/steps/1/needs/2": "the step end is marked finally: it comes after this one",
            },
            id="whom-they-need",
        ),
        pytest.param(
            [last("a", maxParallel=2), last("b", needs=["a"], minSuccessful=1)],
            {
                "/steps": "at least one step must not be marked finally",
                "/steps/0/maxParallel": "only a step with forEach has it",
                "/steps/1/minSuccessful": "only a step with forEach has it",
            },
            id="nothing-but-an-end",
        ),
        pytest.param(
            [
                a_step("a", forEach=[0] * 101, minSuccessful=100),
                a_step("b", forEach=[0], minSuccessful=2, maxParallel=9),
                a_step("c", forEach={"from": "input#"}),
            ],
            {
                "/steps/0/forEach": "more than 100 items",
                "/steps/1/minSuccessful": "there are fewer items",
                "/steps/2/forEach": 'a list, or {"$from": …} for one',
            },
            id="their-items",
        ),
        pytest.param(
            [a_step("z"), a_step("a", needs=["c"]), a_step("b", needs=["a"]), a_step("c")],
            {"/steps/1/needs": "the steps need each other: a → c → b → a"},
            id="a-circle-beside-others",
        ),
        pytest.param(
            [
                a_step("a"),
                a_step("b", input=[{"$from": 1}, {"$from": "item#"}, {"$from": "steps.x#"}]),
                a_step("c", forEach={"$from": "outcome#"}, input={"$from": "steps.a#"}),
                last("d", input=[{"$ref": "steps.a"}, {"$from": "steps.b#"}]),
            ],
            {
                "/steps/1/input/0": "a reference is a text, such as steps.fetch#/rows",
                "/steps/1/input/1": "only the input of a step with forEach has an item",
                "/steps/1/input/2": "there is no step x",
                "/steps/2/forEach": "only a step marked finally knows the outcome",
                "/steps/3/input/0": (
                    "the step a may be skipped by then: give a default, which $ref cannot have"
                ),
                "/steps/3/input/1": "the step b may be skipped by then: give a default",
            },
            id="what-they-take",
        ),
    ],
)
def test_all_that_is_wrong_with_steps_is_told(
    steps: list[dict[str, Any]], told: dict[str, str]
) -> None:
    found = [
        (json_values.pointer(*path), flaw) for path, flaw in checks.flaws(a_pipeline(*steps).spec)
    ]
    assert found == [*told.items()]


def test_a_step_takes_no_more_than_can_be_fetched() -> None:
    for count, told in ((100, []), (101, [(("steps", 1, "input"), "more than 100 references")])):
        step = a_step("b", input=[{"$from": "steps.a#"}] * count)
        assert list(checks.flaws(a_pipeline(a_step("a"), step).spec)) == told


def test_a_file_is_no_list() -> None:
    step = a_step("b", forEach={"$ref": "steps.a"})
    assert list(checks.flaws(a_pipeline(a_step("a"), step).spec)) == [
        (("steps", 1, "forEach"), 'a list, or {"$from": …} for one'),
        (("steps", 1, "forEach"), "a list is needed, and $ref gives a file"),
    ]


def test_each_step_that_a_condition_speaks_of_has_to_come_before() -> None:
    step = a_step("a", when="steps.x.phase == steps.b.phase && steps.y.phase == ''")
    assert list(checks.flaws(a_pipeline(step, a_step("b")).spec)) == [
        (("steps", 0, "when"), "the step b does not come before"),
        (("steps", 0, "when"), "there is no step x"),
        (("steps", 0, "when"), "there is no step y"),
    ]


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ({"a": [{"$from": "steps.x#"}]}, "there is no step x"),
        ({"a": [{"$ref": "steps.a"}]}, "only a step's input takes files"),
        ({"a": [{"$from": "item#"}]}, "the output knows no item"),
        ({"a": [{"$from": "outcome#"}]}, "the output knows no outcome"),
        ({"a": [{"$from": 1}]}, "a reference is a text, such as steps.fetch#/rows"),
    ],
)
def test_what_is_wrong_with_the_output_is_told(output: Any, told: str) -> None:
    task = a_pipeline(a_step("a"), output=output)
    assert list(checks.flaws(task.spec)) == [(("output", "a", 0), told)]


def test_only_a_task_with_steps_has_what_is_of_steps() -> None:
    told = "only a task with steps has it"
    spec = a_task(**IMAGE, maxParallel=2, output=1).spec
    assert list(checks.flaws(spec)) == [(("maxParallel",), told), (("output",), told)]


def test_as_much_as_may_be_is_fine() -> None:
    steps = [
        a_step("a", forEach=[0] * 100, minSuccessful=100, maxParallel=3),
        a_step("b", needs=[], when="input.x == 1"),
        last("c", when="steps.a.phase == steps.b.phase", input={"$ref": "steps.x"}, needs=["x"]),
        last("x", needs=[]),
    ]
    assert list(checks.flaws(a_pipeline(*steps).spec)) == []


def test_what_is_fine() -> None:
    task = a_pipeline(
        a_step("a", input={"$from": "input#/x"}),
        a_step("b", forEach={"$from": "steps.a#"}, input={"n": {"$from": "item#"}}),
        a_step("c", needs=["b"], when="size(steps.b.result) > 1", input={"$ref": "steps.b"}),
        last("d", input=[{"$from": "steps.c#", "default": 0}, {"$from": "outcome#/phase"}]),
        last("e", input={"$from": "steps.d#"}),
        output={"all": {"$from": "steps.c#"}},
    )
    assert list(checks.flaws(task.spec)) == []


# --- the programs, and how far they are ---


def running(task: v1alpha1.LongTask, *states: dict[str, Any]) -> v1alpha1.LongTask:
    steps = [v1alpha1.StepStatus.model_validate(state) for state in states]
    return with_status(task, steps=steps, attempt=1)


ATTEMPT = {"phase": "Running", "attempt": 2, "jobName": "j", "podUid": "p"}


def test_the_programs_of_a_task() -> None:
    task = running(
        a_pipeline(a_step("a"), a_step("b", forEach=[1, 2]), a_step("c")),
        {"name": "a", **ATTEMPT, "phase": "Succeeded"},
        {"name": "b", "phase": "Running", "items": 2, "children": [{"index": 0, **ATTEMPT}]},
        {"name": "c", "phase": "Pending"},
    )
    assert [(run.name, run.last.number, run.is_over) for run in runs.of(task)] == [
        ("a", 2, True),
        ("b.0", 2, False),
    ]
    assert runs.named(task, "c") is None


def test_a_program_is_looked_at_as_a_task_and_put_back() -> None:
    task = running(
        a_pipeline(a_step("a", retry={"maxAttempts": 3}), timeouts={"totalSeconds": 9}),
        {"name": "a", **ATTEMPT, "stalled": "NodeLost", "waiting": "why", "reason": "Evicted"},
    )
    seen = runs.as_task(task, "a", value={"n": 1})
    assert (seen.metadata.name, seen.metadata.uid) == ("report", TASK_UID)
    assert (seen.spec.input, seen.spec.retry, seen.spec.steps) == (
        {"n": 1},
        v1alpha1.Retry(max_attempts=3),
        None,
    )
    assert seen.spec.timeouts == v1alpha1.Timeouts()
    assert seen.status.is_true(v1alpha1.ConditionType.STALLED)
    before = runs.status_of(task.status, "a")
    after = before.model_copy(update=runs.put_back(before, seen.status))
    assert after == before


def test_how_far_it_is() -> None:
    task = running(
        a_pipeline(a_step("a", weight=3), a_step("b", forEach=[1, 2]), a_step("c")),
        {"name": "a", "phase": "Succeeded"},
        {
            "name": "b", "phase": "Running", "items": 2,
            "children": [{"index": 0, "phase": "Running", "progress": {"percent": 50}}],
        },
        {"name": "c", "phase": "Pending"},
    )  # fmt: skip
    steps, states = task.spec.steps or (), task.status.steps or ()
    assert standing.percent(steps, states) == 65  # (3 * 100 + 25 + 0) / 5
    assert standing.percent(steps, states, least=80) == 80
    assert standing.word(states) == "2/3 b"


def test_a_pipeline_is_done_again_from_where_it_failed() -> None:
    kept = {"ref": {"size": 9, "sha256": "0" * 64}}
    origin = running(
        a_pipeline(a_step("a"), a_step("b"), a_step("c"), last("d")),
        {"name": "a", **ATTEMPT, "phase": "Succeeded", "result": kept},
        {"name": "b", **ATTEMPT, "phase": "Failed", "progress": {"checkpoint": {"at": 3}}},
        {"name": "c", "phase": "Skipped"},
        {"name": "d", **ATTEMPT, "phase": "Succeeded", "result": {"value": 1}},
    )
    annotations = {"longtask.dev/reuse": reuse.annotation(origin, origin.spec)}
    again = reuse.of(with_meta(a_pipeline(a_step("a")), annotations=annotations))
    assert again.checkpoints == {"b": {"at": 3}}
    assert again.results.keys() == {"a"}
    ref = again.results["a"].ref
    assert ref is not None
    assert ref.task_uid == TASK_UID


def test_all_that_can_be_taken_over_is() -> None:
    other = {"ref": {"size": 9, "sha256": "0" * 64, "taskUid": "another"}}
    half = {**ATTEMPT, "progress": {"percent": 5}}
    kept = {**ATTEMPT, "progress": {"checkpoint": 0}}
    origin = running(
        a_pipeline(
            *(a_step("a"), a_step("b"), a_step("c", forEach=[1, 2, 3]), a_step("d")),
            *(last("e"), a_step("f"), a_step("g")),
        ),
        {"name": "a", **ATTEMPT, "phase": "Succeeded", "result": other},
        {"name": "b", **kept, "phase": "Succeeded"},
        {
            "name": "c",
            "items": 3,
            "phase": "Failed",
            "children": [{"index": 0, **kept}, {"index": 1, **half}, {"index": 2, **ATTEMPT}],
        },
        {"name": "d", **ATTEMPT, "phase": "Failed", "result": {"value": 1}},
        {"name": "e", **kept, "phase": "Failed"},
        {"name": "f", **ATTEMPT, "phase": "Succeeded", "result": {"value": None}},
    )
    annotations = {"longtask.dev/reuse": reuse.annotation(origin, origin.spec)}
    again = reuse.of(with_meta(a_pipeline(a_step("a")), annotations=annotations))
    assert again == reuse.Reuse(
        results={
            "a": v1alpha1.Result.model_validate(other),
            "b": v1alpha1.Result(),
            "f": v1alpha1.Result(value=None),
        },
        checkpoints={"c.0": 0, "e": 0},
    )


def test_who_takes_over_from_nobody() -> None:
    assert reuse.of(a_pipeline(a_step("a"))) == reuse.Reuse()
    empty = {"results": {}, "checkpoints": {}}
    assert json.loads(reuse.annotation(a_task(), a_task().spec)) in ({}, empty)


def test_what_cannot_be_read_is_taken_over_from_nobody() -> None:
    broken = with_meta(a_pipeline(a_step("a")), annotations={"longtask.dev/reuse": "{"})
    assert reuse.of(broken) == reuse.Reuse()
    assert StepPhase.SKIPPED.is_terminal


# --- from where it failed, with changes


def a_failed_pipeline() -> v1alpha1.LongTask:
    """Return one of which `a` has succeeded, with what stands in the input at `/rows/0`."""
    steps = [
        {"name": "a", "type": "t", "input": {"x": {"$from": "input#/rows/0"}}},
        {"name": "b", "type": "t", "input": {"y": {"$from": "input#/day"}}},
        {"name": "c", "type": "t"},
    ]
    spec = {"input": {"rows": [1, 2], "day": "mon"}, "steps": steps}
    progress = v1alpha1.Progress(checkpoint={"at": 4})
    return with_status(
        a_task(
            type=None, **v1alpha1.LongTaskSpec.model_validate(spec).model_dump(exclude={"type"})
        ),
        phase=v1alpha1.Phase.FAILED,
        steps=[
            v1alpha1.StepStatus(name="a", phase=StepPhase.SUCCEEDED),
            v1alpha1.StepStatus.model_validate(
                {"name": "b", **ATTEMPT, "phase": "Failed"}
            ).model_copy(update={"progress": progress}),
            v1alpha1.StepStatus(name="c", phase=StepPhase.SKIPPED),
        ],
    )


def changed(**changes: Any) -> v1alpha1.LongTaskSpec:
    """Return the spec of that one, changed; a step is changed by its name."""
    spec = a_failed_pipeline().spec.to_json()
    for step in spec["steps"]:
        step |= changes.pop(step["name"], {})
    return v1alpha1.LongTaskSpec.model_validate(spec | changes)


def without(name: str, *more: dict[str, Any]) -> v1alpha1.LongTaskSpec:
    """Return the spec of that one without a step, and with others before all."""
    spec = a_failed_pipeline().spec.to_json()
    steps = [*more, *(step for step in spec["steps"] if step["name"] != name)]
    return v1alpha1.LongTaskSpec.model_validate(spec | {"steps": steps})


@pytest.mark.parametrize(
    ("spec", "places"),
    [
        pytest.param(changed(), [], id="nothing"),
        pytest.param(changed(b={"type": "u", "input": {}}), [], id="a-step-that-failed"),
        pytest.param(changed(c={"when": "true"}), [], id="a-step-that-had-not-begun"),
        pytest.param(changed(a={"weight": 9, "retry": {"maxAttempts": 2}}), [], id="how-not-what"),
        pytest.param(changed(output={"$from": "steps.a"}), [], id="what-is-made-of-it-in-the-end"),
        pytest.param(without("a"), [], id="a-result-that-nobody-wants"),
        pytest.param(
            without("c", {"name": "d", "type": "t", "needs": ["b"]}),
            ["/steps/1/needs"],
            id="another-before-it-by-its-place",
        ),
        pytest.param(changed(a={"input": {}}), ["/steps/0/input"], id="what-it-had-worked-with"),
        pytest.param(
            changed(a={"type": None, "container": {"image": "i"}}),
            ["/steps/0/type", "/steps/0/container"],
            id="what-it-was",
        ),
        pytest.param(changed(a={"needs": ["c"]}), ["/steps/0/needs"], id="what-came-before-it"),
        pytest.param(
            changed(input={"rows": [9, 2], "day": "mon"}), ["/input/rows/0"], id="what-it-took"
        ),
        pytest.param(changed(input={"rows": []}), ["/input/rows/0"], id="what-it-took-is-gone"),
        pytest.param(
            changed(input={"rows": [1], "day": "tue"}), [], id="what-only-a-failed-one-took"
        ),
        pytest.param(v1alpha1.LongTaskSpec(type="t"), ["/steps"], id="no-pipeline-any-more"),
    ],
)
def test_what_must_stay_so_that_results_can_be_taken_over(
    spec: v1alpha1.LongTaskSpec, places: list[str]
) -> None:
    found = list(reuse.flaws(a_failed_pipeline(), spec))
    assert [json_values.pointer(*path) for path, _ in found] == places


@pytest.mark.parametrize(
    ("before", "after", "flaw"),
    [
        pytest.param(
            {"a": {"type": "t"}},
            {"a": {"type": "u"}},
            (
                ("steps", 2, "type"),
                "cannot be changed: its result is taken over, and was made with what stood here",
            ),
            id="what-it-was",
        ),
        pytest.param(
            {"a": {"type": "t", "needs": ["x", "y"]}},
            {"a": {"type": "t"}},
            (
                ("steps", 2, "needs"),
                "cannot be changed: its result is taken over, made after x, y",
            ),
            id="what-came-before-it",
        ),
        pytest.param(
            {"a": {"type": "t", "needs": []}},
            {"a": {"type": "t"}},
            (
                ("steps", 2, "needs"),
                "cannot be changed: its result is taken over, made before all others",
            ),
            id="that-nothing-came-before-it",
        ),
        pytest.param(
            {"a": {"type": "t", "forEach": {"$from": "input#/rows"}}, "input": {"rows": [1]}},
            {"a": {"type": "t", "forEach": {"$from": "input#/rows"}}, "input": {"rows": [2]}},
            (
                ("input", "rows"),
                "cannot be changed: the result of the step a is taken over, and was made of it",
            ),
            id="what-it-was-done-for",
        ),
        pytest.param(
            {"a": {"type": "t", "when": "input.day == 1"}, "input": {"day": 1}},
            {"a": {"type": "t", "when": "input.day == 1"}, "input": {"day": 2}},
            (("input",), "cannot be changed: the step a was taken because of it"),
            id="why-it-was-taken",
        ),
    ],
)
def test_why_it_must_stay_so_is_told_in_words(
    before: dict[str, Any], after: dict[str, Any], flaw: reuse.Flaw
) -> None:
    def with_it(a: dict[str, Any], **more: Any) -> v1alpha1.LongTask:
        return a_pipeline(a_step("x"), a_step("y"), {"name": "a", **a}, **more)

    origin = running(with_it(**before), {"name": "a", **ATTEMPT, "phase": "Succeeded"})
    assert list(reuse.flaws(origin, with_it(**after).spec)) == [flaw]


def test_a_condition_that_was_decided_by_the_input_keeps_it() -> None:
    origin = a_failed_pipeline()
    steps = origin.spec.to_json()["steps"]
    steps[0] |= {"when": "input.day == 'mon'"}
    spec = v1alpha1.LongTaskSpec.model_validate(origin.spec.to_json() | {"steps": steps})
    origin = origin.model_copy(update={"spec": spec})
    other = spec.model_copy(update={"input": {"rows": [1], "day": "tue"}})
    assert [path for path, _ in reuse.flaws(origin, other)] == [("input",)]


@pytest.mark.parametrize(
    ("spec", "checkpoints"),
    [
        pytest.param(changed(), {"b": {"at": 4}}, id="the-same"),
        pytest.param(changed(b={"type": "u"}), {}, id="another-program"),
        pytest.param(changed(input={"rows": [1], "day": "tue"}), {}, id="another-input"),
        pytest.param(changed(c={"type": "u"}), {"b": {"at": 4}}, id="another-step"),
        pytest.param(without("b"), {}, id="none-of-that-name"),
    ],
)
def test_a_checkpoint_is_of_the_same_work(
    spec: v1alpha1.LongTaskSpec, checkpoints: dict[str, Any]
) -> None:
    told = json.loads(reuse.annotation(a_failed_pipeline(), spec))
    assert told.get("checkpoints", {}) == checkpoints
    assert list(told["results"]) == ["a"]
