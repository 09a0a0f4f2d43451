"""The Pod Security standard `restricted`: a pure judge, for more pods than a server is asked about.

The controls are those that https://kubernetes.io/docs/concepts/security/pod-security-standards/
lists for Kubernetes 1.35.
`tests/integration/test_rendered_pods.py` holds it against the real admission.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from longtask_crds import names

Json = dict[str, Any]

_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
}
_SYSCTLS = {
    "kernel.shm_rmid_forced",
    *(
        f"net.ipv4.{name}"
        for name in (
            *("ip_local_port_range", "ip_unprivileged_port_start", "tcp_syncookies"),
            *("ping_group_range", "ip_local_reserved_ports", "tcp_keepalive_time"),
            *("tcp_fin_timeout", "tcp_keepalive_intvl", "tcp_keepalive_probes"),
            *("tcp_rmem", "tcp_wmem"),
        )
    ),
}
_SELINUX_TYPES = {
    *(None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"),
}
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


def violations(pod: Json) -> list[str]:
    """Return which controls a pod, or a pod's template, breaks; each names the field."""
    spec = pod["spec"]
    annotations = pod.get("metadata", {}).get("annotations", {})
    return [*_of_pod(spec), *_of_annotations(annotations), *_of_containers(spec)]


def _of_pod(spec: Json) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield field
    for volume in spec.get("volumes", ()):
        for kind in volume.keys() - {"name"} - _VOLUMES:
            yield f"volumes[{volume['name']}].{kind}"
    context = spec.get("securityContext", {})
    for sysctl in context.get("sysctls", ()):
        if sysctl["name"] not in _SYSCTLS:
            yield f"sysctls[{sysctl['name']}]"
    yield from _of_either(context)


def _of_annotations(annotations: Json) -> Iterator[str]:
    for name, value in annotations.items():
        if name.startswith(_APPARMOR) and not (
            value == "runtime/default" or value.startswith("localhost/")
        ):
            yield f"annotations[{name}]"


def _of_containers(spec: Json) -> Iterator[str]:
    of_pod = spec.get("securityContext", {})
    for part in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(part, ()):
            found = _of_container(container, of_pod)
            yield from (f"{part}[{container['name']}].{field}" for field in found)


def _of_container(container: Json, of_pod: Json) -> Iterator[str]:
    context = container.get("securityContext", {})
    yield from _of_either(context)
    if context.get("privileged"):
        yield "privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()):
        yield "capabilities.drop"
    if set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield "capabilities.add"
    if context.get("procMount") not in (None, "Default"):
        yield "procMount"
    # What a container does not say, its pod says for it.
    if context.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot"
    if "seccompProfile" not in context and "seccompProfile" not in of_pod:
        yield "seccompProfile"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield "hostPort"
    yield from _of_handlers(container)


def _of_either(context: Json) -> Iterator[str]:
    """Judge what a pod's and a container's security context have in common."""
    if context.get("runAsUser") == 0:
        yield "runAsUser"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield "hostProcess"
    for profile in ("seccompProfile", "appArmorProfile"):
        if context.get(profile, {}).get("type", "Localhost") not in ("RuntimeDefault", "Localhost"):
            yield profile
    selinux = context.get("seLinuxOptions", {})
    if selinux.get("type") not in _SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
        yield "seLinuxOptions"


def _of_handlers(container: Json) -> Iterator[str]:
    """Judge probes and hooks: they may not make the kubelet call another host."""
    handlers = {name: container.get(name, {}) for name in _PROBES} | container.get("lifecycle", {})
    for name, handler in handlers.items():
        if any(handler.get(way, {}).get("host") for way in ("httpGet", "tcpSocket")):
            yield f"{name}.host"


_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


# --- what the judge is judged by: the real admission is asked the same ---


def changed(pod: Json, change: Json) -> Json:
    """Return the pod with a part of its spec set; `container` is its first container's."""
    change = dict(change)
    of_container, annotations = change.pop("container", {}), change.pop("annotations", {})
    first, *others = pod["spec"]["containers"]
    spec = _merged(pod["spec"], change)
    spec["containers"] = [_merged(first, of_container), *others]
    return _merged(pod, {"metadata": {"annotations": annotations}}) | {"spec": spec}


