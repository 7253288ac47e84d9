/**
 * Follows faces from frame to frame: constant velocity with time in seconds, the best overlaps
 * first, and where boxes no longer overlap the distance of centres against the size.
 */

import {intersectionOverUnion} from './engine/yunet.js';
import {Smoother} from './smoother.js';

/**
 * @typedef {import('./types.js').Box} Box
 * @typedef {import('./types.js').Face} Face
 * @typedef {import('./types.js').Track} Track
 * @typedef {Track & {velocity: [number, number], smoother: Smoother}} Followed
 */

const PATIENCE = 1; // seconds that a face may be out of sight
const LEAST_OVERLAP = 0.2;
const REACH = 1; // of a face's size, between centres
const ALIKE = 0.5; // smaller size against larger
const STEADY = 0.5; // weight of the newest velocity

export class Tracker {
  /** @type {Followed[]} */
  #tracks = [];
  #next = 1;

  /**
   * Take in a frame's faces.
   * @param {Face[]} faces
   * @param {number} time in seconds, not before the last
   * @returns {Track[]} those that are in sight
   */
  update(faces, time) {
    this.#tracks = this.#tracks.filter((track) => time - track.seen <= PATIENCE);
    const expected = this.#tracks.map((track) => moved(track, time - track.seen));
    const taken = new Set(), used = new Set();
    /** @type {[number, number, number][]} */
    const pairs = [];
    expected.forEach((box, t) => faces.forEach((face, f) => {
      const score = likeness(box, face.box);
      if (score !== null) pairs.push([score, t, f]);
    }));
    pairs.sort((a, b) => b[0] - a[0]);
    for (const [, t, f] of pairs) {
      if (taken.has(f) || used.has(t)) continue;
      taken.add(f);
      used.add(t);
      follow(this.#tracks[t], faces[f], time);
    }
    faces.forEach((face, f) => {
      if (!taken.has(f)) this.#tracks.push(begin(this.#next++, face, time));
    });
    return this.#tracks.filter((track) => track.seen === time);
  }
}

/** Overlap, or for boxes apart a negative number that grows as they come nearer; null: not the same.
 * @param {Box} a @param {Box} b */
function likeness(a, b) {
  const overlap = intersectionOverUnion(a, b);
  if (overlap >= LEAST_OVERLAP) return overlap;
  const size = Math.sqrt(a[2] * a[3]), other = Math.sqrt(b[2] * b[3]);
  const apart = Math.hypot(a[0] + a[2] / 2 - b[0] - b[2] / 2, a[1] + a[3] / 2 - b[1] - b[3] / 2);
  const near = apart <= REACH * Math.max(size, other);
  return near && Math.min(size, other) >= ALIKE * Math.max(size, other) ? -apart / size : null;
}

/** @param {Followed} track @param {number} seconds @returns {Box} */
function moved({box: [x, y, width, height], velocity}, seconds) {
  return [x + velocity[0] * seconds, y + velocity[1] * seconds, width, height];
}

/** @param {Followed} track @param {Face} face @param {number} time */
function follow(track, face, time) {
  const seconds = time - track.seen;
  if (seconds > 0) {
    for (const axis of [0, 1]) {
      const before = track.box[axis] + track.box[axis + 2] / 2;
      const speed = (face.box[axis] + face.box[axis + 2] / 2 - before) / seconds;
      track.velocity[axis] += STEADY * (speed - track.velocity[axis]);
    }
  }
  track.box = face.box;
  track.seen = time;
  smooth(track, face, time);
}

/** @param {number} id @param {Face} face @param {number} time */
function begin(id, face, time) {
  /** @type {Followed} */
  const track = {
    id, box: face.box, probabilities: face.probabilities, held: 0, seen: time,
    velocity: [0, 0], smoother: new Smoother(),
  };
  smooth(track, face, time);
  return track;
}

/** @param {Followed} track @param {Face} face @param {number} time */
function smooth(track, face, time) {
  const {probabilities, held} = track.smoother.update(face.probabilities, time);
  track.probabilities = probabilities;
  track.held = held;
}
