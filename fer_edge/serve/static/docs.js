/** Shows the server's own OpenAPI description. Nothing is loaded from another host. */
export {}; // a module, so that it may wait at its top
/**
 * @typedef {{name: string, description?: string, schema: {enum?: unknown[], type?: string, default?: unknown}}} Parameter
 * @typedef {{summary: string, description?: string, parameters?: Parameter[],
 *   requestBody?: {content: Record<string, unknown>}, responses: Record<string, {description: string}>}} Operation
 */

const place = /** @type {HTMLElement} */ (document.getElementById('routes'));

/** @param {string} tag @param {string} text */
function made(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

/** @param {[string, string][]} pairs */
function list(pairs) {
  const element = document.createElement('dl');
  element.className = 'readings';
  for (const [term, text] of pairs) element.append(made('dt', term), made('dd', text));
  return element;
}

/** @param {string} method @param {string} path @param {Operation} operation */
function section(method, path, operation) {
  const element = document.createElement('section');
  element.className = 'people';
  element.append(made('h2', `${method.toUpperCase()} ${path}`), made('p', operation.description ?? operation.summary));
  const {parameters = [], requestBody, responses} = operation;
  if (parameters.length) {
    element.append(made('h3', 'Parameters'), list(parameters.map(({name, description = '', schema}) =>
      [name, `${description}${schema.enum ? ` (${schema.enum.join(', ')})` : ''}; if left out: ${schema.default}`])));
  }
  if (requestBody) element.append(made('h3', 'Body'), made('p', Object.keys(requestBody.content).join(', ')));
  element.append(made('h3', 'Answers'), list(Object.entries(responses).map(([status, {description}]) => [status, description])));
  return element;
}

const {info, paths} = await (await fetch('openapi.json')).json();
const intro = made('p', `${info.description} Version ${info.version}. The WebSocket /v1/stream takes a picture `
  + 'in each binary message and answers each with the same faces as text.');
const link = document.createElement('a');
link.href = 'openapi.json';
link.textContent = 'openapi.json';
place.replaceChildren(intro, link, ...Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(/** @type {Record<string, Operation>} */ (methods)).map(([method, operation]) => section(method, path, operation))));
