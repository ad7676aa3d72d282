/**
 * Let every element with `data-key` be reached by that key: a field is focused, anything else is clicked.
 *
 * Keys are for pages, not for fields: whoever is typing, types.
 *
 * @param {Document} page
 */
export function listenForKeys(page) {
    page.addEventListener("keydown", (event) => {
        if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) {
            return;
        }
        if (page.querySelector("dialog[open]")) {
            return;
        }

        const wanted = [...page.querySelectorAll("[data-key]")].find((one) => one.getAttribute("data-key") === event.key);

        if (!(wanted instanceof HTMLElement) || !wanted.checkVisibility()) {
            return;
        }

        event.preventDefault();

        if (wanted instanceof HTMLInputElement) {
            wanted.focus();
        } else {
            wanted.click();
        }
    });
}

/** @param {EventTarget | null} target */
function isTyping(target) {
    return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
