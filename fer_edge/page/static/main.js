/** The page: what the user asks for. */

import {ServerCamera} from './engine/camera.js';
import {LocalEngine} from './engine/local.js';
import {ServerEngine} from './engine/server.js';
import {Live} from './live.js';
import {showNotice} from './notice.js';
import {element, fill, tell} from './page.js';
import {Problem, asProblem} from './problems.js';
import {Screen} from './screen.js';
import {largest} from './smoother.js';
import {cameras, closeVideo, openCamera, openPhoto, openVideo} from './sources.js';
import {Tracker} from './tracker.js';

/**
 * @typedef {import('./types.js').Engine} Engine
 * @typedef {import('./types.js').PageConfig} PageConfig
 */

const PHOTO_SIDE = 640; // a photo is searched at least this finely, as the Python library does

const stage = element('stage', HTMLDivElement);
const video = element('video', HTMLVideoElement);
const still = element('still', HTMLCanvasElement);
const cameraButton = element('camera', HTMLButtonElement);
const openButton = element('open', HTMLButtonElement);
const fileInput = element('file', HTMLInputElement);
const deviceSelect = element('device', HTMLSelectElement);
const engineSelect = element('engine', HTMLSelectElement);
const modelSelect = element('model', HTMLSelectElement);
const sideSelect = element('side', HTMLSelectElement);
const sourceSelect = element('sources', HTMLSelectElement);
const mirror = element('mirror', HTMLInputElement);
const leastInput = element('least', HTMLInputElement);
const status = element('status', HTMLParagraphElement);

const screen = new Screen(() => ({mirrored: isMirrored(), least: Number(leastInput.value) / 100}));

/** @type {PageConfig} */
let config;
/** @type {Engine | null} */
let engine = null;
/** @type {{kind: 'camera' | 'video' | 'photo' | 'server', live?: {stop: () => void}, file?: File} | null} */
let current = null;
/** Counts what the user asked for: results of anything but the last are thrown away. */
let turn = 0;

start().catch(fail);

async function start() {
  const response = await fetch('page.json');
  if (!response.ok) throw new Problem('This page is incomplete', 'It lacks page.json. Make it anew with: fer-edge page --out DIR');
  config = await response.json();
  element('version', HTMLSpanElement).textContent = `fer_edge ${config.version}`;
  if (config.server) {
    fill(engineSelect, [['server', `on ${location.host}`], ['local', 'on this device']]);
    element('engine-label', HTMLLabelElement).hidden = false;
    const {sources} = config.server;
    fill(sourceSelect, [['', 'none'], .../** @type {[string, string][]} */ (sources.map(({id, name}) => [id, name]))]);
    element('sources-label', HTMLLabelElement).hidden = !sources.length;
  }
  showChoices();
  listen();
  cameraButton.disabled = openButton.disabled = false;
  say('Ready.');
  showNotice();
}

/** The models of the engine that is chosen, and where it processes pictures. */
function showChoices() {
  const models = onServer() ? config.server?.models ?? [] : config.models;
  fill(modelSelect, models.map(({name, precision}, i) => [String(i), `${name}, ${precision}`]));
  modelSelect.selectedIndex = 0;
  screen.setLabels(models[0].labels);
  element('where', HTMLParagraphElement).textContent = onServer()
    ? `Pictures are sent to ${location.host}, processed there and not kept.`
    : 'Pictures are processed on this device.';
  element('notice-where', HTMLElement).textContent = onServer()
    ? `Pictures are sent to ${location.host}` : 'Pictures stay on this device';
  element('notice-more', HTMLSpanElement).textContent = onServer()
    ? ', processed there and not kept. Settings can keep them on this device.' : ': no frame is sent or kept.';
}

