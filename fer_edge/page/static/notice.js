/** The notice before the first use, and again by the link at the foot of the page. */

import {element} from './page.js';

const KEY = 'fer_edge.notice';
const VERSION = '1';

/** Show the notice if it was not accepted in this browser. */
export function showNotice() {
  const dialog = element('notice', HTMLDialogElement);
  element('about', HTMLButtonElement).addEventListener('click', () => dialog.showModal());
  dialog.addEventListener('close', () => {
    if (element('informed', HTMLInputElement).checked) remember();
  });
  // nothing starts without it: the Escape key only closes a notice that was accepted before
  dialog.addEventListener('cancel', (event) => {
    if (!accepted()) event.preventDefault();
  });
  dialog.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !accepted()) event.preventDefault();
  });
  element('informed', HTMLInputElement).checked = accepted();
  if (!accepted()) dialog.showModal();
}

function accepted() {
  try {
    return localStorage.getItem(KEY) === VERSION;
  } catch {
    return false; // storage is blocked: the notice comes each time
  }
}

function remember() {
  try {
    localStorage.setItem(KEY, VERSION);
  } catch { /* as above */ }
}
