"""A page of a report opened in a Chromium, with all that goes wrong or out while it is open."""

from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Page, Route, expect

DRAW_MILLISECONDS = 30_000  # a busy machine needs seconds to read plotly


@dataclass
class Seen:
    """What went wrong or out while a page was open."""

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def opened(page: Page, path: Path) -> Seen:
    """Open a file with every request to anything else aborted and recorded."""
    seen = Seen()

    def abort(route: Route) -> None:
        seen.requests.append(route.request.url)
        route.abort()

    def on_route(route: Route) -> None:
        if route.request.url == path.as_uri():
            route.continue_()
        else:
            abort(route)

    page.route("**/*", on_route)
    page.on("console", lambda message: seen.complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.add_init_script(
        "addEventListener('securitypolicyviolation', (event) => console.error(`CSP: ${event.violatedDirective}`))"
    )
    page.goto(path.as_uri())
    return seen


def wait_for_charts(page: Page) -> None:
    expect(page.locator(".chart.drawn .main-svg").first).to_be_attached(timeout=DRAW_MILLISECONDS)
    expect(page.locator(".chart:not(.drawn)")).to_have_count(0, timeout=DRAW_MILLISECONDS)