function listen() {
  cameraButton.addEventListener('click', () => {
    if (current?.kind === 'camera') stop('Stopped.');
    else attempt(startCamera);
  });
  openButton.addEventListener('click', () => fileInput.click());
  fileInput.addEventListener('change', () => {
    const file = fileInput.files?.[0];
    fileInput.value = '';
    if (file) attempt((mine) => openFile(file, mine));
  });
  for (const name of ['dragover', 'dragleave', 'drop']) {
    stage.addEventListener(name, (event) => {
      event.preventDefault();
      stage.classList.toggle('dropping', name === 'dragover');
    });
  }
  stage.addEventListener('drop', (event) => {
    const file = event.dataTransfer?.files[0];
    if (file) attempt((mine) => openFile(file, mine));
  });
  video.addEventListener('playing', () => {
    if (current?.file) say(`Playing ${current.file.name}.`);
  });
  video.addEventListener('ended', () => say('The video is over.'));
  modelSelect.addEventListener('change', restart);
  engineSelect.addEventListener('change', () => {
    showChoices();
    restart();
  });
  sideSelect.addEventListener('change', () => {
    if (current?.kind === 'photo') restart();
  });
  deviceSelect.addEventListener('change', () => {
    if (current?.kind === 'camera') attempt(startCamera);
  });
  sourceSelect.addEventListener('change', () => {
    const {value} = sourceSelect;
    if (value) attempt((mine) => watchServer(value, mine));
    else stop('Stopped.');
  });
  mirror.addEventListener('change', () => {
    stage.classList.toggle('mirrored', isMirrored());
    screen.redraw();
  });
  leastInput.addEventListener('input', () => {
    element('least-shown', HTMLOutputElement).value = `${leastInput.value} %`;
    screen.redraw();
  });
  element('settings', HTMLFormElement).addEventListener('submit', (event) => event.preventDefault());
  new ResizeObserver(() => screen.redraw()).observe(stage);
  /** @type {((turn: number) => Promise<void>) | null} */
  let resume = null;
  document.addEventListener('visibilitychange', () => {
    if (document.hidden && (current?.kind === 'camera' || current?.kind === 'server')) {
      const {value} = sourceSelect;
      resume = value ? (mine) => watchServer(value, mine) : startCamera;
      stop('Stopped while the page is hidden.');
    } else if (!document.hidden && resume) {
      attempt(resume);
      resume = null;
    }
  });
}

/** Run what the user asked for; whatever was going on ends. @param {(turn: number) => Promise<void>} action */
async function attempt(action) {
  halt();
  const mine = turn;
  try {
    await action(mine);
  } catch (problem) {
    if (mine === turn) fail(problem);
  }
}

/** With another model: open it, and go on with what is shown. */
function restart() {
  closeEngine();
  const was = current;
  if (was?.kind === 'camera') attempt(startCamera);
  else if (was?.kind === 'server') stop('Stopped.');
  else if (was?.file) attempt((mine) => openFile(/** @type {File} */ (was.file), mine));
}

/** @param {number} mine */
async function startCamera(mine) {
  card('Waiting for the camera', 'The browser may ask for it.');
  say('Waiting for the camera…');
  const stream = await openCamera(video, deviceSelect.value);
  if (mine !== turn) return;
  fill(deviceSelect, [['', 'default'], ...await cameras()]);
  deviceSelect.value = stream.getVideoTracks()[0].getSettings().deviceId ?? '';
  stream.getVideoTracks()[0].addEventListener('ended', () => {
    if (mine === turn) fail(new Problem('The camera is gone', 'It was unplugged or taken away. Connect it and press Start camera.'));
  });
  await follow('camera', mine);
}

/** @param {File} file @param {number} mine */
async function openFile(file, mine) {
  card('Opening', file.name);
  if (file.type.startsWith('video/')) {
    await ensureEngine(); // a short video would be over before the model is there
    if (mine !== turn) return;
    await openVideo(video, file);
    if (mine === turn) await follow('video', mine, file);
    return;
  }
  await showPhoto(file, mine);
}

/** @param {'camera' | 'video'} kind @param {number} mine @param {File} [file] */
async function follow(kind, mine, file) {
  video.hidden = false;
  const opened = await ensureEngine();
  if (mine !== turn) return;
  card(null);
  const live = new Live(video, () => engine ?? opened, () => Number(sideSelect.value),
    (frame) => screen.show(frame));
  current = {kind, live, file};
  stage.classList.toggle('mirrored', isMirrored());
  cameraButton.textContent = kind === 'camera' ? 'Stop camera' : 'Start camera';
  say(kind === 'camera' ? 'The camera runs.' : `Playing ${file?.name}.`);
  await live.run();
}

