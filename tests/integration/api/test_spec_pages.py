"""The spec as a page: what there is, what a changed one would do, and just that being done."""

from __future__ import annotations

import html
import re

import pytest

from rollwave.spec_file import read_spec


def text_of(page: str) -> str:
    """The text of the editor, as a browser reads it: the first line break after the tag is none of it."""
    return html.unescape(re.search(r"<textarea[^>]*>\n?(.*?)</textarea>", page, re.DOTALL).group(1))


def agreed(page: str) -> str:
    return re.search(r'name="agreed" value="([^"]*)"', page).group(1)


def path(shop) -> str:
    return f"/fleet/spec?app={shop.name}"


def check(browser, shop, text: str, status: int = 200, **fields: str) -> str:
    return browser.submit(
        "/fleet/spec/changes", status, page=path(shop), text=text, do="check", app=shop.name, **fields
    )


def test_an_export_applied_again_changes_nothing(api, shop):
    """For one app and for all that there is; the text says what the document says."""
    for exported in (api.get("/spec", app=shop.name), api.get("/spec")):
        read = read_spec(exported["text"])
        assert read.problems == ()
        assert read.document == exported["spec"]
        done = api.post("/spec", {"spec": exported["spec"], "prune": True, "dry_run": True})
        assert {one["action"] for one in done} == {"unchanged"}
    assert shop.name in str(exported["spec"])
    assert api.get("/spec", 404, app="nothing-like-it")["error"]["code"] == "input.not_found"


def test_an_export_leaves_out_what_operators_switch_and_what_is_secret(api, shop):
    """A copy from yesterday brings no server back, and tells nobody how a chat is reached."""
    api.post(f"/servers/{shop.servers[0]}/offline", {"reason": "disk"})
    hook = {"channel": "webhook", "settings": {"url": "https://hooks.example/s3cr3t"}, "topics": ["braked"]}
    answer = api.http.put(f"/subscriptions/{shop.name}-hook", json={**hook, "apps": [shop.name]})
    assert answer.status_code == 200, answer.text

    text = api.get("/spec", app=shop.name)["text"]

    assert f"{shop.name}-hook" in text
    assert "offline" not in text
    assert "s3cr3t" not in text
    assert "whsec_" not in text


def test_somebody_sees_in_an_export_what_they_see_elsewhere(api, shop, make_shop, signed_in):
    """Other apps are not in it, but for their servers, which are everybody's; who may not manage has no button."""
    other = make_shop(1)
    browser = signed_in(f"viewer:{shop.name}")
    page = browser.get(path(shop))

    # The file: all that there is, of all tests, may be more than a page takes.
    for text in (text_of(page), browser.get("/fleet/spec.yaml")):
        assert f"name: {shop.name}\n" in text
        assert f"name: {other.name}\n" not in text
        assert f"app: {other.name}\n" not in text
    assert 'value="check"' not in page
    assert "readonly" in page


def test_what_is_checked_is_shown_and_then_done(api, shop, signed_in):
    browser = signed_in(f"admin:{shop.name}")
    text = text_of(browser.get(path(shop))).replace("/srv/{server}/{group}", "/opt/{server}/{group}")

    looked = check(browser, shop, text)

    assert "<del>/srv/{server}/{group}</del>" in looked
    assert "<ins>/opt/{server}/{group}</ins>" in looked
    assert api.get(f"/groups/{shop.name}")["deploy_path"] == "/srv/{server}/{group}"
    page = browser.submit(
        "/fleet/spec/changes", page=path(shop), text=text, do="apply", app=shop.name, agreed=agreed(looked)
    )
    assert "1 changed" in page
    assert text_of(page) == text
    assert api.get(f"/groups/{shop.name}")["deploy_path"] == "/opt/{server}/{group}"


def test_nothing_else_is_done_than_what_was_shown(api, shop, signed_in):
    """Neither after another edit of the text, nor after somebody else has changed the fleet."""
    browser = signed_in(f"admin:{shop.name}")
    text = text_of(browser.get(path(shop))).replace("/srv/{server}/{group}", "/opt/{server}/{group}")
    code = agreed(check(browser, shop, text))
    sent = {"page": path(shop), "do": "apply", "app": shop.name, "agreed": code}

    edited = browser.submit("/fleet/spec/changes", 422, text=text.replace("/opt/", "/var/"), **sent)
    assert "<ins>/var/{server}/{group}</ins>" in edited
    api.post("/spec", {"spec": {**shop.spec, "groups": [{**shop.spec["groups"][0], "keep_versions": 9}]}})
    moved = browser.submit("/fleet/spec/changes", 422, text=text, **sent)

    assert "<del>9</del>" in moved
    assert api.get(f"/groups/{shop.name}")["deploy_path"] == "/srv/{server}/{group}"
    browser.submit("/fleet/spec/changes", text=text, **{**sent, "agreed": agreed(moved)})
    assert api.get(f"/groups/{shop.name}")["deploy_path"] == "/opt/{server}/{group}"


def test_a_text_that_is_too_long_is_not_read_whatever_is_to_be_done_with_it(api, shop, signed_in):
    """Not even where it would do exactly what was agreed to: reading it is what takes long."""
    browser = signed_in(f"admin:{shop.name}")
    text = text_of(browser.get(path(shop))).replace("/srv/{server}/{group}", "/opt/{server}/{group}")
    code = agreed(check(browser, shop, text))
    long = text + f"# {'x' * 100}\n" * 6000
    sent = {"page": path(shop), "app": shop.name, "text": long}

    for wish in ({"do": "check"}, {"do": "apply", "agreed": code}, {"do": "apply", "agreed": "any"}):
        assert "the page takes" in browser.submit("/fleet/spec/changes", 422, **sent, **wish)

    assert api.get(f"/groups/{shop.name}")["deploy_path"] == "/srv/{server}/{group}"


