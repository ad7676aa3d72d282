import { CELLS, Cell } from "./model.js";

/** In which order the states of a batch stand in its part of the ribbon: what is over first. */
const ORDER = [
    Cell.DONE,
    Cell.VERIFIED,
    Cell.MARKUP,
    Cell.VERIFY,
    Cell.INSTALL,
    Cell.DOWNLOAD,
    Cell.MARKDOWN,
    Cell.RETRY,
    Cell.FAILED,
    Cell.RESTORED,
    Cell.UNREACHABLE,
    Cell.LEFT,
    Cell.PENDING,
];

/** The whole release at its true scale: one line, six pixels high. */
export class Ribbon {
    /** @param {HTMLCanvasElement} canvas */
    constructor(canvas) {
        this.canvas = canvas;
    }

    /**
     * @param {import("./model.js").Model} model
     * @param {string[]} colors of each state
     */
    draw(model, colors) {
        const scale = window.devicePixelRatio || 1;
        const width = Math.round(this.canvas.clientWidth * scale);
        const height = Math.round(6 * scale);
        const context = this.canvas.getContext("2d");

        if (!context || !width) {
            return;
        }

        if (this.canvas.width !== width || this.canvas.height !== height) {
            this.canvas.width = width;
            this.canvas.height = height;
        } else {
            context.clearRect(0, 0, width, height);
        }

        const gap = Math.min(2 * scale, width / model.sizes.length / 4);
        const room = width - gap * (model.sizes.length - 1);
        let x = 0;

        model.sizes.forEach((size, batch) => {
            const whole = (room * size) / Math.max(1, model.total);

            context.save();
            context.beginPath();
            context.roundRect(x, 0, whole, height, Math.min(2 * scale, whole / 2));
            context.clip();

            let at = x;

            for (const state of ORDER.slice(0, CELLS)) {
                const part = (whole * model.counts[batch][state]) / size;

                context.fillStyle = colors[state];
                context.fillRect(at, 0, part, height);
                at += part;
            }

            context.restore();
            x += whole + gap;
        });
    }
}
