import io
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from longtask_client.cli.given import inputs, orders
from longtask_crds.testing import NOW

NOTHING: dict[str, Any] = {
    "file": None,
    "source": None,
    "image": None,
    "env": [],
    "name": None,
    "queue": None,
    "priority": None,
    "labels": [],
    "callback": None,
    "attempts": None,
    "not_before": None,
}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("n=100", 100),
        ("n=1.5", 1.5),
        ("n=true", True),
        ("n=null", None),
        ('n="100"', "100"),
        ("n=[1, 2]", [1, 2]),
        ('n={"a": 1}', {"a": 1}),
        ("n=text", "text"),
        ("n=007", "007"),
        ("n=", ""),
        ("n=a=b", "a=b"),
        ("n=NaN", "NaN"),
        ("n=https://example.com/?a=b", "https://example.com/?a=b"),
    ],
)
def test_a_value_is_json_where_it_can_be(word: str, value: object) -> None:
    assert inputs.arguments([word]) == {"n": value}


@pytest.mark.parametrize("words", [["n"], ["=1"], ["n=1", "n=2"]])
def test_other_words_are_refused(words: list[str]) -> None:
    with pytest.raises(inputs.BadWord):
        inputs.arguments(words)


def test_an_input_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('{"name": "\u00fc"}', encoding="utf-8")
    assert inputs.document(str(tmp_path / "in.json")) == {"name": "ü"}


def test_an_input_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("[1]"))
    assert inputs.document("-") == [1]


@pytest.mark.parametrize(
    ("source", "value"), [('{"n": 1}', {"n": 1}), (" [1]", [1]), ('"a"', "a"), ("5", 5)]
)
def test_an_input_as_json(source: str, value: object) -> None:
    assert inputs.document(source) == value


@pytest.mark.parametrize("source", ["{", "no-such-file.json", "[NaN]", '{"a": Infinity}'])
def test_no_input_at_all(source: str) -> None:
    with pytest.raises(inputs.BadWord):
        inputs.document(source)


