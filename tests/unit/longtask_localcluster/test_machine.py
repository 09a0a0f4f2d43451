"""Reading what the machine says about itself, and what is configured from it."""

from pathlib import Path
from typing import Any

import pytest

from longtask_localcluster import binaries, certificates, cgroups, leftovers, network

MOUNTINFO = r"""
24 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 24 0:27 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
32 24 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
40 24 0:40 / /src/clone/.localcluster/kubelet/pods/1 rw - tmpfs tmpfs rw
41 40 0:41 / /src/clone/.localcluster/kubelet/pods/1/a\040b rw - tmpfs tmpfs rw
42 24 0:42 / /src/clone/.localcluster2/x rw - tmpfs tmpfs rw
""".strip()


@pytest.mark.parametrize(
    ("mountinfo", "found"),
    [
        pytest.param(MOUNTINFO, "/sys/fs/cgroup/cpu", id="version-1-goes-before-2"),
        pytest.param(
            "25 1 0:5 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
            "/sys/fs/cgroup",
            id="version-2-alone",
        ),
    ],
)
def test_the_cgroup_hierarchy_that_limits_pods(mountinfo: str, found: str) -> None:
    assert cgroups.limiting(cgroups.mounts(mountinfo)) == [Path(found)]


def test_inner_mounts_come_first_and_neighbours_do_not_count() -> None:
    found = leftovers.mount_points(MOUNTINFO, below=Path("/src/clone/.localcluster"))
    assert found == [
        "/src/clone/.localcluster/kubelet/pods/1/a b",
        "/src/clone/.localcluster/kubelet/pods/1",
    ]


def test_only_links_of_pods_have_the_pods_gateway() -> None:
    addresses: list[dict[str, Any]] = [
        {"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}]},
        {"ifname": "veth1", "addr_info": [{"local": network.POD_GATEWAY}]},
        {"ifname": "eth0", "addr_info": []},
    ]
    assert network.pod_links(addresses) == ["veth1"]


@pytest.mark.parametrize(
    ("version", "release"),
    [
        pytest.param("go version go1.26.8 linux/amd64", (1, 26), id="a-release"),
        pytest.param("go version devel +abc", (0, 0), id="unknown"),
    ],
)
def test_go_release(version: str, release: tuple[int, int]) -> None:
    assert binaries.go_release(version) == release


def test_programs_are_told_the_versions_of_go_mod() -> None:
    go_mod = "require (\n\thelm.sh/helm/v4 v4.1.4\n\tk8s.io/kubernetes v1.35.4 // indirect\n)"
    flags = binaries.link_flags(go_mod)
    assert "-X k8s.io/component-base/version.gitVersion=v1.35.4" in flags
    assert "-X k8s.io/component-base/version.gitMinor=35" in flags
    assert "-X helm.sh/helm/v4/internal/version.version=v4.1.4" in flags


def test_a_serving_certificate_names_its_hosts() -> None:
    identity = certificates.Identity("x", name="x", group="g", hosts=("10.0.0.1", "node"))
    assert identity.subject == "/O=g/CN=x"
    assert identity.extensions[-1] == "subjectAltName=IP:10.0.0.1,DNS:node"