def test_what_nests_too_deep_is_a_mistake_of_the_writer(shop, signed_in, api):
    """By page as by the API; neither is one of the server."""
    page = check(signed_in(f"admin:{shop.name}"), shop, f"apps:\n  {'[' * 2000}\n", 422)
    assert 'data-line="2"' in page
    for depth in (300, 900, 60_000):
        for text in (f'{{"spec": {{"apps": {"[" * depth}{"]" * depth}}}}}', f'{{"spec": {"[" * depth}{"]" * depth}}}'):
            answer = api.http.post("/spec", content=text, headers={"Content-Type": "application/json"})
            assert answer.status_code in {400, 422}, answer.text


def test_the_api_does_what_was_agreed_to_as_well(api, shop):
    spec = {**shop.spec, "groups": [{**shop.spec["groups"][0], "keep_versions": 9}]}
    code = api.http.post("/spec", json={"spec": spec, "dry_run": True}).headers["Rollwave-Changes"]

    other = {**spec, "groups": [{**spec["groups"][0], "keep_versions": 8}]}
    assert api.post("/spec", {"spec": other, "agreed": code}, 409)["error"]["code"] == "spec.moved"
    assert api.get(f"/groups/{shop.name}")["keep_versions"] == 5
    api.post("/spec", {"spec": spec, "agreed": code})
    assert api.get(f"/groups/{shop.name}")["keep_versions"] == 9


def test_a_mistake_is_told_with_its_line(shop, signed_in):
    """Of the YAML and of what it means; the text stays as it was typed."""
    browser = signed_in(f"admin:{shop.name}")
    text = text_of(browser.get(path(shop)))
    wrong = text.replace("port: 8080", "port: 80800")
    line = next(number for number, one in enumerate(wrong.splitlines(), 1) if "80800" in one)

    page = check(browser, shop, wrong, 422)

    assert f'data-line="{line}"' in page
    assert "expected a whole number from 1 to 65535" in html.unescape(page)
    assert text_of(page) == wrong
    assert 'value="apply"' not in page
    broken = check(browser, shop, "apps:\n  - name: shop\n   site: x\n", 422)
    assert 'data-line="3"' in broken
    assert "this is not YAML" in broken


def test_instances_go_by_a_tick_alone(api, shop, signed_in):
    browser = signed_in(f"admin:{shop.name}")
    text = text_of(browser.get(path(shop)))
    last = shop.servers[-1]
    less = text.replace(f", {last}]", "]").replace(f"      - {last}\n", "")
    assert less != text

    assert "kept, because removing instances needs prune" in check(browser, shop, less)
    looked = check(browser, shop, less, prune="on")
    sent = {"do": "apply", "prune": "on", "app": shop.name, "agreed": agreed(looked)}
    browser.submit("/fleet/spec/changes", page=path(shop), text=less, **sent)
    assert [one["server"] for one in api.get(f"/groups/{shop.name}")["instances"]] == shop.servers[:-1]


def test_who_may_not_manage_changes_nothing(api, shop, signed_in):
    """Neither who only looks, nor who manages another app."""
    text = api.get("/spec", app=shop.name)["text"].replace("/srv/{server}", "/opt/{server}")
    viewer = signed_in("viewer")
    page = viewer.get("/fleet/spec")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page).group(1)
    sent = {"csrfmiddlewaretoken": token, "text": text, "do": "check"}
    answer = viewer.http.post("/fleet/spec/changes", data=sent, headers={"Referer": str(viewer.http.base_url)})
    assert answer.status_code == 403
    neighbor = signed_in("viewer", "admin:another")
    refused = neighbor.submit("/fleet/spec/changes", 422, page="/fleet/spec", text=text, do="check")
    assert "manage" in refused
    assert 'value="apply"' not in refused


def test_the_file_is_the_text(shop, signed_in):
    browser = signed_in("viewer")
    answer = browser.http.get(f"/fleet/spec.yaml?app={shop.name}")
    assert answer.headers["Content-Type"].startswith("application/yaml")
    assert answer.text == text_of(browser.get(path(shop)))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("groups: [", "这不是 YAML"),
        ("groups:\n  - {name: a b, app: shop, deploy_path: /srv, start: [x], stop: []}", "应为：字母、数字和 . _ -"),
        ("group: []", "group 不是已知的键；是否想写 &#x27;groups&#x27;？"),
        ("servers:\n  - {name: s0, offline: maybe}", "servers[0].offline 为 &#x27;maybe&#x27;；应为：true 或 false"),
        ("subscriptions:\n  - {name: x, channel: slack, topics: [], settings: {}}", "没有指定主题"),
        ("subscriptions:\n  - {name: x, channel: slack, topics: [braked], settings: {}}", "缺少 url"),
        ("servers: {}", "servers 不是列表"),
        ("apps:\n  - {name: a}\n  - {name: a}", "这已是 apps[0] 的名称"),
        ("groups:\n  - {name: g, app: none-such, deploy_path: /srv, start: [x], stop: [x]}", "没有这样的应用"),
    ],
)
def test_a_mistake_is_told_in_the_language_of_the_page(shop, signed_in, text, wanted):
    """Whatever finds it: the reader of YAML, the form of a field, or what looks at the fleet."""
    browser = signed_in("admin")
    browser.http.headers["Accept-Language"] = "zh"

    assert wanted in check(browser, shop, text, 422)
