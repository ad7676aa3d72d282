/** Between the cells and the borders of their column, in CSS pixels. */
const MARGIN = 10;

/** Largest and smallest distance from cell to cell, in CSS pixels; a release of few targets may have larger ones. */
const WIDEST = 18;
const NARROWEST = 2;
const WIDEST_OF_FEW = 28;

/** A column needs so much for its words; with many batches it gets less, and says less. */
const WORDS = 70;

/** The share of the width that the running batch has at least, where there are others. */
const RUNNING = 0.27;

/**
 * Where one batch is drawn, in device pixels from the canvas's corner; `left` and `width` in CSS pixels, for its column.
 *
 * @typedef {{left: number, width: number, x: number, pitch: number, columns: number}} Column
 */

/**
 * Where every target is drawn: columns of equal height, filled from the top, cells at whole pixels.
 */
export class Layout {
    /** @type {Column[]} */
    columns = [];

    /**
     * @param {number[]} sizes targets of each batch
     * @param {number} width of the canvas, in CSS pixels
     * @param {number} height of the canvas, in CSS pixels
     * @param {number} scale device pixels of a CSS pixel
     * @param {number} running index of the batch that is enlarged; -1 for none
     */
    constructor(sizes, width, height, scale, running) {
        this.sizes = sizes;
        this.scale = scale;
        this.height = height * scale;

        const widest = widestFor(sizes, height);
        const widths = shares(sizes, width, height, running, widest);
        let left = 0;

        sizes.forEach((size, batch) => {
            const margin = Math.min(MARGIN, widths[batch] * 0.12);
            const before = batch === 0 ? 0 : margin;
            const room = Math.max(1, (widths[batch] - before - margin) * scale);
            const pitch = pitchFor(size, room, this.height, widest * scale);

            this.columns.push({
                left,
                width: widths[batch],
                x: Math.round((left + before) * scale),
                pitch,
                columns: Math.max(1, Math.floor(room / pitch)),
            });

            left += widths[batch];
        });

        // As few columns as the height allows: cells fill from the top, row by row, and reach the bottom.
        this.columns.forEach((column, batch) => {
            const rows = Math.max(1, Math.floor(this.height / column.pitch));

            column.columns = Math.min(column.columns, Math.max(1, Math.ceil(sizes[batch] / rows)));
        });
    }

    /**
     * Return the corner and the pitch of a cell, in device pixels.
     *
     * @param {number} batch
     * @param {number} index of the target inside of its batch
     * @returns {[number, number, number]}
     */
    at(batch, index) {
        const { x, pitch, columns } = this.columns[batch];

        return [x + (index % columns) * pitch, Math.floor(index / columns) * pitch, pitch];
    }

    /**
     * Return batch and index of the target at a point in device pixels; null where there is none.
     *
     * @param {number} x
     * @param {number} y
     * @returns {[number, number] | null}
     */
    hit(x, y) {
        for (let batch = 0; batch < this.columns.length; batch += 1) {
            const column = this.columns[batch];
            const inside = Math.floor((x - column.x) / column.pitch);

            if (x >= column.x && inside < column.columns) {
                const index = Math.floor(y / column.pitch) * column.columns + inside;

                return index >= 0 && index < this.sizes[batch] ? [batch, index] : null;
            }
        }

        return null;
    }
}

/**
 * Return the width of every column: all others as wide as their cells at one pitch, the running batch what is left.
 *
 * @param {number[]} sizes
 * @param {number} width
 * @param {number} height
 * @param {number} running
 * @param {number} widest
 */
function shares(sizes, width, height, running, widest) {
    const least = Math.min(WORDS, (width * 0.7) / sizes.length);
    const most = running >= 0 ? Math.max(WORDS * 2, mostFor(sizes[running], height, widest)) : 0;
    const kept = running >= 0 && sizes.length > 1 ? Math.min(most, width * RUNNING) : 0;
    let widths = sizes.map(() => width / sizes.length);

    for (let pitch = widest; pitch >= NARROWEST; pitch -= 1) {
        const rows = Math.max(1, Math.floor(height / pitch));

        widths = sizes.map((size, batch) =>
            batch === running ? kept : Math.max(least, Math.ceil(size / rows) * pitch + 2 * Math.min(MARGIN, least * 0.12)),
        );

        if (sum(widths) <= width) {
            break;
        }
    }

    const spare = width - sum(widths);

    if (spare < 0) {
        return widths.map((one) => (one * width) / sum(widths));
    }

    // What the running batch cannot use goes to all of them alike.
    const more = kept ? Math.min(spare, Math.max(0, most - kept)) : 0;

    return widths.map((one, batch) => one + (batch === running ? more : 0) + (spare - more) / sizes.length);
}

/**
 * Return the width at which cells cannot grow any more.
 *
 * @param {number} size
 * @param {number} height
 * @param {number} widest
 */
function mostFor(size, height, widest) {
    return Math.ceil(size / Math.max(1, Math.floor(height / widest))) * widest + 2 * MARGIN;
}

/**
 * Return the largest pitch for batches of these sizes, in CSS pixels.
 *
 * @param {number[]} sizes
 * @param {number} height
 */
export function widestFor(sizes, height) {
    return Math.max(WIDEST, Math.min(WIDEST_OF_FEW, Math.floor(height / Math.max(1, ...sizes))));
}

/** @param {number[]} numbers */
function sum(numbers) {
    return numbers.reduce((one, other) => one + other, 0);
}

/**
 * Return the largest pitch at which all cells fit, in device pixels.
 *
 * @param {number} size
 * @param {number} width
 * @param {number} height
 * @param {number} widest
 */
function pitchFor(size, width, height, widest) {
    for (let pitch = Math.round(widest); pitch > NARROWEST; pitch -= 1) {
        if (Math.floor(width / pitch) * Math.floor(height / pitch) >= size) {
            return pitch;
        }
    }

    return NARROWEST;
}
