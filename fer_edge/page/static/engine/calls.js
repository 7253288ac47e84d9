/** Calls of a worker: each request gets the answer with its number. */

export class Calls {
  /** @type {Map<number, {resolve: (value: any) => void, reject: (problem: Error) => void}>} */
  #waiting = new Map();
  #next = 0;
  #worker;
  /** @type {Error | null} why the worker answers no more; it may end before the first call */
  #ended = null;

  /** @param {URL} script a module that answers `{id, …}` with `{id, result}` or `{id, problem}` */
  constructor(script) {
    this.#worker = new Worker(script, {type: 'module'});
    this.#worker.addEventListener('message', ({data: {id, result, problem}}) => {
      const call = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (problem !== undefined) call?.reject(new Error(problem));
      else call?.resolve(result);
    });
    this.#worker.addEventListener('error', (event) => {
      this.#fail(new Error(`The engine stopped: ${event.message || 'its files could not be loaded'}. Load this page again.`));
    });
  }

  /** @param {object} request @param {Transferable[]} [moved] @returns {Promise<any>} */
  ask(request, moved = []) {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, {resolve, reject});
      this.#worker.postMessage({id, ...request}, moved);
    });
  }

  close() {
    this.#worker.terminate();
    this.#fail(new Error('The engine was closed.'));
  }

  /** @param {Error} problem */
  #fail(problem) {
    this.#ended = problem;
    for (const {reject} of this.#waiting.values()) reject(problem);
    this.#waiting.clear();
  }
}

/**
 * The worker's side.
 * @param {(request: any) => Promise<unknown>} answer
 */
export function answerCalls(answer) {
  self.addEventListener('message', async ({data: {id, ...request}}) => {
    try {
      self.postMessage({id, result: await answer(request)});
    } catch (problem) {
      self.postMessage({id, problem: problem instanceof Error ? problem.message : String(problem)});
    }
  });
}
