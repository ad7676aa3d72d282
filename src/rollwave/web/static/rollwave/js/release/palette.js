import { Cell } from "./model.js";

/** Which token colors which state. */
const TOKENS = {
    [Cell.PENDING]: "--pending",
    [Cell.MARKDOWN]: "--download",
    [Cell.DOWNLOAD]: "--download",
    [Cell.INSTALL]: "--install",
    [Cell.VERIFY]: "--verify",
    [Cell.MARKUP]: "--install",
    [Cell.VERIFIED]: "--verify",
    [Cell.DONE]: "--done",
    [Cell.FAILED]: "--failed",
    [Cell.RESTORED]: "--failed",
    [Cell.RETRY]: "--retry",
    [Cell.UNREACHABLE]: "--ink-2",
    [Cell.LEFT]: "--ink-3",
};

/** Steps in which a flash fades. */
export const STEPS = 4;

/**
 * The looks of a cell, drawn once for every size and then copied: a picture each for state, flash and filter.
 */
export class Palette {
    /** @type {Map<number, ImageBitmap>} */
    #sprites = new Map();

    /**
     * @param {CSSStyleDeclaration} style where the tokens are
     * @param {number} scale device pixels of a CSS pixel
     */
    constructor(style, scale) {
        this.scale = scale;
        this.ink = style.getPropertyValue("--ink");
        this.surface = style.getPropertyValue("--surface");

        /** @type {string[]} */
        this.colors = Object.keys(TOKENS).map((state) => style.getPropertyValue(TOKENS[Number(state)]));
    }

    /**
     * Return the picture of a cell of `pitch` by `pitch` device pixels.
     *
     * @param {number} state
     * @param {number} pitch
     * @param {number} flash 0 for none, up to STEPS for the moment of change
     * @param {boolean} faded whether a filter leaves it out
     */
    sprite(state, pitch, flash, faded) {
        const key = ((pitch * 16 + state) * 8 + flash) * 2 + Number(faded);
        let sprite = this.#sprites.get(key);

        if (!sprite) {
            const canvas = new OffscreenCanvas(pitch, pitch);
            const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));

            context.globalAlpha = faded ? 0.14 : 1;
            this.#draw(context, state, pitch);

            if (flash > 0 && !faded) {
                context.globalCompositeOperation = "source-atop";
                context.globalAlpha = (flash / STEPS) * 0.75;
                context.fillStyle = this.surface;
                context.fillRect(0, 0, pitch, pitch);
            }

            // A bitmap does not change any more: to copy it costs a fifth of what a canvas does.
            sprite = canvas.transferToImageBitmap();
            this.#sprites.set(key, sprite);
        }

        return sprite;
    }

    /**
     * @param {OffscreenCanvasRenderingContext2D} context
     * @param {number} state
     * @param {number} pitch
     */
    #draw(context, state, pitch) {
        const size = pitch / this.scale;
        const gap = Math.round((size >= 10 ? 2 : size > 2 ? 1 : 0) * this.scale);
        const hasFailed = state === Cell.FAILED || state === Cell.RESTORED;

        // Not by color alone: a small failed cell fills the gap, a larger one carries an x.
        const side = hasFailed && size < 10 ? pitch : Math.max(1, pitch - gap);
        const radius = size >= 14 ? 4 * this.scale : size >= 10 ? 3 * this.scale : size >= 6 ? 1.5 * this.scale : 0;

        context.fillStyle = this.colors[state];
        context.strokeStyle = this.colors[state];

        if (state === Cell.UNREACHABLE || state === Cell.LEFT) {
            const line = Math.max(1, Math.round(this.scale));

            context.lineWidth = line;
            context.setLineDash(state === Cell.LEFT ? [line, line] : []);
            context.beginPath();
            context.roundRect(line / 2, line / 2, Math.max(1, side - line), Math.max(1, side - line), radius);
            context.fillStyle = this.surface;
            context.fill();
            context.stroke();
            context.setLineDash([]);
            return;
        }

        context.beginPath();
        context.roundRect(0, 0, side, side, radius);
        context.fill();

        if (hasFailed && size >= 10) {
            const inset = side * 0.3;

            context.strokeStyle = "white";
            context.lineWidth = Math.max(1, 1.6 * this.scale);
            context.beginPath();
            context.moveTo(inset, inset);
            context.lineTo(side - inset, side - inset);
            context.moveTo(side - inset, inset);
            context.lineTo(inset, side - inset);
            context.stroke();
        }

        if (state === Cell.VERIFIED && size >= 10) {
            context.fillStyle = "white";
            context.beginPath();
            context.arc(side / 2, side / 2, side * 0.16, 0, 2 * Math.PI);
            context.fill();
        }
    }
}
