"""TensorRT and CUDA without a GPU: doubles that stand on the real bindings."""
