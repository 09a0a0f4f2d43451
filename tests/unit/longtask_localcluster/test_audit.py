"""What the API server's audit log tells, while it is being written."""

import json
from pathlib import Path

from longtask_localcluster import audit


def a_line(name: str) -> str:
    about = {"resource": "jobs", "namespace": "longtasks", "name": name}
    event = {
        "userAgent": "longtask-operator/1",
        "user": {"username": "u"},
        "verb": "create",
        "objectRef": about,
        "responseStatus": {"code": 201},
    }
    return json.dumps(event) + "\n"


def test_a_line_is_read_once_it_is_whole(tmp_path: Path) -> None:
    log, first, second = tmp_path / "audit.log", a_line("a"), a_line("é")
    log.write_text(first + second[:40])
    assert [one.name for one in audit.requests(log)] == ["a"]
    log.write_text(first + second)
    assert [one.name for one in audit.requests(log)] == ["a", "é"]
    assert [one.name for one in audit.requests(log, offset=len(first))] == ["é"]
