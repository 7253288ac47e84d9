/** Everybody who was seen in the last minute: a button each, with what the face showed over time. */

import {element} from '../page.js';
import {colorsOf} from './colors.js';
import {isSure, likelihood, verdict} from './expression.js';

/**
 * @typedef {import('../types.js').Track} Track
 * @typedef {{from: number, until: number, held: number, sure: boolean}} Stretch of one expression
 * @typedef {{track: Track, stretches: Stretch[], button: HTMLButtonElement, name: HTMLElement,
 *   strip: HTMLCanvasElement, item: HTMLLIElement}} Person
 */

const SPAN = 60; // seconds
const GAP = 1; // seconds out of sight that show as a gap
const MOST = 60; // people in the list

export class People {
  #list = element('people', HTMLOListElement);
  #nobody = element('nobody', HTMLParagraphElement);
  /** @type {Map<number, Person>} */
  #people = new Map();
  /** @type {number | null} */
  #chosen = null;
  /** @type {string[]} */
  #labels = [];
  #onChoice;

  /** @param {() => void} onChoice is called when the user chooses a person */
  constructor(onChoice) {
    this.#onChoice = onChoice;
  }

  /** @param {string[]} labels */
  reset(labels) {
    this.#labels = labels;
    this.#people.clear();
    this.#chosen = null;
    this.#list.replaceChildren();
    this.#nobody.hidden = false;
  }

  /** A photo has no last minute. @param {boolean} still */
  setStill(still) {
    this.#list.classList.toggle('still', still);
    element('people-title', HTMLHeadingElement).textContent = still ? 'People' : 'People, the last minute';
    this.#nobody.textContent = still ? 'Nobody.' : 'Nobody yet.';
  }

  /** Take in a frame. @param {Track[]} tracks @param {number} time @param {number} least */
  update(tracks, time, least) {
    for (const track of tracks) {
      const person = this.#people.get(track.id) ?? this.#add(track);
      person.track = track;
      extend(person.stretches, track.held, isSure(track, least), time);
    }
  }

  /** The person whose bars are shown: the chosen one while in sight, else the largest face.
   * @param {Track[]} tracks */
  shown(tracks) {
    return tracks.find(({id}) => id === this.#chosen)
      ?? tracks.reduce((/** @type {Track | undefined} */ best, track) =>
        (!best || track.box[2] * track.box[3] > best.box[2] * best.box[3] ? track : best), undefined);
  }

  /** @param {number} time @param {number} least @param {Track | undefined} shown */
  draw(time, least, shown) {
    for (const [id, person] of this.#people) {
      const {track, stretches, name, button, item} = person;
      if (track.seen < time - SPAN) {
        item.remove();
        this.#people.delete(id);
        continue;
      }
      const here = track.seen >= time;
      name.textContent = here
        ? `Person ${id} ${verdict(track, this.#labels, least)}${likelihood(track, least)}` : `Person ${id}, out of view`;
      item.classList.toggle('gone', !here); // below those in view
      button.setAttribute('aria-pressed', String(shown?.id === id));
      this.#strip(person.strip, stretches, time);
    }
    this.#nobody.hidden = this.#people.size > 0;
  }

  /** @param {Track} track */
  #add(track) {
    const item = document.createElement('li'), button = document.createElement('button');
    const name = document.createElement('span'), strip = document.createElement('canvas');
    button.type = 'button';
    strip.setAttribute('aria-hidden', 'true');
    button.addEventListener('click', () => {
      this.#chosen = track.id;
      this.#onChoice();
    });
    button.append(name, strip);
    item.append(button);
    this.#list.append(item);
    const person = {track, stretches: [], button, name, strip, item};
    this.#people.set(track.id, person);
    if (this.#people.size > MOST) this.#drop();
    return person;
  }

  /** Of those who were not seen for longest the last one: a photo lists the largest faces first. */
  #drop() {
    const [id, person] = [...this.#people].reduce((a, b) => (a[1].track.seen < b[1].track.seen ? a : b));
    person.item.remove();
    this.#people.delete(id);
  }

  /** @param {HTMLCanvasElement} canvas @param {Stretch[]} stretches @param {number} now */
  #strip(canvas, stretches, now) {
    const context = canvas.getContext('2d'), colors = colorsOf(this.#labels);
    if (!context) return;
    canvas.width = canvas.clientWidth;
    canvas.height = 1; // every column is one colour: the browser stretches it
    for (const {from, until, held, sure} of stretches) {
      if (!sure) continue;
      // whole pixels: parts of them would show as seams
      const [left, right] = [from, until].map((time) => Math.ceil(canvas.width * (1 - (now - time) / SPAN)));
      context.fillStyle = colors[held];
      context.fillRect(left, 0, Math.max(right - left, 1), 1);
    }
  }
}

/** @param {Stretch[]} stretches @param {number} held @param {boolean} sure @param {number} time */
function extend(stretches, held, sure, time) {
  const last = stretches.at(-1);
  const follows = last !== undefined && time - last.until <= GAP;
  if (follows) last.until = time;
  if (!follows || last.held !== held || last.sure !== sure) stretches.push({from: time, until: time, held, sure});
  while (stretches[0].until < time - SPAN) stretches.shift();
}
