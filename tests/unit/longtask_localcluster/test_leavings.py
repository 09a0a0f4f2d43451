"""What is said of a machine before a cluster and after it."""

import pytest

from longtask_localcluster import leavings


def a_machine(*files: str, links: tuple[str, ...] = ("lo",)) -> leavings.Found:
    return {"links": frozenset(links), "files": frozenset(files)}


def test_what_is_left_is_named_and_what_only_came_is_counted() -> None:
    before = a_machine("/run/lock")
    between = a_machine("/run/lock", "/run/docker", "/run/docker/x", links=("lo", "lk-kind"))
    after = a_machine("/run/docker")
    assert list(leavings.told(before, between, after)) == [
        "links: 1 came, 0 left",
        "files: 2 came, 1 left",
        "  /run/docker",
    ]


def test_a_setting_that_was_changed_is_left() -> None:
    before, after = a_machine("kernel/panic = 0"), a_machine("kernel/panic = 10")
    assert leavings.more(before, after)["files"] == {"kernel/panic = 10"}


@pytest.mark.parametrize(
    ("setting", "counts"),
    [
        pytest.param("kernel/panic", True, id="somebody-sets-it"),
        pytest.param("fs/file-nr", False, id="a-counter"),
        pytest.param("net/ipv4/conf/all/forwarding", True, id="of-all-links"),
        pytest.param("net/ipv4/conf/veth1/forwarding", False, id="of-one-link-with-which-it-goes"),
    ],
)
def test_which_settings_of_the_kernel_are_compared(setting: str, counts: bool) -> None:
    assert leavings.is_steady(setting) is counts
