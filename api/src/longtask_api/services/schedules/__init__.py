"""Schedules, as callers know them, and the tasks that they have started."""
