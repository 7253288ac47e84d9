/** The loop from a playing video to tracks: one frame at a time, always the newest. */

import {Tracker} from './tracker.js';

/**
 * @typedef {import('./types.js').Engine} Engine
 * @typedef {import('./types.js').Track} Track
 * @typedef {{tracks: Track[], width: number, height: number, time: number, captured: number | null,
 *   timings: Record<string, number>, passed: number}} Frame
 */

export class Live {
  #stopped = false;
  #video;
  #engine;
  #side;
  #show;

  /**
   * @param {HTMLVideoElement} video
   * @param {() => Engine} engine the one in use
   * @param {() => number} side
   * @param {(frame: Frame) => void} show
   */
  constructor(video, engine, side, show) {
    this.#video = video;
    this.#engine = engine;
    this.#side = side;
    this.#show = show;
  }

  /** Runs until `stop`; rejects when the engine fails. */
  async run() {
    let tracker = new Tracker(), last = -Infinity, presented = 0;
    while (!this.#stopped) {
      const {now, metadata} = await this.#nextFrame();
      if (this.#stopped) return;
      const time = this.#video.srcObject ? now / 1000 : metadata.mediaTime;
      if (time < last) tracker = new Tracker(); // the video was set back
      last = time;
      const passed = presented ? Math.max(0, metadata.presentedFrames - presented - 1) : 0;
      presented = metadata.presentedFrames;
      const {videoWidth: width, videoHeight: height} = this.#video;
      const result = await this.#engine().analyze(await this.#picture(), this.#side());
      if (this.#stopped) return;
      this.#show({
        tracks: tracker.update(result.faces, time), width, height, time, passed,
        timings: result.timings,
        captured: this.#video.srcObject ? metadata.captureTime ?? metadata.presentationTime : null,
      });
    }
  }

  stop() {
    this.#stopped = true;
  }

  /** What the video shows. A frame of the camera costs no copy; one that has to be turned upright becomes a bitmap. */
  async #picture() {
    const video = this.#video;
    if (video.srcObject && 'VideoFrame' in window) {
      const frame = new VideoFrame(video);
      if (frame.displayWidth === video.videoWidth) return frame;
      frame.close();
    }
    return createImageBitmap(video);
  }

  /** @returns {Promise<{now: number, metadata: VideoFrameCallbackMetadata}>} */
  #nextFrame() {
    const video = this.#video;
    return new Promise((resolve) => {
      if ('requestVideoFrameCallback' in video) {
        video.requestVideoFrameCallback((now, metadata) => resolve({now, metadata}));
      } else { // Firefox before 132
        requestAnimationFrame((now) => resolve({now, metadata: /** @type {any} */ ({
          mediaTime: /** @type {HTMLVideoElement} */ (video).currentTime, presentedFrames: 0, presentationTime: now,
        })}));
      }
    });
  }
}
