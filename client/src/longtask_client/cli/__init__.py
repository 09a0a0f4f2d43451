"""The command `longtask`."""


def main() -> None:
    """Run the command with the words of the command line."""
    from longtask_client.cli import program

    program.app(prog_name="longtask")
