/** The engine on the server that this page came from. */

import {Problem} from '../problems.js';
import {Calls} from './calls.js';

/**
 * @typedef {import('../types.js').ServerModel} ServerModel
 * @typedef {import('../types.js').Engine} Engine
 * @typedef {import('../types.js').Result} Result
 * @typedef {{box: import('../types.js').Box, probabilities: Record<string, number>}} FaceRecord
 * @typedef {{faces: FaceRecord[], searched: [number, number], timings_ms: Record<string, number>,
 *   error?: string}} Answer
 */

const ANSWER_WITHIN = 10_000; // milliseconds
const TRY_AGAIN = [250, 500, 1000]; // milliseconds between attempts; the last one repeats
const TOKEN_NEEDED = 401;

/** @implements {Engine} */
export class ServerEngine {
  /** @type {WebSocket | null} */
  #socket = null;
  #side = 0;
  #closed = false;
  #encoder = new Calls(new URL('./encoder.js', import.meta.url));
  #onLost;

  /** @param {ServerModel} model @param {(lost: boolean) => void} onLost told when the server goes and comes */
  constructor(model, onLost) {
    this.info = {
      model: model.name, backend: `${model.backend} on ${location.host}`, precision: model.precision, labels: model.labels,
    };
    this.#onLost = onLost;
  }

  /** @param {ImageBitmap | VideoFrame} frame @param {number} side @returns {Promise<Result>} */
  async analyze(frame, side) {
    const start = performance.now();
    const picture = await this.#encoder.ask({frame}, [frame]);
    const encoded = performance.now();
    for (let attempt = 0; ; attempt++) {
      try {
        const answer = await this.#ask(picture, side);
        if (attempt) this.#onLost(false);
        const took = performance.now() - encoded;
        const spent = Object.values(answer.timings_ms).reduce((sum, value) => sum + value, 0);
        return {
          faces: facesOf(answer.faces, this.info.labels),
          timings: {encode: encoded - start, network: Math.max(0, took - spent), ...answer.timings_ms},
          searched: answer.searched,
        };
      } catch (problem) {
        if (this.#closed || problem instanceof Problem) throw problem;
        if (!attempt) this.#onLost(true);
        await sleep(TRY_AGAIN[Math.min(attempt, TRY_AGAIN.length - 1)]);
        if (this.#closed) throw problem;
      }
    }
  }

  /** A photo goes as it is. @param {Blob} file @param {number} side @returns {Promise<Result>} */
  async analyzeFile(file, side) {
    const start = performance.now();
    const query = new URLSearchParams({model: this.info.model, side: String(side)});
    const response = await fetch(new URL(`v1/predict?${query}`, document.baseURI), {
      method: 'POST', body: file, headers: {'content-type': file.type},
    }).catch(() => {
      throw new Problem('The server does not answer', `Start it again on ${location.host}, or choose this device.`);
    });
    if (response.status === TOKEN_NEEDED) {
      throw new Problem('The server asks for its token', 'Load this page again and enter it.');
    }
    const answer = await response.json();
    if (!response.ok) throw new Problem('The server refused this picture', answer.detail ?? response.statusText);
    const timings = parseTimings(response.headers.get('server-timing') ?? '');
    const spent = Object.values(timings).reduce((sum, value) => sum + value, 0);
    const searched = (response.headers.get('fer-edge-searched') ?? '0x0').split('x').map(Number);
    return {
      faces: facesOf(answer.results[0].faces, this.info.labels),
      timings: {network: performance.now() - start - spent, ...timings},
      searched: [searched[0], searched[1]],
    };
  }

  close() {
    this.#closed = true;
    this.#encoder.close();
    this.#socket?.close();
  }

  /** Send one picture and wait for its answer. @param {Blob} picture @param {number} side @returns {Promise<Answer>} */
  async #ask(picture, side) {
    const socket = await this.#connected(side);
    /** @type {Answer} */
    const answer = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => fail(), ANSWER_WITHIN);
      const done = () => {
        clearTimeout(timer);
        socket.onmessage = socket.onclose = null;
      };
      const fail = () => {
        done();
        socket.close();
        reject(new Error('The server does not answer.'));
      };
      socket.onclose = fail;
      socket.onmessage = ({data}) => {
        done();
        resolve(JSON.parse(data));
      };
      socket.send(picture);
    });
    if (answer.error) throw new Problem('The server refused a frame', answer.error);
    return answer;
  }

  /** @param {number} side @returns {Promise<WebSocket>} */
  async #connected(side) {
    if (this.#socket?.readyState === WebSocket.OPEN && this.#side === side) return this.#socket;
    this.#socket?.close();
    const socket = openSocket('v1/stream', {model: this.info.model, side: String(side)});
    this.#socket = socket;
    this.#side = side;
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onclose = socket.onerror = () => reject(new Error('The server does not answer.'));
    });
    socket.onerror = null;
    return socket;
  }
}

/** @param {string} path @param {Record<string, string>} [query] */
export function openSocket(path, query = {}) {
  const address = new URL(`${path}?${new URLSearchParams(query)}`, document.baseURI);
  address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
  return new WebSocket(address, 'fer_edge');
}

/** Faces as the server tells them, their probabilities in the order of the labels.
 * @param {FaceRecord[]} records @param {string[]} labels */
export function facesOf(records, labels) {
  return records.map(({box, probabilities}) => ({box, probabilities: labels.map((label) => probabilities[label])}));
}

/** The header Server-Timing. @param {string} header */
function parseTimings(header) {
  /** @type {Record<string, number>} */
  const timings = {};
  for (const [, name, value] of header.matchAll(/(\w+);dur=([\d.]+)/g)) timings[name] = Number(value);
  return timings;
}

/** @param {number} milliseconds */
const sleep = (milliseconds) => new Promise((resolve) => {
  setTimeout(resolve, milliseconds);
});
