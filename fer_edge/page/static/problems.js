/** What went wrong, in words that say what to do. */

/** An error that already reads well. */
export class Problem extends Error {
  /** @param {string} title @param {string} text */
  constructor(title, text) {
    super(text);
    this.title = title;
  }
}

/** @param {unknown} error @returns {Problem} */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  return new Problem('That did not work', error instanceof Error ? error.message : String(error));
}

export function noCamera() {
  if (!window.isSecureContext) {
    return new Problem('The camera needs a secure address',
      'Browsers give a camera only to pages from https:// or from localhost, and this one came from '
      + `${location.origin}. Serve it over HTTPS. Photos and videos work here already.`);
  }
  return new Problem('This browser offers no camera',
    'Open the page in a current Chrome, Edge, Firefox or Safari, or open a photo or a video.');
}

/** Why getUserMedia failed. @param {unknown} error */
export function cameraProblem(error) {
  const name = error instanceof DOMException ? error.name : '';
  if (name === 'NotAllowedError') {
    return new Problem('The camera was refused',
      'Allow it in the address bar of the browser, or in the settings of the system, and press '
      + 'Start camera again. Photos and videos work without it.');
  }
  if (name === 'NotFoundError' || name === 'OverconstrainedError') {
    return new Problem('No camera was found', 'Connect one and press Start camera again, or open a photo or a video.');
  }
  if (name === 'NotReadableError') {
    return new Problem('The camera is in use', 'Close the other program that uses it and press Start camera again.');
  }
  return asProblem(error);
}
