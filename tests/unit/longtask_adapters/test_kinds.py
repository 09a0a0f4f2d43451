from typing import Any

import pytest

from longtask_adapters.kube import errors, kinds
from longtask_crds import names, v1alpha1

KEY = names.ObjectKey("a", "b")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param(
            kinds.TASKS.path(KEY),
            "/apis/longtask.dev/v1alpha1/namespaces/a/longtasks/b",
            id="of-a-kind-of-ours",
        ),
        pytest.param(
            kinds.TASKS.path(KEY, "status"),
            "/apis/longtask.dev/v1alpha1/namespaces/a/longtasks/b/status",
            id="of-a-subresource",
        ),
        pytest.param(kinds.JOBS.collection("a"), "/apis/batch/v1/namespaces/a/jobs", id="of-all"),
        pytest.param(
            kinds.PODS.path(names.ObjectKey("a/b", "../c?d#e")),
            "/api/v1/namespaces/a%2Fb/pods/..%2Fc%3Fd%23e",
            id="a-name-is-one-part-whatever-it-says",
        ),
    ],
)
def test_paths(path: str, expected: str) -> None:
    assert path == expected


def a_raw_task(**spec: Any) -> dict[str, Any]:
    meta = {"name": "b", "namespace": "a", "uid": "u", "managedFields": [{"manager": "kubectl"}]}
    return {"metadata": meta, "spec": spec}


def test_a_cache_may_do_without_inputs_and_nobody_else_does() -> None:
    steps = [{"name": "one", "input": {"n": 2}}, {"name": "two", "forEach": [{"n": 3}]}]
    raw = a_raw_task(type="x", input={"n": 1}, steps=steps)
    slim = kinds.TASKS.slimmed(kinds.without_inputs)
    task = slim.read(raw)
    assert task.spec.input == {"n": 1}
    kept = slim.slim(task)
    slim_steps = [{"name": "one"}, {"name": "two", "forEach": []}]
    assert kept.spec.to_json() == {"type": "x", "steps": slim_steps}
    assert slim.slim(kept) == kept
    assert kinds.TASKS.slim(task) is task


def test_one_unreadable_object_is_skipped_and_told_without_what_it_holds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    raw = a_raw_task(priority="a-secret")
    with pytest.raises(errors.Unreadable, match=r"spec\.priority: .*integer"):
        kinds.TASKS.read(raw)
    assert kinds.parse(kinds.TASKS, raw) is None
    (record,) = caplog.records
    assert (record.plural, record.object) == ("longtasks", "a/b")  # type: ignore[attr-defined]
    assert "spec.priority" in record.cause  # type: ignore[attr-defined]
    assert "a-secret" not in str(vars(record))


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_a_time_that_is_none_in_utc_is_no_end_of_a_list(time: str) -> None:
    raw = a_raw_task() | {"status": {"queuedAt": time}}
    assert kinds.parse(kinds.TASKS, raw) is None


def test_an_object_that_recurses_without_end_is_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def recurse(_: Any) -> Any:
        raise RecursionError

    monkeypatch.setattr(v1alpha1.LongTask, "model_validate", recurse)
    assert kinds.parse(kinds.TASKS, a_raw_task()) is None


def test_what_lists_and_watches_say_of_an_object() -> None:
    raw = a_raw_task()
    raw["metadata"]["resourceVersion"] = "12"
    assert (kinds.key_of(raw), kinds.version_of(raw)) == (KEY, 12)
