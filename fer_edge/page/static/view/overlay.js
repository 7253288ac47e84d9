/** Draws boxes and labels over the picture, which fills its stage as `object-fit: contain` does. */

import {percent} from '../page.js';
import {colorsOf} from './colors.js';
import {isSure} from './expression.js';

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
    const shown = tracks.map((track) => {
      const {id, box: [x, y, width, height], held, probabilities} = track;
      const sure = isSure(track, least), word = `${id} · ${sure ? labels[held] : 'unsure'}`;
      return {
        box: [left + scale * (mirrored ? frame.width - x - width : x), top + scale * y, scale * width, scale * height],
        color: sure ? colors[held] : '#ffffff',
        texts: [sure ? `${word} ${percent(probabilities[held])}` : word, word, String(id)],
      };
    });
    for (const {box, color} of shown) this.#outline(box, color);
    context.font = tracks.length >= CROWD ? SMALL : FONT;
    // every face has room for its number; then each gets the longest text that covers no other label
    const places = shown.map(({box, texts}) => this.#place(box, texts[texts.length - 1]));
    shown.forEach(({box, color, texts}, at) => {
      const others = places.filter((_, other) => other !== at);
      const text = texts.find((it) => others.every((other) => apart(this.#place(box, it), other))) ?? texts[texts.length - 1];
      places[at] = this.#place(box, text);
      this.#label(places[at], color, text);
    });
  }

  /** @param {number[]} box @param {string} color */
  #outline([x, y, width, height], color) {
    const context = this.#context;
    for (const [style, line] of /** @type {[string, number][]} */ ([['rgb(0 0 0 / 55%)', LINE + 2], [color, LINE]])) {
      context.strokeStyle = style;
      context.lineWidth = line;
      context.beginPath();
      context.roundRect(x, y, width, height, CORNER);
      context.stroke();
    }
  }

  /** Where a box's label goes: above it, or below where there is no room. @param {number[]} box @param {string} text */
  #place([x, y, , height], text) {
    const {clientWidth, clientHeight} = this.#canvas;
    const measured = this.#context.measureText(text);
    const high = measured.fontBoundingBoxAscent + measured.fontBoundingBoxDescent + PADDING;
    const wide = measured.width + 2 * PADDING;
    const left = Math.min(Math.max(x - LINE / 2, 0), Math.max(0, clientWidth - wide));
    return [left, y - high - 2 >= 0 ? y - high - 2 : Math.min(y + height + 2, clientHeight - high), wide, high];
  }

  /** @param {number[]} place @param {string} color @param {string} text */
  #label([left, top, wide, high], color, text) {
    const context = this.#context;
    context.fillStyle = color;
    context.beginPath();
    context.roundRect(left, top, wide, high, CORNER);
    context.fill();
    context.fillStyle = '#0d1513';
    context.fillText(text, left + PADDING, top + PADDING / 2 + context.measureText(text).fontBoundingBoxAscent);
  }
}

/** @param {number[]} a @param {number[]} b */
const apart = ([x, y, width, height], [left, top, wide, high]) =>
  x >= left + wide || left >= x + width || y >= top + high || top >= y + height;
