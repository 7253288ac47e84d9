/** The server engine's thread: it makes JPEGs of frames, and the page stays free to draw. */

import {answerCalls} from './calls.js';

const QUALITY = 0.85;

const canvas = new OffscreenCanvas(1, 1);

answerCalls(async (/** @type {{frame: ImageBitmap | VideoFrame}} */ {frame}) => {
  const [width, height] = 'displayWidth' in frame
    ? [frame.displayWidth, frame.displayHeight] : [frame.width, frame.height];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  canvas.getContext('2d', {alpha: false, willReadFrequently: true})?.drawImage(frame, 0, 0, width, height);
  frame.close();
  const jpeg = await canvas.convertToBlob({type: 'image/jpeg', quality: QUALITY});
  return jpeg;
});
