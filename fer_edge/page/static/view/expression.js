/** The chosen person's expression: a sentence and a bar for each label. */

import {element, percent} from '../page.js';
import {colorsOf} from './colors.js';

/** @typedef {import('../types.js').Track} Track */

/** @type {Record<string, string>} */
const ADJECTIVES = {disgust: 'disgusted', fear: 'afraid', surprise: 'surprised'};

/** @param {Track} track @param {number} least */
export const isSure = ({probabilities, held}, least) => probabilities[held] >= least;

/** @param {Track} track @param {string[]} labels @param {number} least */
export function verdict(track, labels, least) {
  const label = labels[track.held];
  return isSure(track, least) ? `looks ${ADJECTIVES[label] ?? label} (apparent)` : 'unsure';
}

/** The probability of what is shown, after a comma; nothing where the page is unsure.
 * @param {Track} track @param {number} least */
export function likelihood(track, least) {
  return isSure(track, least) ? `, ${percent(track.probabilities[track.held])}` : '';
}

export class Expression {
  #verdict = element('verdict', HTMLParagraphElement);
  #bars = element('bars', HTMLDListElement);
  /** @type {{name: HTMLElement, cell: HTMLElement, bar: HTMLElement, value: HTMLElement}[]} */
  #rows = [];
  /** @type {string[]} */
  #labels = [];

  /** @param {string[]} labels */
  setLabels(labels) {
    this.#labels = labels;
    const colors = colorsOf(labels);
    this.#rows = labels.map((label, i) => {
      const name = document.createElement('dt'), cell = document.createElement('dd');
      const value = document.createElement('dd'), track = document.createElement('div');
      const bar = document.createElement('i');
      name.textContent = label;
      value.textContent = '–';
      cell.setAttribute('aria-hidden', 'true');
      track.className = 'bar';
      bar.style.background = colors[i];
      bar.style.transform = 'scaleX(0)';
      track.append(bar);
      cell.append(track);
      return {name, cell, bar, value};
    });
    this.#bars.replaceChildren(...this.#rows.flatMap(({name, cell, value}) => [name, cell, value]));
  }

  /** While nothing is analysed. */
  clear() {
    this.show(undefined, 0);
    this.#verdict.textContent = '–';
  }

  /** @param {Track | undefined} track @param {number} least */
  show(track, least) {
    const line = track ? verdict(track, this.#labels, least) : 'No face';
    const who = document.createElement('small');
    who.textContent = track ? `Person ${track.id}${likelihood(track, least)}` : '';
    this.#verdict.replaceChildren(line, who);
    this.#rows.forEach(({name, bar, value}, i) => {
      const probability = track ? track.probabilities[i] : 0;
      bar.style.transform = `scaleX(${probability.toFixed(3)})`;
      value.textContent = track ? percent(probability) : '–';
      name.classList.toggle('held', track?.held === i);
    });
  }
}
