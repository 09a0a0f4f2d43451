"""Specs of tasks, and where each breaks a rule of the contract: one corpus, two judges.

The unit tests ask the Python side of `longtask_crds.acceptance`, the integration tests a real API
server, which has the CEL side. A spec here breaks one rule in one place.
"""

import dataclasses
from typing import Any

import pytest

SECRET = {"name": "s", "key": "k"}
DIGEST = "@sha256:" + "0123456789abcdef" * 4

IMAGES = (
    "busybox",
    "busybox:1.36",
    "library/busybox",
    "a.b/c",
    "example.com/team/my_image__x:v1.2-rc.3",
    "EXAMPLE.com/x",
    "localhost/x",
    "localhost:5000/x",
    "registry:5000/x",
    "127.0.0.1:5000/x:latest",
    "[fd00::1]:5000/x",
    "ghcr.io/a/b" + DIGEST,
    "ghcr.io/a/b:tag" + DIGEST,
    "x:" + "t" * 128,
)
NO_IMAGES = {
    "a b": "a-space",
    "UPPER/x": "capitals",
    "example.com/Team/x": "capitals-inside",
    "busybox:": "an-empty-tag",
    "busybox:-x": "a-tag-that-begins-with-a-dash",
    "x:" + "t" * 129: "a-long-tag",
    "busybox@sha256:abc": "a-short-digest",
    "busybox@" + "a" * 64: "a-digest-without-its-kind",
    "/x": "no-path-at-first",
    "x/": "no-path-at-last",
    "a//b": "no-path-between",
    "a..b": "two-dots",
    "-x": "a-dash-at-first",
    "x:y:z": "two-tags",
    "example.com:99999999/x": "no-port",
    "https://example.com/x": "a-url",
    "busybox\n": "a-line-break",
    "büsybox": "no-ascii",
    "$(IMAGE)": "a-variable",
}
#: Names that are no resource of a container.
NO_RESOURCES = {
    "gpu": "one-word",
    "pods": "what-only-quotas-count",
    "hugepages-2Mi": "large-pages",
    "kubernetes.io/batch-cpu": "what-is-kubernetes-own",
    "x.kubernetes.io/y": "what-is-below-it",
    "requests.example.com/x": "what-is-a-quotas",
    "Example.com/x": "capitals-in-a-domain",
    "example.com/": "an-empty-name",
    "/x": "an-empty-domain",
    "a/b/c": "two-slashes",
    "example.com/x y": "a-space",
    "example.com/x\n": "a-line-break",
    "a" * 245 + "/x": "a-long-domain",
    "example.com/" + "x" * 64: "a-long-name",
}
NO_PATHS = {
    "/": "at-the-root",
    "data": "nowhere",
    "/data/": "with-a-slash-at-last",
    "/a//b": "with-two-slashes",
    "/data/..": "that-goes-up",
    "/data/../tmp": "that-goes-up-and-down",
    "/./tmp": "with-a-dot",
    "/a:b": "with-a-colon",
    "/a b": "with-a-space",
    "/$(HOME)": "with-a-variable",
    "/a\n": "with-a-line-break",
    "/" + "x" * 256: "too-long",
}
HEADERS = (
    *("Host", "hOsT", "webhook-id", "Webhook-Signature", "Connection", "Te"),
    *("Transfer-Encoding", "Content-Length", "content-type", "Upgrade", "Proxy-X"),
    *("X Y", "X:Y", " ", "x" * 65),
)


def container(**more: Any) -> dict[str, Any]:
    return {"container": {"image": "busybox"} | more}


def env(**variable: Any) -> dict[str, Any]:
    return container(env=[variable])


def callback(**more: Any) -> dict[str, Any]:
    return {"type": "sleep", "callback": {"url": "https://example.com/"} | more}


def requests(**amounts: Any) -> dict[str, Any]:
    return {"type": "x", "resources": {"requests": amounts}}


def limits(**amounts: Any) -> dict[str, Any]:
    return {"type": "x", "resources": {"limits": amounts}}


def widgets(request: Any, limit: Any) -> dict[str, Any]:
    return both("example.com/widget", request, limit)


def volume(**more: Any) -> dict[str, Any]:
    """Return a type with one volume: a claim, unless another source is given."""
    given = {"name": "data", "mountPath": "/data"} | more
    if not given.keys() & {"persistentVolumeClaim", "configMap", "secret", "emptyDir"}:
        given["persistentVolumeClaim"] = {"claimName": "data"}
    return {"volumes": [given]}


