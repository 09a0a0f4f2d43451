"""What kind is told: nodes, mounts, and how Kubernetes is to be set up in them."""

import json
from pathlib import Path
from typing import Any

from longtask_localcluster import network, node_image
from longtask_localcluster.settings import Settings

NAME = "longtask"
PODS = "10.244.0.0/16"
NODE_PORT = 30080
#: In the node.
AUDIT_POLICY = "/etc/kubernetes/audit-policy.yaml"
AUDIT_FOLDER = "/var/log/kubernetes"


def audit_folder(settings: Settings) -> Path:
    """Return the folder of this machine that the API server's audit log comes to."""
    return settings.state / "audit"


def render(settings: Settings, *, image: str, is_made_here: bool) -> str:
    """Return kind's configuration file; as JSON, which is YAML too."""
    networking: dict[str, Any] = {"podSubnet": PODS}
    if is_made_here:
        networking |= {"disableDefaultCNI": True, "kubeProxyMode": "nftables"}
    volumes = {"hostPath": str(settings.volumes), "containerPath": str(settings.volumes)}
    doors, mounts = _doors(settings), [*_audit(settings), volumes]
    first = {"role": "control-plane", "image": image, **doors, "extraMounts": mounts}
    worker = {"role": "worker", "image": image, "extraMounts": [volumes]}
    patches = [_cluster(is_made_here=is_made_here), KUBELET, KUBE_PROXY]
    return json.dumps(
        {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "name": NAME,
            "networking": networking,
            "nodes": [first, *[worker] * (settings.nodes - 1)],
            "kubeadmConfigPatches": [json.dumps(patch) for patch in patches],
        },
        indent=2,
    )


def _doors(settings: Settings) -> dict[str, Any]:
    """Return what leads from this machine into the first node."""
    port = {
        "containerPort": NODE_PORT,
        "hostPort": settings.port,
        "listenAddress": network.LOOPBACK,
    }
    return {"extraPortMappings": [port]}


def _audit(settings: Settings) -> list[dict[str, Any]]:
    """Return the mounts by which the API server's audit log comes to this machine."""
    policy = {
        "hostPath": str(settings.templates / "audit-policy.yaml"),
        "containerPath": AUDIT_POLICY,
        "readOnly": True,
    }
    log = {"hostPath": str(audit_folder(settings)), "containerPath": AUDIT_FOLDER}
    return [policy, log]


def _cluster(*, is_made_here: bool) -> dict[str, Any]:
    """Return the control plane's part: an audit log, no wait for disks, and quick controllers."""
    policy = {
        "name": "audit-policy",
        "hostPath": AUDIT_POLICY,
        "mountPath": AUDIT_POLICY,
        "readOnly": True,
        "pathType": "File",
    }
    log = {
        "name": "audit-log",
        "hostPath": AUDIT_FOLDER,
        "mountPath": AUDIT_FOLDER,
        "pathType": "DirectoryOrCreate",
    }
    audit = {
        "audit-policy-file": AUDIT_POLICY,
        "audit-log-path": f"{AUDIT_FOLDER}/audit.log",
        # One file, so that a test may count from a place in it.
        "audit-log-maxsize": "10000",
    }
    etcd: dict[str, Any] = {"extraArgs": {"unsafe-no-fsync": "true"}}
    quick = {"kube-api-qps": "200", "kube-api-burst": "400"}
    whole: dict[str, Any] = {
        "kind": "ClusterConfiguration",
        "apiServer": {"extraArgs": audit, "extraVolumes": [policy, log]},
        "controllerManager": {"extraArgs": {**quick, "concurrent-job-syncs": "20"}},
        "scheduler": {"extraArgs": quick},
        "etcd": {"local": etcd},
    }
    if is_made_here:
        whole |= {
            "imageRepository": node_image.REPOSITORY,
            "dns": {"imageTag": node_image.COREDNS},
        }
        etcd["imageTag"] = node_image.ETCD
    return whole


KUBELET: dict[str, Any] = {
    "kind": "KubeletConfiguration",
    "failCgroupV1": False,
    # Where root lacks CAP_SYS_RESOURCE, lowering a score is refused.
    "oomScoreAdj": 0,
    "maxPods": 250,
    "serializeImagePulls": False,
    "kubeAPIQPS": 200,
    "kubeAPIBurst": 400,
    # A crash loop is tried again at once: a test does not wait five minutes.
    "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
    "featureGates": {"KubeletCrashLoopBackOffMax": True},
}
KUBE_PROXY: dict[str, Any] = {"kind": "KubeProxyConfiguration", "oomScoreAdj": 0}
