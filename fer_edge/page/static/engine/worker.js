/** The local engine's thread: it holds the networks, and the page stays free to draw. */

import {InferenceSession, Tensor, env} from '../onnxruntime/ort.wasm.min.mjs';
import {cut, preprocess} from './pixels.js';
import {cropOf, decode, detectorInput, framed} from './yunet.js';

/**
 * @typedef {import('../types.js').DetectorConfig} DetectorConfig
 * @typedef {import('../types.js').LocalModel} LocalModel
 * @typedef {import('../types.js').Face} Face
 * @typedef {{id: number, open?: {detector: DetectorConfig, model: LocalModel},
 *   frame?: ImageBitmap, side?: number, crop?: ImageBitmap}} Request
 */

// one thread: more would need headers that few static hosts send
env.wasm.numThreads = 1;
env.logLevel = 'error';
const beside = new URL('../onnxruntime/', import.meta.url);
env.wasm.wasmPaths = {
  mjs: new URL('ort-wasm-simd-threaded.mjs', beside).href,
  wasm: new URL('ort-wasm-simd-threaded.wasm', beside).href,
};

/** @type {{config: DetectorConfig, session: InferenceSession}} */
let detector;
/** @type {{config: LocalModel, session: InferenceSession}} */
let classifier;
const whole = canvas();
const small = canvas();

self.addEventListener('message', async (event) => {
  const {id, open, frame, side, crop} = /** @type {Request} */ (event.data);
  try {
    if (open) await openModels(open.detector, open.model);
    else if (frame && side) self.postMessage({id, result: await analyze(frame, side)});
    else if (crop) self.postMessage({id, result: await classifyAlone(crop)});
    if (open) self.postMessage({id, result: null});
  } catch (problem) {
    self.postMessage({id, problem: problem instanceof Error ? problem.message : String(problem)});
  }
});

/** @param {DetectorConfig} detectorConfig @param {LocalModel} model */
async function openModels(detectorConfig, model) {
  const [found, classes] = await Promise.all([load(detectorConfig), load(model)]);
  detector = {config: detectorConfig, session: found};
  classifier = {config: model, session: classes};
  // the first run of a network prepares it; better now than on the first frame
  const blank = canvas().getImageData(0, 0, 1, 1);
  const input = detectorInput(blank);
  await found.run({input: new Tensor('float32', input.planes, [1, 3, input.height, input.width])});
  await classify([cut(blank, 0, 0, 1, 1)]);
}

/** @param {{file: string, integrity: string}} model */
async function load({file, integrity}) {
  const address = new URL(`../${file}`, import.meta.url);
  // the browser refuses a file whose hash is another; without a secure context it may not hash
  const response = await fetch(address, self.isSecureContext ? {integrity} : {}).catch(() => {
    throw new Error(`${file} cannot be loaded, or its hash is not the one in page.json. Copy the page anew.`);
  });
  if (!response.ok) throw new Error(`${file} is not on this host (${response.status}).`);
  return InferenceSession.create(new Uint8Array(await response.arrayBuffer()));
}

/** @param {ImageBitmap} frame @param {number} side */
async function analyze(frame, side) {
  const start = performance.now();
  const {width, height} = frame;
  const scale = Math.min(1, side / Math.max(width, height));
  const searched = [width, height].map((it) => Math.max(1, Math.floor(it * scale + 0.5)));
  draw(whole, frame, width, height);
  frame.close();
  const reduced = scale < 1 ? draw(small, whole.canvas, searched[0], searched[1]) : whole;
  const input = detectorInput(reduced.getImageData(0, 0, searched[0], searched[1]));
  const read = performance.now();
  const tensor = new Tensor('float32', input.planes, [1, 3, input.height, input.width]);
  const outputs = await detector.session.run({input: tensor});
  const detections = decode(outputs, input.width, detector.config);
  const boxes = framed(detections, scale, {width, height}, detector.config);
  const detected = performance.now();
  const crops = boxes.map((box) => {
    const {left, top, width: w, height: h} = cropOf(box, classifier.config.input);
    // only the part of the frame that the crop covers is read
    const x = Math.min(Math.max(left, 0), width - 1), y = Math.min(Math.max(top, 0), height - 1);
    const right = Math.min(left + w, width), bottom = Math.min(top + h, height);
    const part = whole.getImageData(x, y, Math.max(1, right - x), Math.max(1, bottom - y));
    return cut(part, left - x, top - y, w, h);
  });
  const answers = await classify(crops);
  const end = performance.now();
  return {
    faces: boxes.map((box, i) => ({box, probabilities: answers[i]})),
    timings: {read: read - start, detect: detected - read, classify: end - detected},
    searched,
  };
}

/**
 * A picture that is one face already.
 * @param {ImageBitmap} crop
 */
async function classifyAlone(crop) {
  draw(whole, crop, crop.width, crop.height);
  return (await classify([whole.getImageData(0, 0, crop.width, crop.height)]))[0];
}

/** @param {{width: number, height: number, data: Uint8ClampedArray}[]} crops */
async function classify(crops) {
  if (!crops.length) return [];
  const {input, labels} = classifier.config;
  const channels = input.color === 'gray' ? 1 : 3;
  const size = input.height * input.width * channels;
  const batch = new Uint8Array(crops.length * size);
  crops.forEach((crop, i) => preprocess(crop, input, batch.subarray(i * size, (i + 1) * size)));
  const tensor = new Tensor('uint8', batch, [crops.length, input.height, input.width, channels]);
  const flat = (await classifier.session.run({crop: tensor})).probabilities.data;
  return crops.map((_, i) => Array.from(flat.subarray(i * labels.length, (i + 1) * labels.length)));
}

function canvas() {
  const made = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true, alpha: false});
  if (!made) throw new Error('This browser gives no canvas to read pixels from.');
  return made;
}

/**
 * @param {OffscreenCanvasRenderingContext2D} context
 * @param {CanvasImageSource} image
 * @param {number} width
 * @param {number} height
 */
function draw(context, image, width, height) {
  if (context.canvas.width !== width) context.canvas.width = width;
  if (context.canvas.height !== height) context.canvas.height = height;
  context.imageSmoothingQuality = 'medium';
  context.drawImage(image, 0, 0, width, height);
  return context;
}