def both(resource: str, request: Any, limit: Any) -> dict[str, Any]:
    parts = {"requests": {resource: request}, "limits": {resource: limit}}
    return {"type": "x", "resources": parts}


TIMES = (
    "2026-01-02T03:04:05Z",
    "2026-01-02T03:04:05+14:00",
    "2026-01-02T03:04:05.123456789-00:30",
    "1970-01-01T00:00:00Z",
)
NO_TIMES = {
    "tomorrow": "a-word",
    "2026-01-02": "a-day",
    "2026-01-02T03:04:05": "no-zone",
    "2026-01-02 03:04:05Z": "a-space",
    "2026-01-02t03:04:05z": "small-letters",
    "2026-02-30T03:04:05Z": "no-such-day",
    "2026-01-02T24:00:00Z": "no-such-hour",
    "2026-01-02T03:04:05+99:00": "no-such-zone",
    "9999-12-31T23:59:59-01:00": "after-the-last-year",
    "0001-01-01T00:00:00+01:00": "before-the-first-year",
    "2026-01-02T03:04:05Z\n": "a-line-break",
    1767323045: "a-number",
}

GOOD = [
    pytest.param({"type": "sleep"}, id="a-type"),
    pytest.param(container(command=["sh"], args=["-c", "echo $HOME"]), id="a-container"),
    pytest.param({"steps": [{"name": "a", "type": "x"}]}, id="steps"),
    pytest.param({"steps": [{"name": "a", **container()}]}, id="a-step-with-a-container"),
    pytest.param({"type": "x", "input": {"any": [1, None, {"deep": 2}]}}, id="any-input"),
    pytest.param(env(name="A", value=""), id="an-empty-variable"),
    pytest.param(env(name="A", secretRef=SECRET), id="a-variable-of-a-secret"),
    pytest.param(callback(headers={"X-Team": "a b", "Authorization": "x"}), id="headers"),
    pytest.param(callback(events=["failed"], secretRef=SECRET), id="a-callback"),
    pytest.param({"type": "x", "cancel": True}, id="cancelled-from-the-start"),
    pytest.param({"type": "x", "priority": 0, "ttlSecondsAfterFinished": 0}, id="zeros"),
    pytest.param(requests(cpu=1), id="cpu-as-a-number"),
    pytest.param(requests(cpu="1m"), id="the-least-cpu"),
    pytest.param(limits(memory="1Gi"), id="memory"),
    pytest.param(limits(memory="4Mi"), id="the-least-memory"),
    pytest.param(limits(memory=4 * 2**20), id="the-least-memory-as-a-number"),
    pytest.param(limits(memory="4194304000m"), id="the-least-memory-in-thousandths"),
    pytest.param(requests(**{"ephemeral-storage": "1Mi"}), id="the-least-disk"),
    pytest.param(both("cpu", 1, "1000m"), id="a-request-that-is-the-limit"),
    pytest.param(both("memory", "4Mi", 2**30), id="a-request-below-a-limit-that-is-a-number"),
    pytest.param(both("memory", "1023Mi", "1Gi"), id="a-request-below-the-limit-in-other-units"),
    pytest.param(widgets(1, "1"), id="an-extended-resource"),
    pytest.param(limits(**{"example.com/widget": 0}), id="none-of-an-extended-resource"),
    pytest.param(requests(**{"a-b.c1/X_y.z": 1, "x/y": "999999999"}), id="extended-resources"),
    *(pytest.param(container(image=image), id=f"the-image-{image[:40]}") for image in IMAGES),
    *(pytest.param({"type": "x", "notBefore": time}, id=f"not-before-{time}") for time in TIMES),
]


@dataclasses.dataclass(frozen=True)
class Broken:
    """A spec that breaks a rule, where, and what the API server says of it."""

    spec: dict[str, Any]
    pointer: str
    told: str


def _broken(spec: dict[str, Any], pointer: str, told: str, *, id: str) -> Any:  # noqa: A002
    return pytest.param(Broken(spec, pointer, told), id=id)


ONE_KIND = "exactly one of type, container and steps is needed"
_ONE_VALUE = "exactly one of value and secretRef is needed"
_OURS = "names that begin with LONGTASK_ are reserved"
_HEADER = "Host, webhook-*, content and connection headers cannot be set"
_STEP = {"name": "a", "type": "x"}
_DISK = "ephemeral-storage"

