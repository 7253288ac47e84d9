/** Draws boxes and labels over the picture, which fills its stage as `object-fit: contain` does. */

import {percent} from '../page.js';
import {colorsOf} from './colors.js';

/** @typedef {import('../types.js').Track} Track */

const FONT = '600 15px system-ui, sans-serif', SMALL = '600 12px system-ui, sans-serif';
const CROWD = 12; // from so many faces on labels are small
const PADDING = 6, CORNER = 6, LINE = 2.5;

export class Overlay {
  #canvas;
  #context;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    const context = canvas.getContext('2d');
    if (!context) throw new Error('This browser cannot draw on a canvas.');
    this.#context = context;
  }

  clear() {
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
  }

  /**
   * @param {Track[]} tracks
   * @param {{width: number, height: number}} frame
   * @param {string[]} labels
   * @param {{mirrored: boolean, least: number}} options
   */
  draw(tracks, frame, labels, {mirrored, least}) {
    const canvas = this.#canvas, context = this.#context, density = window.devicePixelRatio || 1;
    const {clientWidth, clientHeight} = canvas;
    const size = [Math.round(clientWidth * density), Math.round(clientHeight * density)];
    if (canvas.width !== size[0]) canvas.width = size[0];
    if (canvas.height !== size[1]) canvas.height = size[1];
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, clientWidth, clientHeight);
    const scale = Math.min(clientWidth / frame.width, clientHeight / frame.height);
    const left = (clientWidth - scale * frame.width) / 2, top = (clientHeight - scale * frame.height) / 2;
    const colors = colorsOf(labels);
    context.font = tracks.length >= CROWD ? SMALL : FONT;
    for (const track of tracks) {
      const [x, y, width, height] = track.box;
      const shown = mirrored ? frame.width - x - width : x;
      const likely = track.probabilities[track.held];
      const sure = likely >= least;
      this.#box(
        [left + scale * shown, top + scale * y, scale * width, scale * height],
        sure ? colors[track.held] : '#ffffff',
        this.#label(track, sure ? labels[track.held] : 'unsure', sure ? likely : null, scale * width),
      );
    }
  }

  /** @param {Track} track @param {string} word @param {number | null} likely @param {number} room */
  #label(track, word, likely, room) {
    const whole = likely === null ? word : `${word} ${percent(likely)}`;
    const numbered = `${track.id} · ${whole}`;
    return this.#context.measureText(numbered).width <= 2 * room ? numbered : word;
  }

  /** @param {number[]} box @param {string} color @param {string} label */
  #box([x, y, width, height], color, label) {
    const context = this.#context;
    for (const [style, line] of /** @type {[string, number][]} */ ([['rgb(0 0 0 / 55%)', LINE + 2], [color, LINE]])) {
      context.strokeStyle = style;
      context.lineWidth = line;
      context.beginPath();
      context.roundRect(x, y, width, height, CORNER);
      context.stroke();
    }
    const measured = context.measureText(label);
    const high = measured.fontBoundingBoxAscent + measured.fontBoundingBoxDescent + PADDING;
    const wide = measured.width + 2 * PADDING;
    const place = Math.min(Math.max(x - LINE / 2, 0), Math.max(0, this.#canvas.clientWidth - wide));
    const above = y - high - 2 >= 0 ? y - high - 2 : Math.min(y + height + 2, this.#canvas.clientHeight - high);
    context.fillStyle = color;
    context.beginPath();
    context.roundRect(place, above, wide, high, CORNER);
    context.fill();
    context.fillStyle = '#0d1513';
    context.fillText(label, place + PADDING, above + PADDING / 2 + measured.fontBoundingBoxAscent);
  }
}
