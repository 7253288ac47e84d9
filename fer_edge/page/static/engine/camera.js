/** A camera of the server: the server reads it and finds the faces, and the page shows both. */

import {Problem} from '../problems.js';
import {facesOf, openSocket} from './server.js';

/**
 * @typedef {import('../types.js').Face} Face
 * @typedef {{picture: ImageBitmap, faces: Face[], time: number, dropped: number,
 *   timings: Record<string, number>}} Shown
 */

const ANSWER_WITHIN = 30_000; // milliseconds: a stream may be slow to open

export class ServerCamera {
  #socket;
  #labels;
  #opened;

  /** @param {string} id @param {string[]} labels */
  constructor(id, labels) {
    this.#labels = labels;
    this.#socket = openSocket(`v1/cameras/${encodeURIComponent(id)}`);
    this.#socket.binaryType = 'blob';
    this.#opened = this.#event('open');
  }

  /** The camera's next frame and its faces. @returns {Promise<Shown>} */
  async next() {
    await this.#opened;
    const text = this.#event('message');
    this.#socket.send('next');
    const told = JSON.parse((await text).data);
    if (told.error) throw new Problem('The server cannot read its camera', `It says: ${told.error}.`);
    const {data} = await this.#event('message');
    return {
      picture: await createImageBitmap(data),
      faces: facesOf(told.faces, this.#labels),
      time: told.time_s, dropped: told.dropped, timings: told.timings_ms,
    };
  }

  close() {
    this.#socket.close();
  }

  /** @param {'open' | 'message'} kind @returns {Promise<any>} */
  #event(kind) {
    const socket = this.#socket;
    return new Promise((resolve, reject) => {
      const lost = () => reject(new Problem('The server does not answer',
        `Start it again on ${location.host}, then choose the camera again.`));
      const timer = setTimeout(lost, ANSWER_WITHIN);
      socket[`on${kind}`] = (/** @type {Event} */ event) => {
        clearTimeout(timer);
        resolve(event);
      };
      socket.onclose = lost;
    });
  }
}
