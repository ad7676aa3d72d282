/**
 * Dialogs without inline script: `data-opens="ID"` opens a dialog of the page, `data-closes` closes the one around it,
 * and a dialog that a part brought along with `data-open-now` opens as it arrives.
 *
 * @param {Document} page
 */
export function listenForDialogs(page) {
    page.addEventListener("click", (event) => {
        const button = event.target instanceof Element ? event.target.closest("[data-opens], [data-closes]") : null;

        if (!button) {
            return;
        }

        const name = button.getAttribute("data-opens");
        const dialog = name ? page.getElementById(name) : button.closest("dialog");

        if (dialog instanceof HTMLDialogElement) {
            name ? dialog.showModal() : dialog.close();
        }
    });

    const openNew = () => {
        for (const dialog of page.querySelectorAll("dialog[data-open-now]:not([open])")) {
            if (dialog instanceof HTMLDialogElement) {
                dialog.removeAttribute("data-open-now");
                dialog.showModal();
            }
        }
    };

    page.addEventListener("htmx:afterSettle", openNew);
    openNew();
}
