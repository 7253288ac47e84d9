/** The local engine's thread: it holds the networks, and the page stays free to draw. */

import {InferenceSession, Tensor, env} from '../onnxruntime/ort.wasm.min.mjs';
import {answerCalls} from './calls.js';
import {detectorInput, readPixels} from './frame.js';
import {cut, preprocess} from './pixels.js';
import {cropOf, decode, framed} from './yunet.js';

/**
 * @typedef {import('../types.js').DetectorConfig} DetectorConfig
 * @typedef {import('../types.js').LocalModel} LocalModel
 * @typedef {import('../types.js').Face} Face
 * @typedef {{open?: {detector: DetectorConfig, model: LocalModel}, frame?: ImageBitmap | VideoFrame, side?: number,
 *   crop?: ImageBitmap}} Request
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
const canvas = new OffscreenCanvas(1, 1);

answerCalls(async (/** @type {Request} */ {open, frame, side, crop}) => {
  if (open) return openModels(open.detector, open.model);
  if (frame && side) return analyze(frame, side);
  if (crop) return classifyAlone(crop);
});

/** @param {DetectorConfig} detectorConfig @param {LocalModel} model */
async function openModels(detectorConfig, model) {
  const [found, classes] = await Promise.all([load(detectorConfig), load(model)]);
  detector = {config: detectorConfig, session: found};
  classifier = {config: model, session: classes};
  // the first run of a network prepares it; better now than on the first frame
  const blank = new ImageData(1, 1);
  await detect(blank, 1, 1);
  await classify([blank]);
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

/** @param {ImageBitmap | VideoFrame} frame @param {number} side */
async function analyze(frame, side) {
  const start = performance.now();
  const image = await readPixels(frame, canvas);
  const {width, height} = image;
  const read = performance.now();
  const scale = Math.min(1, side / Math.max(width, height));
  const searched = [width, height].map((it) => Math.max(1, Math.floor(it * scale + 0.5)));
  const boxes = framed(await detect(image, searched[0], searched[1]), scale, image, detector.config);
  const detected = performance.now();
  const answers = await classify(boxes.map((box) => cut(image, cropOf(box, classifier.config.input))));
  const end = performance.now();
  return {
    faces: boxes.map((box, i) => ({box, probabilities: answers[i]})),
    timings: {read: read - start, detect: detected - read, classify: end - detected},
    searched,
  };
}

/** @param {ImageBitmap} crop a picture that is one face already */
async function classifyAlone(crop) {
  return (await classify([await readPixels(crop, canvas)]))[0];
}

/** Search a copy of this size. @param {ImageData} image @param {number} width @param {number} height */
async function detect(image, width, height) {
  const input = detectorInput(image, width, height);
  const tensor = new Tensor('float32', input.planes, [1, 3, input.height, input.width]);
  return decode(await detector.session.run({input: tensor}), input.width, detector.config);
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
