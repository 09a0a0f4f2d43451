"""What kind and its engine are told, and what is read of their answers."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from longtask_localcluster import engine, errors, kernel, kind, kind_config, network, node_image
from longtask_localcluster.settings import Settings

SETTINGS = Settings(repository=Path("/src/clone"), cache=Path("/c"), port=8090, nodes=3)


def config(*, is_made_here: bool) -> dict[str, Any]:
    rendered = kind_config.render(SETTINGS, image="node:1", is_made_here=is_made_here)
    whole: dict[str, Any] = yaml.safe_load(rendered)
    return whole


def patch(whole: dict[str, Any], kind_of: str) -> dict[str, Any]:
    patches = [json.loads(text) for text in whole["kubeadmConfigPatches"]]
    (found,) = (one for one in patches if one["kind"] == kind_of)
    return dict(found)


def test_one_node_leads_in_and_the_others_work() -> None:
    first, *workers = config(is_made_here=True)["nodes"]
    (port,) = first["extraPortMappings"]
    assert port == {"containerPort": 30080, "hostPort": 8090, "listenAddress": "127.0.0.1"}
    assert [worker["role"] for worker in workers] == ["worker", "worker"]


def test_the_audit_log_is_a_file_of_this_machine() -> None:
    whole = config(is_made_here=True)
    mounts = {m["containerPath"]: m["hostPath"] for m in whole["nodes"][0]["extraMounts"]}
    path = patch(whole, "ClusterConfiguration")["apiServer"]["extraArgs"]["audit-log-path"]
    assert mounts[str(Path(path).parent)] == "/src/clone/.localcluster/audit"


def test_each_node_has_the_folder_of_volumes_under_its_own_path() -> None:
    volumes = "/src/clone/.localcluster/volumes"
    for node in config(is_made_here=True)["nodes"]:
        assert {"hostPath": volumes, "containerPath": volumes} in node["extraMounts"]


def test_a_node_that_is_made_here_has_images_and_a_network_of_ours() -> None:
    whole = config(is_made_here=True)
    cluster = patch(whole, "ClusterConfiguration")
    assert whole["networking"]["disableDefaultCNI"]
    assert cluster["imageRepository"] == node_image.REPOSITORY
    assert cluster["etcd"]["local"]["imageTag"] == node_image.ETCD


def test_a_registrys_node_is_left_as_it_is() -> None:
    whole = config(is_made_here=False)
    cluster = patch(whole, "ClusterConfiguration")
    assert "disableDefaultCNI" not in whole["networking"]
    assert "imageRepository" not in cluster
    assert "imageTag" not in cluster["etcd"]["local"]


@pytest.mark.parametrize(
    ("bounding", "has"),
    [
        pytest.param("000001ffffffffff", True, id="all"),
        pytest.param("000001fffeffffff", False, id="all-but-that-one"),
    ],
)
def test_runc_is_wrapped_only_where_root_lacks_a_capability(bounding: str, has: bool) -> None:
    status = f"Name:\tx\nCapBnd:\t{bounding}\nSeccomp:\t0\n"
    assert engine.has_capability(status, engine.CAP_SYS_RESOURCE) is has
    words = engine.command(Path("/e"), status)
    assert ("--add-runtime=ours=/e/runc" in words) is not has


def test_our_engine_keeps_to_its_own_folders_and_makes_no_rule_for_packets() -> None:
    words = [str(word) for word in engine.command(Path("/e"), "CapBnd:\tff\n")]
    assert {"--iptables=false", "--bridge=none", f"--cgroup-parent=/{engine.GROUP}"} <= set(words)
    paths = [word for word in words if word.startswith(("--data", "--exec", "--pid", "--host"))]
    assert all("/e/" in path for path in paths)
    assert len(paths) == 4


def test_two_clusters_share_no_address() -> None:
    assert not {engine.RANGE, kind_config.PODS} & {network.RANGE}
    assert engine.GATEWAY.rpartition(".")[0] == engine.RANGE.rpartition(".")[0]


def test_of_two_gateways_the_one_of_ipv4_counts() -> None:
    configs = [{"Subnet": "fc00::/64", "Gateway": "fc00::1"}, {"Gateway": "172.18.0.1"}]
    assert kind.gateway(json.dumps([{"IPAM": {"Config": configs}}])) == "172.18.0.1"


def test_containers_of_a_node_begin_as_kind_wants() -> None:
    spec = {"process": {"cwd": "/", "rlimits": [{"type": "RLIMIT_NOFILE"}]}, "root": {}}
    made = node_image.container_spec(spec)
    assert made["process"] == {"cwd": "/"}
    assert made["hooks"] == {"createContainer": [{"path": "/kind/bin/mount-product-files.sh"}]}


def test_a_nodes_runtime_knows_our_pause() -> None:
    given = '  sandbox_image = "registry.k8s.io/pause:3.10"\n  restrict_oom_score_adj = false\n'
    made = node_image.runtime_config(given)
    assert f'sandbox_image = "{node_image.REPOSITORY}/pause:{node_image.PAUSE}"' in made
    assert "restrict_oom_score_adj = true" in made


def test_a_program_comes_with_what_it_is_linked_with() -> None:
    said = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\t/lib64/ld.so.2 (0x3)\n"
    assert node_image.libraries(said) == ["/lib/libc.so.6", "/lib64/ld.so.2"]


@pytest.fixture
def sysctls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of a kernel, in files."""
    root = tmp_path / "sys"
    for name in kernel.SYSCTLS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("0\n")
    monkeypatch.setattr(network, "SYSCTL_ROOT", root)
    return root


def test_the_last_cluster_puts_the_kernel_back(
    sysctls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one-node cluster comes second and stays longer, so it must learn how it was before."""
    ours, other = tmp_path / "kind", tmp_path / "one"
    ours.mkdir()
    other.mkdir()
    monkeypatch.setattr(network, "owner", lambda: None)
    kernel.borrow(ours)
    (sysctls / "kernel/panic").write_text("10\n")
    (sysctls / "fs/file-max").write_text("9\n")
    monkeypatch.setattr(network, "owner", lambda: other)
    (other / kernel.FILE).write_text(json.dumps({"kernel/panic": "10\n"}))
    kernel.give_back(ours)
    assert (sysctls / "kernel/panic").read_text() == "10\n"
    assert (sysctls / "fs/file-max").read_text() == "0\n"
    assert json.loads((other / kernel.FILE).read_text())["kernel/panic"] == "0\n"


def test_who_comes_second_and_goes_last_puts_back_what_was_before_both(
    sysctls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = tmp_path / "kind", tmp_path / "one"
    ours.mkdir()
    other.mkdir()
    (other / kernel.FILE).write_text(json.dumps({"net/ipv4/ip_forward": "0\n"}))
    (sysctls / "net/ipv4/ip_forward").write_text("1\n")
    monkeypatch.setattr(network, "owner", lambda: other)
    kernel.borrow(ours)
    monkeypatch.setattr(network, "owner", lambda: None)
    kernel.give_back(ours)
    assert (sysctls / "net/ipv4/ip_forward").read_text() == "0\n"


def test_a_start_that_finds_its_port_taken_leaves_nothing_to_take_down(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(repository=tmp_path, cache=tmp_path, port=taken.getsockname()[1])
        with pytest.raises(errors.MachineTaken, match="another one with PORT="):
            kind.Kind(settings).start()
    assert not settings.state.exists()