def _merged(whole: Json, change: Json) -> Json:
    """Return the whole with a part changed: objects are merged, lists are made longer."""
    out = dict(whole)
    for key, value in change.items():
        before = out.get(key)
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict) and isinstance(before, dict):
            out[key] = _merged(before, value)
        elif isinstance(value, list) and isinstance(before, list) and key != "drop":
            out[key] = [*before, *value]
        else:
            out[key] = value
    return out


def _pod(told: str, **change: Any) -> Any:
    return pytest.param(change, told, id=told)


def _context(told: str, **change: Any) -> Any:
    return _container(told, securityContext=change)


def _container(told: str, **change: Any) -> Any:
    where = f"containers[{names.RUNNER_CONTAINER}].{told}"
    return pytest.param({"container": change}, where, id=where)


def _init(**change: Any) -> Json:
    """Return a container that runs first, restricted but for a change."""
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}} | change
    kept = {key: value for key, value in context.items() if value is not None}
    return {"name": "x", "image": "x", "securityContext": kept}


_GET = {"path": "/", "port": 80}
BREACHES = [
    _pod("hostNetwork", hostNetwork=True),
    _pod("hostPID", hostPID=True),
    _pod("hostIPC", hostIPC=True),
    _pod("volumes[x].hostPath", volumes=[{"name": "x", "hostPath": {"path": "/"}}]),
    _pod("volumes[x].nfs", volumes=[{"name": "x", "nfs": {"server": "x", "path": "/"}}]),
    _pod(
        "sysctls[kernel.msgmax]",
        securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]},
    ),
    _pod("seccompProfile", securityContext={"seccompProfile": {"type": "Unconfined"}}),
    _pod("seLinuxOptions", securityContext={"seLinuxOptions": {"type": "unconfined_t"}}),
    _pod("appArmorProfile", securityContext={"appArmorProfile": {"type": "Unconfined"}}),
    _pod(
        f"annotations[{_APPARMOR}{names.RUNNER_CONTAINER}]",
        annotations={f"{_APPARMOR}{names.RUNNER_CONTAINER}": "unconfined"},
    ),
    _pod("initContainers[x].capabilities.drop", initContainers=[_init(capabilities={})]),
    _pod(
        "initContainers[x].allowPrivilegeEscalation",
        initContainers=[_init(allowPrivilegeEscalation=None)],
    ),
    _container("seccompProfile", securityContext={"seccompProfile": {"type": "Unconfined"}}),
    _context("runAsUser", runAsUser=0),
    _context("runAsNonRoot", runAsNonRoot=False),
    _context("capabilities.drop", capabilities={"drop": ["NET_RAW"]}),
    _context("capabilities.add", capabilities={"add": ["CHOWN"]}),
    pytest.param(
        # In no other pod does the API server know the word.
        {"hostUsers": False, "container": {"securityContext": {"procMount": "Unmasked"}}},
        f"containers[{names.RUNNER_CONTAINER}].procMount",
        id="procMount",
    ),
    _context("seLinuxOptions", seLinuxOptions={"user": "system_u"}),
    _container("hostPort", ports=[{"containerPort": 1, "hostPort": 1}]),
    _container("livenessProbe.host", livenessProbe={"httpGet": {"host": "10.0.0.1"} | _GET}),
    _container("preStop.host", lifecycle={"preStop": {"httpGet": {"host": "10.0.0.1"} | _GET}}),
]
ALLOWED = [
    pytest.param({}, id="as-it-is"),
    pytest.param({"volumes": [{"name": "x", "emptyDir": {}}]}, id="an-empty-folder"),
    pytest.param(
        {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1 2 3"}]}},
        id="a-safe-sysctl",
    ),
    pytest.param({"securityContext": {"seLinuxOptions": {"level": "s0:c1"}}}, id="a-level"),
    pytest.param(
        {"container": {"securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}}}},
        id="low-ports",
    ),
    pytest.param({"container": {"livenessProbe": {"httpGet": _GET}}}, id="a-probe"),
    pytest.param({"initContainers": [_init()]}, id="a-container-before"),
]
