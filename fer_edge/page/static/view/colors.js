/** A colour for each label; all are light enough for dark text. */

/** @type {Record<string, string>} */
const KNOWN = {
  angry: '#ff8a75', disgust: '#a5cf5f', fear: '#c0a3ea', happy: '#ffd54f', sad: '#6db8f2',
  surprise: '#5cdbc8', neutral: '#c5cfcc',
};

/** @param {string[]} labels */
export function colorsOf(labels) {
  return labels.map((label, i) => KNOWN[label] ?? `hsl(${Math.round((360 * i) / labels.length)} 75% 72%)`);
}
