"""What pods ask for and report, at a port of their own: tasks, progress, how a program ends."""
