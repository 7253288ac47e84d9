/** What is shown of a frame: its boxes at once, and the panels beside the picture as fast as one can read. */

import {element, tell} from './page.js';
import {Expression, verdict} from './view/expression.js';
import {Overlay} from './view/overlay.js';
import {People} from './view/people.js';
import {Readings} from './view/readings.js';

/**
 * @typedef {import('./types.js').EngineInfo} EngineInfo
 * @typedef {import('./live.js').Frame} Frame
 */

// milliseconds between updates: painting the panels with each frame would hold up the next one
const PANELS_EVERY = 120, SPOKEN_EVERY = 2000;

export class Screen {
  #overlay = new Overlay(element('overlay', HTMLCanvasElement));
  #expression = new Expression();
  #people = new People(() => this.redraw());
  #readings = new Readings();
  #options;
  /** @type {EngineInfo | null} */
  #info = null;
  /** @type {Frame | null} */
  #frame = null;
  #isFresh = false;
  #isWaiting = false;
  #panelsAt = 0;
  #spokenAt = 0;

  /** @param {() => {mirrored: boolean, least: number}} options as the user has set them */
  constructor(options) {
    this.#options = options;
  }

  /** The labels of the model that is chosen. @param {string[]} labels */
  setLabels(labels) {
    this.#expression.setLabels(labels);
  }

  /** The engine whose frames come next. @param {EngineInfo} info */
  setEngine(info) {
    this.#info = info;
    this.setLabels(info.labels);
    this.#people.reset(info.labels);
  }

  /** A photo has no last minute. @param {boolean} still */
  setStill(still) {
    this.#people.setStill(still);
  }

  /** @param {Frame} frame */
  show(frame) {
    this.#frame = frame;
    this.#isFresh = true;
    this.#people.update(frame.tracks, frame.time, this.#options().least);
    this.#readings.drop(frame.passed);
    this.redraw();
  }

  /** Draw with the browser's next frame. */
  redraw() {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    requestAnimationFrame(() => {
      this.#isWaiting = false;
      if (this.#frame && this.#info) this.#draw(this.#frame, this.#info);
    });
  }

  /** Nothing is analysed any longer. */
  clear() {
    this.#frame = null;
    this.#panelsAt = 0;
    this.clearBoxes();
    this.#readings.reset();
    if (this.#info) this.#people.reset(this.#info.labels);
    this.#expression.clear();
    this.setStill(false);
  }

  clearBoxes() {
    this.#overlay.clear();
  }

  /** @param {Frame} frame @param {EngineInfo} info */
  #draw(frame, info) {
    const {tracks, time} = frame, {labels} = info, {mirrored, least} = this.#options();
    this.#overlay.draw(tracks, frame, labels, {mirrored, least});
    const now = performance.now(), isFresh = this.#isFresh;
    this.#isFresh = false;
    if (isFresh) this.#readings.add(frame.timings, frame.captured, now);
    if (isFresh && now - this.#panelsAt < PANELS_EVERY) return;
    this.#panelsAt = now;
    const shown = this.#people.shown(tracks);
    this.#people.draw(time, least, shown);
    this.#expression.show(shown, least);
    this.#readings.show(info);
    if (now - this.#spokenAt >= SPOKEN_EVERY) {
      this.#spokenAt = now;
      tell(element('spoken', HTMLParagraphElement), shown
        ? `Person ${shown.id} ${verdict(shown, labels, least)}.` : 'No face.');
    }
  }
}
