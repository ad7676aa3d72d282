import { Layout, widestFor } from "./layout.js";
import { Palette, STEPS } from "./palette.js";

/** Height of what stands above and below the cells of a column, in CSS pixels. */
const ABOVE = 56;
const BELOW = 30;

/** Height of the cells: of a release with many targets, and the least there is. */
const CELLS_HIGH = 288;
const CELLS_LOW = 150;

/** Below so many pixels a page is one column, and only one batch is open. */
const SMALL = 720;

/**
 * The targets of a release as cells on a canvas, batch by batch; the columns around them are elements of the page.
 *
 * Events: `pick` (the place of a target, in `detail`), `focus-target` (the same, when the keys go over it).
 */
export class TargetGrid extends HTMLElement {
    /** @type {import("./model.js").Model | null} */
    #model = null;

    /** @type {Layout | null} */
    #layout = null;

    /** @type {{layout: Layout, began: number, picture: OffscreenCanvas | null} | null} what a resize comes from */
    #from = null;

    /** @type {Map<number, number>} when a place changed, and how bright it was drawn last */
    #flashes = new Map();

    /** @type {Map<number, number>} */
    #steps = new Map();

    /** @type {Set<number>} */
    #dirty = new Set();

    /** @type {Set<number> | null} states that a filter shows */
    #shown = null;

    #isAllDirty = true;
    #frame = 0;
    #timer = 0;
    #at = -1;
    #picked = -1;
    #open = -1;
    #running = -1;

    /** How many frames were drawn, for measurements. */
    frames = 0;

