/** The engine in this browser: ONNX Runtime on WebAssembly, in a worker. Nothing leaves the device. */

import {Calls} from './calls.js';

/**
 * @typedef {import('../types.js').LocalModel} LocalModel
 * @typedef {import('../types.js').PageConfig} PageConfig
 * @typedef {import('../types.js').Engine} Engine
 * @typedef {import('../types.js').Result} Result
 */

/** @implements {Engine} */
export class LocalEngine {
  #calls = new Calls(new URL('./worker.js', import.meta.url));

  /** @param {LocalModel} model */
  constructor(model) {
    this.info = {
      model: model.name, backend: 'ONNX Runtime, WebAssembly', precision: model.precision, labels: model.labels,
    };
  }

  /**
   * Load the networks.
   * @param {PageConfig} config
   * @param {LocalModel} model
   */
  static async open(config, model) {
    if (typeof WebAssembly !== 'object') {
      throw new Error('This browser has no WebAssembly. Use a current Chrome, Edge, Firefox or Safari.');
    }
    if (typeof OffscreenCanvas !== 'function') {
      throw new Error('This browser has no OffscreenCanvas. Update it: Chrome 69, Firefox 105, Safari 16.4.');
    }
    const engine = new LocalEngine(model);
    try {
      await engine.#calls.ask({open: {detector: config.detector, model}});
    } catch (problem) {
      engine.close();
      throw problem;
    }
    return engine;
  }

  /** @param {ImageBitmap | VideoFrame} frame @param {number} side @returns {Promise<Result>} */
  analyze(frame, side) {
    return this.#calls.ask({frame, side}, [frame]);
  }

  /** Probabilities of a picture that is one face already. @param {ImageBitmap} crop @returns {Promise<number[]>} */
  classify(crop) {
    return this.#calls.ask({crop}, [crop]);
  }

  close() {
    this.#calls.close();
  }
}
