/** The name of the target under the pointer. The names are fetched when somebody first wants to know one. */
export class Tip {
    /** @type {Promise<string[]> | null} */
    #names = null;

    /**
     * @param {import("./target-grid.js").TargetGrid} grid
     * @param {string} url address of the release
     * @param {string[]} states what each state is called
     */
    constructor(grid, url, states) {
        this.grid = grid;
        this.url = url;
        this.states = states;
        this.box = document.createElement("div");
        this.box.className = "tip";
        this.box.hidden = true;
        grid.append(this.box);

        grid.addEventListener("pointermove", (event) => this.#over(event));
        grid.addEventListener("pointerleave", () => this.hide());
    }

    /** @type {import("./model.js").Model | null} */
    model = null;

    hide() {
        this.box.hidden = true;
    }

    /**
     * Return name and state of a target.
     *
     * @param {number} place
     */
    async about(place) {
        this.#names ??= fetch(`${this.url}/names`).then((answer) => (answer.ok ? answer.json() : []));

        const names = await this.#names;

        return { name: names[place] ?? `#${place + 1}`, state: this.states[this.model?.states[place] ?? 0] };
    }

    /** @param {PointerEvent} event */
    async #over(event) {
        const place = event.target instanceof HTMLCanvasElement ? this.grid.under(event.clientX, event.clientY) : null;

        if (place === null || place === undefined) {
            this.hide();
            return;
        }

        const { name, state } = await this.about(place);
        const box = this.grid.getBoundingClientRect();
        const strong = document.createElement("b");

        strong.textContent = name;
        this.box.replaceChildren(strong, state);
        this.box.hidden = false;
        this.box.style.left = `${Math.min(box.width - this.box.offsetWidth, Math.max(0, event.clientX - box.left + 14))}px`;
        this.box.style.top = `${event.clientY - box.top + 16}px`;
    }
}
