"""The command as a whole: what stands before a command, which commands there are, how errors end.

What is slow to import comes with the command that needs it: `longtask --help` and completion are
quick.
"""

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from longtask_client.cli import completion, exit_codes, session
from longtask_client.cli.given import inputs
from longtask_client.cli.output import terminal

#: Each command's module and its line in the help, in the help's order. The line is the command's
#: docstring said again, so that the help need not load the command.
COMMANDS: Final = {
    "submit": ("submitting", "Hand over a task; print its id."),
    "wait": ("watching", "Wait for the end of tasks, in sight of their progress."),
    "get": ("tasks", "Look at a task."),
    "describe": (
        "tasks",
        "Tell all about a task, and why it stands so.",
    ),
    "why": (
        "tasks",
        "Tell why a task waits or failed, and what to do next.",
    ),
    "events": ("tasks", "Tell what happened to a task, in its order."),
    "list": ("tasks", "List tasks, live and archived, the newest first."),
    "top": ("watching", "Show what runs and what waits, and again when something has changed."),
    "logs": ("contents", "Print the log of a task; the end of it, if its pod is gone."),
    "result": ("contents", "Print what a finished task brought, as it is: JSON mostly."),
    "cancel": ("tasks", "Ask a task to end, or all that fit; their records stay."),
    "retry": ("submitting", "Make a new task of one that has ended; print its id."),
    "delete": ("tasks", "Remove a task and everything of it; one that runs is ended."),
    "priority": ("tasks", "Change the priority of a task that waits."),
    "callbacks": ("callbacks", "Show how a task's callback is delivered, and each try."),
    "redeliver": ("callbacks", "Have a callback delivered again, or all of a range of time."),
    "callback-test": ("callbacks", "Send a receiver a signed test; see what it answers."),
    "subscription": (
        "subscriptions",
        "Have receivers told what happens to tasks; see how that went.",
    ),
    "callback-key": ("account", "Print the key that signs your callbacks."),
    "notices": ("notices", "List what was told by mail, or is about to be, the newest first."),
    "mail": ("notices", "Say of what you want mails, and where."),
    "queue": ("queues", "See who runs and who waits; pause and resume a queue."),
    "schedule": ("schedules", "Start tasks by cron or interval; see what came of it."),
    "types": ("types", "List the types of tasks, or show one of them."),
    "open": ("tasks", "Print the link to the dashboard, or to a task's page, for a browser."),
    "login": (
        "account",
        "Log in, and use that context from now on.",
    ),
    "logout": ("account", "Log out of the context in use."),
    "whoami": ("account", "Tell who you are to LongTask, and what you may."),
    "register": ("account", "Make yourself an account, where the installation lets you."),
    "password": ("account", "Change your password; all your other sessions end."),
    "token": ("account", "Make, list and revoke tokens for programs."),
    "admin": ("admin", "Make users, and manage them; for admins."),
    "audit": ("audit", "Tell who did what, the newest first; for admins."),
    "config": (
        "contexts",
        "See and change where LongTask is, and who you are.",
    ),
}


class _Called(typer.Context):
    """What runs, by the name that it was called by.

    For kubectl's plugin that is two words. Shells complete one, so there it stays `longtask`: a
    script for both would take the place of kubectl's own.
    """

    @property
    def command_path(self) -> str:
        """Return what stands before the words of the command line, in helps and in usages."""
        is_plugin = Path(sys.argv[0]).stem == "kubectl-longtask"
        return "kubectl longtask" if is_plugin else super().command_path


class Commands(TyperGroup):
    """The commands, each loaded when it is called; every error is told here, and only here."""

    context_class = _Called

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, line) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=line))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Find the command that the words name, in its module."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, name and load(name), rest

    def invoke(self, ctx: Any) -> Any:
        """Run a command; end as the table of exit codes says."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except inputs.BadWord as error:
            _end(f"Error: {error}", exit_codes.ExitCode.USAGE)
        except KeyboardInterrupt:
            _end("Interrupted; tasks go on.", exit_codes.ExitCode.INTERRUPTED)
        except BrokenPipeError:
            # The reader has seen enough. Python would complain once more on its way out.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(exit_codes.ExitCode.OK) from None
        except Exception as error:
            from longtask_client import errors  # with the models, which are slow to import
            from longtask_client.cli import hints, outcomes

            if not isinstance(error, errors.LongTaskError):
                raise
            lines = [f"Error: {error}", *hints.of(error, session.of(ctx))]
            if isinstance(error, errors.ApiError):
                lines += outcomes.wrongs(error)
            _end("\n".join(lines), outcomes.of_error(error))


def load(name: str) -> Any:
    """Return the command of that name, from its module."""
    module = importlib.import_module(f"longtask_client.cli.commands.{COMMANDS[name][0]}")
    return typer.main.get_group(module.app).commands[name]


def _end(text: str, code: exit_codes.ExitCode) -> NoReturn:
    for line in text.splitlines():
        terminal.say(line)
    raise typer.Exit(code)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    # \b keeps the lines as they are.
    epilog="\b\nExit codes:\n"
    + "\n".join(f"  {code:<4} {meaning}" for code, meaning in exit_codes.MEANING.items()),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata  # slow to import, and only asked for here

        print(metadata.version("longtask-client"))
        raise typer.Exit


@app.callback()
def longtask(
    context: typer.Context,
    url: Annotated[
        str,
        typer.Option(help="Where LongTask is, in place of LONGTASK_URL.", show_default=False),
    ] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="A file with the token, in place of LONGTASK_TOKEN.")
    ] = None,
    context_name: Annotated[
        str,
        typer.Option(
            "--context",
            help="The context to use, in place of LONGTASK_CONTEXT.",
            show_default=False,
            autocompletion=completion.contexts,
        ),
    ] = "",
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="Ask Kubernetes itself, where there is no API; by this file."),
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="With Kubernetes itself: where the tasks are.")
    ] = "longtasks",
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Hand long-running tasks over to LongTask, and see what becomes of them.

    Data goes to standard output, everything else to standard error. Where LongTask is and who you
    are comes from the options, else from LONGTASK_URL and LONGTASK_TOKEN, else from the context in
    use: see `longtask login` and `longtask config`. A token never stands on the command line, where
    others see it.
    """
    context.obj = session.Session(
        connect=context.obj or session.connect,
        url=url,
        token_file=token_file,
        context=context_name,
        kubeconfig=kubeconfig,
        namespace=namespace,
    )
