/**
 * A bar of shares, such as `values="success:60 failed:5"` in percent; what is left of it is pending.
 *
 * An element of its own, because the security policy takes no `style` attributes, and widths are what it is made of.
 */
export class ShareBar extends HTMLElement {
    static observedAttributes = ["values"];

    connectedCallback() {
        this.#draw();
    }

    attributeChangedCallback() {
        this.#draw();
    }

    #draw() {
        const parts = (this.getAttribute("values") ?? "").split(" ").filter(Boolean).map((one) => one.split(":"));

        this.replaceChildren(
            ...parts.map(([name, share]) => {
                const part = document.createElement("i");

                part.className = name;
                part.style.width = `${share}%`;

                return part;
            }),
        );
    }
}

customElements.define("share-bar", ShareBar);
