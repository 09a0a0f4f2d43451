"""What API, operator and tasks may do: the table of rights, asked of the real API server."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

RELEASE, TASKS = "longtask", "longtasks"
API = f"system:serviceaccount:{RELEASE}:longtask-api"
OPERATOR = f"system:serviceaccount:{RELEASE}:longtask-operator"
TASK = f"system:serviceaccount:{TASKS}:longtask-task"

#: Namespace, verbs, and `plural[.group][/subresource][=name]`.
Rights = list[tuple[str, str, str]]

KINDS = ("longtasks", "longtaskqueues", "longtasktypes", "longtaskschedules")
KEYS = "secrets=longtask-callback-keys"
TOKEN = "secrets=longtask-api-token"

API_MAY: Rights = [
    (TASKS, "get list watch create patch delete", "longtasks.longtask.dev"),
    (TASKS, "get list watch create patch delete", "longtaskschedules.longtask.dev"),
    (TASKS, "get list watch patch", "longtaskqueues.longtask.dev"),
    (TASKS, "get list watch", "longtasktypes.longtask.dev"),
    (TASKS, "patch", "longtasks.longtask.dev/status"),
    (TASKS, "get list", "pods"),
    (TASKS, "get", "pods/log"),
    (TASKS, "get", "jobs.batch"),
    (RELEASE, "get patch", KEYS),
    ("", "create", "tokenreviews.authentication.k8s.io"),
    ("", "create", "subjectaccessreviews.authorization.k8s.io"),
]
API_MAY_NOT: Rights = [
    (TASKS, "list create patch delete", "jobs.batch"),
    (TASKS, "update deletecollection", "longtasks.longtask.dev"),
    (TASKS, "create update patch delete", "longtasktypes.longtask.dev"),
    (TASKS, "update deletecollection", "longtaskschedules.longtask.dev"),
    (TASKS, "patch", "longtaskschedules.longtask.dev/status"),
    (TASKS, "create update delete", "longtaskqueues.longtask.dev"),
    (TASKS, "create update patch delete watch", "pods"),
    (TASKS, "create get", "pods/exec"),
    (TASKS, "get list watch", "secrets"),
    (RELEASE, "list watch", "secrets"),
    (RELEASE, "get patch", TOKEN),
    (RELEASE, "update delete", KEYS),
    (RELEASE, "get", "configmaps"),
    (TASKS, "update", "longtasks.longtask.dev/status"),
    (TASKS, "patch", "longtasktypes.longtask.dev/status"),
    (TASKS, "patch", "longtaskqueues.longtask.dev/status"),
    (TASKS, "create", "serviceaccounts/token"),
    (TASKS, "impersonate", "serviceaccounts"),
    ("", "impersonate", "users"),
    ("", "impersonate", "groups"),
    ("", "get list watch", "nodes"),
    ("default", "list create", "longtasks.longtask.dev"),
]
OPERATOR_MAY: Rights = [
    (TASKS, "get list watch create patch", "longtasks.longtask.dev"),
    (TASKS, "get list watch patch", "longtaskschedules.longtask.dev"),
    (TASKS, "patch", "longtaskschedules.longtask.dev/status"),
    (TASKS, "get list watch", "longtasktypes.longtask.dev"),
    (TASKS, "list watch", "longtaskqueues.longtask.dev"),
    (TASKS, "patch", "longtasks.longtask.dev/status"),
    (TASKS, "patch", "longtaskqueues.longtask.dev/status"),
    (TASKS, "patch", "longtasktypes.longtask.dev/status"),
    (TASKS, "get list create patch delete", "jobs.batch"),
    (TASKS, "list watch patch", "pods"),
    (TASKS, "list", "events"),
    (TASKS, "create", "events.events.k8s.io"),
    (TASKS, "get", "secrets"),
    (TASKS, "get patch", "leases.coordination.k8s.io=longtask-admission"),
    (TASKS, "create", "leases.coordination.k8s.io"),
    (RELEASE, "get patch", KEYS),
    ("", "list watch", "nodes"),
]
OPERATOR_MAY_NOT: Rights = [
    (TASKS, "list watch create patch delete", "secrets"),
    (TASKS, "get list patch delete", "leases.coordination.k8s.io"),
    (RELEASE, "list", "secrets"),
    (RELEASE, "get patch", TOKEN),
    (TASKS, "create update delete", "pods"),
    (TASKS, "create get", "pods/exec"),
    (TASKS, "create", "roles.rbac.authorization.k8s.io"),
    (TASKS, "create", "rolebindings.rbac.authorization.k8s.io"),
    (TASKS, "create", "serviceaccounts/token"),
    (TASKS, "impersonate", "serviceaccounts"),
    (TASKS, "update delete deletecollection", "longtasks.longtask.dev"),
    (TASKS, "create update delete", "longtaskschedules.longtask.dev"),
    (TASKS, "create patch delete", "longtasktypes.longtask.dev"),
    (TASKS, "create patch delete", "longtaskqueues.longtask.dev"),
    ("", "create", "tokenreviews.authentication.k8s.io"),
    ("", "create", "subjectaccessreviews.authorization.k8s.io"),
    (RELEASE, "create", "jobs.batch"),
    ("default", "create", "jobs.batch"),
    ("default", "list", "longtasks.longtask.dev"),
    ("", "get create update patch delete", "nodes"),
    ("", "get", "nodes/proxy"),
]
TASK_MAY_NOT: Rights = [
    (namespace, "get list create patch delete", resource)
    for namespace in (TASKS, RELEASE)
    for resource in (
        *("longtasks.longtask.dev", "longtasks.longtask.dev/status", "pods", "pods/log"),
        *("jobs.batch", "secrets", "configmaps", "serviceaccounts/token"),
    )
]


def questions(account: str, rights: Rights) -> Iterator[dict[str, Any]]:
    """Yield a SubjectAccessReview for each verb; `kubectl auth can-i` sends them one by one."""
    home = account.split(":")[2]
    groups = ["system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{home}"]
    for namespace, verbs, words in rights:
        path, _, name = words.partition("=")
        path, _, subresource = path.partition("/")
        resource, _, group = path.partition(".")
        for verb in verbs.split():
            asked = {
                "namespace": namespace,
                "verb": verb,
                "group": group,
                "resource": resource,
                "subresource": subresource,
                "name": name,
            }
            yield {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {"user": account, "groups": groups, "resourceAttributes": asked},
            }


def answers(account: str, rights: Rights) -> dict[str, bool]:
    asked = list(questions(account, rights))
    out = subprocess.run(
        ["kubectl", "create", "-f", "-", "-o", r'jsonpath={.status.allowed}{"\n"}'],
        input="\n".join(json.dumps(question) for question in asked),
        capture_output=True,
        text=True,
        check=True,
    )
    sentences = [
        " ".join(filter(None, question["spec"]["resourceAttributes"].values()))
        for question in asked
    ]
    return dict(zip(sentences, (line == "true" for line in out.stdout.split()), strict=True))


@pytest.mark.parametrize(
    ("account", "rights"),
    [
        pytest.param(API, API_MAY, id="api"),
        pytest.param(OPERATOR, OPERATOR_MAY, id="operator"),
    ],
)
def test_what_is_needed_is_allowed(account: str, rights: Rights) -> None:
    assert [right for right, allowed in answers(account, rights).items() if not allowed] == []


@pytest.mark.parametrize(
    ("account", "rights"),
    [
        pytest.param(API, API_MAY_NOT, id="api"),
        pytest.param(OPERATOR, OPERATOR_MAY_NOT, id="operator"),
        pytest.param(TASK, TASK_MAY_NOT, id="task"),
    ],
)
def test_nothing_else_is_allowed(account: str, rights: Rights) -> None:
    assert [right for right, allowed in answers(account, rights).items() if allowed] == []


@pytest.mark.parametrize(
    ("verb", "resource", "account", "expected"),
    [
        ("create", "longtasks.longtask.dev", API, "yes"),
        ("create", "jobs.batch", API, "no"),
        ("create", "jobs.batch", OPERATOR, "yes"),
        ("list", "secrets", OPERATOR, "no"),
        ("list", "pods", TASK, "no"),
    ],
)
def test_kubectl_says_the_same(verb: str, resource: str, account: str, expected: str) -> None:
    command = ["kubectl", "auth", "can-i", verb, resource, "-n", TASKS, "--as", account]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.stdout.strip() == expected


def rules(name: str) -> dict[str, set[str]]:
    """Return the verbs for each of our kinds that an aggregated role of Kubernetes has."""
    command = ["kubectl", "get", "clusterrole", name, "-o", "json"]
    role = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    found: dict[str, set[str]] = {}
    for rule in role["rules"]:
        for resource in rule.get("resources", []) if "longtask.dev" in rule["apiGroups"] else []:
            found.setdefault(resource, set()).update(rule["verbs"])
    return found


def test_viewers_editors_and_admins_need_no_further_grant() -> None:
    read = {"get", "list", "watch"}
    write = {"create", "update", "patch", "delete", "deletecollection"}
    assert rules("view") == dict.fromkeys(KINDS, read)
    assert rules("edit") == dict.fromkeys(KINDS, read) | dict.fromkeys(
        ("longtasks", "longtaskschedules"), read | write
    )
    assert rules("admin") == dict.fromkeys(KINDS, read | write)
