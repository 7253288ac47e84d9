/** Where frames come from: the camera, a video file, a photo. */

import {Problem, cameraProblem, noCamera} from './problems.js';

const MAX_PHOTO_PIXELS = 50_000_000;

/**
 * Ask for a camera, and show it in the video element.
 * @param {HTMLVideoElement} video
 * @param {string} device its id, or '' for any
 */
export async function openCamera(video, device) {
  if (!navigator.mediaDevices?.getUserMedia) throw noCamera();
  try {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: {
        width: {ideal: 640}, height: {ideal: 480}, frameRate: {ideal: 30},
        ...(device ? {deviceId: {exact: device}} : {facingMode: 'user'}),
      },
    });
    video.srcObject = stream;
    video.controls = false;
    await video.play();
    return stream;
  } catch (error) {
    throw cameraProblem(error);
  }
}

/** @returns {Promise<[id: string, name: string][]>} */
export async function cameras() {
  const devices = await navigator.mediaDevices?.enumerateDevices() ?? [];
  return devices
    .filter(({kind, deviceId}) => kind === 'videoinput' && deviceId)
    .map(({deviceId, label}, i) => [deviceId, label || `camera ${i + 1}`]);
}

/** @param {HTMLVideoElement} video @param {File} file */
export async function openVideo(video, file) {
  video.src = URL.createObjectURL(file);
  video.controls = true;
  video.loop = false;
  try {
    await video.play();
  } catch (error) {
    throw new Problem('This video cannot be played',
      `The browser does not read ${file.name}. MP4 with H.264 and WebM work nearly everywhere.`);
  }
}

/** @param {HTMLVideoElement} video */
export function closeVideo(video) {
  const stream = video.srcObject;
  if (stream instanceof MediaStream) stream.getTracks().forEach((track) => track.stop());
  if (video.src) URL.revokeObjectURL(video.src);
  video.srcObject = null;
  video.removeAttribute('src');
  video.load();
  video.hidden = true;
}

/** Decode a photo upright, its colours as the file has them. @param {File} file */
export async function openPhoto(file) {
  try {
    const photo = await createImageBitmap(file, {colorSpaceConversion: 'none', premultiplyAlpha: 'none'});
    if (photo.width * photo.height <= MAX_PHOTO_PIXELS) return photo;
    photo.close();
  } catch {
    throw new Problem('This is no picture that the browser reads',
      `${file.name} is damaged, or of a format that it does not know. JPEG, PNG and WebP work everywhere.`);
  }
  throw new Problem('This photo is too large', `Up to ${MAX_PHOTO_PIXELS / 1e6} megapixels are read. Scale it down.`);
}
