import json
import tomllib
from pathlib import Path

import pytest
import yaml

from longtask_localcluster import configuration, network
from longtask_localcluster.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def files() -> dict[str, str]:
    settings = Settings(repository=REPOSITORY, cache=Path("/cache"))
    return configuration.render(settings, resolver=Path("/etc/resolv.conf"))


def test_every_file_is_written_in_its_language(files: dict[str, str]) -> None:
    json.loads(files["cni/10-longtask.conflist"])
    tomllib.loads(files["containerd.toml"])
    for name in ("kubelet.yaml", "kube-proxy.yaml", "audit-policy.yaml"):
        assert yaml.safe_load(files[name])["kind"]


def test_pods_get_addresses_of_the_clusters_range(files: dict[str, str]) -> None:
    (plugin,) = json.loads(files["cni/10-longtask.conflist"])["plugins"]
    assert plugin["ipam"]["ranges"] == [[{"subnet": network.PODS, "gateway": network.POD_GATEWAY}]]


def test_pods_ask_the_resolver_at_the_nodes_address(files: dict[str, str]) -> None:
    assert yaml.safe_load(files["kubelet.yaml"])["clusterDNS"] == [network.NODE]
    assert f"bind {network.NODE}" in files["Corefile"]


def test_pods_stay_in_the_group_that_is_cleared(files: dict[str, str]) -> None:
    assert yaml.safe_load(files["kubelet.yaml"])["cgroupRoot"] == "/longtask-local"
