"""What a browser says of a page: how soon it is there, what it weighs, and what moves in it."""

from typing import Any

from playwright.async_api import Page

#: Others use the machine, too: the best of so many tries says what the page itself takes.
TRIES = 10
FIRST_PAINT_MS = 1_000
WEIGHT = 200_000
SHIFT = 0.02
#: Of the sessions of shifts (a second apart at most, five in all) the worst counts.
OBSERVE = """
window.fresh = 0;
window.shifts = [];
document.addEventListener('fresh', () => { window.fresh += 1; });
new PerformanceObserver(list => {
    for (const one of list.getEntries()) {
        if (one.hadRecentInput) continue;
        const of = one.sources.map(source => source.node?.id || source.node?.className
            || source.node?.nodeName);
        window.shifts.push({ value: one.value, at: one.startTime, of });
    }
}).observe({ type: 'layout-shift', buffered: true });
"""


async def paint(page: Page) -> float:
    """Return when something was seen first, in ms from the beginning of the visit."""
    found: float = await page.evaluate(
        """new Promise(resolve => new PerformanceObserver(list => {
            const first = list.getEntriesByName('first-contentful-paint')[0];
            if (first) resolve(first.startTime);
        }).observe({ type: 'paint', buffered: true }))"""
    )
    return found


async def weight(page: Page) -> int:
    """Return how many bytes came for the page and its files: not what it was told later."""
    found: int = await page.evaluate(
        """['navigation', 'resource'].flatMap(type => performance.getEntriesByType(type))
        .filter(one => !['fetch', 'eventsource', 'other'].includes(one.initiatorType))
        .reduce((sum, one) => sum + one.transferSize, 0)"""
    )
    return found


def worst(shifts: list[dict[str, Any]]) -> float:
    """Return the shift of the worst session, as browsers count it."""
    most = total = 0.0
    began = last = float("-inf")
    for one in shifts:
        if one["at"] - last > 1_000 or one["at"] - began > 5_000:
            began, total = one["at"], 0.0
        last, total = one["at"], total + one["value"]
        most = max(most, total)
    return most


async def freshened(page: Page, *, since: int) -> None:
    """Return once the page was made fresh more often than so."""
    # Not by `wait_for_function`, which would need eval.
    await page.evaluate(
        """since => new Promise(done => {
            const look = () => (window.fresh > since ? done() : setTimeout(look, 20));
            look();
        })""",
        since,
    )
