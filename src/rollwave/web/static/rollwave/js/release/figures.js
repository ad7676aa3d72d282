import { Cell } from "./model.js";

/**
 * The figures of the page: every element with `data-figure`, the counts of the legend, and the heads of the batches.
 */
export class FiguresView {
    /**
     * @param {HTMLElement} page
     * @param {Record<string, string>} words
     * @param {Record<string, number[]>} groups states of each entry of the legend
     */
    constructor(page, words, groups) {
        this.page = page;
        this.words = words;
        this.groups = groups;
        this.numbers = new Intl.NumberFormat("en");

        /** @type {any} what the server told last */
        this.told = null;
    }

    /** @param {import("./model.js").Model} model */
    draw(model) {
        const done = model.count([Cell.DONE]);

        this.#figure("done", this.numbers.format(done));
        this.#figure("percent", model.total ? ((100 * done) / model.total).toFixed(1).replace(/\.0$/, "") : "0");
        this.#meter("done", done);
        this.#legend(model);
        this.#batches(model);

        if (this.told) {
            this.#told(this.told);
        }
    }

    /** @param {any} told */
    #told(told) {
        const { out, limit, failed, per_minute: pace, eta_s: eta } = told;

        this.#figure("out", this.numbers.format(out));
        this.#figure("limit", this.numbers.format(limit));
        this.#figure("failed", this.numbers.format(failed));
        this.#find("failed")?.classList.toggle("bad-text", failed > 0);
        this.#meter("failed", failed);

        const rate = this.#find("pace");

        if (rate && pace !== null) {
            const count = Math.round(pace);

            rate.textContent = ((count === 1 ? rate.dataset.one : rate.dataset.words) ?? "").replace("{n}", this.numbers.format(count));
        }

        if (eta !== null) {
            this.#eta(eta);
        }
    }

    /** @param {number} seconds */
    #eta(seconds) {
        const [number, unit] =
            seconds < 90
                ? [seconds, this.words.seconds]
                : seconds < 5400
                  ? [Math.round(seconds / 60), this.words.minutes]
                  : [(seconds / 3600).toFixed(1), this.words.hours];

        this.#figure("eta", String(number));
        this.#figure("eta-unit", unit);

        const ends = this.#find("ends");

        if (ends) {
            ends.textContent = (ends.dataset.words ?? "").replace("{time}", clock(new Date(Date.now() + seconds * 1000)));
        }
    }

    /** @param {import("./model.js").Model} model */
    #legend(model) {
        for (const [key, states] of Object.entries(this.groups)) {
            const count = this.page.querySelector(`[data-count="${key}"]`);
            const number = model.count(states);

            if (count) {
                set(count, this.numbers.format(number));
            }

            const chip = this.page.querySelector(`[data-chip="${key}"]`);

            if (chip instanceof HTMLElement && ["verified", "left", "retry", "unreachable"].includes(key)) {
                chip.hidden = number === 0 && chip.getAttribute("aria-pressed") !== "true";
            }
        }
    }

    /** @param {import("./model.js").Model} model */
    #batches(model) {
        const running = model.running();

        for (const batch of /** @type {NodeListOf<HTMLElement>} */ (this.page.querySelectorAll(".batch"))) {
            const index = Number(batch.dataset.number) - 1;
            const size = model.sizes[index];
            const done = model.count([Cell.DONE], index);
            const failed = model.count([Cell.FAILED, Cell.RESTORED], index);
            const begun = model.counts[index][Cell.PENDING] < size;
            const isOver = done + failed + model.count([Cell.LEFT], index) === size;

            batch.classList.toggle("running", index === running && begun);
            batch.classList.toggle("queued", !begun);
            batch.classList.toggle("passed", isOver && !failed);

            const note = isOver
                ? failed
                    ? this.words.failed.replace("{n}", this.numbers.format(failed))
                    : ""
                : begun
                  ? `${Math.floor((100 * done) / size)} %`
                  : this.words.queued;

            const isPlain = !begun || done === size;

            set(batch.querySelector(".batch-count b"), this.numbers.format(isPlain ? size : done));
            set(batch.querySelector(".batch-of"), isPlain ? "" : ` / ${this.numbers.format(size)}`);
            set(batch.querySelector(".batch-note"), isOver && !failed && window.innerWidth <= 720 ? this.words.passed : note);
            batch.querySelector(".batch-foot")?.classList.toggle("is-due", this.#due(index) !== null);
            set(batch.querySelector(".batch-foot"), this.#foot({ isOver, failed, begun, index }));
        }
    }

    /** @param {{isOver: boolean, failed: number, begun: boolean, index: number}} standing */
    #foot({ isOver, failed, begun, index }) {
        if (isOver) {
            return failed ? this.words.failed.replace("{n}", this.numbers.format(failed)) : "✓";
        }

        const due = this.#due(index);

        if (!begun && due) {
            return this.words.starts.replace("{time}", clock(due));
        }

        return begun || index === 0 ? "" : this.words.waitsFor.replace("{n}", String(index));
    }

    /**
     * Return when the pause before a batch ends; null where there is none.
     *
     * @param {number} index
     */
    #due(index) {
        const told = this.page.querySelector(`#release-dues [data-batch="${index + 1}"]`)?.getAttribute("data-due");
        const due = told ? new Date(told) : null;

        return due && due.getTime() > Date.now() ? due : null;
    }

    /** @param {string} name */
    #find(name) {
        return /** @type {HTMLElement | null} */ (this.page.querySelector(`[data-figure="${name}"]`));
    }

    /**
     * @param {string} name
     * @param {string} text
     */
    #figure(name, text) {
        set(this.#find(name), text);
    }

    /**
     * @param {string} name
     * @param {number} value
     */
    #meter(name, value) {
        const meter = this.page.querySelector(`[data-meter="${name}"]`);

        if (meter instanceof HTMLProgressElement && meter.value !== Math.min(value, meter.max)) {
            meter.value = value;
        }
    }
}

/**
 * Write a text where it is another one: to write the same is work for the browser all the same.
 *
 * @param {Element | null} element
 * @param {string} text
 */
function set(element, text) {
    if (element && element.textContent !== text) {
        element.textContent = text;
    }
}

/** @param {Date} moment */
function clock(moment) {
    return new Intl.DateTimeFormat(document.documentElement.lang, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(moment);
}
