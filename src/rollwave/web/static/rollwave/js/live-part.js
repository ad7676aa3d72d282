/**
 * Keep parts that renew themselves (`data-live`, polled by htmx) from disturbing whoever uses them: nothing is renewed
 * while the page is hidden, or while somebody is in the part. The word "Live" says whether the server answers.
 *
 * @param {Document} page
 */
export function keepLive(page) {
    page.addEventListener("htmx:beforeRequest", (event) => {
        const part = event.target;

        if (part instanceof HTMLElement && part.hasAttribute("data-live") && (page.hidden || isUsed(part))) {
            event.preventDefault();
        }
    });

    for (const [name, state] of [["afterOnLoad", "on"], ["sendError", "off"], ["responseError", "off"], ["timeout", "off"]]) {
        page.addEventListener(`htmx:${name}`, () => {
            for (const sign of page.querySelectorAll(".live")) {
                sign.setAttribute("data-state", state);
            }
        });
    }
}

/** @param {HTMLElement} part */
function isUsed(part) {
    return part.contains(document.activeElement) || part.querySelector("dialog[open], details[open]") !== null;
}
