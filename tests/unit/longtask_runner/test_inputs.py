"""The input against a task's parameters."""

from typing import Any, Literal, Optional, Union

import pytest

from longtask_runner import Context, errors, inputs


def no_arguments() -> None: ...
def one_int(n: int) -> None: ...
def with_default(n: int, times: int = 1, *, loud: bool = False) -> None: ...
def with_context(n: int, ctx: Context) -> None: ...
def unannotated(value) -> None: ...
def future(n: "int", names: "list[str]", ctx: "Context") -> None: ...
def unresolvable(n: "Nowhere") -> None: ...  # noqa: F821
def uncheckable(n: set[int]) -> None: ...


CTX = Context()


@pytest.mark.parametrize(
    ("function", "members", "arguments"),
    [
        pytest.param(no_arguments, {}, {}, id="nothing-for-nothing"),
        pytest.param(one_int, {"n": 5}, {"n": 5}, id="a-member-for-a-parameter"),
        pytest.param(with_default, {"n": 5}, {"n": 5}, id="defaults-stay-the-functions-own"),
        pytest.param(
            with_default,
            {"n": 5, "times": 2, "loud": True},
            {"n": 5, "times": 2, "loud": True},
            id="defaults-may-be-given",
        ),
        pytest.param(with_context, {"n": 5}, {"n": 5, "ctx": CTX}, id="the-context-is-no-input"),
        pytest.param(unannotated, {"value": [1]}, {"value": [1]}, id="unannotated-takes-anything"),
        pytest.param(
            future,
            {"n": 5, "names": ["a"]},
            {"n": 5, "names": ["a"], "ctx": CTX},
            id="annotations-may-be-text",
        ),
    ],
)
def test_a_fitting_input_becomes_arguments(function, members, arguments) -> None:
    assert inputs.bind(function, members, CTX) == arguments


@pytest.mark.parametrize(
    ("function", "members", "message"),
    [
        pytest.param(one_int, {}, "n: is required", id="missing"),
        pytest.param(one_int, {"n": 1, "m": 2}, "m: is not known", id="unknown"),
        pytest.param(
            with_context, {"n": 1, "ctx": 2}, "ctx: is not known", id="context-is-not-given"
        ),
        pytest.param(
            one_int, {"n": "5"}, "n: expected an integer, not a string", id="of-another-type"
        ),
        pytest.param(
            with_default,
            {"times": None, "x": 1},
            "n: is required; times: expected an integer, not null; x: is not known",
            id="all-faults-are-named-at-once",
        ),
    ],
)
def test_a_bad_input_is_refused_by_the_fields_name(function, members, message) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        inputs.bind(function, members, CTX)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("function", "words"),
    [
        pytest.param(unresolvable, "cannot read 'Nowhere'", id="a-name-that-is-nowhere"),
        pytest.param(uncheckable, "cannot be checked", id="a-type-that-json-has-not"),
    ],
)
def test_a_broken_signature_is_the_tasks_fault(function, words) -> None:
    with pytest.raises(errors.TaskNotLoadable, match=words):
        inputs.bind(function, {"n": [1]}, CTX)


@pytest.mark.parametrize(
    ("value", "annotation", "converted"),
    [
        pytest.param(5, int, 5, id="int"),
        pytest.param(2**80, int, 2**80, id="a-large-int"),
        pytest.param(5.0, int, 5, id="an-integral-number-is-an-int"),
        pytest.param(5, float, 5.0, id="an-int-is-a-float"),
        pytest.param("a", str, "a", id="str"),
        pytest.param(True, bool, True, id="bool"),
        pytest.param(None, None, None, id="null"),
        pytest.param([1], list, [1], id="bare-list"),
        pytest.param([1, 2], list[float], [1.0, 2.0], id="list-of-float"),
        pytest.param({"a": 1}, dict, {"a": 1}, id="bare-dict"),
        pytest.param({"a": [1]}, dict[str, list[int]], {"a": [1]}, id="nested"),
        pytest.param(None, int | None, None, id="union-with-none"),
        pytest.param("a", int | str, "a", id="union"),
        pytest.param(None, Optional[int], None, id="optional"),  # noqa: UP045
        pytest.param("a", Union[int, str], "a", id="typing-union"),  # noqa: UP007
        pytest.param("b", Literal["a", "b"], "b", id="literal"),
        pytest.param({"a": None}, Any, {"a": None}, id="any"),
        pytest.param({"a": None}, object, {"a": None}, id="object"),
    ],
)
def test_a_value_of_the_annotated_type_passes(value, annotation, converted) -> None:
    result = inputs.convert(value, annotation, place="x")
    assert result == converted
    assert type(result) is type(converted)


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        pytest.param(True, int, "x: expected an integer, not true or false", id="a-bool-is-no-int"),
        pytest.param(1, bool, "x: expected true or false, not an integer", id="nor-the-reverse"),
        pytest.param(5.5, int, "x: expected an integer, not a number", id="half"),
        pytest.param(1e300, int, "x: expected an integer, not a number", id="inexact"),
        pytest.param(float("1e16"), int, "x: expected an integer, not a number", id="beyond-2-53"),
        pytest.param("1.5", float, "x: expected a number, not a string", id="text-is-no-number"),
        pytest.param(True, float, "x: expected a number, not true or false", id="nor-is-a-bool"),
        pytest.param({}, list, "x: expected a list, not an object", id="no-list"),
        pytest.param([], dict, "x: expected an object, not a list", id="no-object"),
        pytest.param([1, "a"], list[int], "x[1]: expected an integer, not a string", id="an-item"),
        pytest.param(
            {"a": {"b": 1}},
            dict[str, dict[str, str]],
            "x.a.b: expected a string, not an integer",
            id="a-member-deep-inside",
        ),
        pytest.param(
            [],
            int | None,
            "x: expected an integer, not a list or x: expected null, not a list",
            id="neither-of-both",
        ),
        pytest.param("c", Literal["a", 1], 'x: expected one of "a", 1, not a string', id="choices"),
        pytest.param(
            True, Literal[1], "x: expected one of 1, not true or false", id="true-is-not-1"
        ),
    ],
)
def test_another_value_is_named_with_its_place(value, annotation, message) -> None:
    with pytest.raises(inputs.Mismatch) as caught:
        inputs.convert(value, annotation, place="x")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "members"),
    [
        pytest.param('{"n": 1}', {"n": 1}, id="an-object"),
        pytest.param("", {}, id="an-empty-file-has-no-members"),
        pytest.param(" {} \n", {}, id="white-space-around"),
    ],
)
def test_the_input_file_is_read(text: str, members: dict) -> None:
    assert inputs.parse(text) == members


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("{", "no JSON", id="cut"),
        pytest.param("[1]", "must be an object, not a list", id="a-list"),
        pytest.param("null", "must be an object, not null", id="null"),
        pytest.param('{"n": NaN}', "NaN is no JSON", id="nan"),
        pytest.param('{"n": ' + "1" * 5000 + "}", "no JSON", id="a-number-python-refuses"),
        pytest.param("[" * 100_000, "nested too deeply", id="very-deep"),
    ],
)
def test_an_unreadable_input_is_refused(text: str, words: str) -> None:
    with pytest.raises(errors.InvalidInput, match=words):
        inputs.parse(text)
