/** States of a target by their number, as `rollwave.web.live.cell` has them. */
export const Cell = Object.freeze({
    PENDING: 0,
    MARKDOWN: 1,
    DOWNLOAD: 2,
    INSTALL: 3,
    VERIFY: 4,
    MARKUP: 5,
    VERIFIED: 6,
    DONE: 7,
    FAILED: 8,
    RESTORED: 9,
    RETRY: 10,
    UNREACHABLE: 11,
    LEFT: 12,
});

/** How many states there are. */
export const CELLS = Object.keys(Cell).length;

/**
 * What is known of a release: one byte for each target, and the counts of every batch.
 *
 * Changes are absolute: one that comes twice, or late, is put right by those after it.
 */
export class Model {
    /**
     * @param {Uint8Array} states in rolling order
     * @param {number[]} sizes how many targets each batch has
     * @param {number} seq number of the newest event that is surely in it
     */
    constructor(states, sizes, seq) {
        this.states = states;
        this.sizes = sizes;
        this.seq = seq;

        /** @type {number[]} place of the first target of each batch */
        this.starts = [];

        /** @type {Uint32Array[]} for each batch, how many targets are in each state */
        this.counts = sizes.map(() => new Uint32Array(CELLS));

        let start = 0;

        sizes.forEach((size, batch) => {
            this.starts.push(start);

            for (let place = start; place < start + size; place += 1) {
                this.counts[batch][states[place]] += 1;
            }

            start += size;
        });
    }

    /** How many targets there are. */
    get total() {
        return this.states.length;
    }

    /**
     * Take over changes; return the places where something became another.
     *
     * @param {number[]} flat place, state, place, state, and so on
     * @param {number} seq
     * @returns {number[]}
     */
    apply(flat, seq) {
        const changed = [];

        for (let index = 0; index < flat.length; index += 2) {
            const place = flat[index];
            const state = flat[index + 1];
            const was = this.states[place];

            if (was !== state) {
                const counts = this.counts[this.batchOf(place)];

                counts[was] -= 1;
                counts[state] += 1;
                this.states[place] = state;
                changed.push(place);
            }
        }

        this.seq = Math.max(this.seq, seq);

        return changed;
    }

    /**
     * Return the index of a target's batch.
     *
     * @param {number} place
     */
    batchOf(place) {
        let low = 0;
        let high = this.starts.length - 1;

        while (low < high) {
            const middle = (low + high + 1) >> 1;

            if (this.starts[middle] <= place) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }

        return low;
    }

    /**
     * Return how many targets are in one of some states, in a batch or in all.
     *
     * @param {Iterable<number>} states
     * @param {number} [batch]
     */
    count(states, batch) {
        const tables = batch === undefined ? this.counts : [this.counts[batch]];
        let sum = 0;

        for (const state of states) {
            for (const counts of tables) {
                sum += counts[state];
            }
        }

        return sum;
    }

    /** Return the index of the first batch with work left, or -1. */
    running() {
        const over = [Cell.DONE, Cell.FAILED, Cell.RESTORED, Cell.LEFT];

        return this.sizes.findIndex((size, batch) => this.count(over, batch) < size);
    }

    /**
     * Return the next failed target after a place, around the end; -1 where there is none.
     *
     * @param {number} place
     */
    nextFailed(place) {
        for (let step = 1; step <= this.total; step += 1) {
            const at = (place + step) % this.total;

            if (this.states[at] === Cell.FAILED || this.states[at] === Cell.RESTORED) {
                return at;
            }
        }

        return -1;
    }
}
