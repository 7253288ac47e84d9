/** The engine in this browser: ONNX Runtime on WebAssembly, in a worker. Nothing leaves the device. */

/**
 * @typedef {import('../types.js').LocalModel} LocalModel
 * @typedef {import('../types.js').PageConfig} PageConfig
 * @typedef {import('../types.js').Engine} Engine
 * @typedef {import('../types.js').Result} Result
 */

/** @implements {Engine} */
export class LocalEngine {
  /** @type {Map<number, {resolve: (value: any) => void, reject: (problem: Error) => void}>} */
  #waiting = new Map();
  #next = 0;
  #worker;

  /** @param {LocalModel} model */
  constructor(model) {
    this.info = {
      model: model.name, backend: 'ONNX Runtime, WebAssembly', precision: model.precision, labels: model.labels,
    };
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), {type: 'module'});
    this.#worker.addEventListener('message', ({data: {id, result, problem}}) => {
      const call = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (problem !== undefined) call?.reject(new Error(problem));
      else call?.resolve(result);
    });
    this.#worker.addEventListener('error', (event) => {
      this.#fail(new Error(`The engine stopped: ${event.message || 'its files could not be loaded'}.`));
    });
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
      await engine.#ask({open: {detector: config.detector, model}}, []);
    } catch (problem) {
      engine.close();
      throw problem;
    }
    return engine;
  }

  /** @param {ImageBitmap} frame @param {number} side @returns {Promise<Result>} */
  analyze(frame, side) {
    return this.#ask({frame, side}, [frame]);
  }

  /**
   * Probabilities of a picture that is one face already.
   * @param {ImageBitmap} crop
   * @returns {Promise<number[]>}
   */
  classify(crop) {
    return this.#ask({crop}, [crop]);
  }

  close() {
    this.#worker.terminate();
    this.#fail(new Error('The engine was closed.'));
  }

  /** @param {object} request @param {Transferable[]} moved @returns {Promise<any>} */
  #ask(request, moved) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, {resolve, reject});
      this.#worker.postMessage({id, ...request}, moved);
    });
  }

  /** @param {Error} problem */
  #fail(problem) {
    for (const {reject} of this.#waiting.values()) reject(problem);
    this.#waiting.clear();
  }
}
