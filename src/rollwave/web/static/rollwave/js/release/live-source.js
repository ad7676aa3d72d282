import { Model } from "./model.js";

/** The server says something at least every 15 s; after so long without it the line is dead, whatever it looks like. */
const SILENT_MS = 40_000;

/** How long after a failure the next try comes; it doubles, and is spread so that a crowd does not come back at once. */
const RETRY_MS = 1_000;
const LONGEST_MS = 15_000;

/** After so many failures it begins anew: a snapshot says what an event stream cannot, such as that one has to sign in. */
const PATIENCE = 3;

/**
 * The live data of one release. Begins with a snapshot, follows the events, and heals by itself.
 *
 * Events: `model` (a new model, in `detail`), `cells` (places that changed), `touched` (place, state, place, state, and so
 * on, of all to which something happened), `figures`, `state` (live, off or over).
 */
export class LiveSource extends EventTarget {
    /** @type {Model | null} */
    model = null;

    /** @type {EventSource | null} */
    #stream = null;

    #failures = 0;
    #heardAt = 0;

    /** @type {number | undefined} */
    #timer;

    /** @param {string} url address of the release */
    constructor(url) {
        super();
        this.url = url;
    }

    /** Begin. */
    async start() {
        window.setInterval(() => this.#watch(), 5_000);

        // A laptop that was asleep finds its line dead at once, not after the watchdog's patience.
        window.addEventListener("online", () => this.#connect());
        document.addEventListener("visibilitychange", () => this.#watch());

        await this.#begin();
    }

    async #begin() {
        try {
            const answer = await fetch(`${this.url}/snapshot`, { headers: { Accept: "application/json" } });

            if (answer.redirected) {
                // Nobody is signed in here any more: the page itself leads to where one can.
                window.location.reload();
                return;
            }
            if (!answer.ok) {
                throw new Error(`the snapshot answers ${answer.status}`);
            }

            const told = await answer.json();
            const states = Uint8Array.from(atob(told.states), (one) => one.charCodeAt(0));

            this.model = new Model(states, told.meta.batches, told.seq);
            this.#tell("model", this.model);
            this.#connect();
        } catch {
            this.#comeBack(() => this.#begin());
        }
    }

    #connect() {
        this.#stream?.close();
        window.clearTimeout(this.#timer);

        const model = this.model;

        if (!model) {
            return;
        }

        const stream = new EventSource(`${this.url}/events?since=${model.seq}`);

        this.#stream = stream;
        this.#heardAt = Date.now();

        stream.addEventListener("open", () => {
            this.#heard();
            this.#tell("state", "live");
        });
        stream.addEventListener("cells", (event) => {
            this.#heard();

            const flat = JSON.parse(event.data);

            this.#tell("cells", model.apply(flat, Number(event.lastEventId)));
            this.#tell("touched", flat);
        });
        stream.addEventListener("figures", (event) => {
            this.#heard();
            this.#tell("figures", JSON.parse(event.data));
        });
        stream.addEventListener("reset", () => {
            stream.close();
            this.#begin();
        });
        stream.addEventListener("again", () => this.#connect());
        stream.addEventListener("end", () => {
            stream.close();
            this.#stream = null;
            this.#tell("state", "over");
        });
        stream.addEventListener("error", () => {
            stream.close();
            this.#comeBack(() => (this.#failures > PATIENCE ? this.#begin() : this.#connect()));
        });
    }

    #heard() {
        this.#heardAt = Date.now();
        this.#failures = 0;
    }

    /** @param {() => void} again */
    #comeBack(again) {
        this.#tell("state", "off");

        const wait = Math.min(LONGEST_MS, RETRY_MS * 2 ** this.#failures);

        this.#failures += 1;
        window.clearTimeout(this.#timer);
        this.#timer = window.setTimeout(again, wait * (0.5 + Math.random() / 2));
    }

    #watch() {
        if (this.#stream && !document.hidden && Date.now() - this.#heardAt > SILENT_MS) {
            this.#tell("state", "off");
            this.#connect();
        }
    }

    /**
     * @param {string} name
     * @param {unknown} detail
     */
    #tell(name, detail) {
        this.dispatchEvent(new CustomEvent(name, { detail }));
    }
}
