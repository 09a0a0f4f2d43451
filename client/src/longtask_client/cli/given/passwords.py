"""Passwords that come in: asked for on a terminal, or from standard input; never as a word."""

import sys

from longtask_client.cli.given import inputs


def password(*, from_stdin: bool, again: bool = False, what: str = "Password") -> str:
    """Return a password; nothing of it is shown.

    Args:
        from_stdin: Read the first line of standard input.
        again: Ask twice, for one that is new.
        what: What is asked for.

    Raises:
        BadWord: There is none, or there is nobody to ask.
    """
    if from_stdin:
        found = sys.stdin.readline().rstrip("\r\n")
    elif not sys.stdin.isatty():
        raise inputs.BadWord("there is no terminal to ask for the password: --password-stdin")
    else:
        import getpass

        found = getpass.getpass(f"{what}: ")
        if again and getpass.getpass(f"{what}, again: ") != found:
            raise inputs.BadWord("the two passwords are not the same")
    if not found:
        raise inputs.BadWord("the password is empty")
    return found
