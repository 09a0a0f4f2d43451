import pytest

from longtask_crds import names, traces
from longtask_crds.testing import a_task, with_meta

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        pytest.param(GOOD, GOOD, id="as-the-standard-shows-it"),
        pytest.param(f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00", id="not-sampled"),
        pytest.param(f"01-{TRACE}-{SPAN}-01", GOOD, id="of-a-later-version"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01-more", GOOD, id="of-one-that-says-more"),
        pytest.param(f"{GOOD}-more", None, id="this-version-says-no-more"),
        pytest.param(f"ff-{TRACE}-{SPAN}-01", None, id="a-version-that-never-comes"),
        pytest.param(f"00-{'0' * 32}-{SPAN}-01", None, id="no-trace"),
        pytest.param(f"00-{TRACE}-{'0' * 16}-01", None, id="no-span"),
        pytest.param(GOOD.upper(), None, id="capitals"),
        pytest.param(f" {GOOD}", None, id="a-space"),
        pytest.param(f"{GOOD}\n", None, id="a-line-break"),
        pytest.param(f"00-{TRACE}-{SPAN}", None, id="no-flags"),
        pytest.param("$(LONGTASK_TOKEN_FILE)", None, id="something-else"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01-{'x' * 456}", GOOD, id="the-longest"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01-{'x' * 457}", None, id="longer"),
        pytest.param("", None, id="nothing"),
        pytest.param(None, None, id="none"),
    ],
)
def test_parse(text: str | None, parsed: str | None) -> None:
    assert traces.parse(text) == parsed


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        pytest.param(
            "rojo=00f067aa0ba902b7,congo=t61r", "rojo=00f067aa0ba902b7,congo=t61r", id="two"
        ),
        pytest.param("a=1 , \tb=2,,", "a=1,b=2", id="with-room-between"),
        pytest.param("fw529a3039@dt=FfAAAABmYw==", None, id="an-equals-sign-in-the-value"),
        pytest.param("1a-_*/@x=a b!~", "1a-_*/@x=a b!~", id="all-that-may-be"),
        pytest.param("A=1", None, id="capitals-in-the-key"),
        pytest.param("a=1,a=2", None, id="one-key-twice"),
        pytest.param("a=", None, id="no-value"),
        pytest.param("a=ü", None, id="beyond-ascii"),
        pytest.param("a=1\n", None, id="a-line-break"),
        pytest.param(",".join(f"k{n}=1" for n in range(33)), None, id="more-than-32"),
        pytest.param(
            f"a={'x' * 250},b={'x' * 250},c=1234",
            f"a={'x' * 250},b={'x' * 250},c=1234",
            id="the-longest",
        ),
        pytest.param(
            f"a={'x' * 250},b={'x' * 250},c=1,d=2",
            f"a={'x' * 250},b={'x' * 250},c=1",
            id="what-has-no-room",
        ),
        pytest.param("", None, id="nothing"),
        pytest.param(None, None, id="none"),
    ],
)
def test_parse_state(text: str | None, parsed: str | None) -> None:
    assert traces.parse_state(text) == parsed


def test_a_state_without_a_trace_says_nothing() -> None:
    assert traces.read("nonsense", "a=1") is None
    assert traces.read(GOOD, "nonsense") == traces.Trace(GOOD)
    assert traces.read(GOOD, "a=1") == traces.Trace(GOOD, "a=1")


@pytest.mark.parametrize(
    ("annotation", "trace"), [(GOOD, GOOD), ("anything", None), ("", None)], ids=str
)
def test_whatever_somebody_annotates_a_task_has_a_trace_or_none(
    annotation: str, trace: str | None
) -> None:
    task = a_task()
    meta = task.metadata.model_copy(
        update={"annotations": {names.TRACEPARENT_ANNOTATION: annotation}}
    )
    assert traces.of(task.model_copy(update={"metadata": meta})) == trace


def test_a_task_has_the_state_of_its_trace() -> None:
    said = {names.TRACEPARENT_ANNOTATION: GOOD, names.TRACESTATE_ANNOTATION: "a=1"}
    assert traces.trace_of(with_meta(a_task(), annotations=said)) == traces.Trace(GOOD, "a=1")
    assert traces.trace_of(a_task()) is None


def test_the_id_of_a_trace() -> None:
    assert traces.trace_id(GOOD) == TRACE
