/** The page of one release: brings together its live data, the grid, the figures and the parts that the server makes. */

import { keepPlace } from "../live-part.js";
import { FiguresView } from "./figures.js";
import { LiveSource } from "./live-source.js";
import { Ribbon } from "./ribbon.js";
import "./target-grid.js";
import { Tip } from "./tip.js";

/** Between two looks at the figures and a card, at the parts that the server makes (a crowd is spread over half as much), and at the table. */
const FIGURES_MS = 500;
const PANELS_MS = 1_500;
const TABLE_MS = 2_000;

class ReleasePage extends HTMLElement {
    #picked = -1;
    #stamp = 0;
    #isDue = false;
    #isAsked = false;
    #cardIsOld = false;
    #cardText = "";
    #tableIsOld = false;
    #tableSince = 0;

    connectedCallback() {
        this.url = this.dataset.url ?? "";
        this.#stamp = Number(this.dataset.seq);
        this.grid = /** @type {import("./target-grid.js").TargetGrid} */ (this.querySelector("target-grid"));
        this.ribbon = new Ribbon(/** @type {HTMLCanvasElement} */ (this.querySelector("#ribbon")));
        this.words = read("release-words");
        this.groups = read("cell-groups");
        this.tip = new Tip(this.grid, this.url, read("cell-names"));
        this.figures = new FiguresView(this, this.words, this.groups);
        this.live = new LiveSource(this.url);

        this.live.addEventListener("model", (event) => this.#onModel(detail(event)));
        this.live.addEventListener("cells", (event) => this.#onCells(detail(event)));
        this.live.addEventListener("touched", (event) => this.#onTouched(detail(event)));
        this.live.addEventListener("figures", (event) => this.#onFigures(detail(event)));
        this.live.addEventListener("state", (event) => this.#onState(detail(event)));
        this.grid.addEventListener("pick", (event) => this.#pick(detail(event)));
        this.grid.addEventListener("focus-target", (event) => this.#say(detail(event)));
        this.addEventListener("click", (event) => this.#onClick(event));
        document.addEventListener("keydown", (event) => this.#onKey(event));
        document.body.addEventListener("htmx:beforeSwap", (event) => this.#beforeSwap(/** @type {CustomEvent} */ (event)));
        document.body.addEventListener("htmx:afterSwap", () => this.#afterSwap());
        document.body.addEventListener("release-acted", () => this.#acted());

        window.setInterval(() => this.#tick(), FIGURES_MS);
        this.#afterSwap();
        this.live.start();
    }

    /** @param {import("./model.js").Model} model */
    #onModel(model) {
        this.tip.model = model;
        this.grid.show(model);
        this.#cardIsOld = this.#picked >= 0;
        this.#draw();
    }

    /** @param {number[]} changed */
    #onCells(changed) {
        this.grid.change(changed);
        this.#isDue = true;
        this.#tableIsOld = true;
    }

    /** @param {number[]} flat a stage may begin, end and say what it did, and the cell be of one color all along */
    #onTouched(flat) {
        for (let index = 0; index < flat.length && this.#picked >= 0 && !this.#cardIsOld; index += 2) {
            this.#cardIsOld = flat[index] === this.#picked;
        }
    }

    /** @param {any} figures */
    #onFigures(figures) {
        this.figures.told = figures;
        this.#isDue = true;

        if (figures.stamp > this.#stamp) {
            this.#stamp = figures.stamp;
            this.#refresh();
        }
    }

    /** @param {string} state */
    #onState(state) {
        const live = document.getElementById("live");
        const said = live?.dataset[state] ?? "";

        // A screen reader repeats what is written, even where it is the same. The page begins "off", saying "Connecting".
        if (live && live.textContent !== said) {
            live.dataset.state = state;
            live.textContent = said;
        }
        if (state === "over" && !("over" in this.dataset)) {
            this.dataset.over = "";
            this.#refresh();
        }
    }

    #tick() {
        if (this.#isDue) {
            this.#draw();
        }
        if (this.#cardIsOld && !document.hidden && isNothingMarked()) {
            this.#loadCard();
        }

        this.#renewTable();
    }

    /** @param {CustomEvent} event of an answer on its way into the page: a card that is as it was is not read anew */
    #beforeSwap({ detail }) {
        if (detail.target?.id === "target-card") {
            detail.shouldSwap = detail.shouldSwap && detail.serverResponse !== this.#cardText;
            this.#cardText = detail.serverResponse;

            if (detail.shouldSwap) {
                keepPlace(document, "target-card");
            }
        }
    }

    /** Bring the table up to date while it is looked at, on the page of it that is shown. */
    #renewTable() {
        const table = document.getElementById("target-table");
        const isSeen = table && !table.hidden && !document.hidden && isNothingMarked();

        if (this.#tableIsOld && isSeen && performance.now() - this.#tableSince > TABLE_MS) {
            keepPlace(document, table.id);
            this.#loadTable(Number(table.querySelector("[data-page]")?.getAttribute("data-page") ?? 1));
        }
    }

    #draw() {
        const { model } = this.live;

        this.#isDue = false;

        if (model) {
            this.figures.draw(model);
            this.ribbon.draw(model, this.grid.palette?.colors ?? []);
        }
    }

    /** Have the parts that the server makes brought up to date, soon: what else happens until then is in it. */
    #refresh() {
        if (this.#isAsked) {
            return;
        }

        this.#isAsked = true;
        window.setTimeout(() => {
            this.#isAsked = false;
            htmx().ajax("GET", `${this.url}/panels?stamp=${this.#stamp}`, { source: "#panels", swap: "none" });
        }, PANELS_MS * (0.5 + Math.random() / 2));
    }

    #afterSwap() {
        const braked = this.ownerDocument.querySelector('[data-status="braked"]');

        this.toggleAttribute("data-braked", braked !== null);
        this.#draw();
    }

    #acted() {
        document.querySelector("#dialog dialog")?.remove();
        this.#cardIsOld = this.#picked >= 0;
    }

    /** @param {number} place */
    #pick(place) {
        this.#picked = place;
        this.grid.pick(place);
        this.#loadCard();
    }

