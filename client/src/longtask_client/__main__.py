"""`python -m longtask_client` is the command `longtask`."""

from longtask_client import cli

cli.main()
