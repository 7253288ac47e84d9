/**
 * YuNet's outputs to faces in FER2013's framing, as `fer_edge.faces` does it.
 * Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research, 2023.
 */

/**
 * @typedef {import('../types.js').Box} Box
 * @typedef {import('../types.js').DetectorConfig} DetectorConfig
 * @typedef {{box: Box, anchor: [number, number], score: number}} Detection
 * @typedef {Record<string, {data: Float32Array}>} Outputs
 */

const STRIDES = [8, 16, 32];
const LANDMARKS = 5;

/**
 * The faces of one search, each once.
 * @param {Outputs} outputs
 * @param {number} width of the padded input
 * @param {DetectorConfig} config
 */
export function decode(outputs, width, config) {
  /** @type {Detection[]} */
  const found = [];
  for (const stride of STRIDES) {
    const [cls, obj, bbox, kps] = ['cls', 'obj', 'bbox', 'kps'].map((n) => outputs[`${n}_${stride}`].data);
    const columns = width / stride;
    for (let i = 0; i < cls.length; i++) {
      const score = Math.sqrt(unit(cls[i]) * unit(obj[i]));
      if (score < config.min_score) continue;
      const column = i % columns, row = Math.floor(i / columns);
      const w = Math.exp(bbox[4 * i + 2]) * stride, h = Math.exp(bbox[4 * i + 3]) * stride;
      const x = (column + bbox[4 * i]) * stride - w / 2;
      const y = (row + bbox[4 * i + 1]) * stride - h / 2;
      let right = 0, down = 0;
      for (let point = 0; point < LANDMARKS; point++) {
        right += (kps[10 * i + 2 * point] + column) * stride;
        down += (kps[10 * i + 2 * point + 1] + row) * stride;
      }
      found.push({box: [x, y, w, h], anchor: [right / LANDMARKS, down / LANDMARKS], score});
    }
  }
  return suppress(found, config.overlap);
}

/**
 * Boxes in the frame's pixels, square unless its border cuts them, the largest first.
 * @param {Detection[]} detections
 * @param {number} scale of the search against the frame
 * @param {{width: number, height: number}} frame
 * @param {DetectorConfig} config
 * @returns {Box[]}
 */
export function framed(detections, scale, frame, {framing, min_size}) {
  const boxes = detections.map(({box, anchor}) => {
    const side = framing.side * box[2];
    const left = rounded((anchor[0] - (0.5 + framing.right) * side) / scale);
    const top = rounded((anchor[1] - (0.5 + framing.down) * side) / scale);
    const whole = rounded(side / scale);
    const [x, lastX] = [left, left + whole].map((at) => Math.min(Math.max(at, 0), frame.width));
    const [y, lastY] = [top, top + whole].map((at) => Math.min(Math.max(at, 0), frame.height));
    return /** @type {Box} */ ([x, y, lastX - x, lastY - y]);
  });
  return boxes
    .filter(([, , width, height]) => Math.min(width, height) >= min_size)
    .sort((a, b) => b[2] * b[3] - a[2] * a[3]);
}

/**
 * The crop of a box, as `fer_edge.cut_face` cuts it.
 * @param {Box} box
 * @param {{crop_margin: number, crop_square: boolean}} spec
 */
export function cropOf([x, y, width, height], {crop_margin, crop_square}) {
  const longer = Math.max(width, height);
  const [grownWidth, grownHeight] = [width, height].map((side) =>
    Math.max(1, rounded((crop_square ? longer : side) + 2 * crop_margin * longer)));
  return {
    left: rounded(x + width / 2 - grownWidth / 2),
    top: rounded(y + height / 2 - grownHeight / 2),
    width: grownWidth,
    height: grownHeight,
  };
}

/** @param {Detection[]} found @param {number} overlap */
function suppress(found, overlap) {
  found.sort((a, b) => b.score - a.score);
  /** @type {Detection[]} */
  const kept = [];
  for (const one of found) {
    if (kept.every((other) => intersectionOverUnion(one.box, other.box) <= overlap)) kept.push(one);
  }
  return kept;
}

/** @param {Box} a @param {Box} b */
export function intersectionOverUnion(a, b) {
  const width = Math.min(a[0] + a[2], b[0] + b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[1] + a[3], b[1] + b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  return (width * height) / (a[2] * a[3] + b[2] * b[3] - width * height);
}

/** @param {number} value */
const unit = (value) => Math.min(Math.max(value, 0), 1);

/** @param {number} value */
const rounded = (value) => Math.floor(value + 0.5);
