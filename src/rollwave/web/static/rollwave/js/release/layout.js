/** Between the cells and the borders of their column, in CSS pixels. */
const MARGIN = 10;

/** Largest and smallest distance from cell to cell, in CSS pixels. */
const WIDEST = 18;
const NARROWEST = 2;

/** A column needs so much for its words; with many batches it gets less, and says less. */
const WORDS = 74;

/** How much wider the running batch is than its size alone would make it. */
const ENLARGED = 1.7;

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

        const widths = shares(sizes, width, running);
        let left = 0;

        sizes.forEach((size, batch) => {
            const margin = batch === 0 ? 0 : Math.min(MARGIN, widths[batch] * 0.12);
            const room = Math.max(1, (widths[batch] - margin - Math.min(MARGIN, widths[batch] * 0.12)) * scale);
            const pitch = pitchFor(size, room, this.height, scale);

            this.columns.push({
                left,
                width: widths[batch],
                x: Math.round((left + margin) * scale),
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
 * Return the width of every column: enough for its words first, the rest by what it has to show.
 *
 * @param {number[]} sizes
 * @param {number} width
 * @param {number} running
 */
function shares(sizes, width, running) {
    const least = Math.min(WORDS, (width * 0.75) / sizes.length);
    const weights = sizes.map((size, batch) => Math.sqrt(size) * (batch === running ? ENLARGED : 1));
    const sum = weights.reduce((one, other) => one + other, 0) || 1;
    const rest = width - least * sizes.length;

    return weights.map((weight) => least + (rest * weight) / sum);
}

/**
 * Return the largest pitch at which all cells fit, in device pixels.
 *
 * @param {number} size
 * @param {number} width
 * @param {number} height
 * @param {number} scale
 */
function pitchFor(size, width, height, scale) {
    for (let pitch = Math.round(WIDEST * scale); pitch > NARROWEST; pitch -= 1) {
        if (Math.floor(width / pitch) * Math.floor(height / pitch) >= size) {
            return pitch;
        }
    }

    return NARROWEST;
}
