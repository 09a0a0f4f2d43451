"""Schedules: when their runs are due, which of those is started now, and what a run is made of.

Pure, and the same for the API, which shows and refuses, and for the operator, which does the rest.
`times`: the times that a schedule names. `due`: which of them is decided on now. `runs`: the task
of one of them. `checks`: what keeps a schedule from ever starting one.
"""