    connectedCallback() {
        this.canvas = document.createElement("canvas");
        this.canvas.tabIndex = 0;
        this.canvas.setAttribute("role", "application");
        this.canvas.setAttribute("aria-label", this.dataset.label ?? "");
        this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
        this.batches = /** @type {HTMLElement[]} */ ([...this.querySelectorAll(".batch")]);
        this.append(this.canvas);

        this.canvas.addEventListener("keydown", (event) => this.#onKey(event));
        this.canvas.addEventListener("click", (event) => this.#onClick(event));
        this.canvas.addEventListener("blur", () => this.#mark(this.#at));
        this.canvas.addEventListener("focus", () => this.#mark(this.#at));
        this.addEventListener("click", (event) => this.#onHead(event));

        new ResizeObserver(() => this.#measure()).observe(this);
        new MutationObserver(() => this.#repaint()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#repaint());
        document.fonts.ready.then(() => this.#measure());
    }

    get #isSmall() {
        return window.innerWidth <= SMALL;
    }

    get #scale() {
        return window.devicePixelRatio || 1;
    }

    get #isStill() {
        return matchMedia("(prefers-reduced-motion: reduce)").matches;
    }

    /** @param {import("./model.js").Model} model */
    show(model) {
        this.#model = model;
        this.#running = model.running();
        this.#measure();
    }

    /**
     * Draw places anew that became something else.
     *
     * @param {number[]} places
     */
    change(places) {
        const now = performance.now();
        const running = this.#model?.running() ?? -1;

        for (const place of places) {
            this.#mark(place);

            if (!this.#isStill) {
                this.#flashes.set(place, now);
            }
        }

        if (running !== this.#running) {
            this.#running = running;

            if (this.#layout && !this.#isStill && !this.#isSmall) {
                this.#from = { layout: this.#layout, began: now, picture: null };
            }

            this.#measure();
        }
    }

    /**
     * Show only some states, the others faded; null shows all.
     *
     * @param {Iterable<number> | null} states
     */
    filter(states) {
        this.#shown = states && new Set(states);
        this.#isAllDirty = true;
        this.#wake();
    }

    /**
     * Mark the target whose card is open; -1 for none.
     *
     * @param {number} place
     */
    pick(place) {
        this.#mark(this.#picked);
        this.#picked = place;
        this.#mark(place);
    }

    /**
     * Return the place under a point of the window, and its corner; null where there is none.
     *
     * @param {number} clientX
     * @param {number} clientY
     */
    under(clientX, clientY) {
        const box = this.canvas?.getBoundingClientRect();
        const hit = box && this.#layout?.hit((clientX - box.left) * this.#scale, (clientY - box.top) * this.#scale);

        return hit && this.#model ? this.#placeOf(hit[0], hit[1]) : null;
    }

    #repaint() {
        this.palette = new Palette(getComputedStyle(this), this.#scale);
        this.#isAllDirty = true;
        this.#wake();
    }

    #measure() {
        const model = this.#model;

        if (!model || !this.canvas || !this.context || !this.offsetParent) {
            return;
        }

        const scale = this.#scale;
        let { clientWidth: width, clientHeight: height } = this;

        if (this.#isSmall) {
            const open = this.#open >= 0 ? this.#open : Math.max(0, this.#running);

            width -= 32;
            this.style.height = "";
            height = smallHeight(model.sizes[open], width);
            this.#layout = onlyOne(model.sizes, open, width, height, scale);
            this.batches?.[open].querySelector(".batch-cells")?.append(this.canvas);
            this.batches?.forEach((batch, index) => this.#fold(batch, index === open));
        } else {
            const most = Math.max(...model.sizes);

            height = Math.max(CELLS_LOW, Math.min(CELLS_HIGH, most * widestFor(model.sizes, CELLS_HIGH)));
            this.style.height = `${height + ABOVE + BELOW}px`;
            this.append(this.canvas);
            this.#layout = new Layout(model.sizes, width, height, scale, this.#running);
            this.batches?.forEach((batch, index) => this.#place(batch, index));
        }

        this.canvas.width = Math.round(width * scale);
        this.canvas.height = Math.round(height * scale);
        this.canvas.style.width = `${width}px`;
        this.canvas.style.height = `${height}px`;
        this.#repaint();
    }

    /**
     * @param {HTMLElement} batch
     * @param {number} index
     */
    #place(batch, index) {
        const column = this.#layout?.columns[index];

        if (column) {
            batch.style.left = `${column.left}px`;
            batch.style.width = `${column.width}px`;
            batch.classList.toggle("slim", column.width < 112);
            batch.classList.toggle("narrow", column.width < 62);
            batch.classList.toggle("mute", column.width < 24);
        }
    }

    /**
     * @param {HTMLElement} batch
     * @param {boolean} isOpen
     */
    #fold(batch, isOpen) {
        batch.style.left = "";
        batch.style.width = "";
        batch.classList.remove("slim", "narrow", "mute");
        batch.querySelector(".batch-head")?.setAttribute("aria-expanded", String(isOpen));
    }

    /** @param {MouseEvent} event */
    #onHead(event) {
        const head = event.target instanceof Element ? event.target.closest(".batch-head") : null;

        if (head && this.#isSmall && this.batches) {
            this.#open = this.batches.findIndex((batch) => batch.contains(head));
            this.#measure();
        }
    }

    /** @param {MouseEvent} event */
    #onClick(event) {
        const place = this.under(event.clientX, event.clientY);

        if (place !== null) {
            this.#go(place);
            this.#tell("pick", place);
        }
    }

    /** @param {KeyboardEvent} event */
    #onKey(event) {
        const model = this.#model;
        const layout = this.#layout;

        if (!model || !layout || event.ctrlKey || event.metaKey || event.altKey) {
            return;
        }

        if (event.key === "Enter" && this.#at >= 0) {
            this.#tell("pick", this.#at);
        } else if (event.key.startsWith("Arrow")) {
            this.#go(this.#moved(event.key));
        } else {
            return;
        }

        event.preventDefault();
    }

    /** Go to the next failed target. */
    goToFailed() {
        const place = this.#model?.nextFailed(this.#at) ?? -1;

        if (place >= 0) {
            this.canvas?.focus();
            this.#go(place);
        }
    }

    /** @param {string} key */
    #moved(key) {
        const model = this.#model;
        const layout = this.#layout;

        if (!model || !layout || this.#at < 0) {
            return 0;
        }

        const batch = model.batchOf(this.#at);
        const index = this.#at - model.starts[batch];
        const { columns } = layout.columns[batch];
        const size = model.sizes[batch];

        if (key === "ArrowUp" || key === "ArrowDown") {
            const next = index + (key === "ArrowDown" ? columns : -columns);

            return next >= 0 && next < size ? model.starts[batch] + next : this.#at;
        }

        const step = key === "ArrowRight" ? 1 : -1;
        const isInside = index % columns !== (step > 0 ? columns - 1 : 0) && index + step < size;

        if (isInside) {
            return this.#at + step;
        }

        // Over the border, into the same row of the next batch.
        const next = batch + step;

        if (next < 0 || next >= model.sizes.length || !layout.columns[next].columns) {
            return this.#at;
        }

        const row = Math.floor((Math.floor(index / columns) * layout.columns[batch].pitch) / layout.columns[next].pitch);
        const there = row * layout.columns[next].columns + (step > 0 ? 0 : layout.columns[next].columns - 1);

        return model.starts[next] + Math.min(model.sizes[next] - 1, there);
    }

    /** @param {number} place */
    #go(place) {
        this.#mark(this.#at);
        this.#at = place;
        this.#mark(place);

        if (this.#isSmall && this.#model && this.#model.batchOf(place) !== this.#open) {
            this.#open = this.#model.batchOf(place);
            this.#measure();
        }

        this.#tell("focus-target", place);
    }

