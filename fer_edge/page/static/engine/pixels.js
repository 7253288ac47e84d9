/**
 * From a face's pixels to the uint8 tensor, exactly as `fer_edge.images.preprocess` makes it:
 * BT.601 gray in fixed point, halving, bilinear samples and block means, each rounded as OpenCV does.
 */

/**
 * @typedef {{width: number, height: number, data: Uint8Array | Uint8ClampedArray}} Plane
 *   one channel, row by row
 * @typedef {import('../types.js').InputSpec} InputSpec
 */

// OpenCV's fixed point: 15 bits for gray, 11 for the weights of bilinear samples
const RED = 9798, GREEN = 19235, BLUE = 3735, GRAY_BITS = 15;
const WEIGHT = 2048;
// as in fer_edge.images.preprocess: a sample reaches 2 pixels, halving starts from 3 times the size
const REACH = 2, HALVED_FROM = 3;

/**
 * Cut a rectangle out of RGBA pixels; what lies outside repeats the border.
 * @param {ImageData} image
 * @param {{left: number, top: number, width: number, height: number}} crop
 */
export function cut(image, {left, top, width, height}) {
  const out = new ImageData(width, height);
  const source = new Uint32Array(image.data.buffer), target = new Uint32Array(out.data.buffer);
  // the columns of the crop that are inside, at least one
  const first = Math.min(Math.max(left, 0), image.width - 1);
  const end = Math.min(Math.max(left + width, first + 1), image.width);
  for (let y = 0, at = 0; y < height; y++, at += width) {
    const row = Math.min(Math.max(top + y, 0), image.height - 1) * image.width;
    target.fill(source[row + first], at, at + width);
    target.set(source.subarray(row + first, row + end), at + first - left);
    target.fill(source[row + end - 1], at + end - left, at + width);
  }
  return out;
}

/**
 * Write one crop, RGBA, into its row of the batch.
 * @param {Plane} crop
 * @param {InputSpec} spec
 * @param {Uint8Array} row `height * width * channels` bytes
 */
export function preprocess(crop, spec, row) {
  const planes = spec.color === 'gray' ? [toGray(crop)] : [0, 1, 2].map((at) => channel(crop, at));
  planes.forEach((plane, at) => {
    const small = resize(plane, spec.width, spec.height, spec.interpolation).data;
    for (let i = 0; i < small.length; i++) row[i * planes.length + at] = small[i];
  });
}

/** @param {Plane} rgba @returns {Plane} */
function toGray({width, height, data}) {
  const gray = new Uint8Array(width * height);
  for (let i = 0, at = 0; i < gray.length; i++, at += 4) {
    const sum = data[at] * RED + data[at + 1] * GREEN + data[at + 2] * BLUE;
    gray[i] = (sum + (1 << (GRAY_BITS - 1))) >> GRAY_BITS;
  }
  return {width, height, data: gray};
}

/** @param {Plane} rgba @param {number} first @returns {Plane} */
function channel({width, height, data}, first) {
  const plane = new Uint8Array(width * height);
  for (let i = 0, at = first; i < plane.length; i++, at += 4) plane[i] = data[at];
  return {width, height, data: plane};
}

/**
 * @param {Plane} plane
 * @param {number} width
 * @param {number} height
 * @param {'area' | 'linear'} interpolation
 * @returns {Plane}
 */
export function resize(plane, width, height, interpolation) {
  if (plane.width === width && plane.height === height) return plane;
  if (interpolation === 'area') {
    while (plane.width >= HALVED_FROM * width && plane.height >= HALVED_FROM * height) {
      plane = blockMeans(plane, plane.width >> 1, plane.height >> 1, 2, 2);
    }
    const across = Math.ceil(plane.width / (REACH * width));
    const down = Math.ceil(plane.height / (REACH * height));
    if (across > 1 || down > 1) {
      return blockMeans(bilinear(plane, across * width, down * height), width, height, across, down);
    }
  }
  return bilinear(plane, width, height);
}

/**
 * @param {Plane} plane
 * @param {number} width
 * @param {number} height
 * @param {number} across
 * @param {number} down
 * @returns {Plane}
 */
function blockMeans(plane, width, height, across, down) {
  const out = new Uint8Array(width * height);
  const count = across * down;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let j = 0; j < down; j++) {
        const start = (y * down + j) * plane.width + x * across;
        for (let i = 0; i < across; i++) sum += plane.data[start + i];
      }
      // OpenCV rounds halves up in blocks of 2 x 2, and to even in all others
      out[y * width + x] = across === 2 && down === 2 ? (sum + 2) >> 2 : halfToEven(sum / count);
    }
  }
  return {width, height, data: out};
}

/** @param {number} value */
function halfToEven(value) {
  const below = Math.floor(value), rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 ? below + 1 : below;
}

/** @param {Plane} plane @param {number} width @param {number} height @returns {Plane} */
function bilinear(plane, width, height) {
  const columns = taps(plane.width, width, true), rows = taps(plane.height, height, false);
  const out = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const upper = rows.first[y] * plane.width, lower = rows.second[y] * plane.width;
    for (let x = 0; x < width; x++) {
      const {first, second, a, b} = columns;
      const above = plane.data[upper + first[x]] * a[x] + plane.data[upper + second[x]] * b[x];
      const below = plane.data[lower + first[x]] * a[x] + plane.data[lower + second[x]] * b[x];
      out[y * width + x] =
        (((rows.a[y] * (above >> 4)) >> 16) + ((rows.b[y] * (below >> 4)) >> 16) + 2) >> 2;
    }
  }
  return {width, height, data: out};
}

/**
 * The two source pixels of each sample and their weights, pixel centres aligned. At the border both
 * are the same pixel; OpenCV then gives it one whole weight in a row, and two parts in a column.
 * @param {number} from
 * @param {number} to
 * @param {boolean} whole
 */
function taps(from, to, whole) {
  const first = new Int32Array(to), second = new Int32Array(to);
  const a = new Int32Array(to), b = new Int32Array(to);
  const scale = from / to;
  for (let i = 0; i < to; i++) {
    const place = Math.fround((i + 0.5) * scale - 0.5);
    const below = Math.floor(place);
    const part = whole && (below < 0 || below >= from - 1) ? 0 : Math.fround(place - below);
    first[i] = Math.min(Math.max(below, 0), from - 1);
    second[i] = Math.min(Math.max(below + 1, 0), from - 1);
    a[i] = halfToEven(Math.fround(1 - part) * WEIGHT);
    b[i] = halfToEven(part * WEIGHT);
  }
  return {first, second, a, b};
}
