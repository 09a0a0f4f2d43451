import pytest
import yaml

from longtask_client.cli.given import inputs
from longtask_client.cli.output import forms, jsonpath

TASKS = {
    "items": [
        {"id": "a", "percent": 5, "labels": {"x.y/z": "1"}, "note": None},
        {"id": "b", "percent": None, "labels": {}, "on": True},
    ]
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.items[*].id}", "a b"),
        (".items[0].id", "a"),
        ("{.items[-1].id}", "b"),
        ("{.items[7].id}", ""),
        ("{.items[0].labels['x.y/z']}", "1"),
        ('{.items[0]["id"]}', "a"),
        ("{$.items[0].percent}%", "5%"),
        ("{.items[1].on} {.items[0].note}.", "true ."),
        ("{.items[0].labels}", '{"x.y/z": "1"}'),
        ("{.items[0].labels.*}", "1"),
        ('{range .items[*]}{.id}{"\\t"}{.percent}{"\\n"}{end}!', "a\t5\nb\t\n!"),
        ("{range .none[*]}{.id}{end}!", "!"),
        ("{range .items[*]}{range .labels.*}{@}{end};{end}", "1;;"),
        ("no braces", None),
        ("{.items[0].id", None),
        ("{.items[x]}", None),
        ("{.items[?(@.id)]}", None),
        ("{range .items[*]}{.id}", None),
        ("{.a}{end}", None),
    ],
)
def test_a_template_names_parts_of_a_document(template: str, text: str | None) -> None:
    if text is None:
        with pytest.raises(inputs.BadWord, match="jsonpath"):
            jsonpath.render(template, TASKS)
    else:
        assert jsonpath.render(template, TASKS) == text


def test_a_form_is_named_by_a_word() -> None:
    assert forms.read("json") == forms.Form(forms.Kind.JSON)
    assert forms.read("jsonpath={.a}={.b}").template == "{.a}={.b}"
    assert str(forms.read("jsonpath={.a}")) == "jsonpath={.a}"
    assert forms.read(forms.NAME) is forms.NAME


@pytest.mark.parametrize("word", ["xml", "jsonpath", "jsonpath=", "json={.a}", ""])
def test_what_is_no_form_is_refused_with_those_that_are(word: str) -> None:
    with pytest.raises(inputs.BadWord, match="json"):
        forms.read(word)


def test_yaml_keeps_the_order_and_every_letter() -> None:
    text = forms.read("yaml").written({"b": "ü", "a": [1]})
    assert text == "b: ü\na:\n- 1"
    assert yaml.safe_load(forms.read("yaml").written(TASKS)) == TASKS