BROKEN = [
    _broken({}, "", ONE_KIND, id="nothing-to-do"),
    _broken({"type": "x"} | container(), "", ONE_KIND, id="a-type-and-a-container"),
    _broken({"type": "x", "steps": [_STEP]}, "", ONE_KIND, id="a-type-and-steps"),
    _broken(
        {"steps": [_STEP, {"name": "b"}]},
        "/steps/1",
        "exactly one of type and container is needed",
        id="a-step-of-nothing",
    ),
    _broken(env(name="LONGTASK_UID", value="x"), "/container/env/0/name", _OURS, id="our-names"),
    _broken(
        {"steps": [{"name": "a", **env(name="LONGTASK_X", value="x")}]},
        "/steps/0/container/env/0/name",
        _OURS,
        id="our-names-in-a-step",
    ),
    _broken(env(name="A"), "/container/env/0", _ONE_VALUE, id="no-value"),
    _broken(
        env(name="A", value="x", secretRef=SECRET),
        "/container/env/0",
        _ONE_VALUE,
        id="two-values",
    ),
    *(
        _broken(
            callback(headers={"X-Fine": "x", name: "x"}),
            f"/callback/headers/{name}",
            _HEADER,
            id=f"the-header-{name.strip() or 'without-a-name'}",
        )
        for name in HEADERS
    ),
    *(
        _broken(
            container(image=image), "/container/image", "spec.container.image", id=f"image-{why}"
        )
        for image, why in NO_IMAGES.items()
    ),
    *(
        _broken({"type": "x", "notBefore": time}, "/notBefore", "spec.notBefore", id=f"time-{why}")
        for time, why in NO_TIMES.items()
    ),
    *(
        _broken(
            {"type": "x", "resources": {part: {resource: amount}}},
            f"/resources/{part}/{resource}",
            f"{resource}: at least {least}",
            id=f"{part}-of-{amount}-of-{resource}",
        )
        for part in ("requests", "limits")
        for resource, amount, least in (
            ("cpu", 0, "1m"),
            ("cpu", "0", "1m"),
            ("cpu", "0.0009", "1m"),
            ("memory", 0, "4Mi"),
            ("memory", 64, "4Mi"),
            ("memory", "64", "4Mi"),
            ("memory", "64m", "4Mi"),
            ("memory", "4M", "4Mi"),
            ("memory", 4 * 2**20 - 1, "4Mi"),
            (_DISK, 0, "1Mi"),
            (_DISK, "1", "1Mi"),
            (_DISK, "1023Ki", "1Mi"),
        )
    ),
    *(
        _broken(
            both(resource, request, limit),
            f"/resources/requests/{resource}",
            f"{resource}: the request is above the limit",
            id=f"a-request-of-{request}-above-a-limit-of-{limit}-of-{resource}",
        )
        for resource, request, limit in (
            ("cpu", 2, 1),
            ("cpu", "1001m", 1),
            ("cpu", 1, "999m"),
            ("memory", "1Gi", "1G"),
            ("memory", 2**30, "512Mi"),
            (_DISK, "2Gi", "1Gi"),
        )
    ),
    *(
        _broken(
            {"type": "x", "resources": {part: {resource: 1}}},
            f"/resources/{part}/{resource.replace('/', '~1')}",
            "resources are cpu, memory, ephemeral-storage, and extended ones",
            id=f"{part}-of-{why}",
        )
        for part in ("requests", "limits")
        for resource, why in NO_RESOURCES.items()
    ),
    *(
        _broken(
            {"type": "x", "resources": {part: {"example.com/widget": amount}}},
            f"/resources/{part}/example.com~1widget",
            "an extended resource is counted in whole numbers",
            id=f"{part}-of-{amount}-widgets",
        )
        for part in ("requests", "limits")
        for amount in ("1.5", "1k", "500m", "01", "1000000000")
    ),
    _broken(
        widgets(1, 2),
        "/resources/requests/example.com~1widget",
        "an extended resource has the same request as its limit",
        id="fewer-widgets-than-the-limit",
    ),
]