    #loadCard() {
        this.#cardIsOld = false;

        if (this.#picked >= 0) {
            htmx().ajax("GET", `${this.url}/targets/${this.#picked}`, { target: "#target-card", swap: "innerHTML" });
        }
    }

    /** @param {number} place */
    async #say(place) {
        const { name, state } = await this.tip.about(place);
        const said = document.getElementById("grid-said");

        if (said && this.live.model) {
            said.textContent = this.words.said
                .replace("{name}", name)
                .replace("{n}", String(this.live.model.batchOf(place) + 1))
                .replace("{state}", state);
        }
    }

    /** @param {MouseEvent} event */
    #onClick(event) {
        const element = event.target instanceof Element ? event.target : null;
        const chip = element?.closest("[data-chip]");
        const view = element?.closest("[data-view]");
        const row = element?.closest("[data-place]");

        if (chip instanceof HTMLElement) {
            this.#filter(chip);
        }
        if (view instanceof HTMLElement) {
            this.#view(view.dataset.view ?? "");
        }
        if (row instanceof HTMLElement) {
            this.#pick(Number(row.dataset.place));
        }
        if (element?.closest("[data-close-card]")) {
            this.#picked = -1;
            this.#cardText = "";
            this.grid.pick(-1);
            document.getElementById("target-card")?.replaceChildren();
        }
    }

    /** @param {HTMLElement} chip */
    #filter(chip) {
        const isOn = chip.getAttribute("aria-pressed") !== "true";

        for (const other of this.querySelectorAll("[data-chip]")) {
            other.setAttribute("aria-pressed", String(isOn && other === chip));
        }

        const key = isOn ? (chip.dataset.chip ?? "") : "";

        this.grid.filter(key ? this.groups[key] : null);

        if (!document.getElementById("target-table")?.hidden) {
            this.#loadTable();
        }
    }

    /** @param {string} wanted */
    #view(wanted) {
        for (const button of this.querySelectorAll("[data-view]")) {
            button.setAttribute("aria-pressed", String(button instanceof HTMLElement && button.dataset.view === wanted));
        }

        this.grid.hidden = wanted === "table";

        const table = document.getElementById("target-table");

        if (table) {
            table.hidden = wanted !== "table";
        }
        if (wanted === "table") {
            this.#loadTable();
        }
    }

    /** @param {number} page */
    #loadTable(page = 1) {
        this.#tableIsOld = false;
        this.#tableSince = performance.now();

        const chip = /** @type {HTMLElement | null} */ (this.querySelector('[data-chip][aria-pressed="true"]'));

        htmx().ajax("GET", `${this.url}/table?page=${page}&state=${chip?.dataset.chip ?? ""}`, { target: "#target-table", swap: "innerHTML" });
    }

    /** @param {KeyboardEvent} event */
    #onKey(event) {
        const isTyping = event.target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);

        if (event.key === "f" && !isTyping && !event.ctrlKey && !event.metaKey && !document.querySelector("dialog[open]")) {
            event.preventDefault();
            this.grid.goToFailed();
        }
    }
}

/** Whether nobody has text in hand, to copy it. */
function isNothingMarked() {
    return document.getSelection()?.isCollapsed !== false;
}

/** @param {string} id */
function read(id) {
    return JSON.parse(document.getElementById(id)?.textContent ?? "null");
}

/** @param {Event} event */
function detail(event) {
    return /** @type {CustomEvent} */ (event).detail;
}

/** @returns {any} the library, which is a script and no module */
function htmx() {
    return /** @type {any} */ (window).htmx;
}

customElements.define("release-page", ReleasePage);
