/** Frames per second, the time of each stage, and what runs. */

import {element} from '../page.js';

/** @typedef {import('../types.js').EngineInfo} EngineInfo */

const SPAN = 2000; // milliseconds that are averaged
const KEPT = 3000; // User Timing entries

/** @type {Record<string, string>} */
const STAGES = {
  encode: 'encode', network: 'network', wait: 'wait for others', decode: 'decode', read: 'read pixels',
  detect: 'find faces', classify: 'classify',
};

export class Readings {
  #section = element('speed', HTMLElement);
  #list = element('readings', HTMLDListElement);
  /** @type {{at: number, timings: Record<string, number>, total: number | null}[]} */
  #frames = [];
  #dropped = 0;
  #measured = 0;

  reset() {
    this.#frames = [];
    this.#dropped = 0;
    this.#section.hidden = true;
    this.#forget();
  }

  #forget() {
    performance.clearMeasures();
    this.#measured = 0;
  }

  /** One frame was drawn. @param {Record<string, number>} timings @param {number | null} captured @param {number} at */
  add(timings, captured, at) {
    this.#frames = this.#frames.filter((frame) => at - frame.at <= SPAN);
    this.#frames.push({at, timings, total: captured === null ? null : at - captured});
    if (captured === null) return;
    if (++this.#measured > KEPT) this.#forget();
    performance.measure('camera to drawn', {start: captured, end: at});
  }

  /** Frames of the source that were passed over, because the one before was still under way.
   * @param {number} count */
  drop(count) {
    this.#dropped += count;
  }

  /** @param {EngineInfo} info */
  show(info) {
    this.#section.hidden = false;
    /** @type {[string, string][]} */
    const rows = [];
    const frames = this.#frames;
    if (frames.length > 1) {
      const seconds = (frames[frames.length - 1].at - frames[0].at) / 1000;
      rows.push(['frames per second', ((frames.length - 1) / seconds).toFixed(0)]);
    }
    for (const [stage, name] of Object.entries(STAGES)) {
      const values = frames.map(({timings}) => timings[stage]).filter((it) => it !== undefined);
      if (values.length) rows.push([name, `${mean(values).toFixed(1)} ms`]);
    }
    const totals = /** @type {number[]} */ (frames.map(({total}) => total).filter((it) => it !== null));
    if (totals.length) rows.push(['camera to drawn', `${mean(totals).toFixed(0)} ms`]);
    if (this.#dropped) rows.push(['frames passed over', String(this.#dropped)]);
    rows.push(['model', info.model], ['precision', info.precision], ['runs on', info.backend]);
    this.#list.replaceChildren(...rows.flatMap(([name, value]) => {
      const term = document.createElement('dt'), text = document.createElement('dd');
      term.textContent = name;
      text.textContent = value;
      return [term, text];
    }));
  }
}

/** @param {number[]} values */
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
