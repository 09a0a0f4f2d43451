"""People who use the installed product's dashboard, each with a browser of their own."""

import dataclasses
import uuid
from typing import Any

import httpx
from playwright.async_api import Page

from browser_support import Visits
from e2e_support import Product, logged_in


@dataclasses.dataclass
class Person:
    """Somebody with an account, who is logged in."""

    name: str
    password: str
    rest: httpx.Client
    visits: Visits

    async def page(self, path: str = "", *, url: str = "", **more: Any) -> Page:
        """Return a page that they have open, in a browser of its own.

        Args:
            path: Which one.
            url: Where LongTask is reached, if not as usual.
            more: What the browser is like.
        """
        page = await self.visits.newcomer(**more)
        token = self.rest.headers["Authorization"].removeprefix("Bearer ")
        url = url or self.visits.url
        await page.context.add_cookies([{"name": "longtask", "value": token, "url": url}])
        await page.goto(f"{url}/{path}")
        return page


@dataclasses.dataclass
class People:
    """Makes accounts, and takes them away with all that is theirs."""

    product: Product
    root: httpx.Client  #: of the installation's own token
    visits: Visits
    made: list[Person] = dataclasses.field(default_factory=list)

    def user(self) -> Person:
        """Return somebody with an account."""
        return self._made_as("user")

    def admin(self) -> Person:
        """Return somebody who may do all of it."""
        return self._made_as("admin")

    def _made_as(self, role: str) -> Person:
        # Not by registering: of that, and of logging in, one address may do only so much a minute.
        name = f"e2e-{uuid.uuid4().hex[:10]}"
        order = {"username": name, "email": f"{name}@example.com", "role": role}
        made = self.root.post("/api/v1/users", json=order)
        assert made.status_code == 201, made.text
        password = made.json()["password"]
        rest = logged_in(self.product, name, password)
        self.made.append(Person(name, password, rest, self.visits))
        return self.made[-1]

    def leave(self) -> None:
        """Delete what they have made, and them."""
        for person in self.made:
            for kind in ("schedules", "tasks"):
                query = {"owner": person.name, "limit": 500}
                for one in self.root.get(f"/api/v1/{kind}", params=query).json()["items"]:
                    self.root.delete(f"/api/v1/{kind}/{one.get('id') or one['name']}")
            for one in self.root.get("/api/v1/subscriptions").json()["items"]:
                if one["owner"] == person.name:
                    self.root.delete(f"/api/v1/subscriptions/{one['id']}")
            person.rest.close()
            assert self.root.delete(f"/api/v1/users/{person.name}").status_code in (204, 404)
