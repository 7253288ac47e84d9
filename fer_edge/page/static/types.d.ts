/** The records that the page's modules hand to each other. */

export type Box = [x: number, y: number, width: number, height: number];

/** One face of a frame: its box in the frame's pixels, and a probability for each label. */
export interface Face {
  box: Box;
  probabilities: number[];
}

/** How a face crop becomes the network's tensor; `InputSpec` in Python. */
export interface InputSpec {
  height: number;
  width: number;
  color: 'gray' | 'rgb';
  interpolation: 'area' | 'linear';
  crop_margin: number;
  crop_square: boolean;
}

export interface LocalModel {
  name: string;
  architecture: string;
  precision: string;
  file: string;
  integrity: string;
  bytes: number;
  labels: string[];
  input: InputSpec;
}

export interface ServerModel {
  name: string;
  backend: string;
  precision: string;
  labels: string[];
}

export interface DetectorConfig {
  file: string;
  integrity: string;
  framing: {side: number; right: number; down: number};
  min_score: number;
  min_size: number;
  overlap: number;
}

/** `page.json`, which `fer-edge page` and `fer-edge serve` write. */
export interface PageConfig {
  schema: number;
  version: string;
  detector: DetectorConfig;
  models: LocalModel[];
  server: null | {models: ServerModel[]; sources: {id: string; name: string}[]};
}

/** What an engine found in one frame, and how long each stage took in milliseconds. */
export interface Result {
  faces: Face[];
  timings: Record<string, number>;
  searched: [width: number, height: number];
}

/** What is said about an engine on the page. */
export interface EngineInfo {
  model: string;
  backend: string;
  precision: string;
  labels: string[];
}

/** Finds and classifies the faces of a frame: in this browser, or on a server. */
export interface Engine {
  readonly info: EngineInfo;
  /** Takes the frame over and closes it. `side` bounds the longer side of the search. */
  analyze(frame: ImageBitmap | VideoFrame, side: number): Promise<Result>;
  /** For a photo, where the engine wants the file itself. */
  analyzeFile?(file: Blob, side: number): Promise<Result>;
  close(): void;
}

/** A face that is followed from frame to frame. */
export interface Track {
  id: number;
  box: Box;
  probabilities: number[];
  held: number;
  seen: number;
}
