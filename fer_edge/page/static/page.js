/** The page's elements, by id and kind: one that is missing or of another kind shows at once. */

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {{new (): T}} kind
 * @returns {T}
 */
export function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`The page has no ${kind.name} with the id ${id}.`);
  return found;
}

/** @param {HTMLSelectElement} select @param {[value: string, text: string][]} choices */
export function fill(select, choices) {
  const chosen = select.value;
  select.replaceChildren(...choices.map(([value, text]) => new Option(text, value)));
  if (choices.some(([value]) => value === chosen)) select.value = chosen;
}

/** @param {number} fraction */
export const percent = (fraction) => `${Math.round(100 * fraction)}\u00a0%`;

/** Set a text that screen readers speak, where it is another: they would speak the same one again.
 * @param {HTMLElement} place @param {string} text */
export function tell(place, text) {
  if (place.textContent !== text) place.textContent = text;
}