@pytest.mark.parametrize(
    ("words", "options", "order"),
    [
        pytest.param(["sleep"], {}, {"type": "sleep"}, id="a-type"),
        pytest.param(
            ["fibonacci", "n=100"],
            {"queue": "slow", "priority": 0, "labels": ["team=red"], "name": "f"},
            {
                "type": "fibonacci",
                "input": {"n": 100},
                "queue": "slow",
                "priority": 0,
                "labels": {"team": "red"},
                "name": "f",
            },
            id="a-type-with-options",
        ),
        pytest.param(
            ["sh", "-c", "echo a=b"],
            {"image": "busybox", "env": ["A=1=2"], "source": "[1]"},
            {
                "container": {
                    "image": "busybox",
                    "command": ["sh", "-c", "echo a=b"],
                    "env": [{"name": "A", "value": "1=2"}],
                },
                "input": [1],
            },
            id="a-container",
        ),
        pytest.param(
            [], {"image": "busybox"}, {"container": {"image": "busybox"}}, id="the-image's-program"
        ),
        pytest.param(
            ["sleep"],
            {"callback": {"url": "https://example.com/x"}},
            {"type": "sleep", "callback": {"url": "https://example.com/x"}},
            id="a-callback",
        ),
        pytest.param(
            ["sleep"],
            {"not_before": "2026-01-02T04:04:05+01:00"},
            {"type": "sleep", "notBefore": "2026-01-02T03:04:05Z"},
            id="a-later-time",
        ),
    ],
)
def test_an_order(words: list[str], options: dict[str, Any], order: dict[str, Any]) -> None:
    (made,) = orders.orders(words, **NOTHING | options)
    assert made.to_json() == order


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        pytest.param([], {}, "what shall run", id="nothing"),
        pytest.param(["sleep", "5"], {}, "write it as key=value", id="no-key"),
        pytest.param(["sleep", "a=1"], {"source": "{}"}, "not both", id="two-inputs"),
        pytest.param(["sleep"], {"env": ["A=1"]}, "--image", id="env-without-image"),
        pytest.param(["Sleep"], {}, "type: ", id="upper-case"),
        pytest.param(["sleep"], {"name": "a" * 53}, "name: ", id="long-name"),
        pytest.param(
            ["sleep"], {"callback": {"url": "example.com"}}, "callback.url: ", id="no-url"
        ),
        pytest.param(["sleep"], {"labels": ["x"]}, "label 'x'", id="label"),
        pytest.param(["sleep"], {"not_before": "noon"}, "notBefore: a time is", id="no-time"),
    ],
)
def test_no_order(words: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(inputs.BadWord, match=message):
        orders.orders(words, **NOTHING | options)


STEPS = [{"name": "a", "type": "sleep", "finally": True}]
SPEC = "steps: [{name: a, type: sleep, finally: true}]"
WHOLE = "apiVersion: longtask.dev/v1alpha1\nkind: LongTask\n"


@pytest.mark.parametrize(
    ("text", "words", "options", "order"),
    [
        pytest.param(SPEC, [], {}, {"steps": STEPS}, id="a-spec"),
        pytest.param('{"type": "sleep"}', [], {}, {"type": "sleep"}, id="json"),
        pytest.param(
            f"{WHOLE}metadata: {{name: x, labels: {{team: red}}}}\nspec: {{{SPEC}}}",
            [],
            {},
            {"name": "x", "labels": {"team": "red"}, "steps": STEPS},
            id="a-resource",
        ),
        pytest.param(
            f"{SPEC}\nqueue: slow\ninput: {{n: 1}}".replace("n:", '"n":'),
            ["day=2026-01-02", "m=2"],
            {"queue": "fast", "name": "y"},
            {
                "steps": STEPS,
                "queue": "fast",
                "name": "y",
                "input": {"day": "2026-01-02", "m": 2},
            },
            id="options-go-before-it",
        ),
        pytest.param(
            "type: x\ninput: {day: 2026-01-02, from: {$from: input#/a, default: null}}",
            [],
            {},
            {
                "type": "x",
                "input": {"day": "2026-01-02", "from": {"$from": "input#/a", "default": None}},
            },
            id="a-time-is-text-and-null-stays",
        ),
    ],
)
def test_an_order_from_a_file(
    tmp_path: Path, text: str, words: list[str], options: dict[str, Any], order: dict[str, Any]
) -> None:
    (tmp_path / "task.yaml").write_text(text)
    file = str(tmp_path / "task.yaml")
    (made,) = orders.orders(words, **NOTHING | {"file": file} | options)
    assert made.to_json() == order


def test_a_name_is_made_up_from_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{WHOLE}metadata: {{generateName: night-}}\nspec: {{type: sleep}}"
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    (made,) = orders.orders([], **NOTHING | {"file": "-"})
    name = made.name
    assert re.fullmatch("night-[a-z2-7]{8}", name or "")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        pytest.param("a: [", {}, "is no YAML", id="no-yaml"),
        pytest.param("type: x\n---\n- a", {}, "document 2: a task is an object", id="of-two"),
        pytest.param("---\n---\n", {}, "there is no task in it", id="none"),
        pytest.param("type: x\n---\ntype: y", {"name": "n"}, "for one task", id="two-of-a-name"),
        pytest.param("- a", {}, "a task is an object", id="a-list"),
        pytest.param("type: x\ninput: {no: 1}", {}, "input: False is no name", id="a-bare-no"),
        pytest.param("type: x\ninput: [.nan]", {}, "input.0: nan is no JSON", id="not-a-number"),
        pytest.param("type: x\ninput: !!binary YQ==", {}, "is no JSON", id="bytes"),
        pytest.param("kind: Job\napiVersion: batch/v1", {}, "is no LongTask", id="another-kind"),
        pytest.param(f"{WHOLE}spec: x", {}, "are objects", id="no-spec"),
        pytest.param(f"{WHOLE}spec: {{}}\nstatus: {{}}", {}, "status: only kubectl", id="a-status"),
        pytest.param(
            f"{WHOLE}metadata: {{annotations: {{}}}}\nspec: {{}}",
            {},
            "metadata.annotations: only kubectl",
            id="annotations",
        ),
        pytest.param(
            "steps: [{name: a, type: x, need: []}]", {}, "steps.0.need: ", id="an-unknown-field"
        ),
        pytest.param(SPEC, {"image": "busybox"}, "nothing for --image", id="an-image-besides"),
        pytest.param(SPEC, {"env": ["A=1"]}, "nothing for --image and --env", id="env-besides"),
    ],
)
def test_no_order_from_a_file(
    tmp_path: Path, text: str, options: dict[str, Any], message: str
) -> None:
    (tmp_path / "task.yaml").write_text(text)
    with pytest.raises(inputs.BadWord, match=message):
        orders.orders([], **NOTHING | {"file": str(tmp_path / "task.yaml")} | options)


def test_a_file_may_hold_several_tasks(tmp_path: Path) -> None:
    (tmp_path / "tasks.yaml").write_text("type: x\n---\n---\ntype: y\npriority: 3\n")
    options = {"file": str(tmp_path / "tasks.yaml"), "queue": "q"}
    made = [order.to_json() for order in orders.orders(["n=1"], **NOTHING | options)]
    common = {"queue": "q", "input": {"n": 1}}
    assert made == [{"type": "x"} | common, {"type": "y", "priority": 3} | common]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(inputs.BadWord, match=r"none\.yaml: "):
        orders.orders([], **NOTHING | {"file": str(tmp_path / "none.yaml")})


@pytest.mark.parametrize(
    ("delay", "seconds"), [("90s", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("0s", 0)]
)
def test_a_delay(delay: str, seconds: int) -> None:
    assert inputs.start(None, delay, now=NOW) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("delay", ["", "5", "m", "5 m", "5m1h", "-5m", "1.5h", "99999d", "5m\n"])
def test_no_delay(delay: str) -> None:
    with pytest.raises(inputs.BadWord, match="90s, 5m"):
        inputs.start(None, delay, now=NOW)


def test_a_time_and_a_delay_contradict_each_other() -> None:
    with pytest.raises(inputs.BadWord, match="not both"):
        inputs.start("2026-01-02T03:04:05Z", "5m", now=NOW)
    assert inputs.start(None, None, now=NOW) is None


def test_phases_in_any_case() -> None:
    assert [str(phase) for phase in orders.phases(["running", "Failed"])] == ["Running", "Failed"]
    with pytest.raises(inputs.BadWord, match="Succeeded"):
        orders.phases(["done"])
