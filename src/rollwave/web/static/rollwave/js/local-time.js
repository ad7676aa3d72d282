const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/**
 * A moment in the viewer's own zone and language. The server writes it in UTC, for whoever runs no scripts.
 *
 * `form` is one of: `short` (the time of today, else the date), `full` (date and time), `ago` (how long since or until),
 * `precise` (the time to the millisecond, as in a log), `exact` (the time to the second, with the date if not today).
 */
export class LocalTime extends HTMLElement {
    static observedAttributes = ["datetime"];

    /** @type {number | undefined} */
    #timer;

    connectedCallback() {
        this.#show();

        if (this.#form === "ago") {
            this.#timer = window.setInterval(() => this.#show(), MINUTE_MS / 4);
        }
    }

    disconnectedCallback() {
        window.clearInterval(this.#timer);
    }

    attributeChangedCallback() {
        this.#show();
    }

    get #form() {
        return this.getAttribute("form") ?? "short";
    }

    /**
     * @param {Date} moment
     * @param {string} language
     */
    #brief(moment, language) {
        return this.#form === "precise" ? precise(moment, language) : this.#form === "exact" ? exact(moment, language) : short(moment, language);
    }

    #show() {
        const moment = new Date(this.getAttribute("datetime") ?? "");

        if (Number.isNaN(moment.getTime())) {
            return;
        }

        const language = document.documentElement.lang;
        const full = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" }).format(moment);

        this.title = full;
        this.textContent = this.#form === "full" ? full : this.#form === "ago" ? ago(moment, language) : this.#brief(moment, language);
    }
}

/**
 * @param {Date} moment
 * @param {string} language
 */
function short(moment, language) {
    const now = new Date();

    if (moment.toDateString() === now.toDateString()) {
        return new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(moment);
    }

    /** @type {Intl.DateTimeFormatOptions} */
    const day = { day: "numeric", month: "short" };

    if (moment.getFullYear() !== now.getFullYear()) {
        day.year = "numeric";
    }

    return new Intl.DateTimeFormat(language, day).format(moment);
}

/**
 * @param {Date} moment
 * @param {string} language
 */
function precise(moment, language) {
    const form = /** @type {const} */ ({ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

    return new Intl.DateTimeFormat(language, { ...form, fractionalSecondDigits: 3 }).format(moment);
}

/**
 * @param {Date} moment
 * @param {string} language
 */
function exact(moment, language) {
    const isToday = moment.toDateString() === new Date().toDateString();

    return new Intl.DateTimeFormat(language, { timeStyle: "medium", hourCycle: "h23", ...(isToday ? {} : { dateStyle: "medium" }) }).format(moment);
}

/**
 * @param {Date} moment
 * @param {string} language
 */
function ago(moment, language) {
    const away = moment.getTime() - Date.now();
    const words = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
    const size = Math.abs(away);

    if (size < MINUTE_MS) {
        return words.format(0, "minute");
    }
    if (size < HOUR_MS) {
        return words.format(Math.round(away / MINUTE_MS), "minute");
    }
    if (size < DAY_MS) {
        return words.format(Math.round(away / HOUR_MS), "hour");
    }
    return words.format(Math.round(away / DAY_MS), "day");
}

customElements.define("local-time", LocalTime);
