"""Metrics and alerts, as Prometheus' own tool judges them, and what the chart makes of them."""

import json
import subprocess
from pathlib import Path

import prometheus_client
import pytest
import yaml
from fastapi import FastAPI
from prometheus_client.registry import CollectorRegistry

import longtask_api.metrics
import longtask_operator.metrics
from chart_support import CHART, helm, one, render

#: Five hours of a queue that waits and is paused in the end, and of no operator at all.
COURSE = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: longtask_operator_is_admitting{{namespace="elsewhere"}}
        values: 1x300
      - series: longtask_api_cache_objects{{namespace="mine", kind="longtasks"}}
        values: 1x300
      - series: longtask_queue_oldest_wait_seconds{{namespace="mine", queue="a"}}
        values: 0+60x300
      - series: longtask_queue_is_paused{{namespace="mine", queue="a"}}
        values: 0x199 1x100
      - series: longtask_callbacks_exhausted_total{{namespace="mine", reason="Gone"}}
        values: 0x120 1x180
    alert_rule_test:
      - {{eval_time: 4m, alertname: LongTaskOperatorAway, exp_alerts: []}}
      - eval_time: 6m
        alertname: LongTaskOperatorAway
        exp_alerts:
          - exp_labels: {{severity: critical}}
            exp_annotations:
              summary: No operator lets tasks start
              runbook_url: https://example.com/page#longtaskoperatoraway
      - {{eval_time: 1h, alertname: LongTaskQueueWaits, exp_alerts: []}}
      - eval_time: 2h
        alertname: LongTaskQueueWaits
        exp_alerts:
          - exp_labels: {{severity: warning, namespace: mine, queue: a}}
            exp_annotations:
              summary: Somebody has waited in the queue a for 2h 0m 0s
              runbook_url: https://example.com/page#longtaskqueuewaits
      - {{eval_time: 4h, alertname: LongTaskQueueWaits, exp_alerts: []}}
      - {{eval_time: 2h, alertname: LongTaskCallbacksExhausted, exp_alerts: []}}
      - eval_time: 2h30m
        alertname: LongTaskCallbacksExhausted
        exp_alerts:
          - exp_labels: {{severity: warning, namespace: mine, reason: Gone}}
            exp_annotations:
              summary: Callbacks were given up (Gone)
              runbook_url: https://example.com/page#longtaskcallbacksexhausted
      - {{eval_time: 4h, alertname: LongTaskApiAway, exp_alerts: []}}
"""


def promtool(*words: str | Path, stdin: bytes = b"") -> None:
    out = subprocess.run(["promtool", *words], input=stdin, capture_output=True, check=False)
    assert out.returncode == 0, (out.stdout + out.stderr).decode()


def of_the_api() -> CollectorRegistry:
    metrics, app = longtask_api.metrics.Metrics(), FastAPI()
    metrics.instrument(app)
    app.build_middleware_stack()
    return metrics.registry


def of_the_operator() -> CollectorRegistry:
    metrics = longtask_operator.metrics.Metrics()
    metrics.watch_queues(lambda: [longtask_operator.metrics.Line("default", 1, 2, 3.5, False)])
    return metrics.registry


@pytest.mark.parametrize("registry", [of_the_api(), of_the_operator()], ids=["api", "operator"])
def test_metrics_keep_to_prometheus_conventions(registry: CollectorRegistry) -> None:
    promtool("check", "metrics", stdin=prometheus_client.generate_latest(registry))


def test_alerts_come_and_go(tmp_path: Path) -> None:
    page = "metrics.prometheusRule.runbook=https://example.com/page"
    flags = ("--set", f"metrics.prometheusRule.enabled=true,{page}")
    # For another namespace than the file's own.
    out = helm("template", "longtask", str(CHART), "-n", "mine", *flags)
    rule = one([*filter(None, yaml.safe_load_all(out.stdout))], "PrometheusRule", "longtask")
    rules, course = tmp_path / "rules.yaml", tmp_path / "course.yaml"
    rules.write_text(yaml.safe_dump(rule["spec"]))
    course.write_text(COURSE.format(rules=rules))
    promtool("check", "rules", rules)
    promtool("test", "rules", course)


def test_the_dashboard_is_brought_whole() -> None:
    objects = render("metrics.grafanaDashboard.enabled=true")
    made = one(objects, "ConfigMap", "longtask-dashboard")
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    whole = json.loads((CHART / "files" / "dashboard.json").read_text())
    assert json.loads(made["data"]["longtask.json"]) == whole


def test_neither_comes_unasked() -> None:
    kinds = {made["kind"] for made in render()}
    assert kinds.isdisjoint({"PrometheusRule", "ServiceMonitor", "ConfigMap"})
