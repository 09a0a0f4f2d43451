"""The tasks that come with the runner."""
