const SCROLLED = ".table-wrap, .log";

/**
 * Keep parts that renew themselves (the tag `live`, polled by htmx) from disturbing whoever uses them.
 *
 * Nothing is asked for while the page is hidden, and nothing is put in place of what somebody has in hand: a dialog, a
 * menu, a field that was changed, marked text. What is as it was stays as it is, so that nobody is read the same twice.
 * The focus stays where it was. The word "Live" says whether the server answers.
 *
 * @param {Document} page
 */
export function keepLive(page) {
    /** @type {Map<string, string>} what each part was last, as the server wrote it */
    const shown = new Map();
    let isMissing = false;

    page.addEventListener("htmx:beforeRequest", (event) => {
        if (isLive(event.target) && (page.hidden || isUsed(event.target))) {
            event.preventDefault();
        }
    });

    page.addEventListener("htmx:beforeSwap", (event) => {
        const { detail } = /** @type {CustomEvent} */ (event);
        const asked = detail.requestConfig?.elt;
        const fresh = new DOMParser().parseFromString(detail.serverResponse ?? "", "text/html");

        for (const part of page.querySelectorAll("[data-live][hx-get]")) {
            const text = written(fresh, part);

            if (part === asked && (text === null || text === shown.get(part.id) || isUsed(part))) {
                detail.shouldSwap = false;

                // The login, or the page of an error: nothing to put in its place.
                isMissing = text === null;
            } else if (text !== null) {
                shown.set(part.id, text);

                if (part === asked) {
                    reached(part).forEach((id) => keepPlace(page, id));
                }
            }
        }
    });

    page.addEventListener("htmx:afterOnLoad", () => {
        say(page, isMissing ? "off" : "on");
        isMissing = false;
    });

    for (const name of ["sendError", "responseError", "timeout"]) {
        page.addEventListener(`htmx:${name}`, () => say(page, "off"));
    }
}

/**
 * Say it wherever the page says nothing of its own: a release's sign is about its stream.
 *
 * @param {Document} page
 * @param {string} state
 */
function say(page, state) {
    for (const sign of page.querySelectorAll(".live:not(#live)")) {
        sign.setAttribute("data-state", state);
    }
}

/**
 * @param {EventTarget | null} target
 * @returns {target is HTMLElement}
 */
function isLive(target) {
    return target instanceof HTMLElement && target.matches("[data-live][hx-get]");
}

/**
 * Ids of what an answer takes the place of: the part, and what it brings along.
 *
 * @param {Element} part
 */
function reached(part) {
    const others = (part.getAttribute("hx-select-oob") ?? "").split(",").map((one) => one.trim().replace(/^#/, ""));

    return [part.id, ...others.filter(Boolean)];
}

/**
 * What an answer has for a part, but for what differs every time; null where it has nothing.
 *
 * @param {Document} fresh
 * @param {Element} part
 */
function written(fresh, part) {
    const found = reached(part).map((id) => fresh.getElementById(id));

    if (!found[0]) {
        return null;
    }

    for (const one of found) {
        one?.querySelectorAll("[name=csrfmiddlewaretoken]").forEach((token) => token.remove());
    }

    return found.map((one) => one?.outerHTML ?? "").join("");
}

/** @param {Element} part */
function isUsed(part) {
    return reached(part).some((id) => {
        const one = document.getElementById(id);

        return one !== null && isInHand(one);
    });
}

/** @param {Element} part */
function isInHand(part) {
    const focused = document.activeElement;
    const marked = document.getSelection();

    return (
        (part.contains(focused) && focused !== null && focused.matches("input, select, textarea")) ||
        (marked !== null && !marked.isCollapsed && part.contains(marked.anchorNode)) ||
        part.querySelector("dialog[open], details[open]") !== null ||
        [...part.querySelectorAll("input, select, textarea")].some(isChanged)
    );
}

/** @param {Element} field */
function isChanged(field) {
    if (field.closest("dialog:not([open])")) {
        return false;
    }
    if (field instanceof HTMLSelectElement) {
        return [...field.options].some((one) => one.defaultSelected && !one.selected);
    }
    if (field instanceof HTMLInputElement && /^(checkbox|radio)$/.test(field.type)) {
        return field.checked !== field.defaultChecked;
    }
    return (field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement) && field.value !== field.defaultValue;
}

/**
 * Put the focus back to the button or link that had it, and tables and logs to where they were scrolled. A log that is
 * new, or was at its end, shows its end.
 *
 * @param {Document} page
 * @param {string} id of the part that is about to be replaced
 */
export function keepPlace(page, id) {
    const part = page.getElementById(id);
    const focused = part?.contains(page.activeElement) ? page.activeElement : null;
    const name = focused && nameOf(focused);
    const scrolled = [...(part?.querySelectorAll(SCROLLED) ?? [])].map(placeOf);

    page.addEventListener(
        "htmx:afterSettle",
        () => {
            const now = page.getElementById(id);

            now?.querySelectorAll(SCROLLED).forEach((one, index) => {
                const { left, top, isAtEnd } = scrolled[index] ?? { left: 0, top: 0, isAtEnd: one.matches(".log") };

                one.scrollTo(left, isAtEnd ? one.scrollHeight : top);
            });

            const again = name && [...(now?.querySelectorAll("a, button, summary, [tabindex]") ?? [])].find((one) => nameOf(one) === name);

            if (again instanceof HTMLElement && page.activeElement === page.body) {
                again.focus({ preventScroll: true });
            }
        },
        { once: true },
    );
}

/**
 * Where a table or a log is scrolled to; a log that shows its end goes on to do so.
 *
 * @param {Element} one
 */
function placeOf(one) {
    const isAtEnd = one.matches(".log") && one.scrollTop + one.clientHeight >= one.scrollHeight - 1;

    return { left: one.scrollLeft, top: one.scrollTop, isAtEnd };
}

/** @param {Element} one */
function nameOf(one) {
    return [one.tagName, one.id, one.getAttribute("href"), one.getAttribute("aria-label") ?? one.textContent?.trim()].join(" ");
}
