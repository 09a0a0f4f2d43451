"""Inputs against JSON Schemas of any sort, none of which stops who asks."""

import itertools
import json
import os
import resource
import signal
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtask_crds.acceptance import schemas

LEVELS = 30
TOO_MUCH = "^an input takes too much time or memory to hold against it$"


def both(keyword: str, last: Any) -> dict[str, Any]:
    """Return a schema that asks the same twice, and of each of these twice, thirty times."""
    steps = {
        f"d{level}": {keyword: [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(LEVELS)
    }
    return {"$defs": {**steps, f"d{LEVELS}": last}, "$ref": "#/$defs/d0"}


def nested(levels: int) -> Any:
    return json.loads("[" * levels + "]" * levels)


#: Of a list it asks without end, of anything else nothing.
TWICE = ({"anyOf": [{"items": {"$ref": "#"}, "minItems": 1}] * 2}, nested(40))
ENDLESS = {
    "one-of-two-again-and-again": (both("anyOf", False), 1),
    "both-of-two-again-and-again": (both("allOf", {"type": "integer"}), 1),
    "itself-twice-for-each-level": TWICE,
    "each-of-many-against-each-of-many": (
        {"items": {"anyOf": [{"const": number} for number in range(100_000)]}},
        [99_999] * 10_000,
    ),
    "more-flaws-than-there-is-room-for": (
        {"items": {"allOf": [{"const": 1}] * 290}},
        [0] * 5_000,
    ),
}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def judge(clock: Clock) -> Iterator[schemas.Judge]:
    made = schemas.Judge(clock)
    yield made
    made.close()


def answer(judge: schemas.Judge, schema: Any, value: Any) -> dict[str, Any]:
    return judge.answer(json.dumps(schema), json.dumps(value))


@pytest.mark.parametrize(("schema", "value"), ENDLESS.values(), ids=ENDLESS.keys())
def test_what_takes_too_much_is_refused_and_the_next_is_judged(
    judge: schemas.Judge, schema: Any, value: Any
) -> None:
    with pytest.raises(schemas.Unusable, match=TOO_MUCH):
        answer(judge, schema, value)
    assert answer(judge, {"type": "integer"}, 1) == {"findings": []}


def test_a_schema_that_took_too_long_is_good_for_what_takes_no_time(
    judge: schemas.Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert schemas.HASTY_SECONDS >= 0.01
    # The accounts of a busy machine are coarse, and the process begins anew each time.
    monkeypatch.setattr(schemas, "HASTY_SECONDS", 0.2)
    for _ in range(schemas.MOST_OVERRUNS - 1):
        with pytest.raises(schemas.Unusable):
            answer(judge, *TWICE)
    assert answer(judge, TWICE[0], 1) == {"findings": []}


def test_a_schema_that_took_too_long_gets_less_time_from_then_on(judge: schemas.Judge) -> None:
    """The kernel ends a process by another clock than it accounts by: they differ a little."""

    def spent() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with pytest.raises(schemas.Unusable):
            answer(judge, *ENDLESS["one-of-two-again-and-again"])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    first = spent()
    assert first > 0.8 * schemas.SECONDS
    # Of both the start of a process is a part.
    assert first - spent() > schemas.SECONDS / 2


def test_a_schema_that_often_took_too_long_is_asked_again_a_minute_later(
    judge: schemas.Judge, clock: Clock
) -> None:
    for _ in range(schemas.MOST_OVERRUNS):
        with pytest.raises(schemas.Unusable, match=TOO_MUCH):
            answer(judge, *TWICE)
    with pytest.raises(schemas.Unusable, match=TOO_MUCH):
        answer(judge, TWICE[0], 1)
    clock.now += schemas.FORGIVEN_AFTER_SECONDS
    assert answer(judge, TWICE[0], 1) == {"findings": []}


def test_a_process_that_somebody_ended_is_another_one_next_time(judge: schemas.Judge) -> None:
    def process() -> str:
        (told,) = answer(judge, {"type": "string"}, 1)["findings"]
        assert told == [[], '1 is not of type "string"']
        (found,) = children_of(os.getpid()) - before
        return found

    before = children_of(os.getpid())
    first = process()
    os.kill(int(first), signal.SIGKILL)
    os.waitid(os.P_PID, int(first), os.WEXITED | os.WNOWAIT)
    assert process() != first


def children_of(pid: int) -> set[str]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return set(file.read().split())


def test_an_answer_that_nobody_waited_for_is_not_the_next_ones(
    judge: schemas.Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(schemas.select, "poll", interrupted)
        with pytest.raises(KeyboardInterrupt):
            answer(judge, {"type": "string"}, 1)
    assert answer(judge, {"type": "integer"}, 1) == {"findings": []}


def test_one_that_neither_runs_nor_ends_is_not_waited_for(
    judge: schemas.Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = children_of(os.getpid())
    assert answer(judge, {}, 1) == {"findings": []}
    (process,) = children_of(os.getpid()) - before
    os.kill(int(process), signal.SIGSTOP)
    monkeypatch.setattr(schemas, "WALL_SECONDS", 0.0)
    with pytest.raises(schemas.Unusable):
        answer(judge, {}, 2)


def test_what_is_known_to_fit_is_not_asked_again(
    judge: schemas.Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas, "MOST_KNOWN", 1)
    before = children_of(os.getpid())
    for value in (1, 2):
        assert answer(judge, {}, value) == {"findings": []}
    (process,) = children_of(os.getpid()) - before
    os.kill(int(process), signal.SIGSTOP)
    monkeypatch.setattr(schemas, "WALL_SECONDS", 0.0)
    assert answer(judge, {}, 2) == {"findings": []}
    with pytest.raises(schemas.Unusable):
        answer(judge, {}, 1)


SMALL = st.recursive(
    st.sampled_from([None, True, False, 0, 1, -1, 0.0, 1.0, -0.0, 0.5, 10**30, 1e30, "", "a", "1"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(st.lists(SMALL, max_size=5))
def test_items_are_unique_when_no_two_are_equal(value: list[Any]) -> None:
    is_unique = not any(
        jsonschema.Draft202012Validator({"const": one}).is_valid(other)
        for one, other in itertools.combinations(value, 2)
    )
    assert (schemas.findings({"uniqueItems": True}, value) == []) is is_unique


SUBSCHEMAS = st.recursive(
    st.one_of(
        st.booleans(),
        st.sampled_from(
            [
                {"type": "integer"},
                {"type": ["string", "null"]},
                {"minimum": 1},
                {"multipleOf": 0.5},
                {"minLength": 1},
                {"pattern": "^a"},
                {"minItems": 2},
                {"uniqueItems": True},
                {"required": ["a"]},
                {"maxProperties": 1},
                {"contains": {"type": "number"}, "maxContains": 1},
                {"enum": [1, "a", [], None]},
                {"dependentRequired": {"a": ["b"]}},
                {"patternProperties": {"^a": {"type": "string"}}, "additionalProperties": False},
            ]
        ),
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"items": inner}),
        st.fixed_dictionaries({"prefixItems": st.tuples(inner), "unevaluatedItems": inner}),
        st.fixed_dictionaries({"properties": st.fixed_dictionaries({"a": inner})}),
        st.fixed_dictionaries({"allOf": st.tuples(inner), "unevaluatedProperties": inner}),
        st.fixed_dictionaries({"anyOf": st.tuples(inner, inner)}),
        st.fixed_dictionaries({"oneOf": st.tuples(inner, inner)}),
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"if": inner, "then": inner, "else": inner}),
    ),
    max_leaves=5,
)


@given(SUBSCHEMAS.filter(lambda schema: isinstance(schema, dict)), SMALL)
def test_another_library_says_the_same(schema: dict[str, Any], value: Any) -> None:
    schema = json.loads(json.dumps(schema))
    theirs = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (schemas.findings(schema, value) == []) is theirs
