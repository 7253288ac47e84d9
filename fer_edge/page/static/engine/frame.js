/** From a frame to its pixels, and to the input of the network that finds faces. */

/** Both sides of the network's input are multiples of this. */
const STEP = 32;

/**
 * A frame's RGBA pixels; closes the frame.
 * @param {ImageBitmap | VideoFrame} frame
 * @param {OffscreenCanvas} canvas is drawn on where the browser cannot copy the pixels
 */
export async function readPixels(frame, canvas) {
  const image = await copied(frame) ?? drawn(frame, canvas);
  frame.close();
  return image;
}

/** As `drawn`, in a fraction of the time; null for bitmaps, and in older browsers. @param {ImageBitmap | VideoFrame} frame */
async function copied(frame) {
  if (!('copyTo' in frame)) return null;
  const {displayWidth: width, displayHeight: height, visibleRect} = frame;
  if (visibleRect?.width !== width || visibleRect.height !== height) return null; // it is to be turned or scaled
  const image = new ImageData(width, height);
  const options = /** @type {VideoFrameCopyToOptions} */ ({format: 'RGBA'});
  try {
    // a browser that does not know this option would copy the camera's own format
    if (frame.allocationSize(options) !== image.data.length) return null;
    await frame.copyTo(image.data, options);
    return image;
  } catch {
    return null;
  }
}

/** @param {ImageBitmap | VideoFrame} frame @param {OffscreenCanvas} canvas */
function drawn(frame, canvas) {
  return draw(frame, canvas).getImageData(0, 0, canvas.width, canvas.height);
}

/** Draw a frame on a canvas of its size. @param {ImageBitmap | VideoFrame} frame @param {OffscreenCanvas} canvas */
export function draw(frame, canvas) {
  const [width, height] = 'displayWidth' in frame
    ? [frame.displayWidth, frame.displayHeight] : [frame.width, frame.height];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext('2d', {willReadFrequently: true, alpha: false});
  if (!context) throw new Error('This browser gives no canvas to draw frames on.');
  context.drawImage(frame, 0, 0, width, height);
  return context;
}

/**
 * The network's input: the picture reduced to `width` by `height`, each pixel the mean of the area
 * that it covers (OpenCV's INTER_AREA), as planes of blue, green and red, with zeros right and below.
 * @param {ImageData} image
 * @param {number} width
 * @param {number} height
 */
export function detectorInput(image, width, height) {
  const [padded, rows] = [width, height].map((side) => Math.ceil(side / STEP) * STEP);
  const planes = new Float32Array(3 * padded * rows);
  const green = padded * rows, red = 2 * green;
  const {data} = image, stride = 4 * image.width;
  const across = areas(image.width, width), down = areas(image.height, height);
  const line = new Float32Array(stride); // the mean of the rows that one row of the copy covers
  for (let y = 0; y < height; y++) {
    line.fill(0);
    for (let tap = 0; tap < down.taps; tap++) {
      const weight = down.weights[y * down.taps + tap];
      if (!weight) continue;
      for (let to = 0, from = (down.first[y] + tap) * stride; to < stride; to += 4, from += 4) {
        line[to] += weight * data[from];
        line[to + 1] += weight * data[from + 1];
        line[to + 2] += weight * data[from + 2];
      }
    }
    for (let x = 0, at = y * padded; x < width; x++, at++) {
      let r = 0.5, g = 0.5, b = 0.5;
      for (let tap = 0, from = 4 * across.first[x]; tap < across.taps; tap++, from += 4) {
        const weight = across.weights[x * across.taps + tap];
        r += weight * line[from];
        g += weight * line[from + 1];
        b += weight * line[from + 2];
      }
      planes[at] = Math.floor(b);
      planes[green + at] = Math.floor(g);
      planes[red + at] = Math.floor(r);
    }
  }
  return {planes, width: padded, height: rows};
}

/** For each of `to` pixels the first that it covers of `from`, and the weight of each. @param {number} from @param {number} to */
function areas(from, to) {
  const scale = from / to;
  const taps = Number.isInteger(scale) ? scale : Math.ceil(scale) + 1;
  const first = new Int32Array(to), weights = new Float32Array(to * taps);
  for (let i = 0; i < to; i++) {
    const start = i * scale, end = start + scale;
    first[i] = Math.min(Math.floor(start), from - taps);
    for (let tap = 0; tap < taps; tap++) {
      const pixel = first[i] + tap;
      weights[i * taps + tap] = Math.max(0, Math.min(pixel + 1, end) - Math.max(pixel, start)) / scale;
    }
  }
  return {first, weights, taps};
}
