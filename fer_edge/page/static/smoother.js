/** Averages a face's probabilities over time, and holds its expression; `fer_edge.EmotionSmoother`. */

const TIME_CONSTANT = 0.5; // seconds
const HYSTERESIS = 0.1;
const GAP = 1; // seconds without an answer after which the past counts for nothing

export class Smoother {
  /** @type {number[] | null} */
  #average = null;
  #last = -Infinity;
  #held = 0;

  /** @param {number[]} probabilities @param {number} time in seconds */
  update(probabilities, time) {
    const elapsed = time - this.#last;
    this.#last = time;
    if (!this.#average || elapsed > GAP) {
      this.#average = probabilities.slice();
      this.#held = largest(this.#average);
    } else {
      const weight = -Math.expm1(-elapsed / TIME_CONSTANT);
      this.#average = this.#average.map((value, i) => value + weight * (probabilities[i] - value));
      const first = largest(this.#average);
      if (this.#average[first] - this.#average[this.#held] > HYSTERESIS) this.#held = first;
    }
    return {probabilities: this.#average, held: this.#held};
  }
}

/** @param {number[]} values */
export function largest(values) {
  return values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
}