    /**
     * @param {string} name
     * @param {number} place
     */
    #tell(name, place) {
        this.dispatchEvent(new CustomEvent(name, { detail: place }));
    }

    /**
     * @param {number} batch
     * @param {number} index
     */
    #placeOf(batch, index) {
        return (this.#model?.starts[batch] ?? 0) + index;
    }

    /** @param {number} place */
    #mark(place) {
        if (place >= 0) {
            this.#dirty.add(place);
            this.#wake();
        }
    }

    #wake() {
        if (!this.#frame) {
            this.#frame = requestAnimationFrame((now) => this.#draw(now));
        }
    }

    /** @param {number} now */
    #draw(now) {
        this.#frame = 0;
        this.frames += 1;

        const layout = this.#layout;
        const model = this.#model;

        if (!layout || !model || !this.context || !this.palette || !this.canvas) {
            return;
        }

        if (this.#from && this.#resize(this.#from, now)) {
            this.#wake();
            return;
        }

        this.#fade(now);

        if (this.#isAllDirty) {
            this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
            this.#drawAll(this.context);
        } else {
            for (const place of this.#dirty) {
                this.#drawCell(this.context, place, true);
            }
        }

        this.#isAllDirty = false;
        this.#dirty.clear();
        this.#drawRing(this.#picked);

        if (this.canvas === document.activeElement) {
            this.#drawRing(this.#at);
        }
    }

    /** @param {number} now */
    #fade(now) {
        const length = duration(this, "--flash");

        for (const [place, began] of this.#flashes) {
            const left = 1 - (now - began) / length;
            const step = Math.max(0, Math.ceil(left * STEPS));

            if (this.#steps.get(place) !== step) {
                this.#steps.set(place, step);
                this.#dirty.add(place);
            }
            if (step === 0) {
                this.#flashes.delete(place);
                this.#steps.delete(place);
            }
        }

        // Not with every frame: it fades in few steps, and whoever watches for hours pays for each. While there are
        // changes they bring the next step along.
        window.clearTimeout(this.#timer);
        this.#timer = this.#flashes.size ? window.setTimeout(() => this.#wake(), length / STEPS) : 0;
    }

    /** @param {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} context */
    #drawAll(context) {
        const total = this.#model?.total ?? 0;

        for (let place = 0; place < total; place += 1) {
            this.#drawCell(context, place, false);
        }
    }

    /**
     * @param {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} context
     * @param {number} place
     * @param {boolean} clears
     */
    #drawCell(context, place, clears) {
        const model = /** @type {import("./model.js").Model} */ (this.#model);
        const layout = /** @type {Layout} */ (this.#layout);
        const batch = model.batchOf(place);
        const [x, y, pitch] = layout.at(batch, place - model.starts[batch]);

        if (!pitch) {
            return;
        }

        const state = model.states[place];
        const sprite = this.palette?.sprite(state, pitch, this.#steps.get(place) ?? 0, this.#isFaded(state));

        if (clears) {
            context.clearRect(x, y, pitch, pitch);
        }
        if (sprite) {
            context.drawImage(sprite, x, y);
        }
    }

    /** @param {number} state */
    #isFaded(state) {
        return this.#shown !== null && !this.#shown.has(state);
    }

    /**
     * Draw a moment between two layouts; return false once the new one is reached. Ten thousand cells are drawn once,
     * and then only a picture of each column, from where it was to where it will be.
     *
     * @param {{layout: Layout, began: number, picture: OffscreenCanvas | null}} from
     * @param {number} now
     */
    #resize(from, now) {
        const model = /** @type {import("./model.js").Model} */ (this.#model);
        const layout = /** @type {Layout} */ (this.#layout);
        const context = /** @type {CanvasRenderingContext2D} */ (this.context);
        const { width, height } = context.canvas;
        const passed = (now - from.began) / duration(this, "--resize");

        if (!from.picture || from.picture.width !== width || this.#isAllDirty) {
            from.picture = new OffscreenCanvas(width, height);
            this.#drawAll(/** @type {OffscreenCanvasRenderingContext2D} */ (from.picture.getContext("2d")));
            this.#isAllDirty = false;
            this.#dirty.clear();
        }

        context.clearRect(0, 0, width, height);

        if (passed >= 1) {
            context.drawImage(from.picture, 0, 0);
            this.#from = null;

            return false;
        }

        const part = ease(Math.max(0, passed));

        for (let batch = 0; batch < model.sizes.length; batch += 1) {
            const [was, is] = [from.layout.columns[batch], layout.columns[batch]];
            const [before, after] = [was.columns * was.pitch, is.columns * is.pitch];
            const x = was.x + (is.x - was.x) * part;

            context.drawImage(from.picture, is.x, 0, after, height, x, 0, before + (after - before) * part, height);
        }

        return true;
    }

    /** @param {number} place */
    #drawRing(place) {
        const model = this.#model;

        if (place < 0 || !model || !this.#layout || !this.context || !this.palette) {
            return;
        }

        const batch = model.batchOf(place);
        const [x, y, pitch] = this.#layout.at(batch, place - model.starts[batch]);
        const line = Math.max(1, Math.round(1.5 * this.#scale));

        if (pitch) {
            this.context.strokeStyle = this.palette.ink;
            this.context.lineWidth = line;
            this.context.strokeRect(x + line / 2, y + line / 2, pitch - line, pitch - line);
        }
    }
}

/**
 * @param {HTMLElement} element
 * @param {string} token
 */
function duration(element, token) {
    return (durations[token] ??= parseFloat(getComputedStyle(element).getPropertyValue(token)) || 1);
}

/** @type {Record<string, number>} read once: the style of the page need not be worked out for every frame */
const durations = {};

/** @param {number} part */
function ease(part) {
    return 1 - (1 - part) ** 3;
}

/**
 * @param {number} size
 * @param {number} width
 */
function smallHeight(size, width) {
    const pitch = Math.max(5, Math.min(18, Math.floor(Math.sqrt((width * 380) / Math.max(1, size)))));

    return Math.max(20, Math.ceil(size / Math.max(1, Math.floor(width / pitch))) * pitch);
}

/**
 * @param {number[]} sizes
 * @param {number} open
 * @param {number} width
 * @param {number} height
 * @param {number} scale
 */
function onlyOne(sizes, open, width, height, scale) {
    const layout = new Layout([sizes[open]], width, height, scale, 0);
    const one = { ...layout.columns[0], columns: Math.max(1, Math.floor((width * scale) / layout.columns[0].pitch)) };

    layout.sizes = sizes;
    layout.columns = sizes.map((_, batch) => (batch === open ? one : { left: 0, width: 0, x: 1e9, pitch: 0, columns: 0 }));

    return layout;
}

customElements.define("target-grid", TargetGrid);
