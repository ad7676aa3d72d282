/**
 * A text area with the numbers of its lines: `marks="3 7"` are those at which something is wrong. A link with
 * `data-line` goes to a line. Without this script it is a plain text area.
 */
export class SpecEditor extends HTMLElement {
    /** @type {HTMLTextAreaElement | null} */
    #text = null;
    #gutter = document.createElement("div");

    connectedCallback() {
        this.#text = this.querySelector("textarea");
        this.#gutter.className = "gutter";
        this.#gutter.setAttribute("aria-hidden", "true");
        this.prepend(this.#gutter);

        this.#text?.addEventListener("input", () => this.#number());
        this.#text?.addEventListener("scroll", () => this.#follow());
        document.addEventListener("click", this.#onClick);

        this.#number();
        this.#show(Number(this.#marks.values().next().value));
    }

    disconnectedCallback() {
        document.removeEventListener("click", this.#onClick);
    }

    get #marks() {
        return new Set((this.getAttribute("marks") ?? "").split(" ").filter(Boolean));
    }

    #onClick = (/** @type {MouseEvent} */ event) => {
        const link = event.target instanceof Element ? event.target.closest("[data-line]") : null;

        if (link) {
            event.preventDefault();
            this.#text?.focus({ preventScroll: true });
            this.#show(Number(link.getAttribute("data-line")));
        }
    };

    #number() {
        const count = (this.#text?.value ?? "").split("\n").length;
        const marks = this.#marks;

        this.#gutter.replaceChildren(
            ...Array.from({ length: count }, (_, place) => {
                const line = document.createElement("span");

                line.textContent = String(place + 1);
                line.classList.toggle("wrong", marks.has(line.textContent));

                return line;
            }),
        );
        this.#follow();
    }

    /** Keep the numbers beside their lines. */
    #follow() {
        if (this.#text) {
            this.#gutter.style.maxHeight = `${this.#text.offsetHeight}px`;
            this.#gutter.scrollTop = this.#text.scrollTop;
        }
    }

    /**
     * Select a line, and bring it into sight.
     *
     * @param {number} line from 1; nothing happens for what is none
     */
    #show(line) {
        const text = this.#text;

        if (!text || !line) {
            return;
        }

        const lines = text.value.split("\n");
        const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);

        text.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
        text.scrollTop = (text.scrollHeight / lines.length) * Math.max(0, line - 6);
        text.scrollLeft = 0;
        this.scrollIntoView({ block: "nearest" });
    }
}

customElements.define("spec-editor", SpecEditor);
