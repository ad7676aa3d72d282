"""A browser as far as forms go, for tests that need no scripts."""

from __future__ import annotations

import re

import httpx

PASSWORD = "correct horse battery"


class Browser:
    """Follows forms as a browser does: what a page hides in a form goes back with it."""

    def __init__(self, endpoint: str) -> None:
        self.name = ""
        self.http = httpx.Client(base_url=endpoint, follow_redirects=True, timeout=60)

    def get(self, path: str, status: int = 200) -> str:
        answer = self.http.get(path)
        assert answer.status_code == status, answer.text
        return answer.text

    def submit(self, path: str, status: int = 200, *, page: str | None = None, **fields: str) -> str:
        """Fill in the form of *page* (by default at *path* itself), and send it to *path*."""
        shown = self.get(page or path)
        kept = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', shown))
        for name, options in re.findall(r'<select name="([^"]+)"(.*?)</select>', shown, re.DOTALL):
            chosen = re.search(r'value="([^"]*)" selected', options) or re.search(r'value="([^"]*)"', options)
            kept[name] = chosen.group(1)
        answer = self.http.post(path, data={**kept, **fields}, headers={"Referer": str(self.http.base_url)})
        assert answer.status_code == status, answer.text
        return answer.text

    def sign_in(self, name: str, password: str = PASSWORD, status: int = 200) -> str:
        return self.submit("/login", status, username=name, password=password)


def accept(browser: Browser, path: str) -> None:
    """Choose a password by an invitation."""
    entered = browser.http.get(path)
    token = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', entered.text)[-1]
    form = {"csrfmiddlewaretoken": token, "new_password1": PASSWORD, "new_password2": PASSWORD}
    answer = browser.http.post(entered.url, data=form, headers={"Referer": str(entered.url)})
    assert answer.url.path == "/", answer.text
