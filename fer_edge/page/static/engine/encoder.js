/** The server engine's thread: it makes JPEGs of frames, and the page stays free to draw. */

import {answerCalls} from './calls.js';
import {draw} from './frame.js';

const QUALITY = 0.85;

const canvas = new OffscreenCanvas(1, 1);

answerCalls(async (/** @type {{frame: ImageBitmap | VideoFrame}} */ {frame}) => {
  draw(frame, canvas);
  frame.close();
  return canvas.convertToBlob({type: 'image/jpeg', quality: QUALITY});
});
