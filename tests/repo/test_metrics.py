"""docs/metrics.md says what the registries hold, and alerts and dashboard ask for nothing else."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import prometheus_client
import pytest
import yaml
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

import longtask_api.metrics
import longtask_operator.metrics

ROOT = Path(__file__).parents[2]
FILES = ROOT / "charts" / "longtask" / "files"
PAGE = (ROOT / "docs" / "metrics.md").read_text()
#: What is added to the name of a histogram.
SERIES = re.compile(r"_(bucket|count|sum)$")


class Metric(NamedTuple):
    name: str
    type: str
    labels: frozenset[str]


def of_the_api() -> CollectorRegistry:
    metrics, app = longtask_api.metrics.Metrics(), FastAPI()
    metrics.instrument(app)
    app.build_middleware_stack()
    return metrics.registry


def of_the_operator() -> CollectorRegistry:
    metrics = longtask_operator.metrics.Metrics()
    line = longtask_operator.metrics.Line("default", 1, 2, 3.5, False)
    metrics.watch_queues(lambda: [line])
    return metrics.registry


def held(registry: CollectorRegistry) -> set[Metric]:
    found = set()
    for family in registry.collect():
        if family.name.startswith(("process_", "python_")):
            continue
        collector: Any = registry._names_to_collectors.get(family.name)
        labels = getattr(collector, "_labelnames", None)
        if labels is None:
            labels = {name for sample in family.samples for name in sample.labels}
        name = family.name + ("_total" if family.type == "counter" else "")
        found.add(Metric(name, family.type, frozenset(labels)))
    return found


def told(heading: str) -> set[Metric]:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([\w, ]*)\|", section, re.MULTILINE)
    return {
        Metric(name, kind, frozenset(filter(None, labels.strip().split(", "))))
        for name, kind, labels in rows
    }


def asked(expression: str) -> set[str]:
    names = set(re.findall(r"\b(?:longtask|http|process)_[a-z_]+\b", expression))
    return {SERIES.sub("", name) for name in names - {"longtask_"}}


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FILES / "dashboard.json").read_text())["panels"]
    return found


@pytest.mark.parametrize(
    ("registry", "heading"),
    [
        pytest.param(of_the_operator, "The operator's", id="of-the-operator"),
        pytest.param(of_the_api, "The API's", id="of-the-api"),
    ],
)
def test_the_page_has_a_row_for_each_metric(registry: Any, heading: str) -> None:
    assert told(heading) == held(registry())


@pytest.mark.parametrize("registry", [of_the_operator, of_the_api])
def test_what_is_served_can_be_read(registry: Any) -> None:
    held = registry()
    text = prometheus_client.generate_latest(held).decode()
    read = {family.name for family in text_string_to_metric_families(text)}
    assert read == {family.name for family in held.collect()}
    assert "_created" not in text


def test_alerts_and_panels_ask_for_metrics_that_there_are() -> None:
    known = {one.name for one in held(of_the_operator()) | held(of_the_api())}
    expressions = [alert["expr"] for alert in alerts()]
    expressions += [target["expr"] for panel in panels() for target in panel["targets"]]
    assert len(panels()) >= 12
    for expression in expressions:
        names = asked(expression)
        assert names, expression
        assert names <= known, expression


def test_each_alert_has_a_place_that_says_what_to_do() -> None:
    headings = re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)
    assert headings == [alert["alert"] for alert in alerts()]


def test_panels_lie_beside_each_other() -> None:
    taken = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()]
    assert len(set(taken)) == len(taken)
    assert len({panel["id"] for panel in panels()}) == len(taken)
