/** What the page uses of onnxruntime-web. */
export interface OnnxValue {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

export class Tensor implements OnnxValue {
  constructor(type: 'float32' | 'uint8', data: Float32Array | Uint8Array, dims: readonly number[]);
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

export class InferenceSession {
  static create(model: Uint8Array, options?: {executionProviders?: string[]}): Promise<InferenceSession>;
  run(feeds: Record<string, Tensor>): Promise<Record<string, OnnxValue>>;
  release(): Promise<void>;
}

export const env: {
  logLevel: 'error' | 'warning';
  wasm: {numThreads: number; wasmPaths: {mjs: string; wasm: string}};
};
