"""What the operator counts. No label holds a task's name: there are too many."""

from prometheus_client import Counter, Gauge

STEPS = Counter("longtask_operator_steps_total", "Decisions carried out", ["decision"])
FINISHED = Counter("longtask_tasks_finished_total", "Tasks that reached their end", ["phase"])
CONFLICTS = Counter("longtask_operator_conflicts_total", "Writes that somebody forestalled")
CALLBACK_TRIES = Counter("longtask_callback_tries_total", "Callbacks sent", ["outcome"])
RESYNCS = Counter("longtask_operator_resyncs_total", "Complete listings", ["outcome"])
TASKS = Gauge("longtask_operator_tasks", "Tasks in the operator's picture")
WORKING = Gauge("longtask_operator_keys_in_work", "Tasks that are being worked on")