#: Specs of types, likewise.
GOOD_TYPES = [
    pytest.param({}, id="nothing"),
    pytest.param({"shmSize": "1Mi"}, id="shared-memory"),
    pytest.param({"defaults": widgets(2, 2) | {"resources": {}}}, id="no-resources"),
    pytest.param({"defaults": {"resources": {"limits": {"x.y/z": 3}}}}, id="a-device"),
    pytest.param(volume(), id="a-claim"),
    pytest.param(volume(readOnly=False), id="a-claim-to-write-to"),
    pytest.param(volume(configMap={"name": "a.b"}), id="a-config-map"),
    pytest.param(volume(secret={"secretName": "s"}, readOnly=True), id="a-secret"),
    pytest.param(volume(emptyDir={"sizeLimit": 2**20}), id="a-folder"),
    pytest.param(volume(emptyDir={"sizeLimit": "1Gi", "medium": "Memory"}), id="one-in-memory"),
    pytest.param(
        {
            "volumes": [
                {"name": "a", "mountPath": "/data", "configMap": {"name": "x"}},
                {"name": "b", "mountPath": "/data/more", "configMap": {"name": "x"}},
            ]
        },
        id="one-in-another",
    ),
    *(
        pytest.param(volume(mountPath=path), id=f"at-{path}")
        for path in ("/tmpfs", "/home/me/.cache", "/var/run", "/opt/a_b-c.d/e", "/longtasks")
    ),
    pytest.param(
        {
            "placement": {
                "nodeSelector": {"example.com/pool": "gpu", "plain": ""},
                "tolerations": [
                    {"operator": "Exists"},
                    {"key": "gpu", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 0},
                ],
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {
                                    "matchExpressions": [
                                        {"key": "a/b", "operator": "In", "values": ["x", ""]}
                                    ]
                                }
                            ]
                        }
                    },
                    "podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "weight": 100,
                                "podAffinityTerm": {
                                    "topologyKey": "kubernetes.io/hostname",
                                    "labelSelector": {"matchLabels": {"longtask.dev/queue": "q"}},
                                },
                            }
                        ]
                    },
                },
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "topology.kubernetes.io/zone",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": {"longtask.dev/queue": "q"}},
                    }
                ],
                "priorityClassName": "urgent",
                "runtimeClassName": "gvisor",
            }
        },
        id="a-placement",
    ),
]
_ONE_SOURCE = "exactly one of persistentVolumeClaim, configMap, secret and emptyDir is needed"
_NO_WRITING = "a configMap or a secret cannot be written to"
_SMALL = "at least 1Mi; a number without a unit is bytes"
BROKEN_TYPES = [
    _broken({"shmSize": 64}, "/shmSize", _SMALL, id="shared-memory-without-a-unit"),
    _broken({"shmSize": "1023Ki"}, "/shmSize", _SMALL, id="little-shared-memory"),
    _broken(
        {"defaults": widgets("1", "2")},
        "/defaults/resources/requests/example.com~1widget",
        "an extended resource has the same request as its limit",
        id="fewer-devices-than-the-limit",
    ),
    _broken(
        volume(emptyDir={"sizeLimit": "64"}), "/volumes/0/emptyDir/sizeLimit", _SMALL, id="a-slip"
    ),
    _broken(
        {"volumes": [{"name": "a", "mountPath": "/a"}]}, "/volumes/0", _ONE_SOURCE, id="no-source"
    ),
    _broken(
        volume(configMap={"name": "x"}, secret={"secretName": "x"}),
        "/volumes/0",
        _ONE_SOURCE,
        id="two-sources",
    ),
    _broken(
        {"volumes": [{"name": "a", "mountPath": "/a", "hostPath": {"path": "/"}}]},
        "/volumes/0",
        _ONE_SOURCE,
        id="a-folder-of-the-node-is-no-source",
    ),
    *(
        _broken(
            volume(readOnly=False, **source), "/volumes/0/readOnly", _NO_WRITING, id=f"write-{id}"
        )
        for id, source in {  # noqa: A001
            "a-config-map": {"configMap": {"name": "x"}},
            "a-secret": {"secret": {"secretName": "x"}},
        }.items()
    ),
    *(
        _broken(volume(name=name), "/volumes/0/name", "LongTask's own", id=f"the-volume-{name}")
        for name in ("input", "token", "tmp", "shm")
    ),
    *(
        _broken(
            volume(mountPath=path), "/volumes/0/mountPath", "are taken", id=f"a-mount-at-{path}"
        )
        for path in (
            *("/tmp", "/tmp/data", "/longtask", "/longtask/input", "/longtask/token/x", "/dev"),
            *("/dev/shm", "/dev/termination-log", "/proc", "/sys/fs", "/run/secrets"),
            "/var/run/secrets/kubernetes.io/serviceaccount",
        )
    ),
    *(
        _broken(volume(mountPath=path), "/volumes/0/mountPath", "mountPath", id=f"a-mount-{why}")
        for path, why in NO_PATHS.items()
    ),
    _broken(
        {
            "volumes": [
                {"name": "a", "mountPath": "/data", "configMap": {"name": "x"}},
                {"name": "b", "mountPath": "/data", "emptyDir": {"sizeLimit": "1Gi"}},
            ]
        },
        "/volumes",
        "each volume needs a mountPath of its own",
        id="two-volumes-at-one-path",
    ),
]