/** Show a camera of the server, which finds the faces itself. @param {string} id @param {number} mine */
async function watchServer(id, mine) {
  card('Waiting for the camera of the server');
  sourceSelect.value = id;
  closeEngine(); // the server runs its first model on its cameras, whatever ran before
  engineSelect.value = 'server';
  showChoices();
  const camera = new ServerCamera(id, (await ensureEngine()).info.labels);
  current = {kind: 'server', live: {stop: () => camera.close()}};
  const tracker = new Tracker();
  while (mine === turn) {
    const {picture, faces, time, dropped, timings} = await camera.next();
    const {width, height} = picture;
    if (mine === turn) {
      showStill(picture);
      card(null);
      screen.show({tracks: tracker.update(faces, time), width, height, time, timings, passed: dropped, captured: null});
      say('The camera of the server runs.');
    }
    picture.close();
  }
}

/** @param {ImageBitmap} picture */
function showStill(picture) {
  const {width, height} = picture;
  if (still.width !== width) still.width = width;
  if (still.height !== height) still.height = height;
  still.getContext('2d')?.drawImage(picture, 0, 0);
  still.hidden = false;
}

/** @param {File} file @param {number} mine */
async function showPhoto(file, mine) {
  const photo = await openPhoto(file);
  const opened = await ensureEngine();
  if (mine !== turn) return;
  const {width, height} = photo;
  showStill(photo);
  card(null);
  current = {kind: 'photo', file};
  screen.setStill(true);
  const side = Math.max(PHOTO_SIDE, Number(sideSelect.value));
  const result = await (opened.analyzeFile ? opened.analyzeFile(file, side) : opened.analyze(photo, side));
  photo.close();
  if (mine !== turn) return;
  screen.show({
    tracks: result.faces.map(({box, probabilities}, i) => ({
      id: i + 1, box, probabilities, held: largest(probabilities), seen: 0,
    })),
    width, height, time: 0, captured: null, timings: result.timings, passed: 0,
  });
  const {length} = result.faces, [across, down] = result.searched;
  const finer = sideSelect.selectedIndex < sideSelect.length - 1 ? '; to find smaller faces, set Faces to far' : '';
  const reduced = across < width ? ` It was searched at ${across} × ${down}${finer}.` : '';
  say(length ? `${length} ${length === 1 ? 'face' : 'faces'} in ${file.name}.` : `No face was found.${reduced}`);
}

function closeEngine() {
  engine?.close();
  engine = null;
}

async function ensureEngine() {
  if (engine) return engine;
  engine = onServer() ? serverEngine() : await localEngine();
  screen.setEngine(engine.info);
  return engine;
}

function localEngine() {
  const model = config.models[Number(modelSelect.value)];
  say(`Loading the model (${(model.bytes / 1e6).toFixed(0)} MB)…`);
  return LocalEngine.open(config, model);
}

function serverEngine() {
  const {models} = /** @type {NonNullable<PageConfig['server']>} */ (config.server);
  return new ServerEngine(models[Number(modelSelect.value)], (lost) => {
    say(lost ? 'The server does not answer. Trying again…' : 'The server is back.');
    if (lost) screen.clearBoxes();
  });
}

/** End what is going on, and clear the stage. */
function halt() {
  turn++;
  current?.live?.stop();
  current = null;
  closeVideo(video);
  still.hidden = true;
  sourceSelect.value = '';
  screen.clear();
  stage.classList.remove('mirrored');
  cameraButton.textContent = 'Start camera';
}

/** @param {string} why */
function stop(why) {
  halt();
  card('Start the camera, or open a photo', 'Or drop a photo or a video here.');
  say(why);
}

/** @param {unknown} error */
function fail(error) {
  const problem = asProblem(error);
  halt();
  if (engine instanceof ServerEngine) closeEngine(); // the next attempt starts anew
  card(problem.title, problem.message, true);
  say(`${problem.title}.`);
}

/** @param {string | null} title null takes the card away @param {string} [text] @param {boolean} [isProblem] */
function card(title, text = '', isProblem = false) {
  const shown = element('card', HTMLDivElement);
  shown.hidden = title === null;
  shown.classList.toggle('problem', isProblem);
  element('card-title', HTMLHeadingElement).textContent = title ?? '';
  element('card-text', HTMLParagraphElement).textContent = text;
}

/** @param {string} text */
function say(text) {
  tell(status, text);
}

const onServer = () => config.server !== null && engineSelect.value === 'server';

const isMirrored = () => current?.kind === 'camera' && mirror.checked;
