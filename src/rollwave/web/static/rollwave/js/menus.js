/**
 * Close an open menu when something else is clicked, when the focus leaves it, and with Escape.
 *
 * @param {Document} page
 */
export function closeMenus(page) {
    /** @param {EventTarget | null} but */
    const closeAll = (but) => {
        for (const menu of page.querySelectorAll("details.menu[open]")) {
            if (!(but instanceof Node && menu.contains(but))) {
                menu.removeAttribute("open");
            }
        }
    };

    page.addEventListener("click", (event) => closeAll(event.target));
    page.addEventListener("focusin", (event) => closeAll(event.target));
    page.addEventListener("keydown", (event) => {
        if (event.key !== "Escape") {
            return;
        }

        const open = page.querySelector("details.menu[open]");

        closeAll(null);

        open?.querySelector("summary")?.focus();
    });
}
