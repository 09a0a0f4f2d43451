"""Who asks, and who may: logins, tokens, users, invitations."""

from collections.abc import Sequence

from longtask_client import exchange, models
from longtask_client.calls import pages, words


def register(order: models.Registration) -> exchange.Call[models.UserView]:
    """Make oneself an account, where the installation lets one.

    Raises:
        Conflict: The name is taken.
        Unauthorized: Nobody may, or only with an invitation.
    """
    # Never again: a second answer of "taken" would say nothing.
    path, body = words.path("register"), order.to_json()
    return exchange.call("POST", path, models.UserView, body=body, patience=0)


def login(username: str, password: str) -> exchange.Call[models.LoggedIn]:
    """Return a token for a while; a client made with it is logged in.

    Raises:
        Unauthorized: Name or password are wrong.
        TooManyRequests: It was tried too often.
    """
    body = {"username": username, "password": password}
    return exchange.call("POST", words.path("login"), models.LoggedIn, body=body, patience=0)


def logout() -> exchange.Call[None]:
    """End the session whose token this client has."""
    return _done("POST", words.path("logout"))


def me() -> exchange.Call[models.Me]:
    """Return who asks, and what they may."""
    return exchange.call("GET", words.path("me"), models.Me)


def change_password(current: str, new: str) -> exchange.Call[None]:
    """Change one's own password; all other sessions end.

    Raises:
        Unauthorized: The current one is wrong.
        InvalidRequest: The new one is too short, or too long.
    """
    return _done("POST", words.path("me", "password"), {"current": current, "new": new})


def tokens() -> exchange.Call[list[models.TokenView]]:
    """Return one's tokens that are good, the newest first."""
    request = exchange.Request("GET", words.path("tokens"))
    return exchange.Call(request, lambda answer: exchange.parsed(answer, models.TokenList).items)


def create_token(
    name: str,
    *,
    scopes: Sequence[models.Scope] | None = None,
    expires_in_days: int | None = None,
) -> exchange.Call[models.NewToken]:
    """Make a token for a program of one's own; it is shown once.

    Args:
        name: What it is for.
        scopes: What it may; all that one may oneself when absent.
        expires_in_days: How long it is good; 90 days when absent.
    """
    order = models.TokenOrder(
        name=name, scopes=None if scopes is None else list(scopes), expires_in_days=expires_in_days
    )
    # Never again: each makes one more.
    path, body = words.path("tokens"), order.to_json()
    return exchange.call("POST", path, models.NewToken, body=body, patience=0)


def revoke_token(token_id: str) -> exchange.Call[None]:
    """Let a token of one's own be good no more.

    Raises:
        NotFound: One has no such token.
    """
    return _done("DELETE", words.path("tokens", token_id))


def users() -> exchange.Stream[models.UserView]:
    """Yield all users, by name. For admins."""
    return pages.each(words.path("users"), models.UserPage)


def user(username: str) -> exchange.Call[models.UserView]:
    """Return a user. For admins.

    Raises:
        NotFound: There is no such user.
    """
    return exchange.call("GET", words.path("users", username), models.UserView)


def create_user(order: models.UserOrder) -> exchange.Call[models.NewUser]:
    """Make a user, with a password that is shown once. For admins.

    Raises:
        Conflict: The name is taken.
    """
    body = order.to_json()
    return exchange.call("POST", words.path("users"), models.NewUser, body=body, patience=0)


def change_user(
    username: str, *, role: models.Role | None = None, disabled: bool | None = None
) -> exchange.Call[models.UserView]:
    """Give a user another role, or keep them out, or let them in again. For admins.

    Raises:
        NotFound: There is no such user.
    """
    change = models.UserChange(role=role, disabled=disabled)
    body = change.to_json()
    return exchange.call("PATCH", words.path("users", username), models.UserView, body=body)


def delete_user(username: str) -> exchange.Call[None]:
    """Remove a user with their tokens; their tasks stay. For admins.

    Raises:
        NotFound: There is no such user.
    """
    return _done("DELETE", words.path("users", username))


def reset_password(username: str) -> exchange.Call[str]:
    """Give a user a password that is made up, and return it; it is shown once. For admins.

    Raises:
        NotFound: There is no such user.
    """
    request = exchange.Request("POST", words.path("users", username, then=":reset-password"))
    return exchange.Call(
        request, lambda answer: exchange.parsed(answer, models.NewPassword).password, patience=0
    )


def invites() -> exchange.Call[list[models.InviteView]]:
    """Return the invitations that nobody has taken yet. For admins."""
    request = exchange.Request("GET", words.path("invites"))
    return exchange.Call(request, lambda answer: exchange.parsed(answer, models.InviteList).items)


def create_invite(
    order: models.InviteOrder | None = None,
) -> exchange.Call[models.NewInvite]:
    """Make an invitation, with which one may register once; it is shown once. For admins."""
    body = (order or models.InviteOrder()).to_json()
    return exchange.call("POST", words.path("invites"), models.NewInvite, body=body, patience=0)


def delete_invite(invite_id: str) -> exchange.Call[None]:
    """Take an invitation back. For admins.

    Raises:
        NotFound: There is no such invitation.
    """
    return _done("DELETE", words.path("invites", invite_id))


def _done(method: exchange.Method, path: str, body: object = None) -> exchange.Call[None]:
    """Return what is done once, and answered with nothing."""
    return exchange.Call(exchange.Request(method, path, body=body), lambda _: None, patience=0)
