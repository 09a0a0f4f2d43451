from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtask_api.stores.catalogue import Catalogue, Record
from longtask_crds import names
from longtask_crds.testing import NOW, a_task, with_meta, with_status
from longtask_crds.v1alpha1 import Phase


def a_record(name: str = "a", **changed: Any) -> Record:
    usual = {
        "created": 0,
        "phase": Phase.QUEUED,
        "type": None,
        "owner": None,
        "labels": (),
        "queue": None,
        "priority": None,
        "came_through": None,
        "message": None,
    }
    return Record(uid=f"uid-of-{name}", key=names.ObjectKey("ns", name), **(usual | changed))


def test_a_record_is_what_the_task_says() -> None:
    labels = {names.OWNER_LABEL: "ann", "team": "x"}
    task = with_status(
        with_meta(a_task("a", type="t", queue="q", priority=7), labels=labels), queue="past"
    )
    assert Record.of(task) == Record(
        key=names.ObjectKey("longtasks", "a"),
        uid=task.metadata.uid,
        created=int(NOW.timestamp()),
        phase=Phase.PENDING,
        type="t",
        owner="ann",
        labels=tuple(labels.items()),
        queue="q",
        priority=7,
        came_through="past",
        message=None,
    )


MANY = [a_record(f"t{n}", created=n, phase=Phase.SUCCEEDED, type="usual") for n in range(9)]


@pytest.mark.parametrize(
    "chosen",
    [
        pytest.param({"phases": [Phase.FAILED]}, id="phase"),
        pytest.param({"type": "rare"}, id="type"),
        pytest.param({"owner": "ann"}, id="owner"),
        pytest.param({"schedule": "s"}, id="schedule"),
        pytest.param({"phases": [Phase.SUCCEEDED, Phase.FAILED], "owner": "ann"}, id="the-fewest"),
    ],
)
def test_only_the_fewest_that_come_into_question_are_looked_at(chosen: dict[str, Any]) -> None:
    catalogue = Catalogue()
    rare = a_record("x", phase=Phase.FAILED, type="rare", owner="ann", schedule="s")
    for record in (*MANY, rare):
        catalogue.put(record)
    assert list(catalogue.by_age(**chosen)) == [rare]
    assert list(catalogue.by_age(type="unknown")) == []


RECORDS = st.builds(
    a_record,
    st.sampled_from("abcde"),
    created=st.integers(0, 2),
    phase=st.sampled_from([Phase.QUEUED, Phase.RUNNING, Phase.FAILED]),
    type=st.sampled_from([None, "t"]),
    owner=st.sampled_from([None, "ann"]),
    schedule=st.sampled_from([None, "s"]),
)


def test_it_counts_by_phase() -> None:
    catalogue = Catalogue()
    catalogue.put(a_record("a", owner="ann"))
    catalogue.put(a_record("b", owner="ann", phase=Phase.RUNNING))
    catalogue.put(a_record("c", owner="bob", phase=Phase.FAILED))
    assert catalogue.phases_of("ann") == {Phase.QUEUED: 1, Phase.RUNNING: 1}
    assert +catalogue.phases_of_all() == {Phase.QUEUED: 1, Phase.RUNNING: 1, Phase.FAILED: 1}
    catalogue.put(a_record("b", owner="ann", phase=Phase.SUCCEEDED))
    assert catalogue.count_of("ann") == (1, 2)
    catalogue.remove(names.ObjectKey("ns", "b"))
    catalogue.remove(names.ObjectKey("ns", "a"))
    assert catalogue.phases_of("ann") == {}
    assert +catalogue.phases_of_all() == {Phase.FAILED: 1}


@given(
    changes=st.lists(RECORDS | st.sampled_from("abcde")),
    phases=st.sets(st.sampled_from([Phase.QUEUED, Phase.RUNNING])),
    type_=st.sampled_from([None, "t"]),
    owner=st.sampled_from([None, "ann"]),
    schedule=st.sampled_from([None, "s"]),
    newest_first=st.booleans(),
)
def test_whatever_changes_it_finds_what_a_search_would(
    changes: list[Record | str],
    phases: set[Phase],
    type_: str | None,
    owner: str | None,
    schedule: str | None,
    newest_first: bool,
) -> None:
    catalogue, known = Catalogue(), dict[str, Record]()
    for change in changes:
        if isinstance(change, Record):
            catalogue.put(change)
            known[change.key.name] = change
        elif known.pop(change, None) is not None:
            catalogue.remove(names.ObjectKey("ns", change))

    def fits(record: Record) -> bool:
        return (
            (not phases or record.phase in phases)
            and type_ in (None, record.type)
            and owner in (None, record.owner)
            and schedule in (None, record.schedule)
        )

    everything = sorted(known.values(), key=lambda r: r.age, reverse=newest_first)
    given_filter: dict[str, Any] = {"phases": phases, "type": type_, "owner": owner}
    given_filter["schedule"] = schedule
    found = list(catalogue.by_age(**given_filter, newest_first=newest_first))
    assert list(catalogue.by_age(newest_first=newest_first)) == everything
    assert list(filter(fits, found)) == list(filter(fits, everything))
    for number, record in enumerate(found):
        bound = {"high" if newest_first else "low": record.age}
        behind = catalogue.by_age(**given_filter, newest_first=newest_first, **bound)
        assert list(behind) == found[number + 1 :]
