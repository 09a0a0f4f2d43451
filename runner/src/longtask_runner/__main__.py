"""`python -m longtask_runner`: run the task that the environment names."""

from longtask_runner.main import main

main()
